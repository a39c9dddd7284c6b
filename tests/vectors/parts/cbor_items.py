"""Format 1.2: one encoding for every value, and each way to miss it."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import Cases, Zeros, bad, good
from tests.vectors.encoding import cbor

LIMIT = 4_096

INTEGERS = (0, 1, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1, -1, -24, -25, -256, -257, -(2**64))


def nested(depth: int) -> Any:
    value: Any = 0
    for _ in range(depth):
        value = [value]
    return value


VALUES: dict[str, tuple[str, Any]] = {
    "bytes-empty": ("no byte", b""),
    "bytes-23": ("the longest short head", bytes(23)),
    "bytes-24": ("a head of two bytes", bytes(24)),
    "bytes-256": ("a head of three bytes", bytes(256)),
    "text-empty": ("no character", ""),
    "text-utf8": ("characters of two, three and four bytes", "é€\U0001f511"),
    "constants": ("false, true, null", [False, True, None]),
    "array-nested": ("arrays in arrays", [1, [2, [3, []]]]),
    "array-24": ("a head of two bytes", [0] * 24),
    "map-empty": ("no key", {}),
    "map-order": ("keys sort by their encodings: shorter first", {"b": 1, "aa": 2, "a": 3, "": 4}),
    "map-integer-keys": ("positive before negative, small before large", {-1: 1, 24: 2, 10: 3, -25: 4, 100: 5}),
    "map-mixed-keys": ("integers before text", {"a": 1, 1: 2, -70001: 3}),
    "map-24": ("a head of two bytes", {f"k{n:02}": n for n in range(24)}),
    "depth-16": ("as deep as may be", nested(16)),
}

DEFECTS: dict[str, tuple[str, str, str]] = {
    "empty": ("", "cbor_truncated", "nothing"),
    "truncated-head": ("18", "cbor_truncated", "a head without its argument"),
    "truncated-bytes": ("4301ff", "cbor_truncated", "two bytes of three"),
    "truncated-array": ("8301", "cbor_truncated", "one item of three"),
    "truncated-map": ("a16161", "cbor_truncated", "a key without a value"),
    "huge-length": ("5bffffffffffffffff", "cbor_truncated", "a length of 2^64 - 1"),
    "trailing": ("0000", "cbor_trailing", "a second item"),
    "trailing-array": ("80f6", "cbor_trailing", "an item after an array"),
    "int-not-minimal-1": ("1817", "cbor_not_minimal", "23 in two bytes"),
    "int-not-minimal-2": ("1900ff", "cbor_not_minimal", "255 in three bytes"),
    "int-not-minimal-4": ("1a0000ffff", "cbor_not_minimal", "65535 in five bytes"),
    "int-not-minimal-8": ("1b00000000ffffffff", "cbor_not_minimal", "2^32 - 1 in nine bytes"),
    "negative-not-minimal": ("3800", "cbor_not_minimal", "-1 in two bytes"),
    "length-not-minimal": ("580100", "cbor_not_minimal", "a byte string's length in two bytes"),
    "text-length-not-minimal": ("780161", "cbor_not_minimal", "a text's length in two bytes"),
    "array-not-minimal": ("980100", "cbor_not_minimal", "an array's length in two bytes"),
    "map-not-minimal": ("b801616100", "cbor_not_minimal", "a map's length in two bytes"),
    "indefinite-bytes": ("5f4100ff", "cbor_indefinite", "a byte string of chunks"),
    "indefinite-text": ("7f6161ff", "cbor_indefinite", "a text of chunks"),
    "indefinite-array": ("9f00ff", "cbor_indefinite", "an array without a length"),
    "indefinite-map": ("bf616100ff", "cbor_indefinite", "a map without a length"),
    "break": ("ff", "cbor_indefinite", "a break alone"),
    "reserved-28": ("1c", "cbor_reserved", "additional information 28"),
    "reserved-30": ("5e", "cbor_reserved", "additional information 30"),
    "integer-indefinite": ("1f", "cbor_reserved", "an integer of indefinite length"),
    "float-16": ("f93c00", "cbor_float", "1.0 in half precision"),
    "float-32": ("fa3fc00000", "cbor_float", "1.5 in single precision"),
    "float-64": ("fb3ff199999999999a", "cbor_float", "1.1 in double precision"),
    "float-nan": ("f97e00", "cbor_float", "not a number"),
    "float-inside": ("a16178f90000", "cbor_float", "a float in a map"),
    "undefined": ("f7", "cbor_simple", "undefined"),
    "simple-0": ("e0", "cbor_simple", "simple value 0"),
    "simple-255": ("f8ff", "cbor_simple", "simple value 255"),
    "simple-two-bytes": ("f814", "cbor_simple", "false in two bytes"),
    "tag-0": ("c06161", "cbor_tag", "a date"),
    "tag-18": ("d280", "cbor_tag", "a tag where no COSE_Sign1 may stand"),
    "bignum": ("c249010000000000000000", "cbor_tag", "2^64 as a bignum"),
    "self-described": ("d9d9f700", "cbor_tag", "the tag of self-described CBOR"),
    "utf8-byte": ("61ff", "cbor_utf8", "a byte that no UTF-8 has"),
    "utf8-surrogate": ("63eda080", "cbor_utf8", "half of a surrogate pair"),
    "utf8-overlong": ("62c080", "cbor_utf8", "NUL in two bytes"),
    "utf8-cut": ("62e282", "cbor_utf8", "a character cut off"),
    "key-bytes": ("a1416100", "cbor_key_type", "a byte string as key"),
    "key-array": ("a18000", "cbor_key_type", "an array as key"),
    "key-null": ("a1f600", "cbor_key_type", "null as key"),
    "key-order": ("a2616200616100", "cbor_key_order", "b before a"),
    "key-order-length": ("a262616100616200", "cbor_key_order", "aa before b"),
    "key-order-type": ("a26161000100", "cbor_key_order", "text before an integer"),
    "duplicate-key": ("a2616100616101", "cbor_duplicate_key", "a twice"),
    "duplicate-integer": ("a201000101", "cbor_duplicate_key", "1 twice"),
    "depth-17": (cbor(nested(17)).hex(), "cbor_too_deep", "one array too deep"),
}


def cases() -> Cases:
    """Every case of this part."""
    for number in INTEGERS:
        yield good(f"int-{number}", "an integer", "cbor", given(cbor(number)), value=number)
    for name, (description, value) in VALUES.items():
        yield good(name, description, "cbor", given(cbor(value)), value=value)
    for name, (data, code, description) in DEFECTS.items():
        yield bad(name, code, description, "cbor", given(bytes.fromhex(data)))
    yield bad("too-large", "cbor_too_large", "a byte above the limit", "cbor", given(Zeros(LIMIT + 1)))
    yield good("as-many", "as many items as may be", "cbor", given(cbor([0] * 99), 100), value=[0] * 99)
    yield bad("too-many", "cbor_too_many", "an item above the limit", "cbor", given(cbor([0] * 100), 100))
    yield bad(
        "too-many-announced", "cbor_too_many", "2^64 - 1 items announced", "cbor", given(b"\x9b" + b"\xff" * 8, 100)
    )


def given(data: Any, max_items: int = 2_000) -> dict[str, Any]:
    return {"bytes": data, "max_size": LIMIT, "max_items": max_items}
