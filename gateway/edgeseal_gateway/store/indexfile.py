"""The index of records: what the history pages ask, in a file of its own that can be deleted and is built again.

It is derived from the store and proves nothing. It may lag behind, and after a power cut lose what it had last, since
it does not wait for the disk; its cursor lags with it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from edgeseal.errors import InvariantBroken
from edgeseal_gateway.store.database import BUSY_SECONDS, named_errors
from edgeseal_gateway.store.schema import INDEX_TABLES, INDEX_VERSION


@dataclass(frozen=True, slots=True)
class Row:
    """One record as the index has it. ``flag`` is a reason code if something is wrong with it; times are ms."""

    dev: int
    seq: int
    kind: str
    t: int
    boot: int
    mono: int
    form: int
    flag: str | None


@dataclass(frozen=True, slots=True)
class Result:
    """What a device did with a command: ``received``, ``refused``, ``done`` or ``failed``, at which record."""

    cmd: bytes
    dev: int
    state: str
    reason: str | None
    seq: int


@dataclass(frozen=True, slots=True)
class Model:
    """The model a device runs, as its newest ``model.activated`` says."""

    dev: int
    seq: int
    package: bytes
    file: bytes
    name: str
    version: str


def open_index(path: Path) -> sqlite3.Connection:
    """Return a connection to the index; one of another version, or one that is none, is begun anew.

    Several threads and processes may open it at once: one begins it, the others find it begun. Raises Unavailable
    ``store_unavailable``.
    """
    with named_errors(), _alone(path):
        connection = _connect(path)
        try:
            version = connection.execute("PRAGMA user_version").fetchone()[0]
        except sqlite3.DatabaseError:
            version = -1
        if version != INDEX_VERSION:
            connection.close()
            _remove(path)
            connection = _connect(path)
            connection.executescript(f"BEGIN; {INDEX_TABLES} PRAGMA user_version={INDEX_VERSION}; COMMIT;")
        return connection


def remove(path: Path) -> None:
    """Remove a damaged index: whoever opens it next begins it anew. Raises Unavailable ``store_unavailable``."""
    with named_errors(), _alone(path):
        _remove(path)


def place(path: Path) -> int | None:
    """Return what tells the file that stands there now from one that stood there before; None where none stands."""
    try:
        return path.stat().st_ino
    except OSError:
        return None


class IndexDamaged(InvariantBroken):
    """The index contradicts itself. It is derived: it is removed and built again."""


@contextlib.contextmanager
def _index_errors() -> Iterator[None]:
    try:
        with named_errors():
            yield
    except InvariantBroken as error:
        raise IndexDamaged("index_damaged", f"the index of records: {error.message}") from error


@contextlib.contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep others from beginning or removing the index meanwhile."""
    lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    path.touch(0o600)
    connection = sqlite3.connect(path, isolation_level=None, timeout=BUSY_SECONDS, check_same_thread=False)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    return connection


def cursor(connection: sqlite3.Connection) -> tuple[int, int]:
    """Return the ids of the last segment and the last patch that were indexed. Raises IndexDamaged, Unavailable."""
    with _index_errors():
        row = connection.execute("SELECT segment, patch FROM cursor").fetchone()
    return int(row[0]), int(row[1])


def put(
    connection: sqlite3.Connection,
    rows: Iterable[Row],
    results: Iterable[Result],
    models: Iterable[Model],
    at: tuple[int, int],
) -> None:
    """Put records in and move the cursor, in one transaction. Raises IndexDamaged, Unavailable."""
    with _index_errors():
        connection.execute("BEGIN IMMEDIATE")
        try:
            connection.executemany(
                "INSERT OR REPLACE INTO record VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                [(r.dev, r.seq, r.kind, r.t, r.boot, r.mono, r.form, r.flag) for r in rows],
            )
            connection.executemany(
                "INSERT INTO result VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET state = excluded.state,"
                " reason = excluded.reason, seq = excluded.seq WHERE excluded.seq > seq",
                [(r.cmd, r.dev, r.state, r.reason, r.seq) for r in results],
            )
            connection.executemany(
                "INSERT INTO model VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET seq = excluded.seq,"
                " package = excluded.package, file = excluded.file, name = excluded.name, version = excluded.version"
                " WHERE excluded.seq > seq",
                [(m.dev, m.seq, m.package, m.file, m.name, m.version) for m in models],
            )
            connection.execute("UPDATE cursor SET segment = ?, patch = ?", at)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def history(connection: sqlite3.Connection, dev: int, start: int, limit: int, kind: str | None) -> list[Row]:
    """Return records of a device from position ``start`` on, of one kind if given, rising."""
    where, values = ("", ()) if kind is None else (" AND kind = ?", (kind,))
    if kind is not None and kind != "inference":
        where += " AND kind <> 'inference'"  # said to SQLite, whose index of kinds leaves these out
    rows = connection.execute(
        f"SELECT dev, seq, kind, t, boot, mono, form, flag FROM record WHERE dev = ? AND seq >= ?{where}"
        " ORDER BY seq LIMIT ?",
        (dev, start, *values, limit),
    )
    return [Row(*row) for row in rows]


def indexed_size(connection: sqlite3.Connection, dev: int) -> int:
    """Return how many records of a device are indexed."""
    row = connection.execute("SELECT max(seq) FROM record WHERE dev = ?", (dev,)).fetchone()
    return 0 if row[0] is None else int(row[0]) + 1


def last_t(connection: sqlite3.Connection, dev: int) -> int | None:
    """Return the wall time in ms that the device's newest record states."""
    row = connection.execute("SELECT t FROM record WHERE dev = ? ORDER BY seq DESC LIMIT 1", (dev,)).fetchone()
    return None if row is None else int(row[0])


def results(connection: sqlite3.Connection, cmd: bytes) -> list[Result]:
    """Return what devices did with a command."""
    rows = connection.execute("SELECT cmd, dev, state, reason, seq FROM result WHERE cmd = ? ORDER BY dev", (cmd,))
    return [Result(*row) for row in rows]


def model(connection: sqlite3.Connection, dev: int) -> Model | None:
    """Return the model a device runs."""
    row = connection.execute(
        "SELECT dev, seq, package, file, name, version FROM model WHERE dev = ?", (dev,)
    ).fetchone()
    return None if row is None else Model(*row)
