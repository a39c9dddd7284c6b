"""``edgeseal-gateway backup``: a consistent, checked copy of store and packages, also while the gateway runs."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
from pathlib import Path
from typing import Any

from edgeseal.errors import UsageError
from edgeseal_gateway.config import Config
from edgeseal_gateway.store import fleetlog
from edgeseal_gateway.store.database import Database, get_meta, named_errors, sync_directory


def backup(config: Config, target: Path) -> dict[str, Any]:
    """Write a consistent copy of store and packages into the new directory ``target`` while the gateway may run.

    The copy is read back and checked before this returns. Raises UsageError ``backup_exists``, Unavailable, and
    InvariantBroken ``store_corrupt`` when the copy is damaged.
    """
    database = Database(config.store)
    if target.exists():
        raise UsageError("backup_exists", f"{target} exists", "name a folder that does not")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700, parents=True)
        with named_errors(), contextlib.closing(sqlite3.connect(partial / config.store.name)) as copy:
            database.connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
        if config.packages.is_dir():
            shutil.copytree(config.packages, partial / config.packages.name)
    except OSError as error:
        raise UsageError("backup_failed", f"cannot write {partial}: {error}") from error
    size = _verify(partial / config.store.name)
    os.rename(partial, target)
    sync_directory(target.absolute().parent)
    return {"backup": str(target), "size": size}


def _verify(path: Path) -> int:
    """Return the fleet size of a copied store after checking it page by page and its newest head against its leaves."""
    copy = Database(path)
    try:
        with copy.read() as connection:
            answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if answer != "ok":
                raise UsageError("backup_failed", f"the copy is damaged: {answer}")
            log = get_meta(connection, "fleet_log") or b""
            head = fleetlog.newest_head(connection, log)
            if head is None or fleetlog.root_at(connection, head.head.size) != head.head.root:
                raise UsageError("backup_failed", "the copy's newest head is not that of its leaves")
            return head.head.size
    finally:
        copy.close()
