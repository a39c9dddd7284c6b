"""Model packages on disk: a folder read into names and bytes, and written so that it is there whole or not at all."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

from edgeseal.errors import FormatError, Unavailable, UsageError
from edgeseal.model import MODEL_LIMITS, check_paths, check_sizes, package_digest


def read_package(folder: Path) -> dict[str, bytes]:
    """Return every file under ``folder`` (untrusted) as path to content, read once.

    Links are never followed, ``folder`` itself excepted. Sizes are checked before a byte is read, and a file that grows
    meanwhile is refused. Empty folders are no part of a package.

    Raises:
        FormatError: ``package_symlink``, ``package_special_file`` (device, pipe, socket), ``model_too_many_files``,
            ``model_file_too_large`` and the other codes of :func:`edgeseal.model.check_paths`.
        Unavailable: ``package_unreadable``, the operating system's reason in the message.
    """
    try:
        found = {}
        for path in _walk(folder):
            found[path.relative_to(folder).as_posix()] = path
            if len(found) > MODEL_LIMITS.files:
                raise FormatError("model_too_many_files", f"more than {MODEL_LIMITS.files} files in {folder}")
        check_paths(found)
        check_sizes((name, path.lstat().st_size) for name, path in found.items())
        return {name: _read(path) for name, path in found.items()}
    except OSError as error:
        raise Unavailable("package_unreadable", f"{error.filename or folder}: {error.strerror}") from error


def write_package(files: Mapping[str, bytes], folder: Path) -> bytes:
    """Write ``files`` as ``folder``, which must not exist, and return the package digest (32 bytes).

    Durable on return: files and folders are synced, and the folder appears under its name by one rename, so after a
    crash it is there whole or not at all; what is left then is a hidden ``.<name>.*`` beside it.

    Raises:
        FormatError: as :func:`edgeseal.model.package_digest`.
        UsageError: ``package_exists``.
        Unavailable: ``package_unwritable`` (disk full, no permission).
    """
    digest = package_digest(files)
    if folder.exists():
        raise UsageError("package_exists", f"{folder} exists", "choose another folder or remove this one")
    try:
        _make(folder.parent)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            for name, content in files.items():
                _write(draft / name, content)
            for place in [draft, *(path for path in draft.rglob("*") if path.is_dir())]:
                place.chmod(0o755)
                _sync(place)
            draft.rename(folder)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _sync(folder.parent)
    except OSError as error:
        raise Unavailable("package_unwritable", f"{error.filename or folder}: {error.strerror}") from error
    return digest


def _make(folder: Path) -> None:
    """Make a folder and those above it that are missing, their names durable too."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    for place in missing:
        _sync(place.parent)


def _walk(folder: Path, depth: int = 1) -> Iterator[Path]:
    if depth > MODEL_LIMITS.path_parts:
        raise FormatError("model_path_invalid", f"{folder} is more than {MODEL_LIMITS.path_parts} folders deep")
    with os.scandir(folder) as entries:
        some = sorted(islice(entries, MODEL_LIMITS.files + 1), key=lambda entry: entry.name)
    if len(some) > MODEL_LIMITS.files:
        raise FormatError("model_too_many_files", f"more than {MODEL_LIMITS.files} files in {folder}")
    for entry in some:
        path = Path(entry.path)
        if entry.is_symlink():
            raise FormatError("package_symlink", f"{path} is a symbolic link")
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(path, depth + 1)
        elif entry.is_file(follow_symlinks=False):
            yield path
        else:
            raise FormatError("package_special_file", f"{path} is neither a file nor a folder")


def _read(path: Path) -> bytes:
    """Return the content of a file that was a plain file a moment ago and still has to be one."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as file:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise FormatError("package_special_file", f"{path} is no plain file")
        content = file.read(min(status.st_size, MODEL_LIMITS.file) + 1)
    if len(content) > status.st_size:
        raise FormatError("model_file_too_large", f"{path} grew while it was read")
    return content


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
