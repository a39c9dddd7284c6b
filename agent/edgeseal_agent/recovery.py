"""What every start checks before a record is added: the store is whole, and its tail hashes to the tree it claims.

Bounded work: only the records after the newest head are read, at most as many as lie between two heads.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass

from edgeseal.merkle import Frontier, leaf_hash
from edgeseal_agent.journal import CLOSED, log_closed
from edgeseal_agent.store import Store, damaged, set_meta, split_hashes, store_error


@dataclass(frozen=True, slots=True)
class Start:
    """What a start found: the boot number it now owns, and whether the run before left cleanly."""

    boot: int
    clean: bool
    size: int


def check(store: Store) -> int:
    """Return the log's size once the tail of the store is shown to be whole.

    Raises:
        InvariantBroken: ``store_damaged``, with what does not fit. Unavailable: the disk.
    """
    try:
        with closing(store.reader()) as connection:
            return _check(connection)
    except sqlite3.Error as error:
        raise store_error(error) from error


def _check(connection: sqlite3.Connection) -> int:
    connection.execute("BEGIN")  # one snapshot, so that a running agent may go on writing
    size: int
    size, stored = connection.execute("SELECT size, frontier FROM log").fetchone()
    highest, count = connection.execute("SELECT coalesce(max(seq) + 1, 0), count(*) FROM records").fetchone()
    if not size == highest == count:
        raise damaged(f"the log has size {size}, the store {count} records up to {highest}")
    head = connection.execute("SELECT size, root, frontier FROM heads ORDER BY size DESC LIMIT 1").fetchone()
    frontier = Frontier() if head is None else Frontier(head[0], split_hashes(head[2]))
    if head is not None and frontier.root() != head[1]:
        raise damaged(f"the head of size {head[0]} and its tree differ")
    for (header,) in connection.execute("SELECT header FROM records WHERE seq >= ? ORDER BY seq", (frontier.size,)):
        frontier.append(leaf_hash(header))
    if frontier.size != size or b"".join(frontier.hashes) != stored:
        raise damaged(f"the records after the newest head do not hash to the tree of size {size}")
    return size


def begin(store: Store) -> Start:
    """Check the store, take the next boot number and make it durable before any record carries it.

    A crash after this leaves a boot number unused, which is allowed: they rise, they need not be dense.

    Raises:
        UsageError: ``log_closed`` when the log was ended. InvariantBroken: as :func:`check`. Unavailable: the disk.
    """
    store.settle()
    # Durable: everything that is read from here on, whatever became of an earlier process's syncs.
    size = check(store)
    try:
        with closing(store.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            last = connection.execute("SELECT kind FROM records ORDER BY seq DESC LIMIT 1").fetchone()
            (boot,) = connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()
            if last is not None and last[0] == CLOSED:
                connection.execute("ROLLBACK")
                raise log_closed()
            set_meta(connection, "boot", boot + 1)
            connection.execute("COMMIT")
    except sqlite3.Error as error:
        raise store_error(error) from error
    return Start(boot + 1, last is not None and last[0] in ("shutdown", "key.bound"), size)
