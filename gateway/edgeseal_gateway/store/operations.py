"""What people did by hand: asked for, carried out or refused, with time and words, and never deleted.

Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import UsageError

TABLES: Final = """
-- What was asked for by hand, and what came of it: asked -> done or refused. An audit trail: nothing deletes from it.
CREATE TABLE operation (
    id INTEGER PRIMARY KEY, at INTEGER NOT NULL, what TEXT NOT NULL, target INTEGER, words TEXT NOT NULL,
    state TEXT NOT NULL, done_at INTEGER, outcome TEXT) STRICT;
CREATE INDEX operation_asked ON operation (id) WHERE state = 'asked';
"""

FLUSH, CANCEL, ABANDON, RESUME, RELOAD = "flush", "cancel", "abandon", "resume", "reload"
ASKED, DONE, REFUSED = "asked", "done", "refused"
MAX_ASKED: Final = 64
"""Operations that wait at one time: more are refused, so that nobody fills the store with them."""
MAX_WORDS: Final = 400


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``target``: the nonce or the fleet size it is about, None where it is about neither; times are
    wall ms; ``words`` are who asked for it and why, ``outcome`` what came of it.
    """

    id: int
    at_ms: int
    what: str
    target: int | None
    words: str
    state: str
    done_at_ms: int | None
    outcome: str | None


_COLUMNS: Final = "SELECT id, at, what, target, words, state, done_at, outcome FROM operation "


def ask(connection: sqlite3.Connection, what: str, target: int | None, words: str, at_ms: int) -> int:
    """Note that an operation was asked for, and return its number.

    Raises UsageError ``operation_words`` (none, or too many) or ``operations_waiting`` (MAX_ASKED of them).
    """
    if not words.strip() or len(words) > MAX_WORDS or not words.isprintable():
        raise UsageError(
            "operation_words", f"words: 1 to {MAX_WORDS} printable characters", "say who asks for it and why"
        )
    if connection.execute("SELECT count(*) FROM operation WHERE state = ?", (ASKED,)).fetchone()[0] >= MAX_ASKED:
        raise UsageError("operations_waiting", f"{MAX_ASKED} operations wait already", "see what `status` complains of")
    done = connection.execute(
        "INSERT INTO operation (at, what, target, words, state) VALUES (?, ?, ?, ?, ?)",
        (at_ms, what, target, words, ASKED),
    )
    assert done.lastrowid is not None
    return done.lastrowid


def asked(connection: sqlite3.Connection) -> list[Operation]:
    """Return the operations that wait, the oldest first."""
    return [Operation(*row) for row in connection.execute(_COLUMNS + "WHERE state = ? ORDER BY id", (ASKED,))]


def finish(connection: sqlite3.Connection, number: int, state: str, outcome: str, at_ms: int) -> None:
    """Note what came of an operation that waited; one that was finished before stays as it is."""
    connection.execute(
        "UPDATE operation SET state = ?, outcome = ?, done_at = ? WHERE id = ? AND state = ?",
        (state, outcome[:MAX_WORDS], at_ms, number, ASKED),
    )


def note(connection: sqlite3.Connection, what: str, words: str, outcome: str, at_ms: int) -> None:
    """Note an operation that was carried out as it was asked for."""
    connection.execute(
        "INSERT INTO operation (at, what, words, state, done_at, outcome) VALUES (?, ?, ?, ?, ?, ?)",
        (at_ms, what, words, DONE, at_ms, outcome[:MAX_WORDS]),
    )


def every(connection: sqlite3.Connection, start: int, limit: int) -> list[Operation]:
    """Return operations from number ``start`` on, rising."""
    rows = connection.execute(_COLUMNS + "WHERE id >= ? ORDER BY id LIMIT ?", (start, limit))
    return [Operation(*row) for row in rows]
