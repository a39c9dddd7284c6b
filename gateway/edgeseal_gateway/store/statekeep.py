"""Chain state that is kept with its proofs: accounts by block, trie nodes by hash (``docs/format.md`` 14.2, 14.3).

A trie node is kept once, whatever blocks it is part of the state of: of a contract that did not change nothing is kept
anew. Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Mapping
from typing import Final

TABLES: Final = """
-- Accounts of the contracts after a block (format 14.2), NULL where no node has that state any more; the trie nodes
-- below them by hash; and which slots are proved under which storage root.
CREATE TABLE state_block (block BLOB PRIMARY KEY, number INTEGER NOT NULL, evidence BLOB) STRICT, WITHOUT ROWID;
CREATE TABLE state_node (hash BLOB PRIMARY KEY, node BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE state_slot (root BLOB, slot BLOB, PRIMARY KEY (root, slot)) STRICT, WITHOUT ROWID;
"""
WAITING: Final = """
WHERE block IS NOT NULL AND state IN ('mined', 'confirmed', 'final') AND block NOT IN (SELECT block FROM state_block)
"""
"""Anchors that stand in a block, final or not, whose state was neither kept nor given up."""


def keep(
    connection: sqlite3.Connection, block: bytes, number: int, evidence: bytes, nodes: Mapping[bytes, bytes],
    slots: Mapping[bytes, Iterable[bytes]],
) -> None:  # fmt: skip
    """Keep a block's accounts, the nodes read for it, and by storage root the slots they prove."""
    connection.executemany("INSERT OR IGNORE INTO state_node VALUES (?, ?)", nodes.items())
    pairs = ((root, slot) for root, found in slots.items() for slot in found)
    connection.executemany("INSERT OR IGNORE INTO state_slot VALUES (?, ?)", pairs)
    connection.execute("INSERT OR REPLACE INTO state_block VALUES (?, ?, ?)", (block, number, evidence))


def standing(connection: sqlite3.Connection, block: bytes) -> str:
    """Return ``kept``, ``lost`` (given up) or ``pending`` for a block."""
    row = connection.execute("SELECT evidence IS NULL FROM state_block WHERE block = ?", (block,)).fetchone()
    return "pending" if row is None else "lost" if row[0] else "kept"


def waiting(connection: sqlite3.Connection, limit: int) -> list[tuple[bytes, int]]:
    """Return (block, number) of anchors that stand in a block, final or not, whose state was neither kept nor given up:
    the newest first.
    """
    found = connection.execute(f"SELECT block, number FROM anchor {WAITING} ORDER BY size DESC LIMIT ?", (limit,))
    return [(row[0], row[1]) for row in found]


def accounts(connection: sqlite3.Connection, number: int, limit: int) -> list[bytes]:
    """Return the account evidence of final anchors' blocks from block ``number`` on, rising."""
    found = connection.execute(
        "SELECT evidence FROM state_block WHERE evidence IS NOT NULL AND number >= ?"
        " AND block IN (SELECT block FROM anchor WHERE state = 'final') ORDER BY number LIMIT ?",
        (number, limit),
    )
    return [row[0] for row in found]


def slots(connection: sqlite3.Connection, root: bytes, start: bytes, limit: int) -> list[bytes]:
    """Return the slots proved under a storage root, from ``start`` on, rising."""
    found = connection.execute(
        "SELECT slot FROM state_slot WHERE root = ? AND slot >= ? ORDER BY slot LIMIT ?", (root, start, limit)
    )
    return [row[0] for row in found]


def node(connection: sqlite3.Connection, digest: bytes) -> bytes | None:
    """Return the trie node with this hash, None where it is not kept."""
    row = connection.execute("SELECT node FROM state_node WHERE hash = ?", (digest,)).fetchone()
    return None if row is None else bytes(row[0])


def logged_audiences(connection: sqlite3.Connection) -> list[bytes]:
    """Return the audiences of the commands that the mirror saw logged on chain, sorted."""
    found = connection.execute(
        "SELECT DISTINCT object FROM mirrored WHERE event IN ('CommandLogged', 'HaltLogged') ORDER BY object"
    )
    return [row[0] for row in found]
