"""Segments, checked at the speed ingest needs (``docs/format.md`` 6, 6.1).

The core's decoders say what is well formed. Here a whole item is first compared with the one byte pattern that its
deterministic encoding has; what does not fit goes to the core's decoder, which accepts it or names the defect. A
record's interior is not looked at beyond its header's layout.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, limits, record, segment
from edgeseal.commitment import domain
from edgeseal.errors import FormatError, VerificationError
from edgeseal_gateway.headreader import BYTES, UINT, uint_of

WATCHED: Final = frozenset({b"closed", b"thinned", b"tombstone"})
"""Kinds that ingest itself acts on: their bodies are decoded here."""
_ENCODED_WATCHED: Final = frozenset(bytes([0x60 + len(kind)]) + kind for kind in WATCHED)

_KIND: Final = b"|".join(
    bytes([0x60 + size] if size < 24 else [0x78, size]) + b"[a-z.]{%d}" % size for size in range(1, 33)
)
"""The pattern of a kind, encoded: a text whose head states its length."""
_LAYOUT: Final = (
    rb"\xa9at" + UINT + rb"av\x01cclk\x82(?:dnone|crtc|cntp|cptp|dgnss)(?:" + UINT + rb"|\xf6)clogX .{32}cseq" + UINT
    + rb"dbodyX (.{32})dboot" + UINT + rb"dkind(" + _KIND + rb")dmono" + UINT
)  # fmt: skip
_HEADER: Final = re.compile(_LAYOUT, re.DOTALL)
_USUAL_ITEM: Final = re.compile(rb"\x83\x00\x58([\x18-\xff])(" + _LAYOUT + rb")" + BYTES, re.DOTALL)
_ENVELOPE: Final = re.compile(rb"\xa5av\x01clogX (.{32})dfrom(" + UINT + rb")dhead" + BYTES, re.DOTALL)
_ITEMS: Final = re.compile(rb"eitems(?:([\x80-\x97])|\x98([\x18-\xff])|\x99(?!\x00)(..))", re.DOTALL)
_WHOLE_ITEM: Final = re.compile(rb"\x83\x00" + BYTES, re.DOTALL)
_BYTE_STRING: Final = re.compile(BYTES, re.DOTALL)
_BODY_DOMAIN: Final = domain("body")
_SHORT_BODY: Final = _BODY_DOMAIN + bytes(6)
"""What stands before the two last bytes of a short body's length in the hash of format 4.1."""


_KEYS: Final = ("v", "log", "from", "head", "items")
_TYPES: Final = [int, bytes, int, bytes, list]


@dataclass(frozen=True, slots=True)
class Columns:
    """Whole items of the usual layout, taken apart: an entry of each column for each item.

    ``bodies`` are a body's length in two bytes, then the body. ``expected`` and ``kinds`` are the body hash and the
    encoded kind in the header.
    """

    headers: Sequence[bytes]
    expected: Sequence[bytes]
    kinds: Sequence[bytes]
    bodies: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Envelope:
    """A segment's outer parts: the head's bytes, the first position, how many items. Nothing is verified."""

    head: bytes
    start: int
    count: int
    _parts: Columns | list[list[Any]]

    @property
    def items(self) -> list[list[Any]]:
        """The items as arrays."""
        parts = self._parts
        if isinstance(parts, list):
            return parts
        return [[0, header, body[2:]] for header, body in zip(parts.headers, parts.bodies, strict=True)]

    def leaves(self) -> list[bytes]:
        """Return the items' leaf hashes. Raises as :func:`leaves`."""
        parts = self._parts
        if isinstance(parts, list):
            return leaves(parts)
        return [sha256(b"\x00" + header).digest() for header in parts.headers]

    def check_bodies(self) -> Noted:
        """Check every body against its header. Raises as :func:`check_bodies`."""
        parts, prefix = self._parts, _SHORT_BODY
        if (
            isinstance(parts, Columns)
            and _ENCODED_WATCHED.isdisjoint(parts.kinds)
            and [sha256(prefix + body).digest() for body in parts.bodies] == [*parts.expected]
        ):
            return Noted([], [])
        return check_bodies(self.items)  # says which


def open_envelope(data: bytes, log: bytes) -> Envelope:
    """Take the envelope of an untrusted segment for ``log`` apart.

    Raises:
        FormatError: as :func:`edgeseal.segment.decode`, the head's and items' own codes excepted.
    """
    if len(data) > limits.MAX_SEGMENT:
        raise FormatError("too_large", f"a segment of {len(data)} bytes, the limit is {limits.MAX_SEGMENT}")
    scanned = _scan(data, log)
    if scanned is not None:
        return scanned
    fields = cbor.decode(data, max_size=limits.MAX_SEGMENT, max_depth=3, max_items=4 * limits.MAX_SEGMENT_ITEMS + 16)
    if (
        type(fields) is not dict
        or tuple(fields) != _KEYS
        or fields["v"] != 1
        or [*map(type, fields.values())] != _TYPES
    ):
        segment.decode(data)  # names the defect
        raise FormatError("type", "no segment")
    head, items = fields["head"], fields["items"]
    if not head or len(head) > limits.MAX_HEAD or len(items) > limits.MAX_SEGMENT_ITEMS or fields["from"] < 0:
        segment.decode(data)
        raise FormatError("range", "a segment with a head, a position or a number of items out of range")
    if fields["log"] != log:
        raise FormatError("topic_mismatch", "the segment is about another log than its topic")
    return Envelope(head, fields["from"], len(items), items)


def _scan(data: bytes, log: bytes) -> Envelope | None:
    """Return the envelope of a segment if it is the usual one and holds whole items only, else None.

    The core's decoder reads large objects item by item, to bound memory; here the layout itself is the bound.
    """
    start = _ENVELOPE.match(data)
    if start is None or start[1] != log:
        return None
    at = start.end()
    head, at = data[at : (end := at + _length(start, 3))], end
    row = _ITEMS.match(data, at)
    if row is None:
        return None
    count, at = (row[1][0] - 0x80 if row[1] else int.from_bytes(row[2] or row[3], "big")), row.end()
    if not head or len(head) > limits.MAX_HEAD or count > limits.MAX_SEGMENT_ITEMS:
        return None
    found = _columns(data, at, count) or _whole_items(data, at, count)
    return None if found is None or found[1] != len(data) else Envelope(head, uint_of(start[2]), count, found[0])


def _columns(data: bytes, at: int, count: int) -> tuple[Columns, int] | None:
    """Return ``count`` items from a place on, and where they end; None if one of them is not of the usual layout."""
    rows: list[tuple[bytes, ...]] = []
    bodies: list[bytes] = []
    usual = _USUAL_ITEM.match
    for _ in range(count):
        item = usual(data, at)
        if item is None:
            return None
        rows.append(row := item.groups())
        middle, short = item.end(), row[4]
        if short is None:
            at = middle + int.from_bytes(row[5], "big")
            bodies.append(data[middle - 2 : at])
        else:
            at = middle + short[0]
            bodies.append(b"\x00" + data[middle - 1 : at])
    if not rows:
        return None
    sizes, headers, expected, kinds, _, _ = zip(*rows, strict=True)
    return (Columns(headers, expected, kinds, bodies), at) if bytes(map(len, headers)) == b"".join(sizes) else None


def _whole_items(data: bytes, at: int, count: int) -> tuple[list[list[Any]], int] | None:
    """Return ``count`` whole items from a place on, and where they end; None if one of them is no such item."""
    items: list[list[Any]] = []
    for _ in range(count):
        whole = _whole_item(data, at)
        if whole is None:
            return None
        header, body, at = whole
        items.append([0, header, body])
    return items, at


def _whole_item(data: bytes, at: int) -> tuple[bytes, bytes, int] | None:
    """Return header and body of the whole item at a place, and where it ends; None for another item."""
    first = _WHOLE_ITEM.match(data, at)
    if first is None:
        return None
    middle = first.end() + _length(first, 1)
    second = _BYTE_STRING.match(data, middle)
    if second is None:
        return None
    end = second.end() + _length(second, 1)
    return data[first.end() : middle], data[second.end() : end], end


def _length(match: re.Match[bytes], group: int) -> int:
    """Return the length that the head of a byte string states: one byte of it in ``group``, or two in the next."""
    short = match[group]
    return short[0] if short else int.from_bytes(match[group + 1], "big")


def leaves(items: Sequence[list[Any]]) -> list[bytes]:
    """Return the leaf hashes of untrusted items. Raises FormatError as :func:`edgeseal.segment.item_from_list`."""
    found = []
    for item in items:
        whole = type(item) is list and len(item) == 3 and type(item[0]) is int and item[0] == 0
        if whole and type(item[1]) is bytes and len(item[1]) <= limits.MAX_HEADER:
            found.append(sha256(b"\x00" + item[1]).digest())
        else:
            found.append(segment.item_from_list(item).leaf)
    return found


@dataclass(frozen=True, slots=True)
class Noted:
    """What ingest must know of items besides their leaves.

    ``stripped``: (place among the items, form) of those that are not whole. ``watched``: (place, kind, body) of whole
    ones of a kind in WATCHED.
    """

    stripped: list[tuple[int, int]]
    watched: list[tuple[int, bytes, bytes]]


def check_bodies(items: Sequence[list[Any]]) -> Noted:
    """Check that every body is the one its header commits to; the items' leaves have been found under a signed root.

    Raises:
        FormatError: ``item_form``, ``type``, ``too_large``; the defect of a header that is none, as
            :meth:`edgeseal.record.Header.decode`: such a position can be sent as a bare leaf only.
        VerificationError: ``body_mismatch``.
    """
    noted = Noted([], [])
    matches, prefix, most = _HEADER.fullmatch, _BODY_DOMAIN, limits.MAX_BODY
    for place, (form, header, body) in enumerate(items):
        if form != 0:
            noted.stripped.append((place, form))
            if form == segment.HEADER_ONLY and matches(header) is None:
                record.Header.decode(header)
            continue
        if type(body) is not bytes or len(body) > most:
            segment.item_from_list([form, header, body])
        match = matches(header)
        if match is None:
            decoded = record.Header.decode(header)
            expected, kind = decoded.body, decoded.kind.encode()
        else:
            expected, kind = match[1], match[2][1 if match[2][0] < 0x78 else 2 :]
        if sha256(prefix + len(body).to_bytes(8, "big") + body).digest() != expected:
            raise VerificationError("body_mismatch", f"the body of item {place} is not the one its header commits to")
        if kind in WATCHED:
            noted.watched.append((place, kind, body))
    return noted
