"""One small fleet, from which every vector is taken or spoiled: its keys, one device log, one fleet log, their heads.

Fleet log: 0 keyset, 1 snapshot, 2 enrolment, 3 device head (size 2), 4 command, 5 device head (size 6), 6 revocation,
7 snapshot. Fleet heads are signed at sizes 2 and 8. Device log: genesis, key.bound, boot, inference, command.received,
command.result.
"""

from __future__ import annotations

import hmac
from typing import Any

from tests.vectors.encoding import (
    ZEROS,
    Key,
    be64,
    cbor,
    domain,
    hashed,
    inclusion,
    leaf_hash,
    protected,
    root,
    sign1,
    token,
)

ROOT, GATEWAY, OPERATOR, PUBLISHER, DEVICE, OTHER_DEVICE, STRANGER = map(
    Key, ("root", "gateway", "operator", "publisher", "device", "other device", "stranger")
)
CHAIN, CONTRACT, NONCE = 31337, token("contract", 20), token("nonce")
FLEET = hashed(domain("fleet-log"), ROOT.kid, CHAIN.to_bytes(32, "big"), CONTRACT, NONCE)
LOG = hashed(domain("device-log"), DEVICE.kid)
OTHER_LOG = hashed(domain("device-log"), OTHER_DEVICE.kid)
TIME = 1_764_155_000_000
SECRET = token("epoch secret")
COMMAND_ID = token("command id", 16)


def commitment(field: str, data: bytes, salt: bytes | None) -> list[Any]:
    """[mode, h], format 3."""
    mode = "plain" if salt is None else "salted"
    return [int(salt is None), hashed(domain(f"commit/{mode}/{field}"), salt or ZEROS, be64(len(data)), data)]


def record_salt(seq: int, field: str) -> bytes:
    """The salt of a commitment in a record of this device, format 3."""
    return hmac.digest(SECRET, domain("salt") + LOG + be64(seq) + field.encode(), "sha256")


def body_hash(body: bytes) -> bytes:
    """Format 4.1."""
    return hashed(domain("body"), be64(len(body)), body)


def body(kind: str, **fields: Any) -> dict[str, Any]:
    """A body with its salt."""
    return {"s": token("body salt/" + kind)} | fields


def header(seq: int, kind: str, body_bytes: bytes, **changes: Any) -> dict[str, Any]:
    """A record header."""
    return {
        "v": 1, "log": LOG, "seq": seq, "boot": 1, "t": TIME + 10 * seq, "mono": 5_000 + 10 * seq, "clk": ["ntp", 12],
        "kind": kind, "body": body_hash(body_bytes),
    } | changes  # fmt: skip


def record(seq: int, kind: str, **fields: Any) -> tuple[bytes, bytes]:
    """Header bytes and body bytes of a record of the device."""
    encoded = cbor(body(kind, **fields))
    return cbor(header(seq, kind, encoded)), encoded


def statement(key: Key, name: str, sub: str, payload: Any) -> bytes:
    """A signed statement that is no device head."""
    return sign1(key, protected(key.kid, name, sub), cbor(payload))


def device_head(size: int, head_root: bytes, prev: list[Any], **changes: Any) -> dict[str, Any]:
    """The payload of a device head."""
    return {
        "v": 1, "log": LOG, "size": size, "root": head_root, "prev": prev, "seen": None, "anchored": None,
        "clock": {"t": TIME, "mono": 6_000, "boot": 1, "tpm": None},
    } | changes  # fmt: skip


def signed_device_head(payload: dict[str, Any], key: Key = DEVICE, high: bool = False) -> bytes:
    """A device head; its claims repeat the payload."""
    claims = protected(key.kid, "device-head", payload["log"].hex(), size=payload["size"], log=payload["log"])
    return sign1(key, claims, cbor(payload), high)


def fleet_header(size: int, prev: list[Any], log: bytes = FLEET, key: Key = GATEWAY) -> dict[int, Any]:
    """The protected header of a fleet head, format 7.2."""
    return protected(key.kid, "fleet-head", log.hex(), size=size, log=log, prev=prev)


def keyset(**changes: Any) -> dict[str, Any]:
    """The payload of the first keyset."""
    return {
        "v": 1, "log": FLEET, "version": 1, "prev": ZEROS, "root": ROOT.point,
        "keys": [
            {"key": GATEWAY.point, "role": "gateway", "scope": []},
            {"key": OPERATOR.point, "role": "operator", "scope": ["enrol", "revoke", "command/*"]},
            {"key": PUBLISHER.point, "role": "publisher", "scope": []},
        ],
        "anchor": {"size": 1_000, "secs": 3_600}, "cadence": 300, "next": None,
    } | changes  # fmt: skip


def enrolment(**changes: Any) -> dict[str, Any]:
    """The payload of the device's enrolment."""
    return {
        "v": 1, "log": LOG, "key": DEVICE.point, "genesis": leaf_hash(RECORDS[0][0]), "name": "camera-7",
        "assurance": "softhsm", "evidence": None, "groups": ["north", "test"], "cadence": 300,
    } | changes  # fmt: skip


ARGS = cbor({"text": "hello"})
ARGS_SALT = token("args salt")


def command(**changes: Any) -> dict[str, Any]:
    """The payload of a ping to the device."""
    return {
        "v": 1, "id": COMMAND_ID, "tenant": ROOT.kid, "aud": ["log", LOG], "prev": ZEROS, "exp": 500,
        "until": TIME + 60_000, "keyset": 1, "action": "ping", "args": commitment("args", ARGS, ARGS_SALT),
    } | changes  # fmt: skip


def revocation(**changes: Any) -> dict[str, Any]:
    """The payload of a revocation of the other device's key."""
    return {"v": 1, "kid": OTHER_DEVICE.kid, "role": "device", "until": 6, "reason": "lost"} | changes


def snapshot(size: int, entries: list[bytes], **changes: Any) -> dict[str, Any]:
    """The payload of the snapshot that ends a head of this size."""
    leaves = [leaf_hash(entry) for entry in entries]
    return {"v": 1, "log": FLEET, "size": size, "root": root(leaves), "count": len(entries)} | changes


def entry(sub: str, positions: list[int], **fields: Any) -> bytes:
    """The snapshot entry of a subject whose statements stand at these positions."""
    rolling = ZEROS
    for position in positions:
        rolling = hashed(domain("roll"), rolling, leaf_hash(STATEMENTS[position]))
    known: dict[str, Any] = {"head": None, "from": None, "until": None, "cmd": None} | fields
    return cbor({"sub": sub, "n": len(positions), "h": rolling, "pos": positions[-1]} | known)


STATEMENTS: list[bytes] = [statement(ROOT, "keyset", FLEET.hex(), keyset())]
ENTRIES_2 = [entry(FLEET.hex(), [0])]
STATEMENTS.append(statement(GATEWAY, "snapshot", FLEET.hex(), snapshot(2, ENTRIES_2)))
FLEET_ROOT_2 = root([leaf_hash(item) for item in STATEMENTS])
FLEET_HEAD_2 = sign1(GATEWAY, fleet_header(2, [0, ZEROS]), FLEET_ROOT_2)

GENESIS: dict[str, Any] = {
    "device": "camera-7", "epoch": 1, "prev": None, "root": ROOT.kid, "home": FLEET, "fleet": FLEET_HEAD_2,
}  # fmt: skip
KEY_BOUND: dict[str, Any] = {"key": DEVICE.point, "keyset": [1, hashed(STATEMENTS[0])]}
RECORDS: list[tuple[bytes, bytes]] = [record(0, "genesis", **GENESIS), record(1, "key.bound", **KEY_BOUND)]
DEVICE_ROOT_2 = root([leaf_hash(head) for head, _ in RECORDS])
DEVICE_HEAD_2 = signed_device_head(device_head(2, DEVICE_ROOT_2, [0, ZEROS]))

STATEMENTS.append(statement(OPERATOR, "enrolment", LOG.hex(), enrolment()))
STATEMENTS.append(DEVICE_HEAD_2)
STATEMENTS.append(statement(OPERATOR, "command", LOG.hex(), command()))
COMMAND = STATEMENTS[4]

# The command travels with a receipt of a head that ends at it; the device checked nothing newer.
FLEET_LEAVES_5 = [leaf_hash(item) for item in STATEMENTS]
FLEET_HEADER_5 = fleet_header(5, [2, FLEET_ROOT_2])
FLEET_HEAD_5 = sign1(GATEWAY, FLEET_HEADER_5, root(FLEET_LEAVES_5))


def receipt(header_map: Any, head_root: bytes, proof: Any, kind: int = -1, key: Key = GATEWAY) -> bytes:
    """An RFC 9942 receipt; the signature covers the root, whatever the proof says."""
    raw = cbor(header_map)
    signature = key.sign(cbor(["Signature1", raw, b"", head_root]))
    return b"\xd2" + cbor([raw, {396: {kind: [cbor(proof)]}}, None, signature])


COMMAND_RECEIPT = receipt(FLEET_HEADER_5, root(FLEET_LEAVES_5), [5, 4, inclusion(4, FLEET_LEAVES_5)])

INPUT, TENSOR, OUTPUT = token("input") * 3, cbor([token("tensor") * 2]), cbor([bytes([0, 9, 1])])
INFERENCE: dict[str, Any] = {
    "model": token("package"), "file": token("tflite"),
    "rt": ["ai-edge-litert", "2.3.0", "xnnpack", "builtin", 1, "x86_64"],
    "input": commitment("input", INPUT, None),
    "tensor": commitment("tensor", TENSOR, record_salt(3, "tensor")),
    "output": commitment("output", OUTPUT, record_salt(3, "output")),
    "pub": {"label": "nine", "score": 231, "sure": True, "hash": token("pub", 8)}, "us": 412,
    "config": token("config"), "build": "edgeseal 0.1.0",
}  # fmt: skip
BOOT: dict[str, Any] = {"reason": "init", "clean": True, "build": "edgeseal 0.1.0", "config": token("config")}
RECEIVED: dict[str, Any] = {"id": COMMAND_ID, "cmd": COMMAND, "receipt": COMMAND_RECEIPT}
RESULT: dict[str, Any] = {
    "id": COMMAND_ID, "cmd": hashed(COMMAND), "ok": True, "reason": None,
    "result": commitment("result", cbor({"text": "hello"}), record_salt(5, "result")), "pub": {},
}  # fmt: skip
RECORDS.append(record(2, "boot", **BOOT))
RECORDS.append(record(3, "inference", **INFERENCE))
RECORDS.append(record(4, "command.received", **RECEIVED))
RECORDS.append(record(5, "command.result", **RESULT))
LEAVES = [leaf_hash(head) for head, _ in RECORDS]
DEVICE_ROOT_6 = root(LEAVES)
SEEN = [FLEET, 5, root(FLEET_LEAVES_5)]
HEAD_6 = device_head(6, DEVICE_ROOT_6, [2, DEVICE_ROOT_2], seen=SEEN)
DEVICE_HEAD_6 = signed_device_head(HEAD_6)

STATEMENTS.append(DEVICE_HEAD_6)
STATEMENTS.append(statement(OPERATOR, "revocation", OTHER_DEVICE.kid.hex(), revocation()))
_SUBJECTS = {
    FLEET.hex(): entry(FLEET.hex(), [0]),
    LOG.hex(): entry(LOG.hex(), [2, 3, 4, 5], head=[6, DEVICE_ROOT_6], **{"from": 2}, cmd=hashed(COMMAND)),
    OTHER_DEVICE.kid.hex(): entry(OTHER_DEVICE.kid.hex(), [6], until=6),
}
ENTRIES_8 = [item for _, item in sorted(_SUBJECTS.items())]
STATEMENTS.append(statement(GATEWAY, "snapshot", FLEET.hex(), snapshot(8, ENTRIES_8)))
FLEET_LEAVES = [leaf_hash(item) for item in STATEMENTS]
FLEET_ROOT_8 = root(FLEET_LEAVES)
FLEET_HEADER_8 = fleet_header(8, [5, root(FLEET_LEAVES_5)])
FLEET_HEAD_8 = sign1(GATEWAY, FLEET_HEADER_8, FLEET_ROOT_8)
