"""The rows of one journal transaction, and the one check that nobody else has written meanwhile."""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from edgeseal import record
from edgeseal.errors import InvariantBroken
from edgeseal.merkle import Frontier

_CHUNKS: Final = (256, 64, 16, 4, 1)
_INSERT: Final = {n: "INSERT INTO records VALUES " + ",".join(["(?,?,?,?)"] * n) for n in _CHUNKS}


class Batch:
    """Rows of one transaction: records are inserted many to a statement, which spares the GIL a round trip for each."""

    def __init__(self, connection: sqlite3.Connection, size: int) -> None:
        self._connection = connection
        self._before = size
        self._rows: list[Any] = []
        self.heads: list[tuple[int, bytes, bytes, bytes]] = []

    def add(self, seq: int, kind: str, made: record.Record) -> None:
        """Add one record."""
        self._rows += (seq, kind, made.header, made.body)

    def flush(self) -> None:
        """Insert the records added so far."""
        rows, start = self._rows, 0
        for count in _CHUNKS:
            width = 4 * count
            while len(rows) - start >= width:
                self._connection.execute(_INSERT[count], rows[start : start + width])
                start += width
        self._rows = []

    def finish(self, frontier: Frontier) -> None:
        """Insert the heads and move the log's size on from what it was when the batch began, or stop everything."""
        if self.heads:
            self._connection.executemany("INSERT INTO heads VALUES (?, ?, ?, ?, NULL)", self.heads)
        if frontier.size == self._before:
            return
        changed = self._connection.execute(
            "UPDATE log SET size = ?, frontier = ? WHERE size = ?",
            (frontier.size, b"".join(frontier.hashes), self._before),
        ).rowcount
        if changed != 1:
            raise InvariantBroken("log_size", f"the store is not at size {self._before}: another writer was here")
