"""What operators hand in: statements that wait for their place, commands' openings, keys that ended, packages.

Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edgeseal import statements
from edgeseal.statements import Statement
from edgeseal.statements.revocation import Revocation
from edgeseal_gateway.store import fleetlog


@dataclass(frozen=True, slots=True)
class Opening:
    """A command's digest, id and opening: the salt and the bytes of its argument map."""

    digest: bytes
    id: bytes
    sub: str
    salt: bytes
    args: bytes


def add_pending(connection: sqlite3.Connection, statement: Statement) -> None:
    """Queue an operator's statement for the fleet log."""
    connection.execute(
        "INSERT INTO pending (same, digest, typ, sub, statement) VALUES (?, ?, ?, ?, ?)",
        (fleetlog.same_digest(statement.signed), statement.digest, statement.name, statement.signed.sub,
         statement.signed.raw),
    )  # fmt: skip


def drop_pending(connection: sqlite3.Connection, ids: list[int]) -> None:
    """Take statements out of the queue, because they stand in the log now or never will."""
    connection.executemany("DELETE FROM pending WHERE id = ?", [(one,) for one in ids])


def find_pending(connection: sqlite3.Connection, same: bytes) -> tuple[bytes, bytes] | None:
    """Return (digest, statement) of the queued statement that is the same in the sense of format 1.4."""
    row = connection.execute("SELECT digest, statement FROM pending WHERE same = ?", (same,)).fetchone()
    return None if row is None else (row[0], row[1])


def pending_by_digest(connection: sqlite3.Connection, digest: bytes) -> tuple[str, str, bytes] | None:
    """Return (typ, sub, statement) of the queued statement with this digest."""
    row = connection.execute("SELECT typ, sub, statement FROM pending WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else (row[0], row[1], row[2])


def last_pending(connection: sqlite3.Connection, sub: str, typ: str) -> tuple[bytes, bytes] | None:
    """Return (digest, statement) of the newest queued statement with this subject and typ."""
    row = connection.execute(
        "SELECT digest, statement FROM pending WHERE sub = ? AND typ = ? ORDER BY id DESC LIMIT 1", (sub, typ)
    ).fetchone()
    return None if row is None else (row[0], row[1])


def add_opening(connection: sqlite3.Connection, opening: Opening) -> None:
    """Keep a command's opening, which travels beside it."""
    connection.execute(
        "INSERT INTO command VALUES (?, ?, ?, ?, ?)",
        (opening.digest, opening.id, opening.sub, opening.salt, opening.args),
    )


def opening(connection: sqlite3.Connection, digest: bytes) -> Opening | None:
    """Return the opening of the command with this digest."""
    row = connection.execute("SELECT digest, id, sub, salt, args FROM command WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else Opening(*row)


def id_used(connection: sqlite3.Connection, command_id: bytes) -> bool:
    """Tell whether a command with this random id was handed in before."""
    return connection.execute("SELECT 1 FROM command WHERE id = ?", (command_id,)).fetchone() is not None


def set_revoked(connection: sqlite3.Connection, kid: bytes, role: str, until: int, source: str) -> None:
    """Note that a key ended at ``until``; a lower ``until`` replaces a higher one, and the registry's word stays."""
    connection.execute(
        "INSERT INTO revoked VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET until = min(until, excluded.until),"
        " role = excluded.role, source = CASE WHEN source = 'registry' THEN source ELSE excluded.source END",
        (kid, role, until, source),
    )
    connection.execute(
        "UPDATE device SET before = state, state = 'revoked' WHERE kid = ? AND state <> 'revoked'", (kid,)
    )


def end_by_registry(connection: sqlite3.Connection, kid: bytes, role: str, until: int) -> None:
    """Note that a key ended at ``until`` because the registry says so, whatever was known before."""
    connection.execute("INSERT OR REPLACE INTO revoked VALUES (?, ?, ?, 'registry')", (kid, role, until))
    connection.execute(
        "UPDATE device SET before = state, state = 'revoked' WHERE kid = ? AND state <> 'revoked'", (kid,)
    )


def take_back(connection: sqlite3.Connection, kid: bytes, statement: bytes | None) -> None:
    """Undo what the registry had said of a key, as if it had not; the revocation ``statement`` of the fleet log, if
    there is one, counts on.
    """
    row = connection.execute("SELECT source FROM revoked WHERE kid = ?", (kid,)).fetchone()
    if row is None or row[0] != "registry":
        return
    connection.execute("DELETE FROM revoked WHERE kid = ?", (kid,))
    if statement is None:
        connection.execute("UPDATE device SET state = before WHERE kid = ? AND state = 'revoked'", (kid,))
        return
    content = statements.decode(statement).content
    assert isinstance(content, Revocation)
    revoke_by(connection, content)


def reinstate(connection: sqlite3.Connection, kid: bytes) -> None:
    """Let a key count again from now on, because the registry says so."""
    connection.execute("DELETE FROM revoked WHERE kid = ? AND source = 'registry'", (kid,))
    connection.execute("UPDATE device SET state = before WHERE kid = ? AND state = 'revoked'", (kid,))


def revoke_by(connection: sqlite3.Connection, content: Revocation) -> None:
    """Apply a sequenced revocation statement."""
    set_revoked(connection, content.kid, content.role, content.until, "statement")


def revoked(connection: sqlite3.Connection) -> list[tuple[bytes, str, int, str]]:
    """Return (kid, role, until, source) of every key that ended."""
    return list(connection.execute("SELECT kid, role, until, source FROM revoked ORDER BY kid"))


def is_revoked(connection: sqlite3.Connection, kid: bytes) -> bool:
    """Tell whether a key ended."""
    return connection.execute("SELECT 1 FROM revoked WHERE kid = ?", (kid,)).fetchone() is not None


def add_package(connection: sqlite3.Connection, digest: bytes, name: str, version: str, size: int) -> None:
    """Note a package whose archive is on disk."""
    connection.execute("INSERT OR REPLACE INTO package VALUES (?, ?, ?, ?)", (digest, name, version, size))


def packages(connection: sqlite3.Connection) -> list[tuple[bytes, str, str, int]]:
    """Return (digest, name, version, bytes) of every package."""
    return list(connection.execute("SELECT digest, name, version, bytes FROM package ORDER BY name, version, digest"))
