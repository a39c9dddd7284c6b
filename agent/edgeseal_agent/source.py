"""Where inputs come from: a watched folder or a one-shot list. None is taken twice, none is lost, whatever crashes.

The order of steps that makes it so: (1) read the files; (2) run and record, and in the transaction of that record write
down which file it was; (3) after the fsync move the file out of the folder; (4) sync the folders, then forget the note.
A crash before (2) leaves the file to be read again and no record; after (2) the note says that it only has to be moved;
after (3) the note has no file and is forgotten, or, where the power went too, has its file again.

One input is one file. For a model of several inputs it is a folder of files, taken in the order of their names; in a
list also one line with several paths. A list has one input a line: paths separated by blanks, quoted where they hold
blanks, relative to the list's own folder; lines that begin with # are skipped.
"""

from __future__ import annotations

import os
import sqlite3
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from edgeseal.errors import FormatError

MAX_FILE: Final = 67_117_056
"""Bytes of one input file (MAX_INPUT of ``docs/format.md`` 17), and of all files of one input."""
MAX_FILES: Final = 16
"""Files of one input."""

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
        found: list[bytes] = []
        for path in self.paths:
            found.append(_read(path, MAX_FILE - sum(map(len, found))))
        return tuple(found)


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

    def tidy(self) -> None:
        """Forget what is only of use until inputs are surely put away; called now and then, by another thread.

        Raises OSError.
        """


def members(folder: Path) -> list[Path]:
    """Return the files that make up an input of several, in the order of their names."""
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))[: MAX_FILES + 1]


def taken(source: str, name: str, mark: bytes) -> Also:
    """Return what notes an input as taken, in the transaction of its record."""

    def write(connection: sqlite3.Connection, seq: int) -> None:
        connection.execute("INSERT OR REPLACE INTO taken VALUES (?, ?, ?)", (source, name, mark))

    return write


def _read(path: Path, most: int) -> bytes:
    """Return a plain file's bytes; a pipe or a device that stands in its place by now is not waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with open(descriptor, "rb") as file:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise FormatError("input_unreadable", f"{path.name} is no plain file")
            data = file.read(most + 1)
    except OSError as error:
        raise FormatError("input_unreadable", f"{path.name}: {error.strerror}") from error
    except ValueError as error:
        raise FormatError("input_unreadable", f"{path.name!r}: {error}") from error
    if len(data) > most:
        raise FormatError("input_too_large", f"{path.name}: an input has at most {MAX_FILE} bytes")
    return data
