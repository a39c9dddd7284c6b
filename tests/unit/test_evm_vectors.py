"""Walks tests/vectors/evm: what independent packages made is accepted, each single defect has its reason code."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import EvidenceError
from edgeseal.evmproof import rlp, trie, verify_header, verify_log
from edgeseal.evmproof.state import verify_accounts, verify_slots

VECTORS = Path(__file__).parents[1] / "vectors" / "evm"
CASES = sorted(VECTORS.glob("*/*.json"))


def given(case: dict[str, Any]) -> dict[str, Any]:
    """The inputs of a case, hex read as bytes."""
    return {name: unhexed(value) for name, value in case["input"].items()}


def unhexed(value: Any) -> Any:
    if isinstance(value, str):
        return bytes.fromhex(value)
    return [unhexed(item) for item in value] if isinstance(value, list) else value


def run(case: dict[str, Any]) -> Any:
    """What the code under test answers, in the form the case gives it."""
    arguments = given(case)
    match case["function"]:
        case "rlp":
            item = rlp.decode(arguments["encoded"])
            assert rlp.encode(item) == arguments["encoded"]
            return item
        case "trie":
            trie.verify_inclusion(**arguments)
            return None
        case "header":
            header = verify_header(**arguments)
            names = ("number", "timestamp", "parent_hash", "state_root", "receipts_root")
            return {name: getattr(header, name) for name in names}
        case "accounts":
            return [a and [a.storage_root, a.code_hash] for a in verify_accounts(**arguments)]
        case "slots":
            return [value.to_bytes(32, "big") for value in verify_slots(**arguments)]
        case "verify_log":
            found = verify_log(**arguments)
            log = {"address": found.log.address, "topics": list(found.log.topics), "data": found.log.data}
            return log | {"number": found.header.number, "timestamp": found.header.timestamp}
    raise AssertionError(f"unknown function {case['function']}")


@pytest.mark.parametrize("path", CASES, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_vector(path: Path) -> None:
    case = json.loads(path.read_text())
    if case["expect"] == "ok":
        output = case.get("output")
        expected = {n: unhexed(v) for n, v in output.items()} if isinstance(output, dict) else unhexed(output)
        assert run(case) == expected
        return
    with pytest.raises(EvidenceError) as caught:
        run(case)
    assert caught.value.code == case["expect"]


def test_every_part_has_good_and_bad_cases() -> None:
    expectations = {(path.parent.name, json.loads(path.read_text())["expect"] == "ok") for path in CASES}
    assert expectations >= {
        (part, good) for part in ("rlp", "trie", "log", "slots", "accounts") for good in (True, False)
    }
    assert len(CASES) >= 140
