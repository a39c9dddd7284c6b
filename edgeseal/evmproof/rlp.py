"""Recursive Length Prefix: the one canonical encoding, and a decoder that accepts nothing else.

Ethereum yellow paper, appendix B. An item is a byte string or a list of items; there are no integers in RLP itself, so
``integer`` reads a byte string as one (big-endian, no leading zero, zero is empty).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

from edgeseal.errors import FormatError

Item: TypeAlias = "bytes | list[Item]"

MAX_RLP_SIZE = 4 * 1024 * 1024 + 1024
"""The longest input ``decode`` looks at, bytes: the largest receipt and the trie node around it."""

MAX_RLP_DEPTH = 8
"""The deepest nesting of lists; a receipt needs 4, a trie node with embedded children 5."""

MAX_RLP_ITEMS = 1 << 18
"""The most items, lists included, in one input; the 2^24 gas a transaction may use pay for fewer."""

_SHORT = 55


def encode(item: Item | Sequence[Item]) -> bytes:
    """Return the canonical encoding of a byte string or of a nested sequence of them. Raises nothing for those."""
    if isinstance(item, bytes | bytearray):
        if len(item) == 1 and item[0] < 0x80:
            return bytes(item)
        return _prefix(0x80, len(item)) + item
    payload = b"".join(encode(member) for member in item)
    return _prefix(0xC0, len(payload)) + payload


def encode_integer(value: int) -> bytes:
    """Return a non-negative integer as the byte string RLP carries for it: big-endian, shortest, empty for zero."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def decode(data: bytes) -> Item:
    """Return the one item that ``data``, which may be hostile, encodes: bytes, or a list.

    Raises FormatError and nothing else: ``rlp_too_large``, ``rlp_too_deep``, ``rlp_too_many_items`` (the limits above),
    ``rlp_empty``, ``rlp_truncated``, ``rlp_trailing_bytes``, ``rlp_overruns_list``, and for each form that is not the
    shortest ``rlp_byte_not_minimal``, ``rlp_length_not_minimal``, ``rlp_length_leading_zero``.
    """
    if len(data) > MAX_RLP_SIZE:
        raise FormatError("rlp_too_large", f"{len(data)} bytes of RLP, at most {MAX_RLP_SIZE} are read")
    if not data:
        raise FormatError("rlp_empty", "no RLP item in an empty input")
    reader = _Reader(bytes(data))
    item, end = reader.item(0, len(data), 0)
    if end != len(data):
        raise FormatError("rlp_trailing_bytes", f"{len(data) - end} bytes follow the RLP item")
    return item


def integer(item: Item, max_size: int, what: str) -> int:
    """Return the integer a decoded byte string of at most ``max_size`` bytes stands for; ``what`` names it in messages.

    Raises FormatError ``rlp_not_bytes``, ``rlp_integer_too_large``, ``rlp_integer_leading_zero``.
    """
    if not isinstance(item, bytes):
        raise FormatError("rlp_not_bytes", f"{what} is a list, not an integer")
    if len(item) > max_size:
        raise FormatError("rlp_integer_too_large", f"{what} has {len(item)} bytes, at most {max_size} are allowed")
    if item[:1] == b"\x00":
        raise FormatError("rlp_integer_leading_zero", f"{what} has a leading zero byte")
    return int.from_bytes(item, "big")


def fixed(item: Item, size: int, what: str) -> bytes:
    """Return a decoded byte string of exactly ``size`` bytes; ``what`` names it in messages.

    Raises FormatError ``rlp_not_bytes`` or ``rlp_size``.
    """
    if not isinstance(item, bytes):
        raise FormatError("rlp_not_bytes", f"{what} is a list, not {size} bytes")
    if len(item) != size:
        raise FormatError("rlp_size", f"{what} has {len(item)} bytes, not {size}")
    return item


class _Reader:
    """One pass over one input, counting items against ``MAX_RLP_ITEMS``."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._items = 0

    def item(self, position: int, end: int, depth: int) -> tuple[Item, int]:
        """Return the item at ``position``, which must lie before ``end``, and the position after it."""
        self._items += 1
        if self._items > MAX_RLP_ITEMS:
            raise FormatError("rlp_too_many_items", f"more than {MAX_RLP_ITEMS} RLP items")
        is_list, start, stop = self._span(position, end, depth)
        if not is_list:
            return self._data[start:stop], stop
        if depth >= MAX_RLP_DEPTH:
            raise FormatError("rlp_too_deep", f"RLP lists nested more than {MAX_RLP_DEPTH} deep")
        members: list[Item] = []
        while start < stop:
            member, start = self.item(start, stop, depth + 1)
            members.append(member)
        return members, stop

    def _span(self, position: int, end: int, depth: int) -> tuple[bool, int, int]:
        """Return whether the item is a list and where its payload starts and stops."""
        first = self._data[position]
        if first < 0x80:
            return False, position, position + 1
        is_list = first >= 0xC0
        short = first - (0xC0 if is_list else 0x80)
        start, length = position + 1, short
        if short > _SHORT:
            start, length = self._long_length(position + 1, short - _SHORT, end, depth)
        stop = start + length
        _check_end(stop, end, depth)
        if not is_list and length == 1 and self._data[start] < 0x80:
            raise FormatError("rlp_byte_not_minimal", f"the byte at {start} needs no length before it")
        return is_list, start, stop

    def _long_length(self, position: int, size: int, end: int, depth: int) -> tuple[int, int]:
        """Return where the payload starts and its length, from ``size`` length bytes at ``position``."""
        start = position + size
        _check_end(start, end, depth)
        if self._data[position] == 0:
            raise FormatError("rlp_length_leading_zero", f"the length at {position} has a leading zero byte")
        length = int.from_bytes(self._data[position:start], "big")
        if length <= _SHORT:
            raise FormatError("rlp_length_not_minimal", f"the length at {position} fits the short form")
        return start, length


def _check_end(stop: int, end: int, depth: int) -> None:
    """Refuse an item that ends after its surroundings do."""
    if stop <= end:
        return
    if depth:
        raise FormatError("rlp_overruns_list", f"an item ends at {stop}, after its list at {end}")
    raise FormatError("rlp_truncated", f"the RLP item needs {stop} bytes, {end} are there")


def _prefix(base: int, length: int) -> bytes:
    """Return the prefix of a string (0x80) or list (0xc0) payload of this length."""
    if length <= _SHORT:
        return bytes([base + length])
    size = encode_integer(length)
    return bytes([base + _SHORT + len(size)]) + size
