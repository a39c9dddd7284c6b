"""Bodies that are missing, and what accounts for them (``docs/format.md`` 6.4).

Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from edgeseal import record
from edgeseal.errors import EvidenceError, TrustError
from edgeseal_gateway import segmentcheck
from edgeseal_gateway.store import devicelog
from edgeseal_gateway.store.devices import Device


def note(connection: sqlite3.Connection, device: Device, noted: segmentcheck.Noted, skip: int, start: int) -> bool:
    """Note what new items lack, from item ``skip`` at position ``start`` on; tell whether the new head may go on at
    once.
    """
    stripped = [(start + place - skip, form) for place, form in noted.stripped if place >= skip]
    if stripped:
        devicelog.add_stripped(connection, device.id, stripped)
    for place, kind, body in noted.watched:
        if place >= skip and kind != b"closed":
            _cover(connection, device, kind, body)
    return not stripped and not devicelog.any_waiting(connection, device.id)


def _cover(connection: sqlite3.Connection, device: Device, kind: bytes, body: bytes) -> None:
    try:
        fields = record.decode_body(kind.decode(), body)
    except EvidenceError:
        return  # a malformed body accounts for nothing; the index flags it
    devicelog.add_covered(connection, device.id, fields["form"], fields["ranges"])


def fill(
    connection: sqlite3.Connection, device: Device, start: int, items: list[list[Any]], quota: int
) -> list[EvidenceError]:
    """Put more complete items in the place of stripped ones; return what was wrong with items that could have been.

    An item whose leaf is not the stored one is passed by: it says nothing about this log. What is put there counts for
    the device's quota, in bytes, as if it had been sent at first.
    """
    wrong: list[EvidenceError] = []
    missing = devicelog.stripped(connection, device.id, start, start + len(items))
    for seq, form in missing.items():
        item = items[seq - start]
        try:
            found = segmentcheck.leaves([item])
            if item[0] >= form or found != devicelog.leaves(connection, device.id, seq, seq + 1):
                continue
            noted = segmentcheck.check_bodies([item])
        except EvidenceError as error:
            wrong.append(error)
            continue
        size = sum(len(part) for part in item[1:])
        if device.bytes + size > quota:
            wrong.append(TrustError("quota", f"the log has {device.bytes} bytes here, the quota is {quota}"))
            break
        devicelog.put_patch(connection, device.id, seq, item)
        device.bytes += size
        for _, kind, body in noted.watched:
            if kind != b"closed":
                _cover(connection, device, kind, body)
    return wrong
