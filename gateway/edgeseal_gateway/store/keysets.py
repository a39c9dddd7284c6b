"""The keysets of the fleet log, and the one that judges what comes next (``docs/format.md`` 8.1, 8.2)."""

from __future__ import annotations

import sqlite3

from edgeseal import statements
from edgeseal.errors import InvariantBroken
from edgeseal.statements.keyset import Keyset
from edgeseal_gateway.store import fleetlog, orders


def newest(connection: sqlite3.Connection, log: bytes, *, queued: bool = False) -> tuple[Keyset, bytes]:
    """Return the newest keyset of the log and its statement's digest; with ``queued``, one that waits for its place
    too.

    Raises InvariantBroken ``keyset_missing``: the log has none, so this is no fleet log.
    """
    waiting = orders.last_pending(connection, log.hex(), Keyset.NAME) if queued else None
    if waiting is not None:
        return _read(waiting[1]), waiting[0]
    leaf = fleetlog.last_of_subject(connection, log.hex(), Keyset.NAME)
    if leaf is None:
        raise InvariantBroken("keyset_missing", "the fleet log holds no keyset")
    return _read(leaf.statement), leaf.digest


def every(connection: sqlite3.Connection) -> list[tuple[Keyset, fleetlog.Leaf]]:
    """Return all keysets of the log with their leaves, rising."""
    return [(_read(leaf.statement), leaf) for leaf in fleetlog.of_type(connection, Keyset.NAME)]


def _read(data: bytes) -> Keyset:
    content = statements.decode(data).content
    if not isinstance(content, Keyset):
        raise InvariantBroken("keyset_missing", "a leaf of typ keyset holds something else")
    return content
