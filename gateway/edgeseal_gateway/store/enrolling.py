"""Claim tokens, enrolments under way, and the evidence of those that were accepted (``docs/format.md`` 8.6).

Every function works in the caller's transaction. Tokens stand here as digests only.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass
from typing import Final

NEW: Final = "new"
USED: Final = "used"
REVOKED: Final = "revoked"
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS claim ("
    " digest BLOB PRIMARY KEY, groups TEXT NOT NULL, expires INTEGER NOT NULL, state TEXT NOT NULL, offer BLOB)"
    " STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS enrolling ("
    " offer BLOB PRIMARY KEY, claim BLOB NOT NULL UNIQUE, bytes BLOB NOT NULL, at INTEGER NOT NULL, ask BLOB,"
    " reply BLOB) STRICT, WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS enrolment_evidence ("
    " digest BLOB PRIMARY KEY, log BLOB NOT NULL, name TEXT NOT NULL, ek BLOB, bytes BLOB NOT NULL)"
    " STRICT, WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS enrolment_evidence_name ON enrolment_evidence (name)",
)


@dataclass(frozen=True, slots=True)
class Claim:
    """A claim token by its digest: the groups it may ask for, when it ends (ms), and the offer that used it."""

    digest: bytes
    groups: tuple[str, ...]
    expires_ms: int
    state: str
    offer: bytes | None


@dataclass(frozen=True, slots=True)
class Exchange:
    """An enrolment under way: the device's offer, what the operator asked (None: nothing yet), what came back."""

    offer: bytes
    claim: bytes
    data: bytes
    at_ms: int
    ask: bytes | None
    reply: bytes | None


def prepare(connection: sqlite3.Connection) -> None:
    """Make the tables where they are missing: a store that an earlier release made gets them at the first start."""
    for statement in _TABLES:
        connection.execute(statement)


def add_claim(connection: sqlite3.Connection, digest: bytes, groups: tuple[str, ...], expires_ms: int) -> None:
    """Keep a new claim."""
    connection.execute(
        "INSERT INTO claim VALUES (?, ?, ?, ?, NULL)", (digest, json.dumps(groups), expires_ms, NEW)
    )  # fmt: skip


def forget_expired(connection: sqlite3.Connection, now_ms: int) -> None:
    """Drop claims that ended without having been used."""
    connection.execute("DELETE FROM claim WHERE expires <= ? AND state <> 'used'", (now_ms,))


def claim(connection: sqlite3.Connection, digest: bytes) -> Claim | None:
    """Return the claim of this digest."""
    row = connection.execute("SELECT * FROM claim WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else _claim(row)


def claims(connection: sqlite3.Connection) -> list[Claim]:
    """Return all claims, those that end last first."""
    return [_claim(row) for row in connection.execute("SELECT * FROM claim ORDER BY expires DESC, digest")]


def open_claims(connection: sqlite3.Connection) -> int:
    """Return how many claims are not used: those that were stand for a device each."""
    return int(connection.execute("SELECT count(*) FROM claim WHERE state <> 'used'").fetchone()[0])


def set_claim(connection: sqlite3.Connection, digest: bytes, state: str, offer: bytes | None = None) -> bool:
    """Use up or revoke a claim that is new; say whether it was."""
    changed = connection.execute(
        "UPDATE claim SET state = ?, offer = ? WHERE digest = ? AND state = 'new'", (state, offer, digest)
    )
    return changed.rowcount == 1


def add_exchange(connection: sqlite3.Connection, offer: bytes, claim: bytes, data: bytes, at_ms: int) -> None:
    """Keep an offer; its claim has just been used up for it."""
    connection.execute("INSERT INTO enrolling VALUES (?, ?, ?, ?, NULL, NULL)", (offer, claim, data, at_ms))


def exchange(connection: sqlite3.Connection, offer: bytes) -> Exchange | None:
    """Return the enrolment under way of an offer's digest."""
    row = connection.execute("SELECT * FROM enrolling WHERE offer = ?", (offer,)).fetchone()
    return None if row is None else Exchange(*row)


def exchanges(connection: sqlite3.Connection, limit: int) -> list[Exchange]:
    """Return the newest enrolments under way, and those done."""
    return [Exchange(*row) for row in connection.execute("SELECT * FROM enrolling ORDER BY at DESC LIMIT ?", (limit,))]


def ask(connection: sqlite3.Connection, offer: bytes, data: bytes) -> None:
    """Keep what the operator asks; an earlier question and its answer are forgotten."""
    connection.execute("UPDATE enrolling SET ask = ?, reply = NULL WHERE offer = ?", (data, offer))


def reply(connection: sqlite3.Connection, offer: bytes, data: bytes) -> None:
    """Keep what the device answered, if it was asked and had not answered."""
    connection.execute(
        "UPDATE enrolling SET reply = ? WHERE offer = ? AND ask IS NOT NULL AND reply IS NULL", (data, offer)
    )


def add_evidence(
    connection: sqlite3.Connection, digest: bytes, log: bytes, name: str, ek: bytes | None, data: bytes
) -> None:
    """Keep an accepted transcript; the same one again changes nothing."""
    connection.execute("INSERT OR IGNORE INTO enrolment_evidence VALUES (?, ?, ?, ?, ?)", (digest, log, name, ek, data))


def evidence(connection: sqlite3.Connection, after: bytes, limit: int) -> list[tuple[bytes, bytes]]:
    """Return (digest, transcript) of digests above ``after``, in their order."""
    return list(
        connection.execute(
            "SELECT digest, bytes FROM enrolment_evidence WHERE digest > ? ORDER BY digest LIMIT ?", (after, limit)
        )
    )


def other_tpm(connection: sqlite3.Connection, name: str, ek: bytes | None) -> bool:
    """Say whether a device of this name was enrolled with a TPM that is not the one of ``ek``."""
    row = connection.execute(
        "SELECT 1 FROM enrolment_evidence WHERE name = ? AND ek IS NOT NULL AND ek IS NOT ? LIMIT 1", (name, ek)
    ).fetchone()
    return row is not None


def _claim(row: tuple) -> Claim:  # type: ignore[type-arg]
    return Claim(row[0], tuple(json.loads(row[1])), row[2], row[3], row[4])
