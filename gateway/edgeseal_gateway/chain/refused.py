"""What a person does when the FleetLog contract refuses an anchor, or an answer: one remedy for each of its errors."""

from __future__ import annotations

from typing import Final

from edgeseal.adapters.evm import Reverted

_OTHER_LOG: Final = (
    "the chain holds another history than this store: stop, and compare both before anything (edgeseal verify)"
)
REMEDIES: Final = {
    "BadSignature": "the stored head is not signed by the key in force: edgeseal-gateway check",
    "FirstHeadTooSmall": "it goes on by itself when the log has two leaves",
    "HighS": "a token gave a signature in its high form and it was stored so: edgeseal-gateway check",
    "LogNotOpen": "the log is frozen or closed: edgeseal chain probe names the successor",
    "MissingPrecompile": "this chain lacks what the contracts need: edgeseal chain probe",
    "NewRootMismatch": _OTHER_LOG,
    "NotAnchoredYet": "it goes on by itself once a larger head is anchored",
    "OldRootMismatch": _OTHER_LOG,
    "PreviousContradictsAnchor": _OTHER_LOG,
    "PreviousImpossible": "the stored head contradicts itself: stop, and restore the newest backup",
    "StaleSize": "somebody brought this head already: it is found by itself",
    "UnknownLog": "the contract knows no such log: compare the network profile with the chain (edgeseal chain probe)",
    "WrongChallengeState": "the challenge was answered already: nothing to do",
    "WrongKey": "the contract takes another gateway key's heads: run the gateway that has it (edgeseal chain probe)",
    "WrongProofLength": "the chain moved while the proof was made: it is made anew by itself",
    "ZeroRoot": "the stored head contradicts itself: stop, and restore the newest backup",
}
"""Custom error that ``anchor`` or ``answer`` may end in → what to do."""


def remedy(error: Reverted) -> str | None:
    """Return what to do about a refusal, None where we do not know."""
    return REMEDIES.get(error.name)
