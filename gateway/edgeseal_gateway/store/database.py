"""Connections to the store: durable writes, one writer at a time, snapshots for readers.

SQLite in WAL mode with ``synchronous=FULL``: when :meth:`Database.write` has left its block without an exception,
what was written survives a power cut. Threads and processes may each open the same store.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal_gateway.store import schema

FILE: Final = "gateway.db"
BUSY_SECONDS: Final = 60.0
PAGE_BYTES: Final = 16_384
"""Segments are large: fewer pages a segment cost a fifth less of ingest's time than SQLite's 4,096 bytes."""
LARGEST: Final = (1 << 63) - 1
"""The largest integer the store can hold: larger ones, which only a lie can need, are stored as this."""
_DAMAGE: Final = ("malformed", "not a database", "corrupt")


class Database:
    """One SQLite file, opened once for each thread that asks."""

    def __init__(self, path: Path) -> None:
        """Open an existing store.

        Raises:
            UsageError: ``store_missing``, ``store_version``, ``store_foreign``: not a store of this version.
            Unavailable: ``store_unavailable``.
            InvariantBroken: ``store_corrupt``.
        """
        if not path.is_file():
            raise UsageError("store_missing", f"there is no store at {path}", "run `edgeseal-gateway init` first")
        self._path = path
        self._local = threading.local()
        with named_errors():
            application = self.connection.execute("PRAGMA application_id").fetchone()[0]
            version = self.connection.execute("PRAGMA user_version").fetchone()[0]
        if application != schema.APPLICATION_ID:
            raise UsageError("store_foreign", f"{path} is no store of edgeseal-gateway")
        if version != schema.VERSION:
            raise UsageError(
                "store_version",
                f"{path} has version {version}, this program knows {schema.VERSION}",
                "use the release that wrote it, or restore a backup of this version",
            )

    @staticmethod
    def create(path: Path) -> None:
        """Write an empty store at ``path``, whose directory exists; mode 0600: it holds what commands say.

        Raises:
            UsageError: ``store_exists``.
            Unavailable: ``store_unavailable``.
        """
        if path.exists():
            raise UsageError("store_exists", f"there is a store at {path} already", "`init` is for a new gateway only")
        with named_errors():
            path.touch(0o600)
        with named_errors(), contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.execute(f"PRAGMA page_size={PAGE_BYTES}")
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(
                f"BEGIN; {schema.TABLES} PRAGMA application_id={schema.APPLICATION_ID};"
                f" PRAGMA user_version={schema.VERSION}; COMMIT;"
            )

    @property
    def path(self) -> Path:
        """The store's file."""
        return self._path

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, opened when first asked for."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is None:
            found = sqlite3.connect(self._path, isolation_level=None, timeout=BUSY_SECONDS, cached_statements=256)
            found.execute("PRAGMA synchronous=FULL")
            found.execute("PRAGMA cache_size=-16384")
            self._local.connection = found
        return found

    def close(self) -> None:
        """Close this thread's connection."""
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None:
            found.close()
            del self._local.connection

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """Run the block as one transaction: durable when it ends well, undone when it raises.

        Raises:
            Unavailable: ``store_unavailable`` (disk full, I/O error, locked for a minute), ``store_range`` (a number
                larger than any it holds): nothing was written.
            InvariantBroken: ``store_corrupt``.
        """
        connection = self.connection
        with named_errors():
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """Run the block on one consistent view of the store. Raises as :meth:`write`."""
        connection = self.connection
        with named_errors():
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """Turn SQLite's errors into ours: a world that is down, or a store that contradicts itself."""
    try:
        yield
    except sqlite3.IntegrityError as error:
        raise InvariantBroken("store_conflict", f"two writers disagree about the store: {error}") from error
    except (sqlite3.OperationalError, OSError) as error:
        raise _unavailable(error) from error
    except sqlite3.DatabaseError as error:
        raise _damaged(error) from error
    except OverflowError as error:
        raise Unavailable("store_range", "somebody names a number that is larger than any the store holds") from error


def _unavailable(error: Exception) -> EdgesealError:
    if any(word in str(error) for word in _DAMAGE):
        return _damaged(error)
    return Unavailable(
        "store_unavailable", f"the store cannot be used: {error}", "free disk space or mend the disk; nothing is lost"
    )


def _damaged(error: Exception) -> EdgesealError:
    return InvariantBroken(
        "store_corrupt", f"the store is damaged: {error}", "stop the gateway and restore the newest backup"
    )


def get_meta(connection: sqlite3.Connection, key: str) -> bytes | None:
    """Return the value kept under ``key``, or None."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
    return None if row is None else bytes(row[0])


def put_meta(connection: sqlite3.Connection, key: str, value: bytes) -> None:
    """Keep ``value`` under ``key`` (in the caller's transaction)."""
    connection.execute("INSERT OR REPLACE INTO meta VALUES (?, ?)", (key, value))


def check_owner(database: Database, fleet_log: bytes, kid: bytes) -> None:
    """Check that a store is of this fleet log and this gateway key.

    Raises UsageError ``store_other_log`` or ``store_other_key``.
    """
    with database.read() as connection:
        known_log, known_kid = get_meta(connection, "fleet_log"), get_meta(connection, "gateway_kid")
    if known_log != fleet_log:
        raise UsageError("store_other_log", "the store holds another fleet log than the network profile names")
    if known_kid != kid:
        raise UsageError("store_other_key", "the store's heads are signed by another key than the token holds")


def sync_directory(directory: Path) -> None:
    """Make a directory's entries durable: a file renamed into it stays there over a power cut."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
