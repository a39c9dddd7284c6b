"""How long inputs and openings are kept: until their floor has passed and a final receipt covers their record."""

from __future__ import annotations

import sqlite3
from typing import Final

from edgeseal.record import Header
from edgeseal_agent import outbox

DAY_MS: Final = 86_400_000
MAX_DELETED: Final = 10_000
"""Records whose openings one pass deletes, so that the journal is not held up."""
HELD: Final = "EXISTS (SELECT 1 FROM incidents WHERE start <= seq AND (stop IS NULL OR seq < stop))"
"""Of a row with a column ``seq``: it lies in the window of an incident."""
_UNOPENABLE: Final = f"""SELECT DISTINCT seq FROM openings WHERE NOT {HELD}
AND EXISTS (SELECT 1 FROM records WHERE records.seq = openings.seq AND length(body) = 0) ORDER BY seq LIMIT ?"""


def is_old(header: Header, before_ms: int) -> bool:
    """Say whether a record is surely older than a time. One whose clock was not set when it was written has no age:
    it may say 1970, or tomorrow.
    """
    return header.clk.source != "none" and 0 < header.t < before_ms


def delete_old_inputs(connection: sqlite3.Connection, now_ms: int, retention_days: int) -> int:
    """Delete openings and inputs past the floor, inside the caller's transaction; return how many records lost theirs.

    Only records below a final receipt are touched, and only by their own wall-clock time; a record without one (clock
    unset) keeps everything, and so does one in the window of an incident. With 0 days nothing is ever deleted.
    """
    if retention_days == 0:
        return 0
    covered, before = outbox.final(connection), now_ms - retention_days * DAY_MS
    kept = f"SELECT DISTINCT seq FROM openings WHERE seq < ? AND NOT {HELD} ORDER BY seq LIMIT ?"
    rows = connection.execute(f"SELECT seq, header FROM records WHERE seq IN ({kept})", (covered, MAX_DELETED))
    old = [(seq,) for seq, header in rows if is_old(Header.decode(header), before)]
    connection.executemany("DELETE FROM openings WHERE seq = ?", old)
    _delete_unopened(connection, len(old))
    return len(old)


def delete_beyond_ring(connection: sqlite3.Connection, ring: int) -> int:
    """Delete openings and inputs of all records but the newest ``ring``, inside the caller's transaction; return how
    many records lost theirs. What lies in the window of an incident stays. With 0 nothing is ever deleted.

    Inputs are the device's own: no receipt is asked for, as the record that commits to them stays.
    """
    if ring == 0:
        return 0
    (size,) = connection.execute("SELECT size FROM log").fetchone()
    rows = connection.execute(
        f"SELECT DISTINCT seq FROM openings WHERE seq < ? AND NOT {HELD} LIMIT ?", (size - ring, MAX_DELETED)
    ).fetchall()
    connection.executemany("DELETE FROM openings WHERE seq = ?", rows)
    _delete_unopened(connection, len(rows))
    return len(rows)


def has_unopenable(connection: sqlite3.Connection) -> bool:
    """Say whether :func:`delete_unopenable` would delete anything."""
    return connection.execute(_UNOPENABLE, (1,)).fetchone() is not None


def delete_unopenable(connection: sqlite3.Connection) -> int:
    """Delete openings and inputs of records whose bodies are gone, inside the caller's transaction; return of how many.

    For want of space only: a copy of the body may lie at the gateway, and the input would still open it there. What
    lies in the window of an incident stays.
    """
    rows = connection.execute(_UNOPENABLE, (MAX_DELETED,)).fetchall()
    connection.executemany("DELETE FROM openings WHERE seq = ?", rows)
    _delete_unopened(connection, len(rows))
    return len(rows)


def _delete_unopened(connection: sqlite3.Connection, deleted: int) -> None:
    if deleted:
        connection.execute(
            "DELETE FROM inputs WHERE NOT EXISTS (SELECT 1 FROM openings WHERE openings.file = inputs.digest)"
        )
