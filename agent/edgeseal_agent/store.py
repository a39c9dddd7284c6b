"""The device's store: one SQLite file, its schema, and how it is created and opened.

Write-ahead log with ``synchronous=FULL``: a transaction is on the disk when COMMIT returns. Only the journal's writer
thread writes; everybody else reads through connections of their own, which may not write.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError

SCHEMA_VERSION: Final = 3
BUSY_MS: Final = 10_000
LARGEST: Final = (1 << 63) - 1
"""The largest integer the store takes: one that comes from outside is compared with it before it is asked for."""

_SCHEMA: Final = """
CREATE TABLE meta(key TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID;
CREATE TABLE log(
    id INTEGER PRIMARY KEY CHECK (id = 1),
    size INTEGER NOT NULL,
    frontier BLOB NOT NULL,
    seen BLOB NOT NULL,
    anchored BLOB NOT NULL
);
CREATE TABLE records(seq INTEGER PRIMARY KEY, kind TEXT NOT NULL, header BLOB NOT NULL, body BLOB NOT NULL);
CREATE TABLE heads(
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    frontier BLOB NOT NULL,
    payload BLOB NOT NULL,
    signed BLOB
);
CREATE INDEX heads_unsigned ON heads(size) WHERE signed IS NULL;
CREATE TABLE receipts(
    size INTEGER PRIMARY KEY,
    pos INTEGER NOT NULL,
    fleet_size INTEGER NOT NULL,
    head BLOB NOT NULL,
    receipt BLOB NOT NULL,
    finality INTEGER NOT NULL
);
CREATE TABLE keysets(version INTEGER PRIMARY KEY, statement BLOB NOT NULL);
CREATE TABLE commands(
    pos INTEGER PRIMARY KEY,
    digest BLOB NOT NULL UNIQUE,
    id BLOB NOT NULL,
    seq INTEGER NOT NULL,
    action TEXT NOT NULL,
    args BLOB NOT NULL,
    salt BLOB NOT NULL,
    done INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE refusals(digest BLOB PRIMARY KEY, reason TEXT NOT NULL, count INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE openings(
    seq INTEGER NOT NULL,
    field TEXT NOT NULL,
    plain INTEGER NOT NULL,
    data BLOB,
    file BLOB,
    PRIMARY KEY (seq, field)
) WITHOUT ROWID;
CREATE INDEX openings_file ON openings(file) WHERE file IS NOT NULL;
CREATE TABLE stripped(
    start INTEGER PRIMARY KEY,
    stop INTEGER NOT NULL,
    reason TEXT NOT NULL,
    seq INTEGER NOT NULL,
    done INTEGER NOT NULL
);
CREATE TABLE incidents(id BLOB PRIMARY KEY, start INTEGER NOT NULL, stop INTEGER) WITHOUT ROWID;
CREATE TABLE inputs(digest BLOB PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE taken(source TEXT NOT NULL, name TEXT NOT NULL, mark BLOB NOT NULL, PRIMARY KEY (source, name)) WITHOUT
ROWID;
"""


class Store:
    """Opens connections to one store file. ``factory`` is the connection class, so that tests can make a disk fail."""

    def __init__(self, path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> None:
        self.path = path
        self._factory = factory

    @classmethod
    def create(cls, path: Path, meta: dict[str, Any], factory: type[sqlite3.Connection] = sqlite3.Connection) -> Store:
        """Create an empty store for one device log in a new file, mode 0600, and return it.

        Args:
            meta: the fixed facts, read back by :meth:`meta`: bytes, text and integers.

        Raises:
            UsageError: ``state_exists`` when the file is there.
            Unavailable: ``store_failed``.
        """
        try:
            path.touch(0o600, exist_ok=False)
        except FileExistsError as error:
            raise UsageError("state_exists", f"{path} exists already") from error
        except OSError as error:
            raise Unavailable("store_failed", f"{path}: {error.strerror}") from error
        store = cls(path, factory)
        with closing(store.connect()) as connection:
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.split(";\n"):
                if statement.strip():
                    connection.execute(statement)
            connection.execute("INSERT INTO log VALUES (1, 0, x'', x'f6', x'f6')")
            connection.executemany("INSERT INTO meta VALUES (?, ?)", [*meta.items(), ("schema", SCHEMA_VERSION)])
            connection.execute("COMMIT")
        return store

    @classmethod
    def open(cls, path: Path, factory: type[sqlite3.Connection] = sqlite3.Connection) -> Store:
        """Return the store in an existing file.

        Raises:
            UsageError: ``state_missing`` when there is none, ``schema_unknown`` when another version wrote it.
            Unavailable: ``store_failed``, ``store_read_only``: the disk.
            InvariantBroken: ``store_damaged`` when SQLite cannot read it.
        """
        if not path.exists():
            raise UsageError(
                "state_missing",
                f"no store at {path}",
                "a new device: edgeseal-agent init. A store that was there and is gone cannot be remade: restore the "
                "disk, or enrol a new epoch with a new key",
            )
        store = cls(path, factory)
        try:
            version = store.meta().get("schema")
        except sqlite3.Error as error:
            raise store_error(_cause(path, error)) from error
        if version != SCHEMA_VERSION:
            raise UsageError("schema_unknown", f"{path} has schema {version}, this program knows {SCHEMA_VERSION}")
        return store

    def connect(self) -> sqlite3.Connection:
        """Return a new writing connection: autocommit, so transactions are begun and ended by hand."""
        connection = sqlite3.connect(
            self.path, isolation_level=None, factory=self._factory, timeout=BUSY_MS / 1000, check_same_thread=False
        )
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    def reader(self) -> sqlite3.Connection:
        """Return a new connection that cannot write. The caller closes it and uses it in one thread at a time."""
        connection = sqlite3.connect(self.path, isolation_level=None, timeout=BUSY_MS / 1000, check_same_thread=False)
        connection.execute("PRAGMA query_only=1")
        return connection

    def settle(self) -> None:
        """Write everything the file shows to its place once more, and sync it. Durable when it returns.

        A sync that failed under an earlier process is told once; after that its pages pass for clean, are shown to
        every reader, and would go with the power. So a start builds on nothing that it has not written itself.

        Raises:
            Unavailable: ``disk_full``, ``store_failed``, ``store_read_only``. InvariantBroken: ``store_damaged``.
        """
        try:
            with closing(self.connect()) as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        except sqlite3.Error as error:
            raise store_error(_cause(self.path, error)) from error

    def meta(self) -> dict[str, Any]:
        """Return all facts in the table ``meta``."""
        with closing(self.reader()) as connection:
            return dict(connection.execute("SELECT key, value FROM meta"))

    def bytes_in_use(self) -> int:
        """Return the bytes of the pages that hold something: without those that wait to be used again, and without the
        write-ahead log, which passes.
        """
        with closing(self.reader()) as connection:
            count, free, page = (
                int(connection.execute(f"PRAGMA {name}").fetchone()[0])
                for name in ("page_count", "freelist_count", "page_size")
            )
        return (count - free) * page

    def bytes_on_disk(self) -> int:
        """Return the size of the store with its write-ahead log, in bytes."""
        wal = self.path.with_name(self.path.name + "-wal")
        return sum(path.stat().st_size for path in (self.path, wal) if path.exists())


def _cause(path: Path, error: sqlite3.Error) -> Exception:
    """Return why SQLite could not open a store, if the operating system tells: SQLite calls it all the same."""
    if isinstance(error, sqlite3.OperationalError):
        try:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
        except OSError as reason:
            return reason
    return error


def store_error(error: Exception) -> EdgesealError:
    """Return what a failure of the store means: a world that is down, or a defect of ours."""
    if isinstance(error, sqlite3.OperationalError | OSError) and "no such table" not in str(error):
        read_only = "readonly" in str(error) or getattr(error, "errno", None) == errno.EROFS
        if read_only:
            return Unavailable(
                "store_read_only", f"the store could not be written: {error}", "mount its file system for writing"
            )
        full = "full" in str(error) or getattr(error, "errno", None) == errno.ENOSPC
        code = "disk_full" if full else "store_failed"
        return Unavailable(
            code, f"the store could not be written: {error}", "free disk space or mend the disk, then start again"
        )
    if isinstance(error, sqlite3.Error):
        return damaged(f"{type(error).__name__}: {error}")
    return InvariantBroken("journal_defect", f"{type(error).__name__}: {error}")


def damaged(what: str) -> InvariantBroken:
    """Return the refusal of a store that does not hold together: nothing goes on from it, and nothing mends it."""
    return InvariantBroken(
        "store_damaged", what,
        "keep the file, it is evidence: move it and what begins with its name elsewhere, or bring an image of the disk "
        "back; then `edgeseal-agent lost` asks the gateway how far the log reached, for the next epoch",
    )  # fmt: skip


def set_meta(connection: sqlite3.Connection, key: str, value: bytes | str | int) -> None:
    """Set one fact, inside the caller's transaction."""
    connection.execute(
        "INSERT INTO meta VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value", (key, value)
    )


def split_hashes(joined: bytes) -> list[bytes]:
    """Return the 32-byte hashes of a stored frontier."""
    return [joined[start : start + 32] for start in range(0, len(joined), 32)]
