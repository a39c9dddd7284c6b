"""What the next segment is, while the sealer goes on signing."""

from __future__ import annotations

import sqlite3
from typing import Any

import pytest

from edgeseal import limits
from edgeseal.errors import InvariantBroken
from edgeseal_agent import outbox


class SignedMeanwhile:
    """A connection on which a head is signed right after each look."""

    def __init__(self, size: int) -> None:
        self.real = sqlite3.connect(":memory:")
        self.real.execute("CREATE TABLE heads (size INTEGER PRIMARY KEY, signed BLOB)")
        self.real.execute("CREATE TABLE records (seq INTEGER PRIMARY KEY, header BLOB, body BLOB)")
        self.real.execute("CREATE TABLE stripped (start, stop, reason, done)")
        self.size = size

    def execute(self, statement: str, values: tuple[Any, ...] = ()) -> Any:
        found = self.real.execute(statement, values).fetchall()
        self.real.execute("INSERT OR REPLACE INTO heads VALUES (?, x'00')", (self.size,))
        return _Rows(found)


class _Rows(list[Any]):
    def fetchall(self) -> list[Any]:
        return list(self)

    def fetchone(self) -> Any:
        return self[0] if self else None


def test_a_head_that_is_signed_between_two_looks_is_no_broken_invariant() -> None:
    connection: Any = SignedMeanwhile(5)
    assert outbox.next_segment(connection, bytes(32), 2) is None


def test_a_head_too_far_away_is_one() -> None:
    connection: Any = SignedMeanwhile(2 + limits.MAX_SEGMENT_ITEMS + 1)
    assert outbox.next_segment(connection, bytes(32), 2) is None
    with pytest.raises(InvariantBroken, match="segment_limits"):
        outbox.next_segment(connection, bytes(32), 2)
