"""Subjects of the fleet log as they stand and as each snapshot saw them (``docs/format.md`` section 9).

Every function works in the caller's transaction. A snapshot keeps only the entries that changed since the one before;
the tree of an old snapshot is read back as, for each subject, its newest entry not after it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from edgeseal.snapshot import Entry, SnapshotTree, Subjects, revoked_log
from edgeseal.statements import Statement
from edgeseal.statements.revocation import Revocation


def add(connection: sqlite3.Connection, sequenced: Iterable[tuple[int, Statement]]) -> None:
    """Take sequenced statements, in order, into the entries of their subjects."""
    changed: dict[str, tuple[Entry, int]] = {}
    subjects = Subjects()
    for position, statement in sequenced:
        for sub in _concerned(statement):
            if sub not in subjects.entries:
                found = _entry(connection, sub)
                if found is not None:
                    subjects.entries[sub] = found
        for entry in subjects.add(position, statement):
            changed[entry.sub] = (entry, position)
    connection.executemany(
        "INSERT OR REPLACE INTO subject VALUES (?, ?, ?)",
        [(sub, entry.encode(), position) for sub, (entry, position) in changed.items()],
    )


def _concerned(statement: Statement) -> list[str]:
    subs = [statement.signed.sub]
    content = statement.content
    if isinstance(content, Revocation):
        log = revoked_log(content)
        if log is not None:
            subs.append(log)
    return subs


def _entry(connection: sqlite3.Connection, sub: str) -> Entry | None:
    row = connection.execute("SELECT entry FROM subject WHERE sub = ?", (sub,)).fetchone()
    return None if row is None else Entry.decode(row[0])


def tree_now(connection: sqlite3.Connection) -> SnapshotTree:
    """Return the tree the next snapshot will state."""
    rows = connection.execute("SELECT entry FROM subject")
    return SnapshotTree(Entry.decode(row[0]) for row in rows)


def add_snapshot(connection: sqlite3.Connection, pos: int, tree: SnapshotTree) -> None:
    """Keep what the snapshot at ``pos`` states: its root, its count, the entries changed since the snapshot before."""
    before = connection.execute("SELECT max(pos) FROM snapshot").fetchone()[0]
    connection.execute(
        "INSERT INTO snapshot_entry SELECT sub, ?, entry FROM subject WHERE changed >= ?",
        (pos, 0 if before is None else before),
    )
    connection.execute("INSERT INTO snapshot VALUES (?, ?, ?)", (pos, tree.root, len(tree.entries)))


def tree_at(connection: sqlite3.Connection, pos: int) -> SnapshotTree | None:
    """Return the tree that the snapshot at ``pos`` states, or None when no snapshot stands there."""
    if connection.execute("SELECT 1 FROM snapshot WHERE pos = ?", (pos,)).fetchone() is None:
        return None
    rows = connection.execute(
        "SELECT entry, max(pos) FROM snapshot_entry WHERE pos <= ? GROUP BY sub", (pos,)
    )  # SQLite takes the other columns from the row that has the maximum
    return SnapshotTree(Entry.decode(row[0]) for row in rows)


def snapshots(connection: sqlite3.Connection) -> list[int]:
    """Return the positions of all snapshots, rising."""
    return [row[0] for row in connection.execute("SELECT pos FROM snapshot ORDER BY pos")]
