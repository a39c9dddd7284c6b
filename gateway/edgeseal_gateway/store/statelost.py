"""Blocks whose chain state can be had no more, and how many wait for theirs, for status.

Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from edgeseal_gateway.store.database import get_meta, put_meta
from edgeseal_gateway.store.statekeep import WAITING

_LOST: Final = "state_lost"
"""Under which name the newest note of a block that goes without is kept: its number (8 bytes), then the reason."""


def give_up(connection: sqlite3.Connection, block: bytes, number: int, reason: str) -> None:
    """Note that the state after a block can be had no more, and why; of several the newest note is kept."""
    connection.execute("INSERT OR IGNORE INTO state_block VALUES (?, ?, NULL)", (block, number))
    put_meta(connection, _LOST, number.to_bytes(8, "big") + reason.encode())


def summary(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return how many blocks have proofs, wait for them or go without, and the newest note of why, None for none."""
    kept, lost = connection.execute("SELECT count(evidence), count(*) - count(evidence) FROM state_block").fetchone()
    (pending,) = connection.execute(f"SELECT count(*) FROM anchor {WAITING}").fetchone()
    note = get_meta(connection, _LOST)
    newest = None if note is None else {"block": int.from_bytes(note[:8], "big"), "reason": note[8:].decode()}
    return {"kept": kept, "pending": pending, "lost": lost, "newest_lost": newest}
