"""cbor: every value has one encoding, no other bytes are accepted, and both readers accept the same."""

from __future__ import annotations

from typing import Any

import cbor2
from hypothesis import example, given
from hypothesis import strategies as st

from edgeseal import cbor
from edgeseal.errors import FormatError

scalars = (
    st.integers(min_value=cbor.INT_MIN, max_value=cbor.INT_MAX)
    | st.integers(min_value=-300, max_value=300)
    | st.binary(max_size=40)
    | st.text(max_size=30)
    | st.booleans()
    | st.none()
)
keys = st.integers(min_value=cbor.INT_MIN, max_value=cbor.INT_MAX) | st.text(max_size=5)
values = st.recursive(scalars, lambda inner: st.lists(inner, max_size=30) | st.dictionaries(keys, inner, max_size=30))
pieces = st.lists(
    st.sampled_from([bytes([first]) for first in range(256)]) | values.map(cbor.encode) | st.binary(max_size=9),
    max_size=8,
)


def same(left: Any, right: Any) -> bool:
    """Equality that tells True from 1."""
    if type(left) is not type(right):
        return False
    if type(left) is list:
        return len(left) == len(right) and all(map(same, left, right))
    if type(left) is dict:
        return left.keys() == right.keys() and all(same(left[key], right[key]) for key in left)
    return bool(left == right)


def read(data: bytes) -> tuple[str, Any]:
    """What the defining reader says, without the fast path."""
    try:
        return "", cbor._Reader(data, 0, 4, 50).read_all()
    except FormatError as refusal:
        return refusal.code, None


def decode(data: bytes) -> tuple[str, Any]:
    try:
        return "", cbor.decode(data, max_size=1 << 16, max_depth=4, max_items=50)
    except FormatError as refusal:
        return refusal.code, None


@given(values)
def test_round_trip(value: Any) -> None:
    assert same(cbor.decode(cbor.encode(value), max_size=1 << 20), value)


@given(values)
def test_the_bytes_are_what_another_encoder_writes(value: Any) -> None:
    """cbor2's canonical mode, which orders keys by length first, agrees wherever all keys are text."""

    def text_keys(part: Any) -> bool:
        if type(part) is dict:
            return all(type(key) is str for key in part) and all(map(text_keys, part.values()))
        return all(map(text_keys, part)) if type(part) is list else True

    if text_keys(value):
        assert cbor.encode(value) == cbor2.dumps(value, canonical=True)
    assert same(cbor2.loads(cbor.encode(value)), value)


@given(pieces)
@example([b"\xd9", b"\x01", b"\x02", b"\x80"])
def test_random_bytes_are_accepted_by_both_readers_or_refused_by_both_alike(parts: list[bytes]) -> None:
    data = b"".join(parts)
    code, value = read(data)
    found, decoded = decode(data)
    assert code == found and same(value, decoded)
    if not code:
        assert cbor.encode(value) == data


@given(values, st.data())
def test_mutated_encodings(value: Any, data: st.DataObject) -> None:
    raw = bytearray(cbor.encode(value))
    for _ in range(data.draw(st.integers(min_value=1, max_value=3))):
        raw[data.draw(st.integers(min_value=0, max_value=len(raw) - 1))] = data.draw(
            st.integers(min_value=0, max_value=255)
        )
    code, found = read(bytes(raw))
    assert (code, True) == ((other := decode(bytes(raw)))[0], same(found, other[1]))
    if not code:
        assert cbor.encode(found) == bytes(raw)


@given(values)
def test_every_cut_is_truncated(value: Any) -> None:
    raw = cbor.encode(value)
    for cut in range(0, len(raw), 1 + len(raw) // 20):
        code, _ = read(raw[:cut])
        assert code in ("cbor_truncated", "cbor_too_many", "cbor_too_deep", "cbor_utf8") or read(raw)[0] == code


@given(st.integers(min_value=0, max_value=(1 << 64) - 1), st.sampled_from([0, 2, 3, 4, 5]))
def test_only_the_shortest_head_is_accepted(number: int, major: int) -> None:
    """The same number under every longer head is refused as not minimal, whatever would follow."""
    for size, info in ((1, 24), (2, 25), (4, 26), (8, 27)):
        if number >> (8 * size):
            continue
        head = bytes([major << 5 | info]) + number.to_bytes(size, "big")
        shortest = 0 if number < 24 else next(width for width in (1, 2, 4, 8) if not number >> (8 * width))
        assert (read(head)[0] == "cbor_not_minimal") == (size > shortest)
