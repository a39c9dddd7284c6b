"""Format 2: keys, their thumbprints, the log ids that follow from them."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import Cases, Zeros, bad, good
from tests.vectors.encoding import ORDER, Raw, cbor, hashed
from tests.vectors.world import CHAIN, CONTRACT, DEVICE, FLEET, GATEWAY, LOG, NONCE, ROOT

FIELD = 2**256 - 2**224 + 2**192 + 2**96 - 1

# RFC 9679, section 6: the example key and its SHA-256 thumbprint.
RFC9679_X = bytes.fromhex("65eda5a12577c2bae829437fe338701a10aaa375e1bb5b5de108de439c08551d")
RFC9679_Y = bytes.fromhex("1e52ed75701163f7f9e40ddf9f341b3dc9ba860af7e0ca7ca7e9eecd0084d19c")
RFC9679_KID = bytes.fromhex("496bd8afadf307e5b08c64b0421bf9dc01528a344a43bda88fadd1669da253ec")


def cose_key(x: Any, y: Any) -> dict[int, Any]:
    return {1: 2, -1: 1, -2: x, -3: y}


def cases() -> Cases:
    """Every case of this part."""
    for name, key in (("root", ROOT), ("gateway", GATEWAY), ("device", DEVICE)):
        yield good(name, f"the {name} key", "key", cbor(cose_key(key.x, key.y)), kid=key.kid)
    yield good("rfc9679", "the example of RFC 9679", "key", cbor(cose_key(RFC9679_X, RFC9679_Y)), kid=RFC9679_KID)
    yield good("device-log", "the device log id of a key", "device-log-id", {"kid": DEVICE.kid}, log=LOG)
    fleet = {"root": ROOT.kid, "chain": CHAIN, "contract": CONTRACT, "nonce": NONCE}
    yield good("fleet-log", "a fleet log id", "fleet-log-id", fleet, log=FLEET)
    wide = fleet | {"chain": 2**64 - 1}
    log = hashed(b"edgeseal/v1/fleet-log\x00", ROOT.kid, (2**64 - 1).to_bytes(32, "big"), CONTRACT, NONCE)
    yield good("fleet-log-large-chain", "the largest chain id", "fleet-log-id", wide, log=log)

    x, y = DEVICE.point
    points = {
        "off-curve": ((x, (int.from_bytes(y, "big") ^ 1).to_bytes(32, "big")), "the last bit of y changed"),
        "zero": ((bytes(32), bytes(32)), "no point at all"),
        "x-as-y": ((y, x), "x and y exchanged"),
        "x-above-field": (
            ((int.from_bytes(x, "big") + FIELD).to_bytes(33, "big")[-32:], y),
            "x plus the field's prime",
        ),
        "field-prime": ((FIELD.to_bytes(32, "big"), y), "x is the field's prime"),
        "order": ((ORDER.to_bytes(32, "big"), y), "x is the group's order"),
    }
    for name, (point, description) in points.items():
        yield bad(f"point-{name}", "key_invalid", description, "key", cbor(cose_key(*point)))
    maps: dict[str, tuple[str, str, Any]] = {
        "without-y": ("missing_key", "no y", {1: 2, -1: 1, -2: x}),
        "with-alg": ("extra_key", "an algorithm beside it", cose_key(x, y) | {3: -7}),
        "private": ("extra_key", "a private key in the file", cose_key(x, y) | {-4: bytes(32)}),
        "kty": ("enum", "key type 1", cose_key(x, y) | {1: 1}),
        "crv": ("enum", "curve P-384", cose_key(x, y) | {-1: 2}),
        "x-short": ("range", "x of 31 bytes", cose_key(x[1:], y)),
        "x-long": ("range", "x of 33 bytes", cose_key(b"\x00" + x, y)),
        "y-compressed": ("type", "y as a sign bit", cose_key(x, True)),
        "x-text": ("type", "x as hex text", cose_key(x.hex(), y)),
        "array": ("type", "an array for a map", [x, y]),
        "tagged": ("cbor_tag", "a tag around it", Raw(b"\xd2" + cbor(cose_key(x, y)))),
        "trailing": ("cbor_trailing", "a byte after it", Raw(cbor(cose_key(x, y)) + b"\x00")),
    }
    for name, (code, description, value) in maps.items():
        yield bad(name, code, description, "key", cbor(value))
    yield bad("too-large", "cbor_too_large", "more than any key needs", "key", Zeros(257))
