"""Anchors, and where each stands (``docs/submitter.md``): queued → prepared → sent → mined → confirmed → final.

Aside: ``blocked_funds`` waits for money, ``reverted`` was mined and failed. A size is anchored once: it is the table's
key, and the store is of one fleet log on one chain. Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import InvariantBroken

QUEUED: Final = "queued"
BLOCKED_FUNDS: Final = "blocked_funds"
PREPARED: Final = "prepared"
SENT: Final = "sent"
MINED: Final = "mined"
CONFIRMED: Final = "confirmed"
FINAL: Final = "final"
REVERTED: Final = "reverted"
PENDING: Final = "PENDING"
MAX_UNFINAL: Final = 16
"""Anchors in flight: with so many not final no further one is begun, and the open batch grows."""
_WAITING: Final = (QUEUED, BLOCKED_FUNDS)
_UNDER_WAY: Final = (PREPARED, SENT, MINED, REVERTED)
_SETTLED: Final = (CONFIRMED, FINAL)


@dataclass(frozen=True, slots=True)
class Anchor:
    """One fleet head on its way to the chain, or there. ``block``, ``number``, ``tx``, ``log_index`` say where it was
    last found, None while it is in no block; ``evidence`` is CBOR of 14.1, None until final; ``since_ms`` is wall time.
    """

    size: int
    state: str
    block: bytes | None
    number: int | None
    tx: bytes | None
    log_index: int | None
    evidence: bytes | None
    since_ms: int | None = None


_COLUMNS: Final = "SELECT size, state, block, number, tx, log_index, evidence, since FROM anchor "


def want(connection: sqlite3.Connection, size: int) -> None:
    """Note that the head of ``size`` ends in a snapshot and is to be anchored."""
    connection.execute("INSERT OR IGNORE INTO anchor (size, state) VALUES (?, ?)", (size, QUEUED))


def find(connection: sqlite3.Connection, size: int) -> Anchor | None:
    """Return the anchor of just this size."""
    return _one(connection, "WHERE size = ?", size)


def open_anchor(connection: sqlite3.Connection) -> Anchor | None:
    """Return the newest anchor that was signed and is neither confirmed nor final: it stands in the way of the next."""
    return _one(connection, f"WHERE state IN {_UNDER_WAY} ORDER BY size DESC LIMIT 1")


def newest_wanted(connection: sqlite3.Connection) -> Anchor | None:
    """Return the largest head that waits to be anchored."""
    return _one(connection, f"WHERE state IN {_WAITING} ORDER BY size DESC LIMIT 1")


def newest_final(connection: sqlite3.Connection) -> Anchor | None:
    """Return the newest final anchor."""
    return _one(connection, "WHERE state = 'final' ORDER BY size DESC LIMIT 1")


def newest_settled(connection: sqlite3.Connection) -> Anchor | None:
    """Return the newest anchor that is confirmed or final. A confirmed one may be taken back by a reorganisation."""
    return _one(connection, f"WHERE state IN {_SETTLED} ORDER BY size DESC LIMIT 1")


def covering(connection: sqlite3.Connection, size: int) -> Anchor | None:
    """Return the smallest final anchor of ``size`` or more."""
    return _one(connection, "WHERE state = 'final' AND size >= ? ORDER BY size LIMIT 1", size)


def final_from(connection: sqlite3.Connection, size: int, limit: int) -> list[Anchor]:
    """Return final anchors of ``size`` or more, rising."""
    return _many(connection, "WHERE state = 'final' AND size >= ? ORDER BY size LIMIT ?", size, limit)


def confirmed(connection: sqlite3.Connection) -> list[Anchor]:
    """Return the anchors that are confirmed and not final, rising."""
    return _many(connection, "WHERE state = 'confirmed' ORDER BY size")


def in_flight(connection: sqlite3.Connection) -> list[Anchor]:
    """Return the anchors that were signed, or found on the chain, and are not final, rising."""
    return _many(connection, f"WHERE state IN {(*_UNDER_WAY, CONFIRMED)} ORDER BY size")


def on_chain(connection: sqlite3.Connection, sizes: Iterable[int]) -> set[int]:
    """Return those of ``sizes`` whose anchors were found in a block, final or not."""
    found = (find(connection, size) for size in sizes)
    return {one.size for one in found if one is not None and one.tx is not None}


def finality(connection: sqlite3.Connection, size: int) -> str:
    """Return how certain it is that the chain holds a head of ``size`` leaves or more: ``PENDING``, ``CONFIRMED`` (so
    deep that few reorganisations reach it) or ``FINAL`` (the chain's own word, or depth where the chain has none).
    """
    for state in (FINAL, CONFIRMED):  # one look each: over both the index would sort all there ever were
        query = "SELECT 1 FROM anchor WHERE state = ? AND size >= ? LIMIT 1"
        if connection.execute(query, (state, size)).fetchone() is not None:
            return state.upper()
    return PENDING


def _one(connection: sqlite3.Connection, where: str, *values: int) -> Anchor | None:
    row = connection.execute(_COLUMNS + where, values).fetchone()
    return None if row is None else Anchor(*row)


def _many(connection: sqlite3.Connection, where: str, *values: int) -> list[Anchor]:
    return [Anchor(*row) for row in connection.execute(_COLUMNS + where, values)]


def first_seen(connection: sqlite3.Connection, size: int, at_ms: int) -> None:
    """Note when the sender first looked at an anchor."""
    connection.execute("UPDATE anchor SET since = ? WHERE size = ? AND since IS NULL", (at_ms, size))


def move(connection: sqlite3.Connection, size: int, old: Iterable[str], new: str) -> None:
    """Put an anchor that is in one of the states ``old`` into ``new``.

    Raises InvariantBroken ``anchor_state`` where it is in none of them: somebody else is sending too.
    """
    states = tuple(old)
    marks = ", ".join("?" * len(states))
    done = connection.execute(
        f"UPDATE anchor SET state = ? WHERE size = ? AND state IN ({marks})", (new, size, *states)
    )
    if done.rowcount != 1:
        raise InvariantBroken("anchor_state", f"the anchor of size {size} was not {' or '.join(states)}")


def found(
    connection: sqlite3.Connection, size: int, state: str, block: bytes, number: int, tx: bytes, log_index: int | None
) -> None:
    """Note in which block an anchor that is not final was found, and what that makes of it. Heads smaller than a
    confirmed one that still wait are dropped: they can never get there.
    """
    connection.execute("INSERT OR IGNORE INTO anchor (size, state) VALUES (?, ?)", (size, state))
    connection.execute(
        "UPDATE anchor SET state = ?, block = ?, number = ?, tx = ?, log_index = ? WHERE size = ? AND state <> 'final'",
        (state, block, number, tx, log_index, size),
    )
    if state == CONFIRMED:
        _drop_smaller(connection, size)


def finish(
    connection: sqlite3.Connection, size: int, block: bytes, number: int, tx: bytes, log_index: int, evidence: bytes
) -> None:
    """Make an anchor final; smaller ones still waiting are covered by it and dropped."""
    connection.execute("INSERT OR IGNORE INTO anchor (size, state) VALUES (?, 'mined')", (size,))
    connection.execute(
        "UPDATE anchor SET state = 'final', block = ?, number = ?, tx = ?, log_index = ?, evidence = ? WHERE size = ?",
        (block, number, tx, log_index, evidence, size),
    )
    _drop_smaller(connection, size)


def lost(connection: sqlite3.Connection, size: int, state: str) -> None:
    """Put an anchor back that is in no block any more, or in another one: what came of the block is cleared."""
    connection.execute(
        "UPDATE anchor SET state = ?, block = NULL, number = NULL, tx = NULL, log_index = NULL, evidence = NULL"
        " WHERE size = ? AND state <> 'final'",
        (state, size),
    )


def drop(connection: sqlite3.Connection, size: int) -> None:
    """Drop an anchor that is not final: a larger head is on the chain, or a person gave it up."""
    connection.execute("DELETE FROM anchor WHERE size = ? AND state <> 'final'", (size,))


def drop_waiting(connection: sqlite3.Connection, size: int) -> None:
    """Drop the heads of at most ``size`` that wait: the chain holds that size and takes only larger ones."""
    _drop_smaller(connection, size + 1)


def _drop_smaller(connection: sqlite3.Connection, size: int) -> None:
    connection.execute(f"DELETE FROM anchor WHERE size < ? AND state IN {_WAITING}", (size,))
