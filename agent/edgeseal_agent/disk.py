"""The disk guard: says stop before the disk does, so that a full disk is a clear error and not a torn file."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Final

from edgeseal.errors import Unavailable
from edgeseal_agent.configlog import StorageConfig
from edgeseal_agent.store import Store

MB: Final = 1_048_576
THIN_SHARE: Final = 0.9
"""Share of the quota from which on ``when_full: thin`` takes bodies."""
PRESSED_SHARE: Final = 0.95
"""Share from which on inputs wait until bodies have gone."""
INTERVAL_NS: Final = 100_000_000
"""The disk is asked at most ten times a second,"""
NEAR_INTERVAL_NS: Final = 10_000_000
"""and a hundred times where ``when_full: thin`` has begun: what inputs write meanwhile must fit below the quota."""


class DiskGuard:
    """Checks free space and quota. ``keeps_inputs`` turns False when the quota says to go on without inputs.

    ``on_drop`` is called once when that happens, ``on_pressed`` at each look at a disk that inputs should wait for.
    """

    def __init__(
        self,
        store: Store,
        config: StorageConfig,
        on_drop: Callable[[], None] | None = None,
        on_pressed: Callable[[], None] | None = None,
    ) -> None:
        self._store = store
        self._on_pressed = on_pressed
        self._config = config
        self._on_drop = on_drop
        self._next_ns = 0
        self.keeps_inputs = config.retain_inputs

    def free_bytes(self) -> int:
        """Return the bytes an ordinary user may still write where the store lies."""
        found = os.statvfs(self._store.path.parent)
        return found.f_bavail * found.f_frsize

    def check(self) -> None:
        """Return if records may be written.

        Raises:
            Unavailable: ``disk_full`` below ``min_free_mb``; ``quota_reached`` at ``quota_mb`` with ``when_full:
                stop``.
        """
        now = time.monotonic_ns()
        if now < self._next_ns:
            return
        self._next_ns = now + INTERVAL_NS
        self._require_free()
        if self._is_near(THIN_SHARE):
            self._next_ns = now + NEAR_INTERVAL_NS
            self._drop_inputs()
        if self._on_pressed is not None and self.is_pressed():
            self._on_pressed()
        used = self._used(self._config.quota_mb * MB)
        if used >= self._config.quota_mb * MB:
            self._full(used)

    def require_room(self) -> None:
        """Raise as ``check`` does and change nothing: for a start, when nothing can be recorded yet."""
        self._require_free()
        used = self._used(self._config.quota_mb * MB)
        if used >= self._config.quota_mb * MB and self._config.when_full != "drop_inputs":
            raise self._quota_reached(used)

    def wants_thinning(self) -> bool:
        """Say whether bodies should go to make room: ``when_full: thin`` and nine tenths of the quota used."""
        return self._is_near(THIN_SHARE)

    def is_pressed(self) -> bool:
        """Say whether inputs should wait while bodies go."""
        return self._is_near(PRESSED_SHARE)

    def _is_near(self, share: float) -> bool:
        near = self._config.quota_mb * MB * share
        return self._config.when_full == "thin" and self._used(near) >= near

    def _used(self, limit: float) -> int:
        """Return the bytes used.

        Thinning leaves pages free inside the file and passes through the write-ahead log, so with it what counts is
        what the pages hold; asking for that costs a query, and is done only where it matters.
        """
        used = self._store.bytes_on_disk()
        return self._store.bytes_in_use() if self._config.when_full == "thin" and used >= limit else used

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
