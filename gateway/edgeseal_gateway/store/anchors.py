"""Anchors and the transactions that carry them (``docs/format.md`` 14.1).

An anchor goes ``wanted`` → ``sent`` → ``final``. A transaction is stored, signed, before it is sent; all attempts of an
anchor share one nonce, so that at most one of them is ever mined. Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import InvariantBroken

WANTED: Final = "wanted"
SENT: Final = "sent"
FINAL: Final = "final"


@dataclass(frozen=True, slots=True)
class Anchor:
    """One fleet head on its way to the chain, or there: the rest is None until final. ``evidence`` is CBOR of 14.1."""

    size: int
    state: str
    block: bytes | None
    number: int | None
    tx: bytes | None
    log_index: int | None
    evidence: bytes | None


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction: its hash, the anchor it carries, nonce, raw bytes, fees in wei, gas limit, time first
    stored.
    """

    hash: bytes
    size: int
    nonce: int
    raw: bytes
    max_fee: int
    tip: int
    gas: int
    at_ms: int


_COLUMNS: Final = "SELECT size, state, block, number, tx, log_index, evidence FROM anchor "


def want(connection: sqlite3.Connection, size: int) -> None:
    """Note that the head of ``size`` ends in a snapshot and is to be anchored."""
    connection.execute("INSERT OR IGNORE INTO anchor (size, state) VALUES (?, 'wanted')", (size,))


def open_anchor(connection: sqlite3.Connection) -> Anchor | None:
    """Return the anchor whose transaction is under way: at most one is."""
    return _one(connection, "WHERE state = 'sent'")


def newest_wanted(connection: sqlite3.Connection) -> Anchor | None:
    """Return the largest head that waits to be anchored."""
    return _one(connection, "WHERE state = 'wanted' ORDER BY size DESC LIMIT 1")


def newest_final(connection: sqlite3.Connection) -> Anchor | None:
    """Return the newest final anchor."""
    return _one(connection, "WHERE state = 'final' ORDER BY size DESC LIMIT 1")


def covering(connection: sqlite3.Connection, size: int) -> Anchor | None:
    """Return the smallest final anchor of ``size`` or more."""
    return _one(connection, "WHERE state = 'final' AND size >= ? ORDER BY size LIMIT 1", size)


def final_from(connection: sqlite3.Connection, size: int, limit: int) -> list[Anchor]:
    """Return final anchors of ``size`` or more, rising."""
    rows = connection.execute(_COLUMNS + "WHERE state = 'final' AND size >= ? ORDER BY size LIMIT ?", (size, limit))
    return [Anchor(*row) for row in rows]


def _one(connection: sqlite3.Connection, where: str, *values: int) -> Anchor | None:
    row = connection.execute(_COLUMNS + where, values).fetchone()
    return None if row is None else Anchor(*row)


def start(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Keep the first signed transaction of a wanted anchor, which is open from now on.

    Raises InvariantBroken ``anchor_state`` unless it was wanted: somebody else is sending too.
    """
    _move(connection, attempt.size, WANTED, SENT)
    add_attempt(connection, attempt)


def add_attempt(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Keep one more signed transaction of the open anchor (same nonce, higher fee)."""
    connection.execute(
        "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            attempt.hash,
            attempt.size,
            attempt.nonce,
            attempt.raw,
            attempt.max_fee,
            attempt.tip,
            attempt.gas,
            attempt.at_ms,
        ),
    )


def attempts(connection: sqlite3.Connection, size: int) -> list[Attempt]:
    """Return every attempt of one anchor, the newest last."""
    rows = connection.execute(
        "SELECT hash, size, nonce, raw, max_fee, tip, gas, at FROM attempt WHERE size = ? ORDER BY max_fee, at", (size,)
    )
    return [Attempt(*row) for row in rows]


def next_nonce(connection: sqlite3.Connection) -> int | None:
    """Return the nonce after the largest one ever used, None before the first."""
    row = connection.execute("SELECT max(nonce) FROM attempt").fetchone()
    return None if row[0] is None else int(row[0]) + 1


def finish(
    connection: sqlite3.Connection, size: int, block: bytes, number: int, tx: bytes, log_index: int, evidence: bytes
) -> None:
    """Make an anchor final; smaller ones still wanted are covered by it and dropped."""
    connection.execute("INSERT OR IGNORE INTO anchor (size, state) VALUES (?, 'sent')", (size,))
    connection.execute(
        "UPDATE anchor SET state = 'final', block = ?, number = ?, tx = ?, log_index = ?, evidence = ? WHERE size = ?",
        (block, number, tx, log_index, evidence, size),
    )
    connection.execute("DELETE FROM anchor WHERE size < ? AND state = 'wanted'", (size,))


def give_up(connection: sqlite3.Connection, size: int) -> None:
    """Let the open anchor wait again, without its transactions: they can never be mined any more."""
    connection.execute("DELETE FROM attempt WHERE size = ?", (size,))
    connection.execute("UPDATE anchor SET state = 'wanted' WHERE size = ? AND state = 'sent'", (size,))


def drop(connection: sqlite3.Connection, size: int) -> None:
    """Drop an anchor that is not final: a larger head is on the chain, so this size can never get there."""
    connection.execute("DELETE FROM anchor WHERE size = ? AND state <> 'final'", (size,))


def _move(connection: sqlite3.Connection, size: int, old: str, new: str) -> None:
    done = connection.execute("UPDATE anchor SET state = ? WHERE size = ? AND state = ?", (new, size, old))
    if done.rowcount != 1:
        raise InvariantBroken("anchor_state", f"the anchor of size {size} was not {old}")
