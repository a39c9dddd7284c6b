"""A temporary folder that belongs to a running process, and an end for those whose process is gone.

Who makes one holds a lock on a file in it. The kernel lets go of the lock however the process ends, so that a folder
whose lock can be taken was left behind (by SIGKILL, or a crash), and nobody's work is in it any more.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path
from typing import Final

OWNER: Final = "owner.lock"
"""The file whose lock says that somebody uses the folder."""


class OwnedFolder:
    """A new folder below ``parent`` (the machine's temporary folder without it), private to this user and process."""

    def __init__(self, prefix: str, parent: Path | None = None) -> None:
        """Make it. Raises OSError."""
        self.path, self._lock = _claimed(prefix, parent)

    def remove(self) -> None:
        """Remove the folder and all in it; what cannot be removed stays. Harmless when it was done before."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def sweep(prefix: str, users: Collection[int], parent: Path | None = None) -> list[Path]:
    """Remove the folders of :class:`OwnedFolder` that processes left behind which are gone; return them.

    Only those that one of ``users`` (user ids) owns are looked at. Safe beside running processes, which hold their
    folders' locks, and beside another sweep. Never raises OSError: what cannot be removed stays.
    """
    found = []
    for folder in (parent or Path(tempfile.gettempdir())).glob(f"{prefix}*"):
        lock = _taken(folder, users)
        if lock is None:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)  # after that: who waits for this lock finds the folder gone
        found.append(folder)
    return found


def _claimed(prefix: str, parent: Path | None) -> tuple[Path, int]:
    while True:
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
        lock = os.open(folder / OWNER, os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(lock, fcntl.LOCK_EX)
        if (folder / OWNER).exists():
            return folder, lock
        os.close(lock)  # another process swept it between its making and its locking


def _taken(folder: Path, users: Collection[int]) -> int | None:
    """Return a locked descriptor of a folder's lock file; None where somebody holds it, or it is none of ours."""
    try:
        if folder.is_symlink() or folder.stat().st_uid not in users:
            return None
        lock = os.open(folder / OWNER, os.O_RDWR | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
