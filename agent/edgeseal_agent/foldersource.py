"""The watched folder: files are taken when they are whole, and moved out when they are recorded.

The order of steps is that of :mod:`edgeseal_agent.source`.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from hashlib import sha256
from itertools import chain
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from edgeseal import cbor
from edgeseal.errors import UsageError
from edgeseal_agent.identity import sync_folder
from edgeseal_agent.source import Also, Waiting, members, taken
from edgeseal_agent.store import Store

UNFINISHED: Final = (".part", ".tmp", ".crdownload")
"""Names that end so, begin with a dot, or are not UTF-8 are not looked at."""
MAX_NAME: Final = 255
"""Bytes of a file's name."""
MAX_SUFFIX: Final = 32
NUMBERED: Final = 10
"""Names that are tried with a number, before the time is put in its place."""


class FolderSource:
    """Watches a folder. What was recorded moves to ``done_dir``, what could not be used as an input to
    ``failed_dir``.
    """

    def __init__(
        self,
        store: Store,
        folder: Path,
        done_dir: Path,
        failed_dir: Path,
        settle_ms: int,
        forget: Callable[[str, list[tuple[str, bytes]]], None],
    ) -> None:
        """``forget`` takes source and the notes that may go, each a name and a mark, and removes those some time later.

        Raises UsageError ``source_folder`` when one of the folders cannot be made or lies on another file system.
        """
        self._folder, self._done, self._failed = folder, done_dir, failed_dir
        self._settle_ns = settle_ms * 1_000_000
        self._forget = forget
        self._source = f"folder:{folder}"
        self._growing: dict[str, tuple[bytes, int]] = {}
        self._given: dict[str, bytes] = {}
        self._moved: SimpleQueue[tuple[str, bytes]] = SimpleQueue()
        make_folders(folder, done_dir, failed_dir)
        self._resume(store)

    def _resume(self, store: Store) -> None:
        """Do the moves that a crash left undone, and forget the notes that have done their work."""
        with closing(store.reader()) as connection:
            rows = connection.execute("SELECT name, mark FROM taken WHERE source = ?", (self._source,)).fetchall()
        for name, mark in rows:
            path = self._folder / name
            item = _look(path)
            if item is not None and item.mark == mark[1:]:
                _move(path, self._done if mark[:1] == b"+" else self._failed)
            self._moved.put((name, mark))
        self.tidy()

    @property
    def expecting(self) -> bool:
        """See Source: files that are still settling."""
        return bool(self._growing)

    def waiting(self) -> list[Waiting]:
        """See Source. A file is given once its size and time have not changed for the settling time."""
        now = time.monotonic_ns()
        found: list[tuple[int, Waiting]] = []
        names: set[str] = set()
        for entry in os.scandir(self._folder):
            if entry.name.startswith(".") or entry.name.endswith(UNFINISHED) or not _is_text(entry.name):
                continue
            names.add(entry.name)
            item = _look(Path(entry.path))
            if item is None or self._given.get(entry.name) == item.mark:
                continue
            mark, since = self._growing.get(entry.name, (b"", now))
            if mark != item.mark:
                self._growing[entry.name] = (item.mark, now)
                since = now
            if now - since >= self._settle_ns:
                found.append((_newest(item), item))
        for gone in self._growing.keys() - names:
            del self._growing[gone]
        found.sort(key=lambda pair: (pair[0], pair[1].name))
        for _, item in found:
            self._given[item.name] = item.mark
            self._growing.pop(item.name, None)
        return [item for _, item in found]

    def note(self, item: Waiting, ok: bool = True) -> Also:
        """See Source."""
        return taken(self._source, item.name, _noted(item, ok))

    def settle(self, item: Waiting, ok: bool) -> None:
        """See Source. When it returns the file is out of the way; a crash before ``tidy`` repeats the move."""
        path = self._folder / item.name
        current = _look(path)
        if current is not None and current.mark == item.mark:
            _move(path, self._done if ok else self._failed)
        self._given.pop(item.name, None)
        self._moved.put((item.name, _noted(item, ok)))

    def tidy(self) -> None:
        """See Source. The moves are durable before their notes go: a power cut must not bring an input back."""
        notes = [self._moved.get_nowait() for _ in range(self._moved.qsize())]
        if notes:
            for folder in (self._done, self._failed, self._folder):
                sync_folder(folder)
            # Durable: the moves. A restart that still finds the notes finds no files to move.
            self._forget(self._source, notes)


def _noted(item: Waiting, ok: bool) -> bytes:
    """Return the mark under which an input is noted as taken."""
    return (b"+" if ok else b"-") + item.mark


def make_folders(folder: Path, done_dir: Path, failed_dir: Path) -> None:
    """Make the three folders of a watched source. Raises UsageError ``source_folder``."""
    try:
        for path in (folder, done_dir, failed_dir):
            path.mkdir(parents=True, exist_ok=True)
        if len({path.stat().st_dev for path in (folder, done_dir, failed_dir)}) != 1:
            raise UsageError("source_folder", "source.path, done_dir and failed_dir must lie on one file system")
        if folder in (done_dir, failed_dir) or folder in done_dir.parents or folder in failed_dir.parents:
            raise UsageError("source_folder", "done_dir and failed_dir must not lie inside source.path")
    except OSError as error:
        raise UsageError("source_folder", f"{error.filename}: {error.strerror}") from error


def _look(path: Path) -> Waiting | None:
    """Return what stands at ``path`` as an input, None when it is gone or is neither a file nor a folder of files."""
    try:
        paths = members(path) if path.is_dir() else [path]
        facts = [(entry.name, status.st_ino, status.st_mtime_ns, status.st_size) for entry in paths
                 for status in [entry.stat()]]  # fmt: skip
    except OSError:
        return None
    if not facts or not all(entry.is_file() for entry in paths):
        return None
    mark = cbor.encode([[name, inode, max(0, mtime), size] for name, inode, mtime, size in facts])
    return Waiting(path.name, sha256(mark).digest(), tuple(paths))


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _newest(item: Waiting) -> int:
    try:
        return max(path.stat().st_mtime_ns for path in item.paths)
    except OSError:
        return 0


def _move(path: Path, folder: Path) -> None:
    """Move into ``folder`` under a name that is free there."""
    path.rename(next(target for name in _names(path.name) if not os.path.lexists(target := folder / name)))


def _names(name: str) -> Iterator[str]:
    """Yield the name, then others like it that a file system takes: a few numbers, then the time, for a camera that
    always writes to the same name.
    """
    yield name
    stem, suffix = os.path.splitext(name)
    if len(suffix.encode()) > MAX_SUFFIX:
        stem, suffix = name, ""
    for mark in chain(range(2, NUMBERED), iter(time.time_ns, None)):
        tail = f"~{mark}{suffix}"
        yield stem.encode()[: MAX_NAME - len(tail.encode())].decode(errors="ignore") + tail
