"""Files that a person names, on a command line or in a configuration, read within a limit."""

from __future__ import annotations

from pathlib import Path

from edgeseal.errors import FormatError, UsageError


def read_named(path: Path, limit: int, code: str, remedy: str | None = None) -> bytes:
    """Return the first ``limit`` + 1 bytes of a file: whoever decodes them refuses what is longer than ``limit``.

    Raises UsageError ``code``, with the operating system's reason and ``remedy``, where it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise UsageError(code, f"cannot read {path}: {error.strerror}", remedy) from error


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of a file of at most ``limit`` bytes.

    Raises UsageError ``file_unreadable``, FormatError ``too_large``.
    """
    data = read_named(path, limit, "file_unreadable")
    if len(data) > limit:
        raise FormatError("too_large", f"{path} has more than {limit} bytes")
    return data
