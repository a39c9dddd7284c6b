"""The one-shot list: one input a line, worked through once."""

from __future__ import annotations

import shlex
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Final

from edgeseal.errors import UsageError
from edgeseal_agent.source import Also, Waiting, members, taken
from edgeseal_agent.store import Store

MAX_LIST: Final = 67_108_864
"""Bytes of a list."""


class ListSource:
    """Takes the lines of one file, once. A list that was worked through stays so until ``again``."""

    def __init__(self, store: Store, path: Path) -> None:
        """Raises UsageError ``source_list`` when the list cannot be read."""
        try:
            with path.open("rb") as file:
                data = file.read(MAX_LIST + 1)
            lines = data.decode().splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError("source_list", f"{path}: {error}", "a list is a text file, one input a line") from error
        if len(data) > MAX_LIST:
            raise UsageError("source_list", f"{path} has more than {MAX_LIST} bytes")
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
        return taken(self._source, item.name, b"+" if ok else b"-")

    def settle(self, item: Waiting, ok: bool) -> None:
        """See Source: the note alone says it was taken."""

    def tidy(self) -> None:
        """See Source: no note is ever forgotten."""


def _line(base: Path, name: str, line: str) -> Waiting:
    try:
        words = shlex.split(line)
    except ValueError:
        words = []  # read() will say that it has no file
    paths = [base / word for word in words]
    if len(paths) == 1 and paths[0].is_dir():
        paths = members(paths[0])
    return Waiting(name, b"", tuple(paths))
