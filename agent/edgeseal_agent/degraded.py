"""``storage.on_failure: degrade``: when nothing can be recorded the model goes on, and what it missed is counted.

The count stands in a file that was given its room while there was some, so that a full disk can still be told how much
it missed; the first thing the journal records when it works again is a ``gap`` with that number.
"""

from __future__ import annotations

import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import EdgesealError, EvidenceError, Unavailable
from edgeseal_agent.config import Config
from edgeseal_agent.foldersource import FolderSource
from edgeseal_agent.identity import open_store, write_file
from edgeseal_agent.inference import Engine, load_model
from edgeseal_agent.journal import Journal
from edgeseal_agent.notify import Notifier
from edgeseal_agent.packages import Packages
from edgeseal_agent.store import Store, set_meta

logger = logging.getLogger(__name__)

NAME: Final = "unrecorded.json"
SIZE: Final = 512
"""Bytes of the file, whatever it says: it is rewritten in place."""
RETRY_S: Final = 5.0
DEGRADE: Final = "degrade"
RECORDER: Final = frozenset({"disk_full", "quota_reached", "store_failed", "store_read_only", "journal_stopped"})
"""Failures that are the recorder's own, and may pass."""
TOLD: Final = "unrecorded_told"


@dataclass(frozen=True, slots=True)
class Tally:
    """One episode without a recorder: its id, how many inferences ran unrecorded, since when (ms), and why."""

    id: str = ""
    count: int = 0
    since: int = 0
    code: str = ""


class Ledger:
    """The tally's file. What is kept in it survives a kill; on a disk that takes nothing at all it stays in memory."""

    def __init__(self, state_dir: Path) -> None:
        self._path = state_dir / NAME
        self.tally = self._read()

    def make_room(self) -> None:
        """Take the room for the file while there is some. Durable when it returns; OSError when there is none."""
        if not self._path.exists() or self._path.stat().st_size != SIZE:
            write_file(self._path, self._encode(self.tally))

    def begin(self, code: str) -> None:
        """A new episode begins, or the one that was not told yet goes on."""
        if not self.tally.id:
            self._put(Tally(secrets.token_hex(8), 0, time.time_ns() // 1_000_000, code))

    def count(self) -> None:
        """One more inference ran and was not recorded."""
        self._put(replace(self.tally, count=self.tally.count + 1))

    def tell(self, store: Store, journal: Journal) -> None:
        """Record the episode, once, and forget it. Raises what the journal raises."""
        tally = self.tally
        if tally.id and store.meta().get(TOLD) != tally.id:
            fields = {
                "what": "inferences", "count": tally.count,
                "detail": f"the recorder failed ({tally.code}); the model went on from {tally.since} ms on",
            }  # fmt: skip

            def note(connection: sqlite3.Connection, seq: int) -> None:
                set_meta(connection, TOLD, tally.id)

            journal.append("gap", fields, note)
            # Durable: the gap, and which episode it tells; a restart that finds the file as it was tells nothing twice.
            logger.warning("%d inferences ran while nothing could be recorded", tally.count)
        if tally.id:
            self._put(Tally())

    def _put(self, tally: Tally) -> None:
        self.tally = tally
        with suppress(OSError):
            descriptor = os.open(self._path, os.O_WRONLY)
            try:
                os.pwrite(descriptor, self._encode(tally), 0)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def _encode(self, tally: Tally) -> bytes:
        text = {"id": tally.id, "count": tally.count, "since": tally.since, "code": tally.code}
        return json.dumps(text).encode().ljust(SIZE - 1) + b"\n"

    def _read(self) -> Tally:
        try:
            found = json.loads(self._path.read_bytes()[:SIZE])
            tally = Tally(found["id"], found["count"], found["since"], found["code"])
        except FileNotFoundError:
            return Tally()
        except (OSError, ValueError, KeyError, TypeError):
            return Tally("unreadable", 0, 0, "the count could not be read")
        good = type(tally.count) is type(tally.since) is int and type(tally.id) is type(tally.code) is str
        return tally if good and tally.count >= 0 else Tally("unreadable", 0, 0, "the count could not be read")


def is_recorders(error: Exception) -> bool:
    """Say whether a failure is the recorder's, so that the model may go on without it."""
    return isinstance(error, Unavailable) and error.code in RECORDER


class Unrecorded:
    """The model on the watched folder, without a journal. Made anew for each episode; used by one thread."""

    def __init__(self, config: Config, ledger: Ledger) -> None:
        self._config = config
        self._ledger = ledger
        self._engine = Engine()
        self._notifier = Notifier()
        self._source: FolderSource | None = None

    def carry_on(self, error: Exception, stopping: threading.Event) -> None:
        """Run and count for RETRY_S, or until somebody asks to leave. Raises nothing of the world."""
        self._ledger.begin(getattr(error, "code", "unknown"))
        deadline = time.monotonic() + RETRY_S
        self._notifier.send("READY=1", "STATUS=nothing can be recorded")
        while time.monotonic() < deadline and not stopping.wait(self._config.source.poll_ms / 1000):
            self._notifier.send("WATCHDOG=1")
            try:
                self._prepare()
                self._take(stopping)
            except (EdgesealError, OSError, sqlite3.Error) as found:
                logger.warning("neither recorded nor run: %s", found)
                stopping.wait(max(0.0, deadline - time.monotonic()))

    def _prepare(self) -> None:
        """Load the model that was active and open the folder, as far as the disk lets us read."""
        config = self._config
        store = open_store(config)
        if self._engine.package is None:
            active: Any = store.meta().get("model")
            files = None if active is None else Packages(config.model.packages_dir).find(active)
            if files is not None:
                self._engine.resume(load_model(files, config.model))
        place = config.source
        if self._source is None and place.kind == "watch" and place.path and place.done_dir and place.failed_dir:
            self._source = FolderSource(
                store, place.path, place.done_dir, place.failed_dir, place.settle_ms, lambda source, names: None
            )

    def _take(self, stopping: threading.Event) -> None:
        if self._source is None or self._engine.package is None:
            return
        for item in self._source.waiting():
            if stopping.is_set():
                return
            ok = True
            try:
                self._engine.run(item.read(), lambda done: None)
            except EvidenceError:
                ok = False
            self._ledger.count()
            # Durable as far as the disk lets us: the count. A kill before the move runs this input again, and counts.
            self._source.settle(item, ok)
