"""The disk guard: says stop before the disk does, so that a full disk is a clear error and not a torn file. And what is
still allowed before that: inputs so far that their records fit below the quota, openings of them below its nine tenths.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from edgeseal.errors import Unavailable
from edgeseal_agent.configlog import StorageConfig
from edgeseal_agent.store import Store

MB: Final = 1_048_576
INPUT_COST: Final = 4_096
"""Bytes of the store that one input takes, at most, besides what is kept to open it: its record, and what it may add of
heads and receipts.
"""
THIN_SHARE: Final = 0.9
"""Share of the quota from which on ``when_full: thin`` takes bodies."""
PRESSED_SHARE: Final = 0.95
"""Share beyond which no input is let in until bodies have gone."""
INTERVAL_NS: Final = 100_000_000
"""The disk is asked at most ten times a second, the quota of ``when_full: thin`` before each transaction."""
MAX_GRANT: Final = 1_048_576
"""Most bytes that inputs are let in for at once;"""
GRANT_SHARE: Final = 8
"""and no more than one in so many of what is left, so that what else is written finds room too."""


class DiskGuard:
    """Checks free space and quota. ``keeps_inputs`` turns False when the quota says to go on without inputs, and
    ``on_drop`` is called once when that happens. ``check`` and ``keep`` are the journal's writer's, ``room`` the
    intake's.
    """

    def __init__(
        self, store: Store, config: StorageConfig, on_drop: Callable[[], None] | None = None
    ) -> None:  # fmt: skip
        self._store = store
        self._config = config
        self._on_drop = on_drop
        self._next_ns = 0
        self.thins = config.when_full == "thin"
        self._reserved = 0
        self._to_keep: float = 0
        self.makes_room = self.thins
        """Whether bodies may still go: then the quota stops nothing, though inputs wait. Kept by whoever thins."""
        self.keeps_inputs = config.retain_inputs

    def free_bytes(self) -> int:
        """Return the bytes an ordinary user may still write where the store lies."""
        found = os.statvfs(self._store.path.parent)
        return found.f_bavail * found.f_frsize

    def check(self) -> None:
        """Return if records may be written.

        Raises:
            Unavailable: ``disk_full`` below ``min_free_mb``; ``quota_reached`` at ``quota_mb`` with ``when_full:
                stop``, and with ``thin`` when no room can be made any more.
        """
        now = time.monotonic_ns()
        if now >= self._next_ns:
            self._next_ns = now + INTERVAL_NS
            self._require_free()
        elif not self.thins:
            return
        quota = self._config.quota_mb * MB
        used = self._used(quota * THIN_SHARE)
        self._to_keep = quota * THIN_SHARE - used - self._reserved
        if self.thins and used >= quota * THIN_SHARE:
            self._drop_inputs()
        if used >= quota and not self.makes_room:
            self._full(used)

    def keep(self, size: int) -> bool:
        """Say whether openings of ``size`` bytes may be kept: with ``when_full: thin`` only what fits below nine tenths
        of the quota, beside the records of inputs that were let in.
        """
        if self.thins:
            self._to_keep -= size
            if self._to_keep < 0:
                self._drop_inputs()
        return self.keeps_inputs

    def room(self, pending: int) -> int:
        """Return how many bytes inputs may take now, ``pending`` ones on their way not counted; 0: they should wait.

        Without ``when_full: thin`` none ever wait: what happens at the quota is decided there.
        """
        if not self.thins:
            return MAX_GRANT
        line = self._config.quota_mb * MB * PRESSED_SHARE
        left = max(0, int(line - self._used(line / 2)) - pending)
        granted = min(MAX_GRANT, left if left < GRANT_SHARE * INPUT_COST else left // GRANT_SHARE)
        self._reserved = pending + granted
        return granted

    def require_room(self, can_be_made: Callable[[], bool]) -> None:
        """Raise as ``check`` does and change nothing: for a start, when nothing can be recorded yet.

        ``can_be_made`` is asked beyond the quota of ``when_full: thin``: whether anything is left to take. Where
        nothing is, not even the record of a start may come on top, since an agent that stops is started again.
        """
        self._require_free()
        used = self._used(self._config.quota_mb * MB)
        when_full = self._config.when_full
        if used >= self._config.quota_mb * MB and (when_full == "stop" or (self.thins and not can_be_made())):
            raise self._quota_reached(used)

    def wants_thinning(self) -> bool:
        """Say whether bodies should go to make room: ``when_full: thin`` and nine tenths of the quota used."""
        near = self._config.quota_mb * MB * THIN_SHARE
        return self.thins and self._used(near) >= near

    def _used(self, limit: float) -> int:
        """Return the bytes used.

        Thinning leaves pages free inside the file and passes through the write-ahead log, so with it what counts is
        what the pages hold; asking for that costs a query, and is done only where it matters.
        """
        used = self._store.bytes_on_disk()
        return self._store.bytes_in_use() if self.thins and used >= limit else used

    def _require_free(self) -> None:
        free = self.free_bytes()
        if free < self._config.min_free_mb * MB:
            raise Unavailable(
                "disk_full",
                f"{free // MB} MB free at {self._store.path.parent}, storage.min_free_mb is {self._config.min_free_mb}",
                "free disk space, then start again: nothing acknowledged is lost",
            )

    def _full(self, used: int) -> None:
        if self._config.when_full != "drop_inputs":
            raise self._quota_reached(used)
        self._drop_inputs()

    def _quota_reached(self, used: int) -> Unavailable:
        return Unavailable(
            "quota_reached",
            f"the store takes {used // MB} MB, storage.quota_mb is {self._config.quota_mb}",
            "raise storage.quota_mb, set storage.when_full: thin, or export and shorten retention_days",
        )

    def _drop_inputs(self) -> None:
        if self.keeps_inputs:
            self.keeps_inputs = False
            if self._on_drop is not None:
                self._on_drop()
