"""What the registries on chain said, event by event, each with its block: the mirror's rows.

Nothing is derived here: what a key, a scope or a grant is worth is folded from these rows whenever it is asked, so a
block that is replaced takes all its consequences along with its rows. Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import cbor

TABLES: Final = """
-- Registry events as the chain told them (chain/follow.py), and blocks by which a replaced chain is noticed.
CREATE TABLE mirrored (
    number INTEGER, log_index INTEGER, block BLOB NOT NULL, time INTEGER NOT NULL, event TEXT NOT NULL,
    subject BLOB NOT NULL, object BLOB NOT NULL, fields BLOB NOT NULL, PRIMARY KEY (number, log_index))
    STRICT, WITHOUT ROWID;
CREATE INDEX mirrored_subject ON mirrored (subject);
CREATE INDEX mirrored_event ON mirrored (event, object);
CREATE TABLE mirror_block (number INTEGER PRIMARY KEY, hash BLOB NOT NULL, time INTEGER NOT NULL) STRICT;
"""
MAX_FIELDS: Final = 4_096


@dataclass(frozen=True, slots=True)
class Row:
    """One event: block number, index in the block, block hash, block time (Unix seconds, 0 where nobody asks for it).

    ``subject`` is what the event is about (kid, command digest, artifact, or line and version), ``object`` what else it
    is looked up by (role, audience, artifact); empty where there is none.
    """

    number: int
    log_index: int
    block: bytes
    time: int
    event: str
    subject: bytes
    object: bytes
    fields: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Block:
    """A block the mirror has read up to: number, hash, time in Unix seconds."""

    number: int
    hash: bytes
    time: int


def version_of(line: bytes, version: int) -> bytes:
    """Return the subject under which a version of a model line stands: line (32) ‖ version (8)."""
    return line + version.to_bytes(8, "big")


def add(connection: sqlite3.Connection, rows: Iterable[Row]) -> None:
    """Keep events; those that are kept already stay as they are."""
    connection.executemany(
        "INSERT OR IGNORE INTO mirrored VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (row.number, row.log_index, row.block, row.time, row.event, row.subject, row.object,
             cbor.encode(row.fields))
            for row in rows
        ],
    )  # fmt: skip


def roll_back(connection: sqlite3.Connection, above: int) -> set[bytes]:
    """Drop every row and block above block number ``above``; return the subjects that lost a row."""
    lost = {row[0] for row in connection.execute("SELECT DISTINCT subject FROM mirrored WHERE number > ?", (above,))}
    connection.execute("DELETE FROM mirrored WHERE number > ?", (above,))
    connection.execute("DELETE FROM mirror_block WHERE number > ?", (above,))
    return lost


def note_blocks(connection: sqlite3.Connection, blocks: Iterable[Block], final: int) -> None:
    """Keep blocks to compare with later; of those at or below the final one, only the highest stays."""
    connection.executemany(
        "INSERT OR REPLACE INTO mirror_block VALUES (?, ?, ?)", [(one.number, one.hash, one.time) for one in blocks]
    )
    connection.execute(
        "DELETE FROM mirror_block WHERE number < (SELECT max(number) FROM mirror_block WHERE number <= ?)", (final,)
    )


def blocks(connection: sqlite3.Connection) -> list[Block]:
    """Return the blocks kept, the highest first."""
    return [Block(*row) for row in connection.execute("SELECT * FROM mirror_block ORDER BY number DESC")]


def tip(connection: sqlite3.Connection) -> Block | None:
    """Return the block the mirror stands at, None before its first look."""
    row = connection.execute("SELECT * FROM mirror_block ORDER BY number DESC LIMIT 1").fetchone()
    return None if row is None else Block(*row)


_ROW: Final = "SELECT number, log_index, block, time, event, subject, object, fields FROM mirrored "


def about(connection: sqlite3.Connection, subject: bytes) -> list[Row]:
    """Return the events about ``subject`` in the chain's order."""
    return _rows(connection.execute(_ROW + "WHERE subject = ? ORDER BY number, log_index", (subject,)))


def of(connection: sqlite3.Connection, event: str, object_: bytes) -> list[Row]:
    """Return the events of this name with this object in the chain's order."""
    return _rows(
        connection.execute(_ROW + "WHERE event = ? AND object = ? ORDER BY number, log_index", (event, object_))
    )


def holds(connection: sqlite3.Connection, event: str, object_: bytes | None = None) -> bool:
    """Tell whether there is any event of this name (with this object)."""
    if object_ is None:
        found = connection.execute("SELECT 1 FROM mirrored WHERE event = ? LIMIT 1", (event,))
    else:
        found = connection.execute("SELECT 1 FROM mirrored WHERE event = ? AND object = ? LIMIT 1", (event, object_))
    return found.fetchone() is not None


def newest(connection: sqlite3.Connection, event: str, limit: int) -> list[Row]:
    """Return the newest events of this name, the newest first."""
    found = connection.execute(_ROW + "WHERE event = ? ORDER BY number DESC, log_index DESC LIMIT ?", (event, limit))
    return _rows(found)


def counts(connection: sqlite3.Connection) -> dict[str, int]:
    """Return event name → number of events kept."""
    return dict(connection.execute("SELECT event, count(*) FROM mirrored GROUP BY event ORDER BY event"))


def _rows(found: Iterator[Any]) -> list[Row]:
    return [
        Row(number, index, block, time, event, subject, object_, cbor.decode(kept, max_size=MAX_FIELDS))
        for number, index, block, time, event, subject, object_, kept in found
    ]
