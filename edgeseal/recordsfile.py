"""One file of a device log's records in a bundle, read strictly and fast (format.md 14, ``records/``)."""

from __future__ import annotations

from typing import Any

from edgeseal import cbor, limits, schema
from edgeseal.errors import FormatError


def _any_item(value: Any, at: str) -> None:
    """Check nothing: items are judged one by one, where they are read."""


_FILE = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "from": schema.uint,
        "items": schema.items(_any_item, limits.MAX_CHUNK_ITEMS),
    }
)


def decode(data: bytes, log: bytes, start: int) -> list[Any]:
    """Return the items in an untrusted file that its name says is of ``log``, from position ``start`` on.

    Raises:
        FormatError: CBOR and shape codes; ``bundle_order`` where the file is of another log or position.
    """
    items = whole_items(data, log, start)
    if items is not None:
        return items
    fields = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS)
    _FILE(fields, "records")
    if fields["log"] != log or fields["from"] != start:
        raise FormatError("bundle_order", f"a records file of another log or position than {start}")
    found: list[Any] = fields["items"]
    return found


def whole_items(data: bytes, log: bytes, start: int) -> list[list[Any]] | None:
    """Return the items of a records file that holds whole records only, None for whatever needs the general decoder.

    Reads what :func:`edgeseal.cbor.decode` reads, several times faster: the form is fixed but for lengths.
    """
    prefix = b"\xa4\x61v\x01\x63log\x58\x20" + log + b"\x64from" + cbor.encode(start) + b"\x65items"
    at = len(prefix)
    if not data.startswith(prefix) or len(data) < at + 3:
        return None
    first, count = data[at], data[at] - 0x80
    at += 1
    if first in (0x98, 0x99):
        width = first - 0x97
        count = int.from_bytes(data[at : at + width], "big")
        at += width
        if count < (24, 256)[width - 1] or count > limits.MAX_CHUNK_ITEMS:
            return None
    elif not 0 <= count < 24:
        return None
    items: list[list[Any]] = []
    try:
        for _ in range(count):
            if data[at] != 0x83 or data[at + 1]:
                return None
            first, size = data[at + 2], data[at + 3]
            if first == 0x58 and size >= 24:
                at += 4
            elif first == 0x59 and size:
                size, at = size << 8 | data[at + 4], at + 5
            else:
                return None
            middle = at + size
            first, size = data[middle], data[middle + 1]
            if first == 0x58 and size >= 24:
                start = middle + 2
            elif first == 0x59 and size:
                size, start = size << 8 | data[middle + 2], middle + 3
            else:
                return None
            items.append([0, data[at:middle], data[start : start + size]])
            at = start + size
    except IndexError:
        return None
    return items if at == len(data) else None
