"""What a device sends: new records and one signed head (``docs/format.md`` section 6).

The envelope is not signed: the head's root authenticates every item, and bytes that miss the root say nothing about the
device. Interiors of records are not decoded here: only what the leaf and the body hash need.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import cbor, limits, schema
from edgeseal.errors import FormatError
from edgeseal.head import SignedDeviceHead
from edgeseal.merkle import leaf_hash

WHOLE: Final = 0
HEADER_ONLY: Final = 1
BARE_LEAF: Final = 2


@dataclass(frozen=True, slots=True)
class Item:
    """One position of the log as sent: whole, header only, or a bare leaf hash (with the reason for what is
    missing).
    """

    header: bytes | None
    body: bytes | None
    leaf: bytes
    reason: str | None

    @property
    def form(self) -> int:
        """WHOLE, HEADER_ONLY or BARE_LEAF."""
        return WHOLE if self.body is not None else HEADER_ONLY if self.header is not None else BARE_LEAF

    def as_list(self) -> list[Any]:
        """Return the item's CBOR array."""
        if self.body is not None:
            return [WHOLE, self.header, self.body]
        if self.header is not None:
            return [HEADER_ONLY, self.header, self.reason]
        return [BARE_LEAF, self.leaf, self.reason]


def whole(header: bytes, body: bytes) -> Item:
    """Return a whole item."""
    return Item(header, body, leaf_hash(header), None)


def header_only(header: bytes, reason: str) -> Item:
    """Return an item whose body is withheld or gone, for ``reason`` (a reason code)."""
    return Item(header, None, leaf_hash(header), reason)


def bare_leaf(leaf: bytes, reason: str) -> Item:
    """Return an item of which only the leaf hash is sent, for ``reason`` (a reason code)."""
    return Item(None, None, leaf, reason)


def item_from_list(row: Any) -> Item:
    """Return the item in a decoded array. Raises FormatError: ``item_form``, ``type``, ``too_large``,
    ``name_invalid``.
    """
    if type(row) is not list or len(row) != 3 or type(row[0]) is not int:
        raise FormatError("item_form", "a segment item is an array of three that begins with its form")
    form, first, second = row
    if type(first) is not bytes:
        raise FormatError("type", "item: header or leaf must be a byte string")
    if form == BARE_LEAF:
        schema.digest(first, "item leaf")
        schema.code(second, "item reason")
        return Item(None, None, first, second)
    if form not in (WHOLE, HEADER_ONLY):
        raise FormatError("item_form", f"no item form {form}")
    if len(first) > limits.MAX_HEADER:
        raise FormatError("too_large", f"a header of {len(first)} bytes, the limit is {limits.MAX_HEADER}")
    if form == HEADER_ONLY:
        schema.code(second, "item reason")
        return Item(first, None, leaf_hash(first), second)
    if type(second) is not bytes:
        raise FormatError("type", "item: the body must be a byte string")
    if len(second) > limits.MAX_BODY:
        raise FormatError("too_large", f"a body of {len(second)} bytes, the limit is {limits.MAX_BODY}")
    return Item(first, second, leaf_hash(first), None)


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment taken apart: its head is not verified, its items are not yet tied to the head's root."""

    log: bytes
    head: SignedDeviceHead
    start: int
    items: tuple[Item, ...]


def encode(log: bytes, head: bytes, start: int, items: Sequence[Item]) -> bytes:
    """Return a segment's bytes.

    Args:
        log: device log id.
        head: the signed device head's bytes; its size is ``start + len(items)``.
        start: position of the first item.
        items: at most MAX_SEGMENT_ITEMS.
    """
    return cbor.encode({"v": 1, "log": log, "head": head, "from": start, "items": [item.as_list() for item in items]})


_ENVELOPE = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "head": schema.binary(1, limits.MAX_HEAD),
        "from": schema.uint,
        "items": schema.items(lambda value, at: None, limits.MAX_SEGMENT_ITEMS),
    }
)


def decode(data: bytes) -> Segment:
    """Take an untrusted segment apart.

    Raises:
        FormatError: ``too_large``, CBOR and shape codes, those of the head and of the items, ``topic_mismatch`` when
        the
            head is another log's, ``segment_size`` when from + items is not the head's size.
    """
    if len(data) > limits.MAX_SEGMENT:
        raise FormatError("too_large", f"a segment of {len(data)} bytes, the limit is {limits.MAX_SEGMENT}")
    fields = cbor.decode(data, max_size=limits.MAX_SEGMENT)
    _ENVELOPE(fields, "segment")
    head = SignedDeviceHead.decode(fields["head"])
    if head.head.log != fields["log"]:
        raise FormatError("topic_mismatch", "the head belongs to another log than the segment")
    items = tuple(item_from_list(row) for row in fields["items"])
    if fields["from"] + len(items) != head.head.size:
        raise FormatError("segment_size", f"from {fields['from']} and {len(items)} items do not make {head.head.size}")
    return Segment(fields["log"], head, fields["from"], items)
