"""What comes in by HTTP: a statement in JSON, a package archive onto the disk and back."""

from __future__ import annotations

import contextlib
import json
import os
import threading
from pathlib import Path
from typing import Any, Final

from edgeseal import limits
from edgeseal.errors import Unavailable, UsageError
from edgeseal_gateway.store.database import sync_directory

MAX_PACKAGES: Final = 1_000
PARTIAL: Final = "upload.partial"
"""One name for every archive on its way: what a crash leaves is written over by the next."""
_KEYS: Final = {"statement", "salt", "args"}
_one_writer = threading.Lock()


def statement(body: bytes) -> tuple[bytes, bytes, bytes]:
    """Return (statement, salt, args) of a request's untrusted JSON; the last two are empty where they are not given.

    Raises UsageError ``query``.
    """
    try:
        fields: Any = json.loads(body)
        if type(fields) is not dict or "statement" not in fields or not set(fields) <= _KEYS:
            raise ValueError
        data, salt, args = (bytes.fromhex(fields.get(key, "")) for key in ("statement", "salt", "args"))
    except (ValueError, TypeError, RecursionError):
        raise UsageError("query", "the body is JSON with statement (hex), and for a command salt and args") from None
    if len(data) > limits.MAX_STATEMENT:
        raise UsageError("query", f"a statement has at most {limits.MAX_STATEMENT} bytes")
    return data, salt, args


def keep(folder: Path, digest: bytes, data: bytes) -> None:
    """Write a package's archive so that it is there whole or not at all; thread-safe. Raises UsageError
    ``too_many_packages``, Unavailable.
    """
    path = _path(folder, digest)
    with _one_writer:
        if path.exists():
            return
        try:
            if sum(1 for _ in folder.glob("*.cbor")) >= MAX_PACKAGES:
                raise UsageError("too_many_packages", f"{MAX_PACKAGES} packages are kept", "remove old ones")
            _write(folder / PARTIAL, data)
            (folder / PARTIAL).replace(path)
            sync_directory(folder)
        except OSError as error:
            with contextlib.suppress(OSError):
                (folder / PARTIAL).unlink()  # what does not fit leaves its room to others
            raise Unavailable("store_unavailable", f"cannot write {path}: {error}", "free disk space") from error


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def find(folder: Path, digest: bytes) -> Path:
    """Return where a package's archive is. Raises UsageError ``package_unknown``."""
    path = _path(folder, digest)
    if not path.is_file():
        raise UsageError("package_unknown", f"no package {digest.hex()} here")
    return path


def _path(folder: Path, digest: bytes) -> Path:
    return folder / f"{digest.hex()}.cbor"
