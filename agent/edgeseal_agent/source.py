"""Where inputs come from: a watched folder or a one-shot list. None is taken twice, none is lost, whatever crashes.

The order of steps that makes it so: (1) read the files; (2) run and record, and in the transaction of that record write
down which file it was; (3) after the fsync move the file out of the folder; (4) forget the note. A crash before (2)
leaves the file to be read again and no record; after (2) the note says that it only has to be moved; after (3) the
note has no file and is forgotten.

One input is one file. For a model of several inputs it is a folder of files, taken in the order of their names; in a
list also one line with several paths. A list has one input a line: paths separated by blanks, quoted where they hold
blanks, relative to the list's own folder; lines that begin with # are skipped.
"""

from __future__ import annotations

import os
import shlex
import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, Protocol

from edgeseal import cbor
from edgeseal.errors import FormatError, UsageError
from edgeseal_agent.store import Store

MAX_FILE: Final = 67_112_960
"""Bytes of one input file."""
MAX_FILES: Final = 16
"""Files of one input."""
MAX_LIST: Final = 67_108_864
"""Bytes of a list."""
UNFINISHED: Final = (".part", ".tmp", ".crdownload")
"""Names that end so, begin with a dot, or are not UTF-8 are not looked at."""

Also = Callable[[sqlite3.Connection, int], None]


@dataclass(frozen=True, slots=True)
class Waiting:
    """An input that is there and not yet read. ``mark`` tells this file from a later one of its name."""

    name: str
    mark: bytes
    paths: tuple[Path, ...]

    def read(self) -> tuple[bytes, ...]:
        """Return the files' bytes.

        Raises:
            FormatError: ``input_unreadable``, ``input_too_large``, ``input_count`` (no file, or too many).
        """
        if not 1 <= len(self.paths) <= MAX_FILES:
            raise FormatError("input_count", f"{self.name} has {len(self.paths)} files, 1 to {MAX_FILES} are allowed")
        return tuple(_read(path) for path in self.paths)


class Source(Protocol):
    """Gives inputs one after another. Used by one thread."""

    @property
    def expecting(self) -> bool:
        """Whether there is an input that ``waiting`` will return soon, or would if it were called."""

    def waiting(self) -> list[Waiting]:
        """Return inputs that have not been returned before, oldest first; empty when there is none just now."""

    def note(self, item: Waiting, ok: bool = True) -> Also:
        """Return what writes down, in the transaction of its record, that ``item`` was taken."""

    def settle(self, item: Waiting, ok: bool) -> None:
        """Put away an input whose record (an inference, or with ``ok`` False a fault) is durable."""


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
        forget: Callable[[str, list[str]], None],
    ) -> None:
        """``forget`` takes source and names whose notes may go, and removes those some time later.

        Raises UsageError ``source_folder`` when one of the folders cannot be made or lies on another file system.
        """
        self._folder, self._done, self._failed = folder, done_dir, failed_dir
        self._settle_ns = settle_ms * 1_000_000
        self._forget = forget
        self._source = f"folder:{folder}"
        self._growing: dict[str, tuple[bytes, int]] = {}
        self._given: dict[str, bytes] = {}
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
        self._forget(self._source, [name for name, _ in rows])

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
        mark = (b"+" if ok else b"-") + item.mark
        return _taken(self._source, item.name, mark)

    def settle(self, item: Waiting, ok: bool) -> None:
        """See Source. When it returns the file is out of the way; a crash before that repeats the move."""
        path = self._folder / item.name
        current = _look(path)
        if current is not None and current.mark == item.mark:
            _move(path, self._done if ok else self._failed)
        self._given.pop(item.name, None)
        self._forget(self._source, [item.name])


class ListSource:
    """Takes the lines of one file, once. A list that was worked through stays so until ``again``."""

    def __init__(self, store: Store, path: Path) -> None:
        """Raises UsageError ``source_list`` when the list cannot be read."""
        try:
            data = path.read_bytes()
            lines = data.decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("source_list", f"{path}: {error}", "a list is a text file, one input a line") from error
        if len(data) > MAX_LIST:
            raise UsageError("source_list", f"{path} has {len(data)} bytes, the limit is {MAX_LIST}")
        self._source = f"list:{sha256(data).hexdigest()}"
        with closing(store.reader()) as connection:
            rows = connection.execute("SELECT name FROM taken WHERE source = ?", (self._source,))
            taken = {name for (name,) in rows}
        wanted = [(str(number), line.strip()) for number, line in enumerate(lines, 1)]
        wanted = [(name, line) for name, line in wanted if line and not line.startswith("#")]
        self.total = len(wanted)
        self._left = [_line(path.parent, name, line) for name, line in wanted if name not in taken]
        self._left.reverse()

    @property
    def expecting(self) -> bool:
        """See Source: lines not yet given."""
        return bool(self._left)

    def waiting(self) -> list[Waiting]:
        """See Source."""
        return [self._left.pop() for _ in range(min(64, len(self._left)))]

    def note(self, item: Waiting, ok: bool = True) -> Also:
        """See Source."""
        return _taken(self._source, item.name, b"+" if ok else b"-")

    def settle(self, item: Waiting, ok: bool) -> None:
        """See Source: the note alone says it was taken."""


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


def _line(base: Path, name: str, line: str) -> Waiting:
    try:
        words = shlex.split(line)
    except ValueError:
        words = []  # read() will say that it has no file
    paths = [base / word for word in words]
    if len(paths) == 1 and paths[0].is_dir():
        paths = _members(paths[0])
    return Waiting(name, b"", tuple(paths))


def _look(path: Path) -> Waiting | None:
    """Return what stands at ``path`` as an input, None when it is gone or is neither a file nor a folder of files."""
    try:
        paths = _members(path) if path.is_dir() else [path]
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


def _members(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))[: MAX_FILES + 1]


def _newest(item: Waiting) -> int:
    try:
        return max(path.stat().st_mtime_ns for path in item.paths)
    except OSError:
        return 0


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE + 1)
    except OSError as error:
        raise FormatError("input_unreadable", f"{path.name}: {error.strerror}") from error
    if len(data) > MAX_FILE:
        raise FormatError("input_too_large", f"{path.name}: more than {MAX_FILE} bytes")
    return data


def _taken(source: str, name: str, mark: bytes) -> Also:
    def write(connection: sqlite3.Connection, seq: int) -> None:
        connection.execute("INSERT OR REPLACE INTO taken VALUES (?, ?, ?)", (source, name, mark))

    return write


def _move(path: Path, folder: Path) -> None:
    """Move into ``folder`` under a name that is free there."""
    target = folder / path.name
    number = 1
    while target.exists():
        number += 1
        target = folder / f"{path.stem}~{number}{path.suffix}"
    path.rename(target)
