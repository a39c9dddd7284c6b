"""What comes in by HTTP: a statement in JSON, a package archive onto the disk and back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Final

from edgeseal import limits
from edgeseal.errors import Unavailable, UsageError
from edgeseal_gateway.store.database import sync_directory

MAX_PACKAGES: Final = 1_000
_KEYS: Final = {"statement", "salt", "args"}


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
    """Write a package's archive so that it is there whole or not at all. Raises UsageError ``too_many_packages``,
    Unavailable.
    """
    path = _path(folder, digest)
    if path.exists():
        return
    try:
        if sum(1 for _ in folder.iterdir()) >= MAX_PACKAGES:
            raise UsageError("too_many_packages", f"{MAX_PACKAGES} packages are kept", "remove old ones")
        partial = path.with_suffix(".partial")
        with partial.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        sync_directory(folder)
    except OSError as error:
        raise Unavailable("store_unavailable", f"cannot write {path}: {error}", "free disk space") from error


def load(folder: Path, digest: bytes) -> bytes:
    """Return a package's archive. Raises UsageError ``package_unknown``, Unavailable."""
    path = _path(folder, digest)
    try:
        return path.read_bytes()
    except FileNotFoundError:
        raise UsageError("package_unknown", f"no package {digest.hex()} here") from None
    except OSError as error:
        raise Unavailable("store_unavailable", f"cannot read {path}: {error}") from error


def _path(folder: Path, digest: bytes) -> Path:
    return folder / f"{digest.hex()}.cbor"
