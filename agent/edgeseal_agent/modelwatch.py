"""Watches the files of the active model package: hashed again when they change, and from time to time all the same.

The model that runs was loaded from the bytes that were hashed, so a change on the disk does not reach it; but somebody
changed it, and the next start would not find it. That is a ``tamper`` record, sealed at once, and then what the
configuration says.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from typing import Final

from edgeseal.adapters.packagedir import read_package
from edgeseal.errors import EdgesealError, UsageError
from edgeseal.model import package_digest
from edgeseal_agent.configmodel import ModelConfig
from edgeseal_agent.inference import explain
from edgeseal_agent.journal import Journal

logger = logging.getLogger(__name__)

STOP, SAFE_MODEL = "stop", "safe-model"
WHAT: Final = "model.package"

Marks = tuple[tuple[str, int, int, int, int], ...]


class ModelWatch:
    """Looks when asked; one thread at a time. ``active`` returns the active package's digest, None for none;
    ``fall_back`` activates the safe package and returns None, or why that cannot be.

    ``flagged`` is True while the active package's files are not what was activated.
    """

    def __init__(
        self,
        config: ModelConfig,
        journal: Journal,
        active: Callable[[], bytes | None],
        fall_back: Callable[[], str | None] | None = None,
    ) -> None:
        self._fall_back = fall_back
        self.flagged = False
        self._config = config
        self._journal = journal
        self._active = active
        self._seen: tuple[bytes, Marks] | None = None
        self._told: tuple[bytes, Marks] | None = None
        self._hash_at_s = 0.0

    def look(self, now_s: float) -> None:
        """Look once; record what is wrong, once for each state of the files.

        May read the whole package. Raises UsageError ``model_tampered`` after the record is durable where
        ``model.on_tamper`` is ``stop``, or ``safe-model`` and there is none; and what the journal raises.
        """
        digest = self._active()
        if digest is None:
            return
        marks = self._marks(digest)
        if (digest, marks) == self._seen and now_s < self._hash_at_s:
            return
        self._seen, self._hash_at_s = (digest, marks), now_s + self._config.rehash_s
        wrong = self._judge(digest)
        self.flagged = wrong is not None
        if wrong is None or self._told == self._seen:
            return
        self._told = self._seen
        logger.warning("the model's files changed: %s", wrong)
        self._journal.append("tamper", {"what": WHAT, "detail": f"{digest.hex()}: {wrong}"[:400]})
        # Durable: the finding; a restart looks at the files again before it uses them.
        if self._config.on_tamper == SAFE_MODEL and self._fall_back is not None:
            unsafe = self._fall_back()
            if unsafe is None:
                self.flagged = False
                return
            wrong = f"{wrong}; nor can the safe model be used: {unsafe}"
        if self._config.on_tamper in (STOP, SAFE_MODEL):
            raise UsageError(
                "model_tampered", f"{digest.hex()}: {wrong}", "find out who wrote there; then activate anew"
            )

    def _judge(self, digest: bytes) -> str | None:
        """Return what is wrong with the package's files, None when they hash to its digest."""
        try:
            found = package_digest(read_package(self._config.packages_dir / digest.hex()))
        except EdgesealError as error:
            return explain(error)
        return None if found == digest else f"the files now hash to {found.hex()}"

    def _marks(self, digest: bytes) -> Marks:
        """Return what changes when a file does: names, sizes, inodes and times of all of them."""
        folder = self._config.packages_dir / digest.hex()
        marks = []
        for place, _, names in os.walk(folder):
            for name in names:
                path = os.path.join(place, name)
                try:
                    found = os.lstat(path)
                except OSError:
                    continue  # gone between listing and look: its absence is the change
                marks.append((path, found.st_size, found.st_ino, found.st_mtime_ns, found.st_ctime_ns))
        return tuple(sorted(marks))
