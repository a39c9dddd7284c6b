"""A connection to the index for each thread that answers requests."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

from edgeseal_gateway.store import indexfile


class Indexes:
    """Opens the index when a thread first asks."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()

    @property
    def connection(self) -> sqlite3.Connection:
        """This thread's connection, to the index that is there now: it may have been begun anew. Raises Unavailable
        ``store_unavailable``.
        """
        found: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if found is not None and self._local.place != indexfile.place(self._path):
            found.close()
            found = None
        if found is None:
            found = self._local.connection = indexfile.open_index(self._path)
            self._local.place = indexfile.place(self._path)
        return found
