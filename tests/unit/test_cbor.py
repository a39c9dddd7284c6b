"""cbor: published encodings, one case for every reason a decoder refuses, and what the encoder will not write."""

from __future__ import annotations

import tracemalloc
from collections import OrderedDict
from enum import IntEnum

import pytest

from edgeseal import cbor
from edgeseal.errors import FormatError, UsageError

# RFC 8949 appendix A, the rows inside our subset.
PUBLISHED = [
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (100, "1864"),
    (1000, "1903e8"),
    (1000000, "1a000f4240"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (-1, "20"),
    (-10, "29"),
    (-100, "3863"),
    (-1000, "3903e7"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (bytes.fromhex("01020304"), "4401020304"),
    ("", "60"),
    ("a", "6161"),
    ('"\\', "62225c"),
    ("\u00fc", "62c3bc"),
    ("\u6c34", "63e6b0b4"),
    ("\U00010151", "64f0908591"),
    ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    (list(range(1, 26)), "98190102030405060708090a0b0c0d0e0f101112131415161718181819"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
]

DEFECTS = [
    ("cbor_truncated", ""),
    ("cbor_truncated", "19ff"),
    ("cbor_truncated", "4401"),
    ("cbor_truncated", "8201"),
    ("cbor_truncated", "a101"),
    ("cbor_truncated", "5b7fffffffffffffff"),
    ("cbor_truncated", "7b00000001ffffffff"),
    ("cbor_trailing", "0000"),
    ("cbor_trailing", "f6f6"),
    ("cbor_not_minimal", "1817"),
    ("cbor_not_minimal", "1900ff"),
    ("cbor_not_minimal", "1a0000ffff"),
    ("cbor_not_minimal", "1b00000000ffffffff"),
    ("cbor_not_minimal", "3817"),
    ("cbor_not_minimal", "580100"),
    ("cbor_not_minimal", "780161"),
    ("cbor_not_minimal", "980100"),
    ("cbor_not_minimal", "b8010001"),
    ("cbor_indefinite", "5f4100ff"),
    ("cbor_indefinite", "7f6161ff"),
    ("cbor_indefinite", "9fff"),
    ("cbor_indefinite", "bfff"),
    ("cbor_indefinite", "ff"),
    ("cbor_reserved", "1c"),
    ("cbor_reserved", "1f"),
    ("cbor_reserved", "5d"),
    ("cbor_reserved", "fc"),
    ("cbor_tag", "c249010000000000000000"),
    ("cbor_tag", "c34101"),
    ("cbor_tag", "c001"),
    ("cbor_tag", "d28443a10126a0f640"),
    ("cbor_tag", "d81c81d81d00"),
    ("cbor_tag", "d8236161"),
    ("cbor_tag", "d9d9f700"),
    ("cbor_tag", "c48221196ab3"),
    ("cbor_float", "f90000"),
    ("cbor_float", "fa47c35000"),
    ("cbor_float", "fb7ff8000000000000"),
    ("cbor_simple", "f7"),
    ("cbor_simple", "e0"),
    ("cbor_simple", "f0"),
    ("cbor_simple", "f818"),
    ("cbor_simple", "f8ff"),
    ("cbor_utf8", "61ff"),
    ("cbor_utf8", "63eda080"),
    ("cbor_utf8", "62c080"),
    ("cbor_key_type", "a1410001"),
    ("cbor_key_type", "a18001"),
    ("cbor_key_type", "a1a001"),
    ("cbor_key_type", "a1f601"),
    ("cbor_key_type", "a1f401"),
    ("cbor_duplicate_key", "a200010002"),
    ("cbor_duplicate_key", "a2616101616102"),
    ("cbor_key_order", "a201010001"),
    ("cbor_key_order", "a2626161016162f6"),
    ("cbor_key_order", "a2616101200a"),
    ("cbor_key_order", "a2616201616101"),
    ("cbor_too_deep", "81" * 16 + "80"),
    ("cbor_too_deep", "81" * 100_000 + "00"),
    ("cbor_too_many", "9bffffffffffffffff"),
    ("cbor_too_many", "bb7fffffffffffffff"),
    ("cbor_too_many", "9903e8" + "00" * 1000),
    ("cbor_too_large", "4180" + "00" * 300_000),
]


@pytest.mark.parametrize(("value", "encoded"), PUBLISHED)
def test_published_encodings_both_ways(value: object, encoded: str) -> None:
    raw = bytes.fromhex(encoded)
    assert cbor.encode(value) == raw
    decoded = cbor.decode(raw, max_size=100)
    assert decoded == value and type(decoded) is type(value)


@pytest.mark.parametrize(("code", "encoded"), DEFECTS)
def test_each_defect_is_refused_by_its_own_name(code: str, encoded: str) -> None:
    with pytest.raises(FormatError) as refusal:
        cbor.decode(bytes.fromhex(encoded), max_size=200_000, max_items=1000)
    assert refusal.value.code == code


@pytest.mark.parametrize("given", [None, "text", bytearray(b"\x00"), memoryview(b"\x00"), 7])
def test_only_bytes_are_decoded(given: object) -> None:
    with pytest.raises(FormatError, match="cbor_not_bytes"):
        cbor.decode(given, max_size=10)  # type: ignore[arg-type]


def test_limits_include_their_own_value() -> None:
    assert cbor.decode(b"\x43abc", max_size=4) == b"abc"
    nested = b"\x81" * 15 + b"\x80"
    assert cbor.encode(cbor.decode(nested, max_size=100)) == nested
    full = bytes.fromhex("9903e7") + b"\x00" * 999
    assert cbor.decode(full, max_size=2000, max_items=1000) == [0] * 999
    with pytest.raises(FormatError, match="cbor_too_many"):
        cbor.decode(full, max_size=2000, max_items=999)


def test_a_large_object_takes_the_reader_and_says_the_same() -> None:
    value = {"items": [[0, bytes(150), bytes(200)] for _ in range(1000)], "v": 1}
    raw = cbor.encode(value)
    assert len(raw) > cbor.FAST_SIZE
    assert cbor.decode(raw, max_size=1 << 20) == value
    with pytest.raises(FormatError, match="cbor_trailing"):
        cbor.decode(raw + b"\x00", max_size=1 << 20)


def test_the_named_tag_is_required_and_taken_off() -> None:
    raw = cbor.encode([b"", {}, None], tag=18)
    assert raw == bytes.fromhex("d28340a0f6")
    assert cbor.decode(raw, max_size=10, tag=18) == [b"", {}, None]
    for wrong in ("8340a0f6", "d38340a0f6", "d8128340a0f6", "d2d28340a0f6", ""):
        with pytest.raises(FormatError, match="cbor_tag"):
            cbor.decode(bytes.fromhex(wrong), max_size=10, tag=18)


def test_keys_are_ordered_by_their_bytes() -> None:
    mixed = {"aa": 1, "b": 2, "\u00fc": 3, -1: 4, 100: 5, 10: 6, "": 7, -100: 8}
    raw = cbor.encode(mixed)
    assert list(cbor.decode(raw, max_size=100)) == [10, 100, -1, -100, "", "b", "aa", "\u00fc"]
    assert cbor.encode({"inner": mixed}) == b"\xa1\x65inner" + raw


def test_a_tuple_is_an_array() -> None:
    assert cbor.encode((1, (2, {"b": (), "a": ()}))) == cbor.encode([1, [2, {"a": [], "b": []}]])


class Colour(IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("cbor_type", 1.0),
        ("cbor_type", {1, 2}),
        ("cbor_type", bytearray(b"a")),
        ("cbor_type", [{"a": object()}]),
        ("cbor_type", Colour.RED),
        ("cbor_type", OrderedDict(a=1)),
        ("cbor_int_range", 1 << 64),
        ("cbor_int_range", [-(1 << 64) - 1]),
        ("cbor_int_range", {1 << 64: 0}),
        ("cbor_key_type", {b"a": 1}),
        ("cbor_key_type", {None: 1}),
        ("cbor_key_type", {True: 1}),
        ("cbor_key_type", {(1,): 1}),
        ("cbor_utf8", "\ud800"),
        ("cbor_utf8", {"\ud800": 1}),
        ("cbor_utf8", {"\ud800": 1, "a": 1}),
    ],
)
def test_what_has_no_encoding_is_refused(code: str, value: object) -> None:
    with pytest.raises(UsageError) as refusal:
        cbor.encode(value)
    assert refusal.value.code == code


def test_a_cycle_is_too_deep() -> None:
    loop: list[object] = []
    loop.append(loop)
    with pytest.raises(UsageError, match="cbor_too_deep"):
        cbor.encode(loop)


@pytest.mark.parametrize(
    "bomb",
    [
        b"\x9a\x00\x01\xff\xf0" + b"\xa0" * 131_056,
        b"\x9a\x00\x1f\xff\xf0" + b"\xa0" * 2_097_136,
        b"\x9a\x00\x03\xff\xff" + b"\x80" * 262_143,
        b"\x5b\x00\x00\xff\xff\xff\xff\xff\xff",
        b"\xc5\x82\x3b\x7f\xff\xff\xff\xff\xff\xff\xff\x01",
    ],
)
def test_memory_stays_within_its_bound(bomb: bytes) -> None:
    tracemalloc.start()
    try:
        cbor.decode(bomb, max_size=1 << 22)
    except FormatError:
        pass
    finally:
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 32 << 20
