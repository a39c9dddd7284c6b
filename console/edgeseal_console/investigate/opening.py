"""Bundles on disk, a folder or a .zip, opened as names → bytes; and single files read within their limit."""

from __future__ import annotations

import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from edgeseal import limits, trust
from edgeseal.adapters.namedfile import read_file
from edgeseal.bundle import Bundle
from edgeseal.container import ZipSource, check_names, check_sizes
from edgeseal.errors import EvidenceError, FormatError, UsageError


class FolderSource:
    """A Source over a folder. Links, devices and pipes in it are refused before a byte is read; files are opened as
    they are asked for.
    """

    def __init__(self, folder: Path) -> None:
        """Walk the whole folder. Raises FormatError ``bundle_link``, and what ``check_names`` and ``check_sizes``
        raise.
        """
        self._folder = folder
        self._sizes: dict[str, int] = {}
        todo = [folder]
        while todo:
            for entry in sorted(todo.pop().iterdir()):
                found = entry.lstat()
                if stat.S_ISDIR(found.st_mode):
                    todo.append(entry)
                elif stat.S_ISREG(found.st_mode):
                    self._sizes[entry.relative_to(folder).as_posix()] = found.st_size
                else:
                    raise FormatError("bundle_link", f"{entry.name!r:.200} is a link or device, not a file")
        check_names(self._sizes)
        check_sizes(self._sizes.items())

    def names(self) -> Iterable[str]:
        """Return all names."""
        return self._sizes.keys()

    def read(self, name: str) -> bytes:
        """Return the bytes of ``name``. Raises FormatError ``bundle_missing``, ``bundle_file_size`` if it grew
        meanwhile.
        """
        if name not in self._sizes:
            raise FormatError("bundle_missing", f"no file {name!r:.300} in the bundle")
        with (self._folder / name).open("rb") as file:
            data = file.read(self._sizes[name] + 1)
        if len(data) != self._sizes[name]:
            raise FormatError("bundle_file_size", f"{name!r:.300} changes while it is read")
        return data


@contextmanager
def opened(path: Path) -> Iterator[Bundle]:
    """Yield the bundle at ``path``, a folder or a .zip.

    Raises:
        UsageError: ``bundle_path`` where nothing can be read there. FormatError: it is no bundle.
    """
    try:
        if path.is_dir():
            yield Bundle(FolderSource(path))
        else:
            with path.open("rb") as file:
                yield Bundle(ZipSource(file))
    except OSError as error:
        raise UsageError(
            "bundle_path", f"cannot read {path}: {error.strerror}", "name a bundle's .zip or folder"
        ) from error


def read_trust(path: Path | None) -> trust.Trust | None:
    """Return the trust file at ``path``, None for none. Raises UsageError ``trust_file``: a trust file that cannot
    be read is the caller's mistake, not bad evidence."""
    if path is None:
        return None
    try:
        return trust.parse(read_file(path, limits.MAX_YAML))
    except EvidenceError as error:
        raise UsageError(
            "trust_file", f"{path}: {error.message} [{error.code}]", "see docs/format.md, section 15"
        ) from error
