"""Sums over the store, for metrics and status. Every function works in the caller's transaction."""

from __future__ import annotations

import sqlite3
from typing import Final

from edgeseal_gateway.store import anchors

UNFINAL: Final = (
    anchors.QUEUED, anchors.BLOCKED_FUNDS, anchors.PREPARED, anchors.SENT, anchors.MINED, anchors.CONFIRMED,
    anchors.REVERTED,
)  # fmt: skip
"""Named one by one, so that the index finds the few of them among all the final ones."""


def anchor_states(connection: sqlite3.Connection) -> dict[str, int]:
    """Return state → number of anchors that are not final: those are all there ever were, and nobody's concern."""
    return dict(connection.execute(f"SELECT state, count(*) FROM anchor WHERE state IN {UNFINAL} GROUP BY state"))


def oldest_unfinal(connection: sqlite3.Connection) -> int | None:
    """Return the wall time in ms at which the sender first looked at the oldest anchor that is not final, None where
    there is none.
    """
    row = connection.execute(f"SELECT min(since) FROM anchor WHERE state IN {UNFINAL}").fetchone()
    return None if row[0] is None else int(row[0])


def device_states(connection: sqlite3.Connection) -> dict[str, int]:
    """Return state → number of enrolled devices."""
    return dict(connection.execute("SELECT state, count(*) FROM device GROUP BY state"))


def ingested(connection: sqlite3.Connection) -> tuple[int, int, int]:
    """Return (records, bytes, segments) stored of all devices."""
    records, size = connection.execute("SELECT coalesce(sum(size), 0), coalesce(sum(bytes), 0) FROM device").fetchone()
    # Rows of this table are never deleted and its ids rise by one: the newest id is their number, and costs no scan.
    (segments,) = connection.execute("SELECT coalesce(max(id), 0) FROM segment").fetchone()
    return records, size, segments
