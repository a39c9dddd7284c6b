"""Format 4: a record of every kind, and each way a header or a body can be wrong."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import Raw, cbor, leaf_hash, token
from tests.vectors.world import COMMAND_ID, LOG, body, body_hash, commitment, header, record_salt

DIGEST, ID = token("digest"), COMMAND_ID
DATA = commitment("data", b"what a program logged", record_salt(9, "data"))
PUB: dict[str, Any] = {"a": 1, "b": -7, "c": True, "d": "text", "e": b"\x00\xff"}

BODIES: dict[str, tuple[str, dict[str, Any]]] = {
    "genesis": ("genesis", world.GENESIS),
    "genesis-successor": ("genesis", world.GENESIS | {"epoch": 2, "prev": [world.OTHER_LOG, 12, token("old root")]}),
    "key-bound": ("key.bound", world.KEY_BOUND),
    "boot": ("boot", world.BOOT),
    "boot-unclean": ("boot", world.BOOT | {"reason": "start", "clean": False}),
    "shutdown": ("shutdown", {"reason": "SIGTERM"}),
    "inference": ("inference", world.INFERENCE),
    "decision-intent": ("decision.intent", {"agent": "planner", "id": ID, "action": "open", "data": DATA, "pub": PUB}),
    "decision-verdict": (
        "decision.verdict",
        {"agent": "planner", "id": ID, "allow": False, "rule": "deny all", "data": None, "pub": {}},
    ),
    "decision-outcome": ("decision.outcome", {"agent": "planner", "id": ID, "ok": True, "data": None, "pub": {}}),
    "command-received": ("command.received", world.RECEIVED),
    "command-refused": (
        "command.refused",
        {"id": ID, "cmd": DIGEST, "pos": 4, "reason": "out_of_scope", "detail": "", "count": 1},
    ),
    "command-refused-flood": (
        "command.refused",
        {"id": None, "cmd": DIGEST, "pos": None, "reason": "bad_signature", "detail": "flood", "count": 900},
    ),
    "command-result": ("command.result", world.RESULT),
    "command-result-failed": (
        "command.result",
        world.RESULT | {"ok": False, "reason": "unknown_action", "result": None},
    ),
    "model-activated": (
        "model.activated",
        {
            "model": DIGEST,
            "file": token("tflite"),
            "name": "digits",
            "version": "1.0.0",
            "cmd": token("command"),
            "prev": None,
            "golden": 4,
        },
    ),
    "model-rejected": (
        "model.rejected",
        {"model": DIGEST, "cmd": None, "reason": "model_golden", "detail": "vector 2"},
    ),
    "policy-changed": ("policy.changed", {"version": 1, "keyset": world.STATEMENTS[0]}),
    "key-rotated": ("key.rotated", {"next": world.OTHER_LOG, "key": world.OTHER_DEVICE.point}),
    "state": ("state", {"name": "door", "pub": PUB}),
    "heartbeat": ("heartbeat", {"up": 3_600, "records": 512, "free": 2**33, "unsent": 0}),
    "tamper": ("tamper", {"what": "lid", "detail": "opened"}),
    "fault": ("fault", {"what": "camera", "detail": "no frame for 5 s"}),
    "gap": ("gap", {"what": "inference", "count": 12, "detail": "disk full"}),
    "thinned": ("thinned", {"ranges": [[10, 20], [20, 21], [40, 90]], "form": 1, "reason": "quota"}),
    "tombstone": ("tombstone", {"ranges": [[3, 4]], "form": 2, "reason": "erasure_request"}),
    "attest": ("attest", {"type": "tpm-quote", "evidence": bytes(64)}),
    "incident": ("incident", {"id": ID, "state": "open", "from": 100, "to": None, "why": "collision"}),
    "incident-closed": ("incident", {"id": ID, "state": "closed", "from": 100, "to": 160, "why": "collision"}),
    "closed": ("closed", {"reason": "retired", "next": None}),
    "pub-largest": ("state", {"name": "n" * 64, "pub": {f"{n:064}": b"v" * 256 for n in range(32)}}),
    "text-longest": ("shutdown", {"reason": "é" * 256}),
}

# kind of the good body it spoils -> (code in words, key, description, value)
BODY_DEFECTS: dict[str, list[tuple[str, str, Any]]] = {
    "genesis": [
        ("device", "upper-case name", "Camera"),
        ("device", "name of 65 characters", "c" * 65),
        ("device", "name that starts with a dash", "-camera"),
        ("epoch", "zero", 0),
        ("prev", "without its root", [LOG, 3]),
        ("fleet", "empty", b""),
        ("root", "of 31 bytes", token("root", 31)),
    ],
    "key-bound": [("key", "one coordinate", [DIGEST]), ("keyset", "version zero", [0, DIGEST])],
    "boot": [("reason", "another word", "restart"), ("clean", "a number", 1), ("build", "513 bytes", "b" * 513)],
    "inference": [
        ("model", "as hex text", DIGEST.hex()),
        ("rt", "five columns", world.INFERENCE["rt"][:5]),
        ("rt", "text of 65 bytes", ["f" * 65, *world.INFERENCE["rt"][1:]]),
        ("input", "mode 2", [2, DIGEST]),
        ("input", "mode false", [False, DIGEST]),
        ("output", "null", None),
        ("us", "negative", -1),
        ("pub", "33 entries", {f"k{n}": n for n in range(33)}),
        ("pub", "a nested map", {"a": {}}),
        ("pub", "null", {"a": None}),
        ("pub", "a value of 257 bytes", {"a": "v" * 257}),
        ("pub", "a key of 65 bytes", {"k" * 65: 0}),
        ("pub", "2^63", {"a": 2**63}),
    ],
    "decision-intent": [("id", "of 15 bytes", ID[:15]), ("agent", "empty", "")],
    "command-refused": [("count", "zero", 0), ("reason", "with a space", "out of scope"), ("pos", "negative", -1)],
    "command-received": [("cmd", "above MAX_COMMAND", Zeros(4_097)), ("receipt", "empty", b"")],
    "model-activated": [("version", "empty", ""), ("prev", "of 33 bytes", bytes(33))],
    "thinned": [
        ("ranges", "none", []),
        ("ranges", "an empty range", [[3, 3]]),
        ("ranges", "falling", [[10, 20], [5, 6]]),
        ("ranges", "overlapping", [[10, 20], [19, 30]]),
        ("ranges", "257 of them", [[2 * n, 2 * n + 1] for n in range(257)]),
        ("form", "whole", 0),
    ],
    "incident": [("state", "another word", "ongoing")],
}

HEADER_DEFECTS: list[tuple[str, str, str, Any]] = [
    ("range", "log", "of 31 bytes", LOG[:31]),
    ("type", "log", "as hex text", LOG.hex()),
    ("range", "seq", "negative", -1),
    ("type", "seq", "a bool", False),
    ("type", "t", "text", "2026-11-26"),
    ("range", "mono", "negative", -5),
    ("enum", "clk", "an unknown source", ["sundial", 3]),
    ("type", "clk", "an uncertainty of text", ["ntp", "12"]),
    ("range", "clk", "one column", ["ntp"]),
    ("type", "clk", "text", "ntp"),
    ("kind_invalid", "kind", "empty", ""),
    ("kind_invalid", "kind", "upper case", "Inference"),
    ("kind_invalid", "kind", "a digit", "inference2"),
    ("kind_invalid", "kind", "33 characters", "k" * 33),
    ("type", "kind", "bytes", b"boot"),
    ("range", "body", "of 33 bytes", bytes(33)),
]


def cases() -> Cases:
    """Every case of this part."""
    for name, (kind, fields) in BODIES.items():
        encoded = cbor(body(kind, **fields))
        head = cbor(header(9, kind, encoded))
        yield good(name, kind, "record", pair(head, encoded), body=body(kind, **fields), leaf=leaf_hash(head))
    yield from headers()
    yield from bodies()


def pair(head: bytes, encoded: Any) -> dict[str, Any]:
    return {"header": head, "body": encoded}


def headers() -> Cases:
    base = header(9, "shutdown", b"")
    for name, change in (
        ("unknown-kind", {"kind": "hologram.shown"}),
        (
            "largest-numbers",
            {"seq": 2**64 - 1, "boot": 2**64 - 1, "t": 2**64 - 1, "mono": 2**64 - 1, "clk": ["gnss", 2**64 - 1]},
        ),
        ("no-clock", {"t": 0, "clk": ["none", None]}),
        ("kind-32", {"kind": "k" * 32}),
    ):
        data = cbor(base | change)
        yield good(
            f"header-{name}", name.replace("-", " "), "record-header", data, header=base | change, leaf=leaf_hash(data)
        )
    for name, code, description, fields in spoiled(base, *shape(base), *HEADER_DEFECTS):
        yield bad(f"header-{name}", code, description, "record-header", cbor(fields))
    raw: dict[str, tuple[str, str, bytes]] = {
        "array": ("type", "an array for a map", cbor([1, 2])),
        "float": ("cbor_float", "a float for t", cbor(base | {"t": Raw(b"\xfb\x42\x79\xab\xef\x80\x00\x00\x00")})),
        "key-order": ("cbor_key_order", "the first two keys exchanged", swapped(cbor(base))),
        "trailing": ("cbor_trailing", "a byte after the header", cbor(base) + b"\x00"),
        "deep": ("cbor_too_deep", "three levels", cbor(base | {"clk": ["ntp", [[]]]})),
    }
    for name, (code, description, data) in raw.items():
        yield bad(f"header-{name}", code, description, "record-header", data)
    yield bad("header-too-large", "cbor_too_large", "above MAX_HEADER", "record-header", Zeros(513))


def swapped(encoded: bytes) -> bytes:
    """The header map with its first two keys, t and v, in the wrong order."""
    end = encoded.index(b"av") + 3
    start = encoded.index(b"at")
    first, second = encoded[start : end - 3], encoded[end - 3 : end]
    return encoded[:start] + second + first + encoded[end:]


def bodies() -> Cases:
    encoded = cbor(body("boot", **world.BOOT))
    head = cbor(header(9, "boot", encoded))
    other = cbor(body("boot", **world.BOOT) | {"s": token("another salt")})
    yield bad("body-of-another", "body_mismatch", "a body with another salt", "record", pair(head, other))
    yield bad("body-byte", "body_mismatch", "its last byte changed", "record", pair(head, encoded[:-1] + b"\x00"))
    yield bad("body-too-large", "too_large", "above MAX_BODY", "record", pair(head, Zeros(65_537)))
    unknown = cbor({"s": token("salt"), "anything": [1, {"at": "all"}]})
    head = cbor(header(9, "hologram.shown", unknown))
    value = {"s": token("salt"), "anything": [1, {"at": "all"}]}
    yield good(
        "body-unknown-kind",
        "any body under an unknown kind",
        "record",
        pair(head, unknown),
        body=value,
        leaf=leaf_hash(head),
    )
    for name, (kind, fields) in BODIES.items():
        changes: list[tuple[str, str, str, Any]] = [
            ("body_malformed", min(fields), "missing", ...),
            ("body_malformed", "zz", "unknown key", 0),
            ("body_malformed", "s", "missing", ...),
        ]
        changes += [("body_malformed", *change) for change in BODY_DEFECTS.get(name, [])]
        if name in BODY_DEFECTS:
            for label, code, description, changed in spoiled(body(kind, **fields), *changes):
                yield malformed(f"{name}-{label}", code, description, kind, changed)
    yield malformed("body-array", "body_malformed", "an array for a body", "boot", [token("salt")])
    yield malformed(
        "body-unknown-kind-no-salt", "body_malformed", "no salt under an unknown kind", "hologram", {"a": 1}
    )
    float_body = body("boot", **world.BOOT) | {"config": Raw(b"\xf9\x3c\x00")}
    yield malformed("body-float", "body_malformed", "a float", "boot", float_body)


def malformed(name: str, code: str, description: str, kind: str, fields: Any) -> tuple[str, Any]:
    """A body that its header commits to and that is not of its kind."""
    if isinstance(fields, dict):
        fields = {key: bytes(value.count) if isinstance(value, Zeros) else value for key, value in fields.items()}
    encoded = cbor(fields)
    head = cbor(header(9, kind, encoded) | {"body": body_hash(encoded)})
    return bad(name, code, f"{kind}: {description}", "record", pair(head, encoded))
