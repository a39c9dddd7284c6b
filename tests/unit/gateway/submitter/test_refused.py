"""A person is told what to do about every refusal an anchor can meet."""

from __future__ import annotations

import json
import re
from importlib.resources import files
from pathlib import Path

from edgeseal.adapters.evm import Reverted
from edgeseal_gateway.chain.refused import REMEDIES, remedy

SOURCE = Path(__file__).parents[4] / "contracts" / "src" / "FleetLogBase.sol"
NOT_OURS = {
    "BadTerms", "HasSuccessor", "KeyOffCurve", "LogExists", "LogIsActive", "NoContradiction", "NotDue", "NotSilent",
    "NotTenantAdmin", "NotThisKeysHead", "RetiredGatewayKey", "SameGatewayKey",
}  # fmt: skip
"""Errors of the contract's other functions, which the gateway never calls."""


def test_every_error_of_anchor_and_answer_has_a_remedy() -> None:
    raised = set(re.findall(r"\brevert (\w+)\(", SOURCE.read_text("utf-8")))
    assert raised - NOT_OURS <= set(REMEDIES)
    artifact = json.loads((files("edgeseal.contracts") / "FleetLog.json").read_text("utf-8"))
    assert set(REMEDIES) <= {item["name"] for item in artifact["abi"] if item["type"] == "error"}


def test_what_nobody_foresaw_has_none() -> None:
    assert remedy(Reverted("0x12345678", (), b"")) is None
    assert remedy(Reverted("WrongKey", (b"", b""), b"")) == REMEDIES["WrongKey"]
