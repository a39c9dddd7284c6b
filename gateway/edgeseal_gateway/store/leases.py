"""The row that says which gateway signs for this store: compared and swapped, never just written.

Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import InvariantBroken

TABLES: Final = """
-- Which gateway signs for this store. `token` rises by one with every holder, and never falls (chain/lease.py).
CREATE TABLE lease (
    one INTEGER PRIMARY KEY CHECK (one = 1), token INTEGER NOT NULL, holder BLOB NOT NULL, place TEXT NOT NULL,
    until INTEGER NOT NULL) STRICT;
INSERT INTO lease VALUES (1, 0, x'', '', 0);
"""


@dataclass(frozen=True, slots=True)
class LeaseRow:
    """The lease as stored: its fencing token, who holds it (empty: nobody), the boot of a machine on which that one
    runs, and the wall time in ms until which others must leave it alone.
    """

    token: int
    holder: bytes
    place: str
    until_ms: int


def read(connection: sqlite3.Connection) -> LeaseRow:
    """Return the row. Raises InvariantBroken ``store_corrupt`` where there is none."""
    found = connection.execute("SELECT token, holder, place, until FROM lease").fetchone()
    if found is None:
        raise InvariantBroken("store_corrupt", "the store has lost the row of its lease")
    return LeaseRow(*found)


def take(connection: sqlite3.Connection, old: LeaseRow, holder: bytes, place: str, until_ms: int) -> int | None:
    """Put ``holder`` in the place of ``old`` and return its token; None when the row is no longer ``old``."""
    done = connection.execute(
        "UPDATE lease SET token = token + 1, holder = ?, place = ?, until = ? WHERE token = ? AND holder = ?",
        (holder, place, until_ms, old.token, old.holder),
    )
    return old.token + 1 if done.rowcount == 1 else None


def extend(connection: sqlite3.Connection, token: int, holder: bytes, until_ms: int) -> bool:
    """Move the end of a lease that still is the holder's; return False when it is another's."""
    done = connection.execute("UPDATE lease SET until = ? WHERE token = ? AND holder = ?", (until_ms, token, holder))
    return done.rowcount == 1


def release(connection: sqlite3.Connection, token: int, holder: bytes) -> bool:
    """Let go of a lease that still is the holder's; the token stays used. Return False when it is another's."""
    done = connection.execute(
        "UPDATE lease SET holder = x'', place = '', until = 0 WHERE token = ? AND holder = ?", (token, holder)
    )
    return done.rowcount == 1
