"""Evidence for one record: the core refuses what the RecordVerifier contract refuses, case for case."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgeseal import cose, settlement
from edgeseal.errors import EvidenceError
from edgeseal.head import DeviceHead
from edgeseal.verify.chain import Interval, RegistryKey

VECTORS: dict[str, Any] = json.loads(
    (Path(__file__).parents[2] / "contracts" / "test" / "vectors" / "settlement.json").read_text("utf-8")
)
ROLES = ("device", "operator")


def unhex(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def evidence_of(case: dict[str, Any]) -> settlement.Evidence:
    return settlement.Evidence(
        b"\x07" * 32, unhex(case["record"]), [unhex(node) for node in case["devicePath"]], unhex(case["head"]),
        (unhex(case["x"]), unhex(case["y"])), unhex(case["r"]) + unhex(case["s"]), case["position"],
        [unhex(node) for node in case["fleetPath"]],
    )  # fmt: skip


def registry() -> dict[bytes, RegistryKey]:
    found = {}
    for row in VECTORS["keys"]:
        kid = cose.thumbprint(unhex(row["x"]), unhex(row["y"]))
        revoked = VECTORS["revoked"]["until"] if kid == unhex(VECTORS["revoked"]["kid"]) else None
        interval = Interval(row["from"], revoked, None if revoked is None else VECTORS["size"])
        found[kid] = RegistryKey(ROLES[row["role"]], (interval,))
    return found


def check(case: dict[str, Any]) -> settlement.Settled:
    kid = cose.thumbprint(unhex(case["x"]), unhex(case["y"]))
    anchored = (VECTORS["size"], unhex(VECTORS["root"]))
    return settlement.check(evidence_of(case), anchored, registry().get(kid))


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_core_and_contract_agree(case: dict[str, Any]) -> None:
    assert bool(case["error"]) == bool(case["code"])
    if case["code"]:
        with pytest.raises(EvidenceError) as refused:
            check(case)
        assert refused.value.code == case["code"]
        return
    settled = check(case)
    assert settled.position == case["position"]
    assert settled.size == VECTORS["size"]


def test_the_vectors_hold_both_kinds() -> None:
    good = [case for case in VECTORS["cases"] if not case["error"]]
    assert len(good) >= 25
    assert len(VECTORS["cases"]) - len(good) >= 50


def test_nothing_is_settled_before_the_first_anchor() -> None:
    case = VECTORS["cases"][0]
    with pytest.raises(EvidenceError) as refused:
        settlement.check(evidence_of(case), (0, bytes(32)), None)
    assert refused.value.code == "not_anchored"


def test_evidence_of_a_statement_is_what_the_contract_takes() -> None:
    case = VECTORS["cases"][0]
    plain = evidence_of(case)
    key = cose.PublicKey.of(*plain.key)
    protected = DeviceHead.from_payload(plain.head).protected(key.kid)
    statement = cose.assemble(protected, plain.head, plain.signature)
    made = settlement.Evidence.of(
        plain.fleet_log, plain.record, plain.device_path, statement, key, plain.position, plain.fleet_path
    )
    assert made == plain
    assert made.arguments()[3] == plain.head
    assert made.arguments()[4] == (*plain.key, plain.signature[:32], plain.signature[32:])
