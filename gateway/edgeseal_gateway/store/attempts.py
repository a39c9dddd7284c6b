"""The journal of signed transactions: stored before they are sent, never deleted (``docs/submitter.md``).

All attempts of one nonce share it, so at most one of them is ever mined. Every function works in the caller's
transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from edgeseal_gateway.store.database import LARGEST, get_meta, put_meta

_FLOOR: Final = "nonce_floor"
_STOP: Final = "foreign_nonce"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One signed transaction: its hash, the anchor it carries (0: none, it uses its nonce up), nonce, raw bytes, fees
    in wei a gas, gas limit, wall time in ms when it was stored, the anchored size its proof starts from, wall time when
    a node first had it, and what it cost in wei (None until then).
    """

    hash: bytes
    size: int
    nonce: int
    raw: bytes
    max_fee: int
    tip: int
    gas: int
    at_ms: int
    base: int = 0
    taken_ms: int | None = None
    paid: int | None = None

    @property
    def most(self) -> int:
        """The most it can cost, in wei."""
        return self.max_fee * self.gas


_COLUMNS: Final = "SELECT hash, size, nonce, raw, max_fee, tip, gas, at, base, taken, paid FROM attempt "
_ORDER: Final = " ORDER BY nonce, max_fee, at"


def add(connection: sqlite3.Connection, attempt: Attempt) -> None:
    """Keep one signed transaction. A second one with the same hash is an IntegrityError."""
    connection.execute(
        "INSERT INTO attempt VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, NULL, NULL)",
        (
            attempt.hash, attempt.size, attempt.nonce, attempt.raw, attempt.max_fee, attempt.tip, attempt.gas,
            attempt.at_ms, attempt.base,
        ),
    )  # fmt: skip


def of_anchor(connection: sqlite3.Connection, size: int) -> list[Attempt]:
    """Return every attempt of one anchor, the newest last."""
    return _many(connection, "WHERE size = ?", size)


def of_nonce(connection: sqlite3.Connection, nonce: int) -> list[Attempt]:
    """Return every attempt with one nonce, the newest last."""
    return _many(connection, "WHERE nonce = ?", nonce)


def unmined(connection: sqlite3.Connection, mined_nonces: int) -> list[list[Attempt]]:
    """Return the attempts with nonces the chain has not used, a list for each nonce, rising."""
    found: dict[int, list[Attempt]] = {}
    for one in _many(connection, "WHERE nonce >= ?", mined_nonces):
        found.setdefault(one.nonce, []).append(one)
    return list(found.values())


def since(connection: sqlite3.Connection, at_ms: int) -> list[Attempt]:
    """Return the attempts stored at or after a wall time."""
    return _many(connection, "WHERE at >= ?", at_ms)


def _many(connection: sqlite3.Connection, where: str, *values: int) -> list[Attempt]:
    return [Attempt(*row) for row in connection.execute(_COLUMNS + where + _ORDER, values)]


def taken(connection: sqlite3.Connection, tx: bytes, at_ms: int) -> None:
    """Note that a node has it."""
    connection.execute("UPDATE attempt SET taken = ? WHERE hash = ? AND taken IS NULL", (at_ms, tx))


def paid(connection: sqlite3.Connection, tx: bytes, wei: int | None) -> None:
    """Note what it cost, or that it is in no block any more (None)."""
    connection.execute("UPDATE attempt SET paid = ? WHERE hash = ?", (None if wei is None else min(wei, LARGEST), tx))


def spent(connection: sqlite3.Connection, since_ms: int) -> list[tuple[int, int]]:
    """Return (wall ms of the first attempt since then, wei) for each nonce used since: what it cost, or the most it
    can.
    """
    found: dict[int, tuple[int, int]] = {}
    settled: set[int] = set()
    for one in since(connection, since_ms):
        at_ms, wei = found.get(one.nonce, (one.at_ms, 0))
        if one.paid is not None:
            settled.add(one.nonce)
            wei = one.paid
        elif one.nonce not in settled:
            wei = max(wei, one.most)
        found[one.nonce] = min(at_ms, one.at_ms), wei
    return list(found.values())


def most_in_flight(connection: sqlite3.Connection, mined_nonces: int) -> dict[int, int]:
    """Return nonce → the most wei it can cost, for nonces the chain has not used."""
    return {slot[0].nonce: max(one.most for one in slot) for slot in unmined(connection, mined_nonces)}


def next_nonce(connection: sqlite3.Connection) -> int | None:
    """Return the nonce after every one of ours, None where nothing is known: before the first, or the journal is
    lost.
    """
    row = connection.execute("SELECT max(nonce) FROM attempt").fetchone()
    floor = get_meta(connection, _FLOOR)
    known = [] if row[0] is None else [int(row[0]) + 1]
    if floor is not None:
        known.append(int.from_bytes(floor, "big"))
    return max(known, default=None)


def not_below(connection: sqlite3.Connection, nonce: int) -> None:
    """Use no nonce below ``nonce`` from now on: the chain shows that those are used."""
    if nonce > (next_nonce(connection) or 0) or get_meta(connection, _FLOOR) is None:
        put_meta(connection, _FLOOR, max(nonce, next_nonce(connection) or 0).to_bytes(8, "big"))


def foreign(connection: sqlite3.Connection) -> int | None:
    """Return the nonce that somebody else used with this account's key, None unless that was found and not answered."""
    value = get_meta(connection, _STOP)
    return int.from_bytes(value, "big") if value else None


def note_foreign(connection: sqlite3.Connection, nonce: int | None) -> None:
    """Stop signing since somebody else used ``nonce``, or go on (None)."""
    put_meta(connection, _STOP, b"" if nonce is None else nonce.to_bytes(8, "big"))
