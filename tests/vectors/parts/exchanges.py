"""Formats 11 and 12: messages over MQTT, their topics, and the provisioning pack."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import ZEROS, cbor, consistency, hashed, sign1, token
from tests.vectors.world import (
    CHAIN,
    CONTRACT,
    DEVICE,
    FLEET,
    FLEET_LEAVES_5,
    FLEET_ROOT_2,
    LOG,
    NONCE,
    OTHER_LOG,
    ROOT,
)

DIGEST = token("digest")
PATH = consistency(2, FLEET_LEAVES_5)
ANCHOR: dict[str, Any] = {
    "size": 5, "root": DIGEST, "chain": CHAIN, "block": token("block"), "number": 12, "tx": token("tx"),
}  # fmt: skip
BASE: dict[str, Any] = {"v": 1, "log": LOG}

MESSAGES: dict[str, tuple[str, dict[str, Any]]] = {
    "hello": (
        "up/hello",
        {"key": DEVICE.point, "size": 6, "root": world.DEVICE_ROOT_6, "seen": world.SEEN, "keyset": 1, "pos": 4},
    ),
    "hello-first": (
        "up/hello",
        {"key": DEVICE.point, "size": 2, "root": world.DEVICE_ROOT_2, "seen": None, "keyset": 1, "pos": None},
    ),
    "fetch": ("up/fetch", {"package": DIGEST, "offset": 262_144}),
    "receipt-pending": (
        "down/receipt",
        {"head": world.DEVICE_HEAD_2, "receipt": world.COMMAND_RECEIPT, "from": 0, "path": [], "anchor": None},
    ),
    "receipt-anchored": (
        "down/receipt",
        {"head": world.DEVICE_HEAD_2, "receipt": world.COMMAND_RECEIPT, "from": 2, "path": PATH, "anchor": ANCHOR},
    ),
    "receipt-final": (
        "down/receipt",
        {
            "head": world.DEVICE_HEAD_2, "receipt": world.COMMAND_RECEIPT, "from": 2, "path": PATH, "anchor": ANCHOR,
            "final": True,
        },
    ),
    "refusal": ("down/refusal", {"code": "unknown_key", "detail": "not enrolled", "size": 0}),
    "resend": ("down/resend", {"from": 2}),
    "command": (
        "down/command",
        {
            "cmd": world.COMMAND, "salt": world.ARGS_SALT, "args": world.ARGS, "receipt": world.COMMAND_RECEIPT,
            "from": 2, "path": PATH,
        },
    ),
    "keyset": ("down/keyset", {"keyset": world.STATEMENTS[0]}),
    "chunk": ("down/chunk", {"package": DIGEST, "total": 600_000, "offset": 524_288, "data": bytes(100)}),
    "chunk-empty": ("down/chunk", {"package": DIGEST, "total": 0, "offset": 0, "data": b""}),
}  # fmt: skip

DEFECTS: dict[str, list[tuple[str, str, str, Any]]] = {
    "hello": [
        ("key_invalid", "key", "off the curve", [DEVICE.x, DEVICE.x]),
        ("range", "seen", "without its root", world.SEEN[:2]),
        ("type", "pos", "text", "4"),
    ],
    "fetch": [("range", "package", "of 31 bytes", DIGEST[:31]), ("range", "offset", "negative", -1)],
    "receipt-anchored": [
        ("range", "head", "above MAX_HEAD", bytes(2_049)),
        ("range", "receipt", "above MAX_RECEIPT", bytes(4_097)),
        ("range", "path", "65 hashes", [ZEROS] * 65),
        ("missing_key", "anchor", "empty", {}),
    ],
    "receipt-final": [
        ("enum", "final", "false", False),
        ("enum", "final", "the number 1", 1),
        ("enum", "final", "null", None),
        ("extra_key", "anchor", "null", None),
    ],
    "refusal": [("name_invalid", "code", "a sentence", "Not enrolled"), ("range", "detail", "513 bytes", "d" * 513)],
    "resend": [("type", "from", "null", None)],
    "command": [
        ("range", "cmd", "above MAX_COMMAND", bytes(4_097)),
        ("range", "args", "above MAX_ARGS", bytes(4_097)),
        ("range", "salt", "of 16 bytes", DIGEST[:16]),
    ],
    "keyset": [("range", "keyset", "above MAX_STATEMENT", bytes(32_769))],
    "chunk": [("range", "data", "above MAX_CHUNK", bytes(262_145)), ("type", "total", "null", None)],
}


def given(kind: str, payload: Any, log: bytes = LOG) -> dict[str, Any]:
    return {"topic": f"edgeseal/v1/{log.hex()}/{kind}", "payload": payload}


def cases() -> Cases:
    """Every case of this part."""
    for name, (kind, fields) in MESSAGES.items():
        yield good(name, kind, "message", given(kind, cbor(BASE | fields)))
    for name, changes in DEFECTS.items():
        kind, fields = MESSAGES[name]
        for label, code, description, changed in spoiled(BASE | fields, *shape(BASE | fields), *changes):
            yield bad(f"{name}-{label}", code, f"{kind}, {description}", "message", given(kind, cbor(changed)))
    kind, fields = MESSAGES["resend"]
    payload = cbor(BASE | fields)
    yield bad("other-log", "topic_mismatch", "on another device's topic", "message", given(kind, payload, OTHER_LOG))
    yield bad("other-kind", "missing_key", "under the topic of another kind", "message", given("down/receipt", payload))
    yield bad("too-large", "too_large", "above MAX_MESSAGE", "message", given(kind, Zeros(1_114_113)))
    yield bad("trailing", "cbor_trailing", "a byte after it", "message", given(kind, payload + b"\x00"))
    yield bad("empty", "cbor_truncated", "an empty payload", "message", given(kind, b""))
    yield from topics(payload)
    yield from packs()


def topics(payload: bytes) -> Cases:
    log = LOG.hex()
    for number, topic in enumerate(
        (
            "",
            "edgeseal/v1",
            f"edgeseal/v2/{log}/down/resend",
            f"edgeseal/v1/{log}/down/hello",
            f"edgeseal/v1/{log}/up/resend",
            f"edgeseal/v1/{log}/down/resend/",
            f"edgeseal/v1/{log}/down/resend\n",
            f"/edgeseal/v1/{log}/down/resend",
            f"edgeseal/v1/{log.upper()}/down/resend",
            f"edgeseal/v1/{log[:63]}/down/resend",
            f"edgeseal/v1/{log}/sideways/resend",
            "edgeseal/v1/+/down/resend",
            f"edgeseal/v1/{log}/down/wish",
        )
    ):
        yield bad(
            f"topic-{number}", "topic_invalid", f"topic {topic!r}", "message", {"topic": topic, "payload": payload}
        )


def packs() -> Cases:
    base: dict[str, Any] = {
        "v": 1, "root": ROOT.point, "chain": CHAIN, "contract": CONTRACT, "nonce": NONCE, "log": FLEET,
        "keyset": world.STATEMENTS[0], "head": world.FLEET_HEAD_2,
    }  # fmt: skip
    yield good("pack", "what a device starts from", "pack", cbor(base), log=FLEET, size=2, root=FLEET_ROOT_2)
    later = cbor(base | {"head": world.FLEET_HEAD_8})
    yield good("pack-later", "with a later head", "pack", later, log=FLEET, size=8, root=world.FLEET_ROOT_8)
    other_log = token("another fleet log")
    other_keyset = world.statement(ROOT, "keyset", other_log.hex(), world.keyset(log=other_log))
    by_operator = world.statement(world.OPERATOR, "keyset", FLEET.hex(), world.keyset())
    other_head = sign1(world.GATEWAY, world.fleet_header(2, [0, ZEROS], other_log), FLEET_ROOT_2)
    by_stranger = sign1(world.STRANGER, world.fleet_header(2, [0, ZEROS], key=world.STRANGER), FLEET_ROOT_2)
    changes: list[tuple[str, str, str, Any]] = [
        *shape(base),
        ("log_id", "nonce", "another", DIGEST),
        ("log_id", "chain", "another", CHAIN + 1),
        ("log_id", "contract", "another", hashed(CONTRACT)[:20]),
        ("log_id", "log", "another", other_log),
        ("log_id", "root", "another", world.STRANGER.point),
        ("key_invalid", "root", "off the curve", [ROOT.x, ROOT.x]),
        ("range", "contract", "of 32 bytes", DIGEST),
        ("wrong_typ", "keyset", "a snapshot", world.STATEMENTS[1]),
        ("wrong_log", "keyset", "of another fleet log", other_keyset),
        ("wrong_key", "keyset", "signed by an operator", by_operator),
        ("wrong_typ", "head", "a device head", world.DEVICE_HEAD_2),
        ("wrong_log", "head", "of another fleet log", other_head),
        ("role_missing", "head", "by a key the keyset does not name", by_stranger),
    ]
    for name, code, description, fields in spoiled(base, *changes):
        yield bad(f"pack-{name}", code, description, "pack", cbor(fields))
    yield bad("pack-too-large", "cbor_too_large", "above MAX_PACK", "pack", Zeros(65_537))
