"""Deterministic CBOR (RFC 8949 section 4.2.1): one encoding for every value, and a decoder that accepts no other.

The subset of docs/format.md: integers of CBOR's native range, byte strings, text, arrays, maps with integer or text
keys, false, true, null. No floats, no tag but one that the caller names around the whole object, no indefinite length.

Two readers agree on what is accepted. ``_Reader`` is the definition and names the reason of a refusal. For inputs up to
``FAST_SIZE`` the cbor2 library is asked first: what it reads, encodes back to the same bytes and passes
``_count_plain`` is what ``_Reader`` would have read, at a fraction of its cost.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise
from typing import Any, Final

import cbor2

from edgeseal.errors import FormatError, UsageError

MAX_DEPTH: Final = 16
"""Default limit on nested arrays and maps."""
MAX_ITEMS: Final = 262_144
"""Default limit on data items in one object, each map key and each map value counted."""
FAST_SIZE: Final = 131_072
"""Up to this many bytes cbor2 may allocate before items are counted: at most 72 bytes for each byte of input."""
INT_MIN: Final = -(1 << 64)
INT_MAX: Final = (1 << 64) - 1

_SCALARS = frozenset({int, bytes, str, bool, type(None)})
_CONSTANTS = {20: False, 21: True, 22: None}
_HEAD_SIZES = {24: 1, 25: 2, 26: 4, 27: 8}
_TEXT = {str}
_MANY_KEYS = 32
_MANY_ORDERS = 1_024
_ORDERS: dict[tuple[str, ...], tuple[str, ...]] = {}
"""The canonical order of the text keys that our own maps have: there are few sets of them, and they come by the
million."""


def encode(value: object, *, tag: int | None = None) -> bytes:
    """Return the one deterministic encoding of ``value``, under ``tag`` when one is given.

    ``value`` may hold int, bytes, str, bool, None, and lists, tuples and dicts of them (exact types, no subclass); dict
    keys are int or str, in any order. Raises UsageError and nothing else: ``cbor_type``, ``cbor_key_type``,
    ``cbor_int_range``, ``cbor_utf8`` (a lone surrogate), ``cbor_too_deep`` (more than ``MAX_DEPTH``, or a cycle).
    """
    ordered = _ordered(value, 0)
    try:
        body: bytes = cbor2.dumps(ordered)
    except (cbor2.CBORError, UnicodeError) as error:
        raise UsageError("cbor_utf8", "a text string holds a lone surrogate") from error
    return body if tag is None else _tag_head(tag) + body


def decode(
    data: bytes, *, max_size: int, max_depth: int = MAX_DEPTH, max_items: int = MAX_ITEMS, tag: int | None = None
) -> Any:
    """Return the value whose deterministic encoding ``data``, untrusted, is: ``encode`` would return ``data`` again.

    Arrays come back as lists, maps as dicts in the order of their bytes. With ``tag`` the object must stand under
    exactly that tag, which is taken off; no other tag is ever accepted. Memory stays below 72 bytes for each byte of
    input up to ``FAST_SIZE``, and below 72 bytes an item plus the input beyond. Thread-safe. Raises FormatError and
    nothing else, with the code of the first defect met: ``cbor_not_bytes cbor_too_large cbor_tag cbor_truncated
    cbor_trailing cbor_not_minimal cbor_indefinite cbor_reserved cbor_float cbor_simple cbor_utf8 cbor_key_type
    cbor_key_order cbor_duplicate_key cbor_too_deep cbor_too_many``.
    """
    if type(data) is not bytes:
        raise FormatError("cbor_not_bytes", "a CBOR object is a byte string")
    if len(data) > max_size:
        raise FormatError("cbor_too_large", f"{len(data)} bytes where at most {max_size} are allowed")
    start = 0
    if tag is not None:
        head = _tag_head(tag)
        if not data.startswith(head):
            raise FormatError("cbor_tag", f"the object does not start with tag {tag}")
        start = len(head)
    if len(data) <= FAST_SIZE:
        body = data[start:] if start else data
        try:
            value = cbor2.loads(body, max_depth=max_depth, allow_indefinite=False, semantic_decoders=_NO_TAGS)
            if _count_plain(value, max_depth) <= max_items and cbor2.dumps(value) == body:
                return value
        except (cbor2.CBORError, ValueError, TypeError, OverflowError, RecursionError, MemoryError):
            pass  # whatever it was, the reader below names it
    return _Reader(data, start, max_depth, max_items).read_all()


class _NoTags(Mapping[int, Any]):
    """A table of tag decoders that has one for every tag there is, and each refuses before its content is looked at."""

    def __getitem__(self, tag: int) -> Any:
        return self._refuse

    def get(self, tag: int, default: Any = None) -> Any:
        return self._refuse

    def __contains__(self, tag: object) -> bool:
        return True

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[int]:
        return iter((18,))

    @staticmethod
    def _refuse(*_: object) -> Any:
        raise ValueError("tag")


_NO_TAGS = _NoTags()


def _count_plain(value: object, depth_left: int) -> int:
    """Return how many data items a decoded value has; ValueError unless they are plain, shallow and in key order."""
    children: Collection[object]
    if type(value) is dict:
        if not _is_ordered(value):
            raise ValueError("key order")
        children, items = value.values(), 1 + 2 * len(value)
    elif type(value) is list:
        children, items = value, 1 + len(value)
    elif type(value) in _SCALARS:
        return 1
    else:
        raise ValueError("type")
    if depth_left < 1:
        raise ValueError("depth")
    for child in children:
        if type(child) not in _SCALARS:
            items += _count_plain(child, depth_left - 1) - 1
    return items


def _is_ordered(keys: Iterable[object]) -> bool:
    """Tell whether map keys stand in strictly rising order of their encodings."""
    last, last_size = "", -1
    for key in keys:
        if type(key) is not str or not key.isascii():
            return all(low < high for low, high in pairwise([_rank(key) for key in keys]))
        size = len(key)
        if size <= last_size and (size < last_size or key <= last):
            return False
        last, last_size = key, size
    return True


def _rank(key: object) -> tuple[int, int, bytes]:
    """Return what sorts a map key as its encoding would: major type, argument, content. ValueError for other types.

    UsageError ``cbor_int_range`` for an integer that no CBOR integer is.
    """
    if type(key) is int:
        _in_range(key)
        return (0, key, b"") if key >= 0 else (1, -1 - key, b"")
    if type(key) is str:
        text = key.encode()
        return (3, len(text), text)
    raise ValueError("key type")


def _ordered(value: object, depth: int) -> object:
    """Return ``value`` with every dict in canonical key order; the same object where nothing had to move."""
    kind = type(value)
    if kind is int:
        return _in_range(value)
    if kind in _SCALARS:
        return value
    if depth >= MAX_DEPTH:
        raise UsageError("cbor_too_deep", f"more than {MAX_DEPTH} arrays and maps inside each other")
    if isinstance(value, dict) and kind is dict:
        ordered = _arranged(value)
        moved = _moved(ordered.items(), depth)
        return ordered | moved if moved else ordered
    if isinstance(value, list | tuple) and (kind is list or kind is tuple):
        moved = _moved(enumerate(value), depth)
        return [moved.get(at, child) for at, child in enumerate(value)] if moved else value
    raise UsageError("cbor_type", f"{kind.__name__} has no encoding in this format")


def _moved(children: Iterable[tuple[Any, object]], depth: int) -> dict[Any, object]:
    """Return those children of a dict or list whose ordered form is another object."""
    moved = {}
    for place, child in children:
        if type(child) is int:
            if not INT_MIN <= child <= INT_MAX:
                _in_range(child)
        elif type(child) not in _SCALARS:
            ordered = _ordered(child, depth + 1)
            if ordered is not child:
                moved[place] = ordered
    return moved


def _arranged(value: dict[Any, object]) -> dict[Any, object]:
    """Return the dict in canonical key order, itself if it is; wrong keys are a UsageError."""
    keys = tuple(value)
    if len(keys) > _MANY_KEYS or {*map(type, keys)} != _TEXT:
        return value if _has_order(value) else _rearranged(value)
    order = _ORDERS.get(keys)
    if order is None:
        order = keys if _has_order(value) else tuple(_rearranged(value))
        if len(_ORDERS) < _MANY_ORDERS:
            _ORDERS[keys] = order
    return value if order == keys else {key: value[key] for key in order}


def _rearranged(value: dict[Any, object]) -> dict[Any, object]:
    """Return the dict in canonical key order; its keys are checked already."""
    if all(type(key) is str and key.isascii() for key in value):
        return {key: value[key] for key in sorted(sorted(value), key=len)}
    return {key: value[key] for key in sorted(value, key=_rank)}


def _has_order(keys: Collection[object]) -> bool:
    """As ``_is_ordered``, for a value of our own: wrong keys are a UsageError."""
    try:
        return _is_ordered(keys)
    except UnicodeError as error:
        raise UsageError("cbor_utf8", "a map key holds a lone surrogate") from error
    except ValueError as error:
        raise UsageError("cbor_key_type", "map keys are integers or text") from error


def _in_range(value: object) -> object:
    if not INT_MIN <= value <= INT_MAX:  # type: ignore[operator]
        raise UsageError("cbor_int_range", "an integer does not fit in 64 bits")
    return value


def _tag_head(tag: int) -> bytes:
    """Return the bytes that put a tag in front of an object."""
    if not 0 <= tag <= INT_MAX:
        raise UsageError("cbor_int_range", "a tag is a 64-bit number")
    return bytes(cbor2.dumps(cbor2.CBORTag(tag, None)))[:-1]


class _Reader:
    """Reads one object strictly, byte for byte, and raises FormatError naming the first defect and where it is."""

    __slots__ = ("_at", "_data", "_items_left", "_max_depth")

    def __init__(self, data: bytes, start: int, max_depth: int, max_items: int) -> None:
        self._data = data
        self._at = start
        self._max_depth = max_depth
        self._items_left = max_items

    def read_all(self) -> Any:
        value = self._read(0)
        if self._at != len(self._data):
            raise self._defect("cbor_trailing", "bytes follow the object")
        return value

    def _defect(self, code: str, message: str) -> FormatError:
        return FormatError(code, f"{message}, at byte {self._at}")

    def _take(self, count: int) -> bytes:
        end = self._at + count
        if end > len(self._data):
            raise self._defect("cbor_truncated", f"{count} bytes are announced and fewer are there")
        taken = self._data[self._at : end]
        self._at = end
        return taken

    def _read(self, depth: int) -> Any:
        if self._items_left < 1:
            raise self._defect("cbor_too_many", "too many data items")
        self._items_left -= 1
        first = self._take(1)[0]
        major, info = first >> 5, first & 31
        if major == 7:
            return self._constant(info)
        argument = self._argument(major, info)
        if major < 2:
            return argument if major == 0 else -1 - argument
        if major == 2:
            return self._take(argument)
        if major == 3:
            return self._text(argument)
        if major == 6:
            raise self._defect("cbor_tag", f"tag {argument} is not allowed here")
        if depth >= self._max_depth:
            raise self._defect("cbor_too_deep", f"more than {self._max_depth} arrays and maps inside each other")
        if argument > self._items_left:
            raise self._defect("cbor_too_many", f"{argument} data items are announced")
        if major == 4:
            return [self._read(depth + 1) for _ in range(argument)]
        return self._map(argument, depth + 1)

    def _argument(self, major: int, info: int) -> int:
        if info < 24:
            return info
        if info == 31 and 2 <= major <= 5:
            raise self._defect("cbor_indefinite", "an indefinite length")
        if info > 27:
            raise self._defect("cbor_reserved", f"additional information {info} is reserved")
        size = _HEAD_SIZES[info]
        argument = int.from_bytes(self._take(size), "big")
        if argument < (24 if size == 1 else 1 << 4 * size):
            raise self._defect("cbor_not_minimal", f"{argument} has a shorter form")
        return argument

    def _constant(self, info: int) -> bool | None:
        if info in _CONSTANTS:
            return _CONSTANTS[info]
        if info in (25, 26, 27):
            raise self._defect("cbor_float", "a floating-point number")
        if info == 31:
            raise self._defect("cbor_indefinite", "a break without an indefinite length")
        if 28 <= info <= 30:
            raise self._defect("cbor_reserved", f"additional information {info} is reserved")
        raise self._defect("cbor_simple", "a simple value other than false, true and null")

    def _text(self, size: int) -> str:
        start = self._at
        raw = self._take(size)
        try:
            return raw.decode("utf-8")
        except UnicodeDecodeError as error:
            self._at = start + error.start
            raise self._defect("cbor_utf8", "a text string is not UTF-8") from None

    def _map(self, count: int, depth: int) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        last = b""
        for _ in range(count):
            start = self._at
            key = self._read(depth)
            if type(key) is not int and type(key) is not str:
                raise self._defect("cbor_key_type", "a map key is neither integer nor text")
            raw = self._data[start : self._at]
            if raw <= last:
                code = "cbor_duplicate_key" if raw == last else "cbor_key_order"
                raise self._defect(code, "map keys do not rise")
            last = raw
            found[key] = self._read(depth)
        return found
