"""Evidence for one record, good and bad, made with cbor2 and cryptography and nothing of ours (format.md 4.1, 5.1, 7).

Every case names the error of the contract and the reason code of the core; both empty where the evidence is good. All
heads stand as statements in one fleet log, so that each bad case fails for its own defect alone.

`python contracts/test/vectors/settlement.py` writes settlement.json beside this file, `--check` compares it instead and
exits 1 if it differs. Solidity (`contracts/test/RecordVerifier.t.sol`) and Python (`tests/unit/test_settlement.py`)
read it. Keys are fixed numbers known to everybody.
"""

from __future__ import annotations

import hashlib
import json
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cbor2
from cryptography.hazmat.primitives.asymmetric import ec

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ROLES = {"device": 0, "operator": 1}
OUTPUT = Path(__file__).with_suffix(".json")


def sha256(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def tree_root(leaves: list[bytes]) -> bytes:
    """RFC 9162 2.1.1, by its recursive definition."""
    if len(leaves) == 1:
        return leaves[0]
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha256(b"\x01", tree_root(leaves[:half]), tree_root(leaves[half:]))


def tree_path(leaves: list[bytes], index: int) -> list[bytes]:
    """RFC 9162 2.1.3.1, by its recursive definition."""
    if len(leaves) == 1:
        return []
    half = 1 << (len(leaves) - 1).bit_length() - 1
    if index < half:
        return [*tree_path(leaves[:half], index), tree_root(leaves[half:])]
    return [*tree_path(leaves[half:], index - half), tree_root(leaves[:half])]


def point(key: ec.EllipticCurvePrivateKey) -> tuple[bytes, bytes]:
    numbers = key.public_key().public_numbers()
    return numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")


def thumbprint(key: ec.EllipticCurvePrivateKey) -> bytes:
    x, y = point(key)
    return sha256(cbor2.dumps({1: 2, -1: 1, -2: x, -3: y}, canonical=True))


def sign(key: ec.EllipticCurvePrivateKey, message: bytes, nonce: bytes = b"nonce") -> tuple[bytes, bytes]:
    """Low-s (r, s) under the ephemeral number that `nonce` leads to: r = (kG).x, s = (digest + r d) / k."""
    secret = key.private_numbers().private_value
    k = int.from_bytes(sha256(nonce, secret.to_bytes(32, "big"), message), "big") % ORDER
    r = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers().x % ORDER
    s = (int.from_bytes(sha256(message), "big") + r * secret) * pow(k, -1, ORDER) % ORDER
    return r.to_bytes(32, "big"), min(s, ORDER - s).to_bytes(32, "big")


def log_of(key: ec.EllipticCurvePrivateKey) -> bytes:
    return sha256(b"edgeseal/v1/device-log\0", thumbprint(key))


def canonical(value: Any) -> bytes:
    return cbor2.dumps(value, canonical=True)


DEVICE = ec.derive_private_key(0xD001, ec.SECP256R1())
REVOKED = ec.derive_private_key(0xD002, ec.SECP256R1())
LATE = ec.derive_private_key(0xD003, ec.SECP256R1())
OPERATOR = ec.derive_private_key(0xD004, ec.SECP256R1())
NOBODY = ec.derive_private_key(0xD005, ec.SECP256R1())

Change = dict[str, Any]


@dataclass
class Case:
    """One case: how its record, head and statement differ from plain good ones, and what becomes of it."""

    name: str
    error: str = ""
    code: str = ""
    key: ec.EllipticCurvePrivateKey = DEVICE
    size: int = 5
    seq: int = 3
    record: Change = field(default_factory=dict)
    head: Change = field(default_factory=dict)
    raw_record: Callable[[bytes], bytes] = bytes
    raw_head: Callable[[bytes], bytes] = bytes
    low_s: bool = True
    signer: ec.EllipticCurvePrivateKey | None = None
    after: Callable[[dict[str, Any]], None] | None = None


def record_of(case: Case) -> bytes:
    fields = {
        "v": 1, "log": log_of(case.key), "seq": case.seq, "boot": 1, "t": 1_760_000_000_000, "mono": 12_345,
        "clk": ["ntp", 15], "kind": "inference", "body": sha256(b"body"),
    }  # fmt: skip
    fields.update(case.record)
    return case.raw_record(canonical(fields))


def head_of(case: Case, root: bytes) -> bytes:
    fields = {
        "v": 1, "log": log_of(case.key), "size": case.size, "root": root, "prev": [2, sha256(b"prev")], "seen": None,
        "anchored": None, "clock": {"t": 1_760_000_000_500, "mono": 12_845, "boot": 1, "tpm": None},
    }  # fmt: skip
    fields.update(case.head)
    return case.raw_head(canonical(fields))


def protected_of(case: Case, size: int, log: bytes) -> bytes:
    kid = thumbprint(case.key)
    claims = {1: kid.hex(), 2: log.hex(), -70001: size, -70002: log}
    return canonical({1: -7, 4: kid, 15: claims, 16: "application/vnd.edgeseal.device-head+cose"})


SEEN = [sha256(b"fleet"), 9, sha256(b"seen")]


def swap(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        assert data.count(old) == 1, (old, data)
        return data.replace(old, new)

    return change


def edit(name: str, change: Callable[[Any], Any]) -> Callable[[dict[str, Any]], None]:
    def after(made: dict[str, Any]) -> None:
        made[name] = change(made[name])

    return after


def good_cases() -> list[Case]:
    tpm = {"t": 0, "mono": 2**64 - 1, "boot": 2**32, "tpm": [1, 2, 3, True]}
    return [
        Case("plain"),
        Case("first_record", seq=0),
        Case("last_record", seq=4),
        Case("smallest_head", size=2, seq=1, head={"prev": [0, bytes(32)]}),
        Case("thirty_records", size=30, seq=23),
        Case("large_record_log", size=300, seq=256, head={"prev": [255, sha256(b"prev")]}),
        Case("seen_and_anchored", head={"seen": SEEN, "anchored": [*SEEN, 31337, sha256(b"block")]}),
        Case("seen_alone", head={"seen": [sha256(b"fleet"), 2**40, sha256(b"seen")]}),
        Case("tpm_clock", head={"clock": tpm}),
        Case("tpm_unsafe", head={"clock": {**tpm, "tpm": [0, 24, 65536, False]}}),
        *(Case(f"clock_{name}", record={"clk": [name, None]}) for name in ("none", "rtc", "ntp", "ptp", "gnss")),
        Case("uncertainty", record={"clk": ["gnss", 2**64 - 1]}),
        Case("kind_of_one", record={"kind": "x"}),
        Case("kind_of_23", record={"kind": "a" * 23}),
        Case("kind_of_24", record={"kind": "z." * 12}),
        Case("kind_of_32", record={"kind": "." * 32}),
        *(Case(f"time_{t}", record={"t": t, "boot": t, "mono": t}) for t in (0, 23, 24, 255, 256, 65535, 65536, 2**32)),
        Case("before_the_revocation", key=REVOKED),
    ]


def malformed_cases() -> list[Case]:
    def bad(name: str, code: str, **how: Any) -> Case:
        return Case(name, "Malformed", code, **how)

    return [
        bad("record_trailing", "cbor_trailing", raw_record=lambda data: data + b"\0"),
        bad("record_truncated", "cbor_truncated", raw_record=lambda data: data[:-1]),
        bad("record_empty", "cbor_truncated", raw_record=lambda data: b""),
        bad("record_extra_key", "extra_key", record={"x": 1}),
        bad("record_version", "enum", record={"v": 2}),
        bad("record_time_not_minimal", "cbor_not_minimal", record={"t": 7}, raw_record=swap(b"at\x07", b"at\x18\x07")),
        bad("record_kind_upper", "kind_invalid", record={"kind": "Inference"}),
        bad("record_kind_empty", "kind_invalid", record={"kind": ""}),
        bad("record_kind_of_33", "kind_invalid", record={"kind": "a" * 33}),
        bad("record_kind_not_minimal", "cbor_not_minimal", raw_record=swap(b"\x69inference", b"\x78\x09inference")),
        bad("record_kind_bytes", "type", record={"kind": b"inference"}),
        bad("record_clock_unknown", "enum", record={"clk": ["sun", None]}),
        bad("record_clock_negative", "range", record={"clk": ["ntp", -1]}),
        bad("record_log_short", "range", record={"log": bytes(31)}),
        bad("record_float", "cbor_float", record={"mono": 1.5}),
        bad("record_indefinite", "cbor_indefinite", raw_record=lambda data: b"\xbf" + data[1:] + b"\xff"),
        bad("head_trailing", "cbor_trailing", raw_head=lambda data: data + b"\xf6"),
        bad("head_truncated", "cbor_truncated", raw_head=lambda data: data[:-1]),
        bad("head_version", "enum", head={"v": 0}),
        bad("head_extra_key", "extra_key", head={"zzzzzzzzz": 0}),
        bad("head_seen_short", "range", head={"seen": [sha256(b"fleet"), 9]}),
        bad("head_seen_false", "type", head={"seen": False}),
        bad("head_clock_extra", "extra_key", head={"clock": {"t": 0, "mono": 0, "boot": 1, "tpm": None, "x": 0}}),
        bad("head_tpm_number", "type", head={"clock": {"t": 0, "mono": 0, "boot": 1, "tpm": [1, 2, 3, 1]}}),
        bad("head_size_not_minimal", "cbor_not_minimal", raw_head=swap(b"dsize\x05", b"dsize\x18\x05")),
        bad("head_key_order", "cbor_key_order", raw_head=lambda data: b"\xa8" + data[4:40] + data[1:4] + data[40:]),
    ]


def flip(path: list[str]) -> list[str]:
    return ["0x" + "11" * 32, *path[1:]]


def false_cases() -> list[Case]:
    other = sha256(b"another log")
    return [
        Case("head_order_prev_equal", "HeadOrder", "head_order", head={"prev": [5, sha256(b"prev")]}),
        Case("head_order_prev_of_one", "HeadOrder", "head_order", head={"prev": [1, sha256(b"prev")]}),
        Case("head_order_no_root", "HeadOrder", "head_order", head={"prev": [2, bytes(32)]}),
        Case("head_order_root_of_none", "HeadOrder", "head_order", head={"prev": [0, sha256(b"prev")]}),
        Case("head_of_size_one", "HeadOrder", "head_order", size=1, seq=0, head={"prev": [0, bytes(32)]}),
        Case("head_of_another_log", "HeadOfAnotherLog", "log_id", head={"log": other}),
        Case("record_of_another_log", "RecordOfAnotherLog", "log_mismatch", record={"log": other}),
        Case("size_one_more", "WrongPathLength", "path_length", seq=0, size=4, head={"size": 5}),
        Case("size_one_less", "WrongPathLength", "path_length", seq=4, size=5, head={"size": 4, "prev": [2, other]},
             record={"seq": 3}),
        Case("size_beyond_limit", "TreeTooLarge", "path_size", head={"size": 2**63}),
        Case("seq_at_the_size", "IndexBeyondSize", "path_index", record={"seq": 5}),
        Case("seq_of_a_neighbour", "NotInDeviceLog", "path_root", seq=2, record={"seq": 3}),
        Case("device_path_longer", "WrongPathLength", "path_length", after=edit("devicePath", lambda p: [*p, p[0]])),
        Case("device_path_shorter", "WrongPathLength", "path_length", after=edit("devicePath", lambda p: p[:-1])),
        Case("device_path_other", "NotInDeviceLog", "path_root", after=edit("devicePath", flip)),
        Case("root_of_another_tree", "NotInDeviceLog", "path_root", head={"root": other}),
        Case("high_s", "HighS", "high_s", low_s=False),
        Case("signed_by_another", "BadSignature", "bad_signature", signer=NOBODY),
        Case("signature_of_zero", "BadSignature", "signature_range", after=edit("r", lambda r: "0x" + "00" * 32)),
        Case("fleet_path_longer", "WrongPathLength", "path_length", after=edit("fleetPath", lambda p: [*p, p[0]])),
        Case("fleet_path_shorter", "WrongPathLength", "path_length", after=edit("fleetPath", lambda p: p[1:])),
        Case("fleet_path_other", "NotInFleetLog", "path_root", after=edit("fleetPath", flip)),
        Case("position_of_a_neighbour", "NotInFleetLog", "path_root", after=edit("position", lambda p: p ^ 1)),
        Case("position_beyond", "IndexBeyondSize", "path_index", after=edit("position", lambda p: 10_000)),
        Case("twin_signature_not_in_the_log", "NotInFleetLog", "path_root", after=lambda m: m.update(m["twin"])),
        Case("not_registered", "UnknownKey", "not_registered", key=NOBODY),
        Case("an_operators_key", "WrongRole", "wrong_role", key=OPERATOR),
        Case("before_it_counts", "KeyNotValid", "before_validity", key=LATE),
        Case("after_the_revocation", "KeyNotValid", "key_revoked", key=REVOKED),
    ]  # fmt: skip


def evidence(case: Case) -> tuple[dict[str, Any], bytes]:
    """The evidence without its place in the fleet log, and the statement that stands there."""
    rng = random.Random(case.name)
    record = record_of(case)
    leaves = [rng.randbytes(32) for _ in range(case.size)]
    leaves[case.seq] = sha256(b"\0", record)
    payload = head_of(case, tree_root(leaves))
    stated = {"size": case.size, "log": log_of(case.key), **case.head}
    protected = protected_of(case, stated["size"], stated["log"])
    message = canonical(["Signature1", protected, b"", payload])
    r, s = sign(case.signer or case.key, message)
    if not case.low_s:
        s = (ORDER - int.from_bytes(s, "big")).to_bytes(32, "big")
    statement = b"\xd2\x84" + canonical(protected) + b"\xa0" + canonical(payload) + canonical(r + s)
    x, y = point(case.key)
    made = {
        "name": case.name, "error": case.error, "code": case.code, "record": record.hex(),
        "devicePath": [node.hex() for node in tree_path(leaves, case.seq)], "head": payload.hex(),
        "x": x.hex(), "y": y.hex(), "r": r.hex(), "s": s.hex(),
    }  # fmt: skip
    return made, statement


def hexes(made: dict[str, Any]) -> dict[str, Any]:
    for name in ("record", "head", "x", "y", "r", "s"):
        made[name] = "0x" + made[name]
    for name in ("devicePath", "fleetPath"):
        made[name] = ["0x" + node for node in made[name]]
    return made


def settlements() -> dict[str, Any]:
    """All cases, the fleet log they stand in, and what the registry says."""
    cases = [*good_cases(), *malformed_cases(), *false_cases()]
    made = [evidence(case) for case in cases]
    entries = [statement for _, statement in made]
    entries += [sha256(b"filler", bytes([i])) for i in range(7)]
    leaves = [sha256(b"\0", entry) for entry in entries]
    found = []
    for position, (case, (fields, statement)) in enumerate(zip(cases, made, strict=True)):
        fields["position"] = position
        fields["fleetPath"] = [node.hex() for node in tree_path(leaves, position)]
        hexes(fields)
        if case.after is not None:
            if case.name.startswith("twin"):
                payload = bytes.fromhex(fields["head"][2:])
                message = canonical(["Signature1", protected_of(case, case.size, log_of(case.key)), b"", payload])
                r, s = sign(case.key, message, b"another nonce")
                fields["twin"] = {"r": "0x" + r.hex(), "s": "0x" + s.hex()}
                assert statement.count(r) == 0
            case.after(fields)
            fields.pop("twin", None)
        found.append(fields)
    revocation = next(i for i, case in enumerate(cases) if case.name == "after_the_revocation")
    keys = [(DEVICE, "device", 0), (REVOKED, "device", 0), (OPERATOR, "operator", 0), (LATE, "device", len(cases))]
    return {
        "section": "contracts/README.md, RecordVerifier",
        "size": len(leaves),
        "root": "0x" + tree_root(leaves).hex(),
        "keys": [registered(key, role, start) for key, role, start in keys],
        "revoked": {"kid": "0x" + thumbprint(REVOKED).hex(), "until": revocation},
        "cases": found,
    }


def registered(key: ec.EllipticCurvePrivateKey, role: str, start: int) -> dict[str, Any]:
    x, y = point(key)
    return {"role": ROLES[role], "x": "0x" + x.hex(), "y": "0x" + y.hex(), "from": start}


def main() -> int:
    text = json.dumps(settlements(), indent=1) + "\n"
    if "--check" not in sys.argv[1:]:
        OUTPUT.write_text(text)
    elif not OUTPUT.exists() or OUTPUT.read_text() != text:
        print(f"{OUTPUT}: differs from what the generator makes")
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
