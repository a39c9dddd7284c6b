"""Format 2.5: what a key signs for the registry on chain, and the files in which it is asked and answered."""

from __future__ import annotations

import json
from typing import Any

from tests.vectors.cases import Cases, Zeros, bad, good
from tests.vectors.encoding import ORDER, ZEROS, Key, be64, cbor, domain, token
from tests.vectors.world import CHAIN, DEVICE, FLEET, GATEWAY, ROOT, STRANGER, device_head, signed_device_head

REGISTRY, NONCE, EVIDENCE, DEADLINE = token("registry", 20), token("challenge"), token("evidence"), 1_800_000_000
PLACE = {"chain_id": CHAIN, "registry": "0x" + REGISTRY.hex(), "tenant": ROOT.kid.hex(), "log": FLEET.hex()}
TAIL = {"evidence": EVIDENCE.hex(), "nonce": NONCE.hex(), "deadline": DEADLINE}
POSSESSION: dict[str, Any] = {
    "schema": "edgeseal-possession/1", **PLACE, "kid": DEVICE.kid.hex(), "role": "device", "from": 7, **TAIL,
}  # fmt: skip
ROTATION: dict[str, Any] = {
    "schema": "edgeseal-rotation/1", **PLACE, "old_kid": DEVICE.kid.hex(), "new_kid": STRANGER.kid.hex(), **TAIL,
}  # fmt: skip
ROLES = ("device", "operator", "gateway", "publisher", "approver", "auditor")


def message(fields: dict[str, Any]) -> bytes:
    """The bytes a key signs."""
    place: bytes = fields["chain_id"].to_bytes(32, "big") + bytes.fromhex(
        fields["registry"][2:] + fields["tenant"] + fields["log"]
    )
    tail = bytes.fromhex(fields["evidence"] + fields["nonce"]) + be64(fields["deadline"])
    if "role" in fields:
        return domain("key-possession") + place + bytes([ROLES.index(fields["role"])]) + be64(fields["from"]) + tail
    return domain("key-rotation") + place + bytes.fromhex(fields["old_kid"] + fields["new_kid"]) + tail


def text(fields: dict[str, Any]) -> dict[str, str]:
    return {"text": json.dumps(fields)}


def proof(fields: dict[str, Any], key: Key, signature: bytes | None = None) -> dict[str, Any]:
    signed = key.sign(message(fields)) if signature is None else signature
    return fields | {"x": key.x.hex(), "y": key.y.hex(), "signature": signed.hex()}


def cases() -> Cases:
    """Every case of this part."""
    for number, role in enumerate(ROLES):
        fields = POSSESSION | {"role": role, "from": number, "chain_id": CHAIN + number}
        made = {"message": message(fields), "signers": [DEVICE.kid]}
        yield good(f"role-{role}", f"as {role}", "challenge", text(fields), **made)
    largest = POSSESSION | {"chain_id": 2**64 - 1, "from": 2**64 - 1, "deadline": 2**64 - 1, "evidence": ZEROS.hex()}
    both, one = [DEVICE.kid, STRANGER.kid], [DEVICE.kid]
    yield good("largest", "the largest numbers", "challenge", text(largest), message=message(largest), signers=one)
    yield good("rotation", "two keys", "challenge", text(ROTATION), message=message(ROTATION), signers=both)
    signed = (("proof", POSSESSION, DEVICE), ("rotation-old", ROTATION, DEVICE), ("rotation-new", ROTATION, STRANGER))
    for name, fields, key in signed:
        made = {"kid": key.kid, "message": message(fields)}
        yield good(name, f"signed: {name}", "possession-proof", text(proof(fields, key)), **made)
    yield from spoilt()


def spoilt() -> Cases:
    """Cases with one defect each."""
    for name, key, value, code in (
        ("chain-zero", "chain_id", 0, "yaml_range"), ("chain-text", "chain_id", "1", "yaml_type"),
        ("registry-short", "registry", "0x" + "11" * 19, "yaml_range"),
        ("tenant-upper", "tenant", "AB" * 32, "yaml_range"),
        ("role-unknown", "role", "admin", "yaml_range"), ("from-negative", "from", -1, "yaml_range"),
        ("from-large", "from", 2**64, "yaml_range"), ("nonce-short", "nonce", "00" * 31, "yaml_range"),
        ("schema-other", "schema", "edgeseal-possession/2", "yaml_range"), ("unknown", "also", 1, "yaml_unknown_key"),
        ("mixed", "old_kid", ZEROS.hex(), "yaml_unknown_key"),
    ):  # fmt: skip
        yield bad(name, code, f"{key}: {value!r:.80}", "challenge", text(POSSESSION | {key: value}))
    missing = {key: value for key, value in POSSESSION.items() if key != "deadline"}
    yield bad("deadline-missing", "yaml_missing_key", "no deadline", "challenge", text(missing))
    twice = {"text": json.dumps(POSSESSION)[:-1] + ', "from": 0}'}
    yield bad("from-twice", "yaml_duplicate_key", "a position twice", "challenge", twice)
    yield bad("too-large", "yaml_too_large", "above MAX_YAML", "challenge", {"bytes": Zeros(262_145)})

    signed, kind = proof(POSSESSION, DEVICE), "possession-proof"
    good_signature = DEVICE.sign(message(POSSESSION))
    high = good_signature[:32] + (ORDER - int.from_bytes(good_signature[32:], "big")).to_bytes(32, "big")
    head = signed_device_head(device_head(2, token("root"), [0, ZEROS]))
    yield bad("moved", "bad_signature", "another position than signed", kind, text(signed | {"from": 8}))
    yield bad("other-chain", "bad_signature", "another chain than signed", kind, text(signed | {"chain_id": 1}))
    yield bad("other-role", "bad_signature", "another role than signed", kind, text(signed | {"role": "gateway"}))
    yield bad("other-key", "wrong_key", "a key nobody asked", kind, text(proof(POSSESSION, GATEWAY)))
    yield bad("off-curve", "key_invalid", "no point", kind, text(signed | {"y": signed["x"]}))
    yield bad("high-s", "high_s", "the twin signature", kind, text(proof(POSSESSION, DEVICE, high)))
    of_head = text(proof(POSSESSION, DEVICE, head[-64:]))
    yield bad("of-a-head", "bad_signature", "the signature under a device head", kind, of_head)
    swapped = proof(ROTATION, DEVICE, DEVICE.sign(message(POSSESSION)))
    yield bad("of-a-possession", "bad_signature", "a possession's signature under a rotation", kind, text(swapped))
    whole = DEVICE.sign(cbor(message(POSSESSION)))
    yield bad("as-cbor", "bad_signature", "signed as a CBOR string", kind, text(proof(POSSESSION, DEVICE, whole)))
