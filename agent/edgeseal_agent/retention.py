"""How long inputs and openings are kept: until their floor has passed and a final receipt covers their record."""

from __future__ import annotations

import sqlite3
from typing import Final

from edgeseal.record import Header
from edgeseal_agent import outbox

DAY_MS: Final = 86_400_000
MAX_DELETED: Final = 10_000
"""Records whose openings one pass deletes, so that the journal is not held up."""


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
    held = "EXISTS (SELECT 1 FROM incidents WHERE start <= seq AND (stop IS NULL OR seq < stop))"
    kept = f"SELECT DISTINCT seq FROM openings WHERE seq < ? AND NOT {held} ORDER BY seq LIMIT ?"
    rows = connection.execute(f"SELECT seq, header FROM records WHERE seq IN ({kept})", (covered, MAX_DELETED))
    old = [(seq,) for seq, header in rows if is_old(Header.decode(header), before)]
    connection.executemany("DELETE FROM openings WHERE seq = ?", old)
    if old:
        connection.execute(
            "DELETE FROM inputs WHERE NOT EXISTS (SELECT 1 FROM openings WHERE openings.file = inputs.digest)"
        )
    return len(old)
