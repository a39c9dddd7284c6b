"""Formats 1.4, 1.5, 5.1, 7.2: device heads and fleet heads, and every defect of the COSE_Sign1 around them."""

from __future__ import annotations

from typing import Any

from tests.vectors import world
from tests.vectors.cases import Cases, Zeros, bad, good, shape, spoiled
from tests.vectors.encoding import ORDER, ZEROS, Pairs, Raw, cbor, envelope, protected, sign1, to_be_signed, token
from tests.vectors.world import DEVICE, FLEET, FLEET_ROOT_2, GATEWAY, HEAD_6, LOG, STRANGER, fleet_header

ANCHORED = [FLEET, 2, FLEET_ROOT_2, world.CHAIN, token("block")]
CLOCK: dict[str, Any] = HEAD_6["clock"]
TPM = CLOCK | {"tpm": [123_456, 7, 2, True]}

SHAPE: list[tuple[str, str, str, Any]] = [
    *shape(HEAD_6),
    ("range", "root", "of 31 bytes", ZEROS[:31]),
    ("range", "prev", "without its root", [2]),
    ("type", "prev", "null", None),
    ("type", "size", "text", "6"),
    ("range", "seen", "without its log", [2, FLEET_ROOT_2]),
    ("range", "anchored", "without its block", ANCHORED[:4]),
    ("missing_key", "clock", "empty", {}),
    ("type", "clock", "a tpm flag of 1", CLOCK | {"tpm": [1, 1, 1, 1]}),
    ("range", "clock", "a negative time", CLOCK | {"t": -1}),
    ("head_order", "size", "one", 1),
    ("head_order", "size", "zero", 0),
    ("head_order", "size", "that of the head before", 2),
    ("head_order", "prev", "larger than the head", [7, token("later")]),
    ("head_order", "prev", "size 0 with a root", [0, token("root")]),
    ("head_order", "prev", "a size without a root", [2, ZEROS]),
    ("head_order", "prev", "size 1, which no head has", [1, token("one")]),
]


def cases() -> Cases:
    """Every case of this part."""
    for name, description, payload in (
        ("first", "the first head of a log", world.device_head(2, world.DEVICE_ROOT_2, [0, ZEROS])),
        ("second", "a head that has seen a fleet head", HEAD_6),
        ("anchored", "told of an anchor", HEAD_6 | {"anchored": ANCHORED}),
        ("tpm", "with a TPM's clock", HEAD_6 | {"clock": TPM}),
        ("largest", "the largest size", HEAD_6 | {"size": 2**63 - 1}),
    ):
        given = signed(world.signed_device_head(payload))
        yield good(f"device-{name}", description, "device-head", given, payload=payload, kid=DEVICE.kid)
    for name, code, description, payload in spoiled(HEAD_6, *SHAPE):
        size = payload.get("size") if isinstance(payload.get("size"), int) else 6
        claims = protected(DEVICE.kid, "device-head", LOG.hex(), size=size, log=LOG)
        yield bad(f"device-{name}", code, description, "device-head", signed(sign1(DEVICE, claims, cbor(payload))))
    yield bad("device-too-large", "too_large", "above MAX_HEAD", "device-head", signed(Zeros(2_049)))
    yield from claims_of_device_heads()
    yield from envelopes()
    yield from signatures()
    yield from fleet_heads()
    yield from sequences()


def signed(data: Any, key: Any = DEVICE) -> dict[str, Any]:
    return {"bytes": data, "key": key.point}


def device(header: Any, key: Any = DEVICE) -> dict[str, Any]:
    return signed(sign1(key, header, cbor(HEAD_6)))


def claims_of_device_heads() -> Cases:
    base = protected(DEVICE.kid, "device-head", LOG.hex(), size=6, log=LOG)
    claims = base[15]
    changed: dict[str, tuple[str, dict[Any, Any]]] = {
        "size": ("another size", claims | {-70001: 7}),
        "log": ("another log", claims | {-70002: world.OTHER_LOG}),
        "sub": ("another subject", claims | {2: world.OTHER_LOG.hex()}),
        "iss": ("another issuer", claims | {1: STRANGER.kid.hex()}),
        "iss-upper": ("the issuer in upper case", claims | {1: DEVICE.kid.hex().upper()}),
        "without-size": ("no size", {k: v for k, v in claims.items() if k != -70001}),
        "without-log": ("no log id", {k: v for k, v in claims.items() if k != -70002}),
        "prev": ("a previous head, as in a fleet head", claims | {-70003: [2, world.DEVICE_ROOT_2]}),
    }
    for name, (description, value) in changed.items():
        yield bad(f"claims-{name}", "claims_mismatch", description, "device-head", device(base | {15: value}))
    yield bad(
        "claims-vds",
        "claims_mismatch",
        "the tree algorithm, as in a fleet head",
        "device-head",
        device(base | {395: 1}),
    )
    others: dict[str, tuple[str, str, dict[Any, Any]]] = {
        "unknown": ("extra_key", "an unknown claim", claims | {6: 1_764_155_000}),
        "iss-missing": ("missing_key", "no issuer", {k: v for k, v in claims.items() if k != 1}),
        "sub-missing": ("missing_key", "no subject", {k: v for k, v in claims.items() if k != 2}),
        "sub-empty": ("range", "an empty subject", claims | {2: ""}),
        "size-negative": ("range", "a negative size", claims | {-70001: -1}),
    }
    for name, (code, description, value) in others.items():
        yield bad(f"claims-{name}", code, description, "device-head", device(base | {15: value}))
    headers: dict[str, tuple[str, str, Any]] = {
        "crit": ("cose_header", "a crit header", base | {2: [395]}),
        "content-type": ("cose_header", "a content type", base | {3: "application/cbor"}),
        "text-label": ("cose_header", "a text label", base | {"x": 0}),
        "alg": ("cose_alg", "ES384", base | {1: -35}),
        "alg-esp256": ("cose_alg", "ESP256, the other name of ES256", base | {1: -9}),
        "alg-missing": ("missing_key", "no algorithm", {k: v for k, v in base.items() if k != 1}),
        "kid-missing": ("missing_key", "no kid", {k: v for k, v in base.items() if k != 4}),
        "kid-short": ("range", "a kid of 31 bytes", base | {4: DEVICE.kid[:31]}),
        "typ-missing": ("missing_key", "no typ", {k: v for k, v in base.items() if k != 16}),
        "typ-number": ("type", "a typ of number", base | {16: 42}),
        "typ-other": ("wrong_typ", "the typ of a fleet head", base | {16: "application/vnd.edgeseal.fleet-head+cose"}),
        "typ-bare": ("wrong_typ", "the name alone", base | {16: "device-head"}),
        "typ-prefix-twice": (
            "wrong_typ",
            "a longer typ that ends right",
            base | {16: "application/vnd.edgeseal.application/vnd.edgeseal.device-head+cose"},
        ),
        "vds-2": ("enum", "another tree algorithm", base | {395: 2}),
        "key-order": ("cbor_key_order", "labels in falling order", Pairs(tuple(reversed(list(base.items()))))),
        "array": ("cose_structure", "an array for a map", [1, -7]),
        "empty": ("missing_key", "no header at all", {}),
        "trailing": ("cbor_trailing", "a byte after the header", Raw(cbor(base) + b"\x00")),
    }
    for name, (code, description, value) in headers.items():
        yield bad(f"header-{name}", code, description, "device-head", device(value))


def envelopes() -> Cases:
    raw = cbor(protected(DEVICE.kid, "device-head", LOG.hex(), size=6, log=LOG))
    payload = cbor(HEAD_6)
    signature = DEVICE.sign(to_be_signed(raw, payload))
    good_bytes = envelope(raw, {}, payload, signature)
    defects: dict[str, tuple[str, str, Any]] = {
        "untagged": ("cose_structure", "no tag", good_bytes[1:]),
        "tag-98": ("cose_structure", "the tag of COSE_Sign", b"\xd8\x62" + good_bytes[1:]),
        "tag-twice": ("cbor_tag", "the tag twice", b"\xd2" + good_bytes),
        "cwt-tag": ("cose_structure", "the tag of CWT around it", b"\xd8\x3d" + good_bytes),
        "trailing": ("cbor_trailing", "a byte after it", good_bytes + b"\x00"),
        "truncated": ("cbor_truncated", "its last byte missing", good_bytes[:-1]),
        "three": ("cose_structure", "three parts", envelope(raw, {}, payload)),
        "five": ("cose_structure", "five parts", envelope(raw, {}, payload, signature, b"")),
        "map": ("cose_structure", "a map for an array", b"\xd2" + cbor({1: 2})),
        "protected-map": ("cose_structure", "the header not wrapped", envelope({1: -7}, {}, payload, signature)),
        "unprotected-array": (
            "cose_structure",
            "an array as unprotected header",
            envelope(raw, [], payload, signature),
        ),
        "unprotected": (
            "cose_unprotected",
            "a kid in the unprotected header",
            envelope(raw, {4: b"k"}, payload, signature),
        ),
        "receipt-inside": ("cose_unprotected", "a receipt attached", envelope(raw, {394: [b"r"]}, payload, signature)),
        "payload-nil": ("receipt_payload", "payload nil", envelope(raw, {}, None, signature)),
        "payload-text": ("cose_structure", "payload as text", envelope(raw, {}, "payload", signature)),
        "signature-text": ("cose_structure", "signature as text", envelope(raw, {}, payload, "s" * 64)),
        "signature-63": ("signature_size", "63 bytes", envelope(raw, {}, payload, signature[:63])),
        "signature-empty": ("signature_size", "no byte", envelope(raw, {}, payload, b"")),
    }
    for name, (code, description, data) in defects.items():
        yield bad(f"envelope-{name}", code, description, "device-head", signed(data))


def signatures() -> Cases:
    raw = cbor(protected(DEVICE.kid, "device-head", LOG.hex(), size=6, log=LOG))
    payload = cbor(HEAD_6)
    message = to_be_signed(raw, payload)
    signature = DEVICE.sign(message)
    r, s = signature[:32], signature[32:]
    order = ORDER.to_bytes(32, "big")
    defects: dict[str, tuple[str, str, bytes]] = {
        "high-s": ("high_s", "n - s for s", DEVICE.sign(message, high=True)),
        "half-plus-one": ("high_s", "s is half the order, rounded up", r + (ORDER // 2 + 1).to_bytes(32, "big")),
        "r-zero": ("signature_range", "r is 0", ZEROS + s),
        "s-zero": ("signature_range", "s is 0", r + ZEROS),
        "r-order": ("signature_range", "r is the group's order", order + s),
        "s-order": ("signature_range", "s is the group's order", r + order),
        "bit": ("bad_signature", "its last bit changed", signature[:-1] + bytes([signature[-1] ^ 1])),
        "half": ("bad_signature", "s is half the order, rounded down", r + (ORDER // 2).to_bytes(32, "big")),
        "of-payload": ("bad_signature", "over the payload alone", DEVICE.sign(payload)),
        "of-other-context": ("bad_signature", "over a COSE_Sign", DEVICE.sign(cbor(["Signature", raw, b"", payload]))),
        "external-aad": ("bad_signature", "with external data", DEVICE.sign(cbor(["Signature1", raw, b"x", payload]))),
        "by-stranger": ("bad_signature", "by another key", STRANGER.sign(message)),
    }
    for name, (code, description, value) in defects.items():
        data = envelope(raw, {}, payload, value)
        yield bad(f"signature-{name}", code, description, "device-head", signed(data))
    yield bad(
        "signature-wrong-key",
        "wrong_key",
        "asked for another key",
        "device-head",
        signed(world.DEVICE_HEAD_6, STRANGER),
    )


def fleet_heads() -> Cases:
    for name, data, size, root in (
        ("first", world.FLEET_HEAD_2, 2, FLEET_ROOT_2),
        ("last", world.FLEET_HEAD_8, 8, world.FLEET_ROOT_8),
    ):
        yield good(
            f"fleet-{name}", f"a fleet head of size {size}", "fleet-head", signed(data, GATEWAY), size=size, root=root
        )
    prev = [2, FLEET_ROOT_2]
    header = fleet_header(8, prev)
    wanted = bytes.fromhex("a50126045820") + GATEWAY.kid + bytes.fromhex("0fa5017840") + GATEWAY.kid.hex().encode()
    wanted += (
        bytes.fromhex("027840") + FLEET.hex().encode() + bytes.fromhex("3a0001117008") + bytes.fromhex("3a000111715820")
    )
    wanted += FLEET + bytes.fromhex("3a000111728202") + bytes.fromhex("5820") + FLEET_ROOT_2 + bytes.fromhex("107828")
    wanted += b"application/vnd.edgeseal.fleet-head+cose" + bytes.fromhex("19018b01")
    claims = {"size": 8, "log": FLEET, "prev": prev, "kid": GATEWAY.kid}
    yield good("fleet-header", "the very bytes that format 7.2 spells out", "fleet-header", claims, header=wanted)

    def head(change: dict[Any, Any], root: Any = world.FLEET_ROOT_8, without: int | None = None) -> dict[str, Any]:
        made = {k: v for k, v in (header | {15: header[15] | change}).items() if k != without}
        return signed(sign1(GATEWAY, made, root), GATEWAY)

    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "root-31": ("range", "a root of 31 bytes", head({}, ZEROS[:31])),
        "root-cbor": ("range", "the root as CBOR", head({}, cbor(world.FLEET_ROOT_8))),
        "size-1": ("head_order", "size 1", head({-70001: 1, -70003: [0, ZEROS]})),
        "size-prev": ("head_order", "the size of the head before", head({-70001: 2})),
        "prev-zero-root": ("head_order", "a previous size without a root", head({-70003: [2, ZEROS]})),
        "prev-root-of-0": ("head_order", "a root of size 0", head({-70003: [0, FLEET_ROOT_2]})),
        "sub": ("claims_mismatch", "the subject is another log", head({2: LOG.hex()})),
        "vds-missing": ("claims_mismatch", "no tree algorithm", head({}, without=395)),
        "prev-short": ("range", "a previous head without its root", head({-70003: [2]})),
    }
    for name, (code, description, given) in defects.items():
        yield bad(f"fleet-{name}", code, description, "fleet-head", given)
    without = {k: v for k, v in header[15].items() if k != -70003}
    given = signed(sign1(GATEWAY, header | {15: without}, world.FLEET_ROOT_8), GATEWAY)
    yield bad("fleet-prev-missing", "claims_mismatch", "no previous head", "fleet-head", given)
    size_changed = world.FLEET_HEAD_8.replace(bytes.fromhex("3a0001117008"), bytes.fromhex("3a0001117009"))
    yield bad(
        "fleet-size-changed", "bad_signature", "another size after signing", "fleet-head", signed(size_changed, GATEWAY)
    )
    yield bad(
        "fleet-as-device", "wrong_typ", "a device head for a fleet head", "fleet-head", signed(world.DEVICE_HEAD_6)
    )


def sequences() -> Cases:
    def pair(earlier: Any, later: Any) -> dict[str, Any]:
        return {"earlier": earlier, "later": later}

    two, five = [FLEET, 2, FLEET_ROOT_2], world.SEEN
    other = [token("successor fleet log"), 2, token("its root")]
    yield good("seen-rises", "seen rises", "seen", pair(two, five))
    yield good("seen-stays", "seen stays", "seen", pair(five, five))
    yield good("seen-first", "the first seen", "seen", pair(None, two))
    yield good("seen-successor", "a smaller size in a successor log", "seen", pair(five, other))
    yield bad("seen-falls", "seen_fell", "seen falls", "seen", pair(five, two))
    yield bad("seen-forgotten", "seen_fell", "seen forgotten", "seen", pair(five, None))
