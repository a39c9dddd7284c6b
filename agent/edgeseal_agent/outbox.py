"""What is still to be sent: reads the store and makes segments that end at stored heads (``docs/format.md`` section
6).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from edgeseal import limits, segment
from edgeseal.errors import EvidenceError, InvariantBroken

ITEM_OVERHEAD: Final = 16
"""Bytes of CBOR around one item's header and body, at most."""
ENVELOPE: Final = 4_096
"""Bytes of a segment besides its items, at most: head, log id, array heads."""


PENDING, CONFIRMED, FINAL = 0, 1, 2
"""How certain it is that the chain holds a receipt's fleet head (``docs/format.md`` 11). Only FINAL is for good."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """A checked receipt: the device-log size and position of its head, its fleet size, both as bytes, its finality."""

    size: int
    position: int
    fleet_size: int
    head: bytes
    receipt: bytes
    finality: int


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A segment ready to be sent: records from ``start`` up to the head of ``size``."""

    start: int
    size: int
    payload: bytes


def signed_size(connection: sqlite3.Connection) -> int:
    """Return the size of the newest head that is signed, 0 before the first."""
    size: int
    (size,) = connection.execute("SELECT coalesce(max(size), 0) FROM heads WHERE signed IS NOT NULL").fetchone()
    return size


def acknowledged(connection: sqlite3.Connection) -> int:
    """Return the device-log size up to which a checked receipt says that every record is stored as sent."""
    size: int
    (size,) = connection.execute("SELECT coalesce(max(size), 0) FROM receipts").fetchone()
    return size


def final(connection: sqlite3.Connection) -> int:
    """Return the device-log size up to which a receipt is final: only what lies below it may ever be deleted.

    A receipt that is merely confirmed stands in a block that the chain can still take back.
    """
    size: int
    (size,) = connection.execute("SELECT coalesce(max(size), 0) FROM receipts WHERE finality = ?", (FINAL,)).fetchone()
    return size


def keep_receipt(connection: sqlite3.Connection, receipt: Receipt) -> None:
    """Keep a checked receipt in the caller's transaction: the newest for its head, but a final one for good."""
    connection.execute(
        "INSERT INTO receipts VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (size) DO UPDATE SET pos = excluded.pos,"
        " fleet_size = excluded.fleet_size, head = excluded.head, receipt = excluded.receipt,"
        " finality = excluded.finality WHERE finality <> ? OR excluded.finality = ?",
        (
            receipt.size, receipt.position, receipt.fleet_size, receipt.head, receipt.receipt, receipt.finality,
            FINAL, FINAL,
        ),
    )  # fmt: skip


def next_segment(connection: sqlite3.Connection, log: bytes, start: int) -> Outgoing | None:
    """Return the segment from position ``start`` to the farthest signed head it can reach within the limits.

    Heads in between are not sent: the later one commits to the same records. None when no signed head is larger.

    Raises:
        InvariantBroken: ``segment_limits`` when not even the next head's records fit, ``segment_refused`` when the
            gateway's own decoder would refuse it.
    """
    # One look decides whether there is a head at all: the sealer may add one at any moment.
    (following,) = connection.execute(
        "SELECT min(size) FROM heads WHERE size > ? AND signed IS NOT NULL", (start,)
    ).fetchone()
    if following is None:
        return None
    if following > start + limits.MAX_SEGMENT_ITEMS:
        raise InvariantBroken("segment_limits", f"no signed head within {limits.MAX_SEGMENT_ITEMS} of {start}")
    heads = dict(
        connection.execute(
            "SELECT size, signed FROM heads WHERE size > ? AND size <= ? AND signed IS NOT NULL",
            (start, start + limits.MAX_SEGMENT_ITEMS),
        ).fetchall()
    )
    rows = connection.execute(
        "SELECT header, body FROM records WHERE seq >= ? AND seq < ? ORDER BY seq", (start, max(heads))
    )
    reasons = connection.execute(
        "SELECT start, stop, reason FROM stripped WHERE done AND stop > ? AND start < ?", (start, max(heads))
    )
    gone = {seq: reason for first, stop, reason in reasons for seq in range(max(first, start), min(stop, max(heads)))}
    items = _fitting(rows, start, heads, gone)
    size = start + len(items)
    payload = segment.encode(log, heads[size], start, items)
    try:
        segment.decode(payload)
    except EvidenceError as error:
        raise InvariantBroken("segment_refused", f"the gateway would refuse {start} to {size}: {error}") from error
    return Outgoing(start, size, payload)


def accounted_at(connection: sqlite3.Connection, acknowledged: int, size: int) -> int:
    """Return the size at which the head of ``size`` gets a receipt, when one covers ``acknowledged``.

    That is ``size``, or larger where bodies between them are gone and the record that says so stands later
    (``docs/format.md`` 6.4).
    """
    later: int
    (later,) = connection.execute(
        "SELECT coalesce(max(seq) + 1, 0) FROM stripped WHERE done AND stop > ? AND start < ?", (acknowledged, size)
    ).fetchone()
    return max(size, later)


def is_gone(connection: sqlite3.Connection, seq: int) -> bool:
    """Say whether the body of a position is gone from here."""
    row = connection.execute("SELECT 1 FROM stripped WHERE done AND start <= ? AND stop > ?", (seq, seq)).fetchone()
    return row is not None


def _fitting(
    rows: Iterable[tuple[bytes, bytes]], start: int, heads: Container[int], gone: Mapping[int, str]
) -> list[segment.Item]:
    """Return the items from ``start`` up to the largest head until which they fit into one segment."""
    items: list[segment.Item] = []
    room, best = limits.MAX_SEGMENT - ENVELOPE, 0
    for header, body in rows:
        room -= len(header) + len(body) + ITEM_OVERHEAD
        if room < 0:
            break
        place = start + len(items)
        items.append(segment.whole(header, body) if body else segment.header_only(header, gone[place]))
        if start + len(items) in heads:
            best = len(items)
    if not best:
        raise InvariantBroken("segment_limits", f"the records from {start} to the next head do not fit into a segment")
    return items[:best]
