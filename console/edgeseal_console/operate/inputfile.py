"""Files that a person names on the command line, read whole within a limit."""

from __future__ import annotations

from pathlib import Path

from edgeseal.errors import FormatError, Unavailable


def read_file(path: Path, limit: int) -> bytes:
    """Return the content of ``path``, at most ``limit`` bytes.

    Raises Unavailable ``file_unreadable`` with the operating system's reason, or FormatError ``file_too_large``.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as error:
        raise Unavailable("file_unreadable", f"{path}: {error.strerror}") from error
    if len(data) > limit:
        raise FormatError("file_too_large", f"{path}: more than {limit} bytes")
    return data
