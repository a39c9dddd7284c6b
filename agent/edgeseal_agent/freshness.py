"""How old is what the device knows of its fleet: records that wait for a receipt, and the newest word of the gateway.

Ages are differences of the device's own wall clock: good for an alarm, no evidence.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edgeseal import cbor
from edgeseal.head import Seen, SignedDeviceHead
from edgeseal.record import Header
from edgeseal_agent import outbox


@dataclass(frozen=True, slots=True)
class Freshness:
    """``unsent`` records have no receipt, the oldest of them was made ``waiting_ms`` ago (None: none waits, or the
    clock was unknown). The newest receipt covers a head made ``heard_ms`` ago (None: no receipt yet). ``keyset`` and
    ``fleet_size`` are the newest keyset's version and the newest fleet head's size. ``newest_ms`` is the wall time of
    the newest record.
    """

    unsent: int
    waiting_ms: int | None
    heard_ms: int | None
    keyset: int
    fleet_size: int
    newest_ms: int


def freshness(connection: sqlite3.Connection, now_ms: int) -> Freshness:
    """Return the ages in a store at wall time ``now_ms``. Raises what SQLite raises."""
    size, seen_row = connection.execute("SELECT size, seen FROM log").fetchone()
    acknowledged = outbox.acknowledged(connection)
    (keyset,) = connection.execute("SELECT max(version) FROM keysets").fetchone()
    seen = Seen.from_list(cbor.decode(seen_row, max_size=1024))
    receipted = connection.execute("SELECT signed FROM heads WHERE size = ?", (acknowledged,)).fetchone()
    heard = None if receipted is None else SignedDeviceHead.decode(receipted[0]).head.clock.t
    return Freshness(
        size - acknowledged,
        _age(_made_at(connection, acknowledged), now_ms),
        _age(heard, now_ms),
        keyset,
        0 if seen is None else seen.size,
        _made_at(connection, size - 1) or 0,
    )


def _made_at(connection: sqlite3.Connection, seq: int) -> int | None:
    row = connection.execute("SELECT header FROM records WHERE seq = ?", (seq,)).fetchone()
    return None if row is None else Header.decode(row[0]).t


def _age(then_ms: int | None, now_ms: int) -> int | None:
    return None if not then_ms else max(0, now_ms - then_ms)
