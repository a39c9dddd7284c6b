"""The disk of ``faultdisk.c``: compiled, its log read, and what a power cut at any point of that log leaves behind.

The model is POSIX's, not one file system's: what was written to a file is sure only after fsync of that file, a name
only after fsync of its folder. Of what was not sure, anything may be there: nothing, all, or some of it, single writes
torn at sectors. Names of one folder become durable in their order, as with every journaling file system.
"""

from __future__ import annotations

import random
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

SOURCE: Final = Path(__file__).with_name("faultdisk.c")
FAIL, AFTER, STUCK = 1, 2, 3
SECTOR: Final = 512
NAMES: Final = {
    "O": "open", "W": "write", "T": "ftruncate", "S": "fsync", "R": "rename", "U": "unlink", "D": "mkdir", "A": "told",
}  # fmt: skip
_ENTRY: Final = struct.Struct("<cchhIIq")


def compile_to(folder: Path) -> Path:
    """Compile the library and return its path."""
    library = folder / "faultdisk.so"
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, SOURCE, "-lpthread"], check=True)
    return library


@dataclass(frozen=True, slots=True)
class Call:
    """One logged call: ``failed`` is F when it was not carried out, A when it was and an error returned all the same.

    ``number`` counts the calls that may fail, from 1; 0 is something that was told.
    """

    op: str
    failed: str
    number: int
    name: str
    other: str
    offset: int
    data: bytes

    def __str__(self) -> str:
        size = f", {len(self.data)} bytes at {self.offset}" if self.op == "W" else ""
        return f"call {self.number}: {NAMES[self.op]} {self.name}{' to ' + self.other if self.other else ''}{size}"


def read_log(path: Path) -> list[Call]:
    """Return the calls of a log, whatever number of processes wrote it one after another; a last torn one is none."""
    data, at, calls = path.read_bytes(), 0, []
    while at + _ENTRY.size <= len(data):
        op, failed, name_size, other_size, number, size, offset = _ENTRY.unpack_from(data, at)
        end = at + _ENTRY.size + name_size + other_size + size
        if end > len(data):
            break
        at += _ENTRY.size
        name, other = data[at : at + name_size].decode(), data[at + name_size : at + name_size + other_size].decode()
        content = data[end - size : end]
        calls.append(Call(op.decode(), failed.decode().strip("\0"), number, name, other, offset, content))
        at = end
    return calls


@dataclass(eq=False)
class File:
    """Content that is sure, and changes since then: (offset, data), data None for a new length."""

    sure: bytearray = field(default_factory=bytearray)
    waiting: list[tuple[int, bytes | None]] = field(default_factory=list)

    def sync(self) -> None:
        """All of it is sure now."""
        for change in self.waiting:
            _apply(self.sure, *change)
        self.waiting = []


@dataclass(eq=False)
class Folder:
    """Names that are sure, the names as a process sees them, and changes of names since then."""

    sure: dict[str, File | Folder] = field(default_factory=dict)
    now: dict[str, File | Folder] = field(default_factory=dict)
    waiting: list[dict[str, File | Folder | None]] = field(default_factory=list)

    def change(self, names: dict[str, File | Folder | None]) -> None:
        """Names change, not surely yet."""
        _rename(self.now, names)
        self.waiting.append(names)

    def sync(self) -> None:
        """All names are sure now."""
        self.sure = dict(self.now)
        self.waiting = []


def _apply(content: bytearray, offset: int, data: bytes | None) -> None:
    if data is None:
        del content[offset:]
    content.extend(bytes(max(0, offset - len(content))))
    if data is not None:
        content[offset : offset + len(data)] = data


def _rename(names: dict[str, File | Folder], change: dict[str, File | Folder | None]) -> None:
    for name, node in change.items():
        names.pop(name, None)
        if node is not None:
            names[name] = node


class Disk:
    """Plays calls; ``leave`` writes what a power cut would leave. A sync that failed never comes true later, as on
    Linux: the pages count as clean from then on, are seen by every reader, and are gone with the power.
    """

    def __init__(self) -> None:
        self.top = Folder()

    @classmethod
    def of(cls, folder: Path, without: frozenset[str]) -> Disk:
        """Return a disk that surely holds what lies in a folder."""
        disk = cls()
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if name.split("/")[0] in without:
                continue
            parent, last = disk._parent(name)
            parent.sure[last] = parent.now[last] = Folder() if path.is_dir() else File(bytearray(path.read_bytes()))
        return disk

    def play(self, call: Call) -> None:
        """Take note of one call."""
        if call.op == "A" or (call.failed == "F" and call.op != "S"):
            return
        if call.name == ".":
            if call.op == "S" and call.failed != "F":
                self.top.sync()
            return
        parent, last = self._parent(call.name)
        node = parent.now.get(last)
        if call.op == "O":
            if node is None:
                parent.change({last: File()})
            elif call.offset == 0 and isinstance(node, File):
                node.waiting.append((0, None))
        elif call.op == "D":
            parent.change({last: Folder()})
        elif call.op == "U":
            parent.change({last: None})
        elif call.op == "R":
            assert self._parent(call.other)[0] is parent and node is not None, call
            parent.change({last: None, call.other.split("/")[-1]: node})
        elif call.op == "S" and node is not None:
            if call.failed == "F":
                node.waiting = []
            else:
                node.sync()
        elif isinstance(node, File):
            node.waiting.append((call.offset, call.data if call.op == "W" else None))

    def _parent(self, name: str) -> tuple[Folder, str]:
        folder, parts = self.top, name.split("/")
        for part in parts[:-1]:
            found = folder.now.get(part)
            if not isinstance(found, Folder):  # made by a call that is not watched
                found = folder.now[part] = folder.sure[part] = Folder()
            folder = found
        return folder, parts[-1]

    def leave(self, place: Path, how: str, chance: random.Random) -> None:
        """Write to the new folder ``place`` what a power cut leaves now: ``nothing`` unsure, ``all`` of it, or
        ``some``.
        """
        _leave(self.top, place, how, chance)


def _leave(folder: Folder, place: Path, how: str, chance: random.Random) -> None:
    place.mkdir()
    names = dict(folder.sure)
    kept = {"nothing": 0, "all": len(folder.waiting)}.get(how, chance.randint(0, len(folder.waiting)))
    for change in folder.waiting[:kept]:
        _rename(names, change)
    for name, node in names.items():
        if name.endswith("-shm"):
            continue  # never synced and never believed after a crash
        if isinstance(node, Folder):
            _leave(node, place / name, how, chance)
            continue
        content = bytearray(node.sure)
        for offset, data in _kept(node.waiting, how, chance):
            _apply(content, offset, data)
        (place / name).write_bytes(content)
        (place / name).chmod(0o600)


def _kept(
    waiting: list[tuple[int, bytes | None]], how: str, chance: random.Random
) -> Iterator[tuple[int, bytes | None]]:
    """Yield the changes of a file that reached the disk."""
    for offset, data in waiting:
        fate = {"nothing": 0.0, "all": 1.0}.get(how, chance.random())
        if fate >= 0.5:
            yield offset, data
        elif fate >= 0.25 and data is not None and len(data) > SECTOR:
            yield offset, data[: chance.randrange(1, -(-len(data) // SECTOR)) * SECTOR]


def told(calls: list[Call]) -> list[str]:
    """Return the lines that left the process, in order."""
    return b"".join(call.data for call in calls if call.op == "A").decode().split("\n")[:-1]
