"""The questions of a verdict in words, and what its exit codes mean."""

from __future__ import annotations

from typing import Final

ASKED: Final = {
    "integrity": "is every record what the device key signed?",
    "attribution": "was that key enrolled for this device by an operator of this tenant?",
    "position": "has every record a place in its log, and the log a place in the fleet log?",
    "completeness": "is nothing missing from the first record to the newest head?",
    "append_only": "does each signed head extend the one before?",
    "single_view_device": "has the device shown everybody one history?",
    "single_view_fleet": "has the gateway shown everybody one fleet log?",
    "existed_by": "by which block did the records exist?",
    "existed_after": "after which block was the newest head signed?",
    "key_valid": "was each head signed while its key was valid?",
    "command_authority": "did an authorised operator give every command taken, in its place, in time, once?",
    "model_identity": "does each inference name the model that was activated?",
    "policy": "were keysets and decisions followed?",
    "cadence": "was the device never silent for too long?",
    "reexecution": "does every inference, run again, give the same output?",
}
"""By the id of a question (``docs/format.md`` 16)."""

EXITS: Final = {
    0: "all that was asked for is ok",
    2: "something failed",
    3: "nothing failed, and something that was asked for is not answered",
}
"""By exit code; 1 is no verdict."""
