"""A .zip of evidence as names → bytes, refused unless it is exactly the plain folder it claims to be (format.md 14).

Zip lets one name stand twice, point outside, be a link, be encrypted, or unpack to a thousand times its size. Each
of these is refused here with its own code before anything is unpacked, so that two readers of one bundle always see
the same evidence.
"""

from __future__ import annotations

import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterable
from typing import BinaryIO, Final, Protocol

from edgeseal import limits
from edgeseal.errors import FormatError

MAX_NAME: Final = 255
"""Characters of a bundle file's name."""
RATIO_FREE: Final = 1 << 20
"""Files up to this unpacked size are not held to MAX_BUNDLE_RATIO."""
MAX_DIRECTORY: Final = 96 << 20
"""Bytes of a zip's central directory: what MAX_BUNDLE_FILES names of MAX_NAME characters need, and some room."""

_NAME: Final = re.compile(r"(?:[A-Za-z0-9._-]+/)*[A-Za-z0-9._-]+", re.ASCII)
_END: Final = struct.Struct("<4s4H2LH")
_END64_LOCATOR: Final = struct.Struct("<4sLQL")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_FLAGS_ALLOWED: Final = 0x0806  # deflate's level bits, UTF-8 names
_DESCRIPTOR: Final = 0x0008  # sizes again after the data: written by streaming writers, read by nobody here
_LOCAL_HEADER: Final = 30


class Source(Protocol):
    """Evidence as names → bytes, given by the caller: a folder, a zip, a mapping in memory."""

    def names(self) -> Iterable[str]:
        """Return the name of every file, each once, in any order; already checked with :func:`check_names`."""

    def read(self, name: str) -> bytes:
        """Return the bytes of one named file, at most MAX_BUNDLE_FILE. Raises FormatError where they cannot be had."""


class MemorySource:
    """A Source over a mapping already in memory; checks names and sizes as a container would."""

    def __init__(self, files: dict[str, bytes]) -> None:
        """Take ``files`` as they are (not copied). Raises FormatError as :func:`check_names` and ``check_sizes``."""
        check_names(files)
        check_sizes((name, len(data)) for name, data in files.items())
        self._files = files

    def names(self) -> Iterable[str]:
        """Return all names."""
        return self._files.keys()

    def read(self, name: str) -> bytes:
        """Return the bytes of ``name``. Raises FormatError ``bundle_missing``."""
        try:
            return self._files[name]
        except KeyError:
            raise FormatError("bundle_missing", f"no file {name!r:.300} in the bundle") from None


def check_names(names: Iterable[str]) -> None:
    """Refuse names a bundle may not have.

    Raises:
        FormatError: ``bundle_name`` (absolute, parent or empty parts, other characters, too long),
            ``bundle_duplicate``, ``bundle_file_count``.
    """
    seen: set[str] = set()
    for name in names:
        if len(name) > MAX_NAME or not _NAME.fullmatch(name) or any(part in (".", "..") for part in name.split("/")):
            raise FormatError("bundle_name", f"{name!r:.300} is no name for a bundle's file")
        if name in seen:
            raise FormatError("bundle_duplicate", f"{name!r:.300} stands twice in the bundle")
        seen.add(name)
        if len(seen) > limits.MAX_BUNDLE_FILES:
            raise FormatError("bundle_file_count", f"more than {limits.MAX_BUNDLE_FILES} files")


def check_sizes(sizes: Iterable[tuple[str, int]]) -> None:
    """Refuse files too large, one or together. Raises FormatError ``bundle_file_size``, ``bundle_total_size``."""
    total = 0
    for name, size in sizes:
        if size > limits.MAX_BUNDLE_FILE:
            raise FormatError("bundle_file_size", f"{name!r:.300} has {size} bytes, at most {limits.MAX_BUNDLE_FILE}")
        total += size
    if total > limits.MAX_BUNDLE_TOTAL:
        raise FormatError(
            "bundle_total_size", f"the bundle unpacks to {total} bytes, at most {limits.MAX_BUNDLE_TOTAL}"
        )


class ZipSource:
    """A Source over a zip. Not thread-safe. Nothing is written to disk, nothing is unpacked before it is asked for."""

    def __init__(self, file: BinaryIO) -> None:
        """Check the whole directory of the untrusted zip in ``file``, open for reading and seekable; it stays the
        caller's.

        Raises:
            FormatError: ``bundle_container`` (not one plain zip from its first byte to its last), ``bundle_encrypted``,
                ``bundle_method``, ``bundle_link``, ``bundle_overlap``, ``bundle_ratio``, and what ``check_names`` and
                ``check_sizes`` raise. An OSError of ``file`` passes through.
        """
        count = _directory_count(file)
        try:
            self._zip = zipfile.ZipFile(file)
        except (zipfile.BadZipFile, zlib.error, struct.error, ValueError, OverflowError, NotImplementedError) as error:
            raise _container(error) from error
        if len(self._zip.infolist()) != count:
            raise FormatError("bundle_container", f"the end record counts {count} entries, the directory has others")
        entries = [info for info in self._zip.infolist() if not _is_folder(info)]
        check_names(_raw_name(info) for info in entries)
        check_sizes((info.filename, info.file_size) for info in entries)
        for info in entries:
            _check_entry(info)
        _check_layout(self._zip.infolist(), self._zip.start_dir)
        self._entries = {info.filename: info for info in entries}

    def names(self) -> Iterable[str]:
        """Return all names."""
        return self._entries.keys()

    def read(self, name: str) -> bytes:
        """Return the unpacked bytes of ``name``, exactly as many as the directory says and with its CRC.

        Raises:
            FormatError: ``bundle_missing``, ``bundle_container``.
        """
        info = self._entries.get(name)
        if info is None:
            raise FormatError("bundle_missing", f"no file {name!r:.300} in the bundle")
        try:
            with self._zip.open(info) as stream:
                data = stream.read(info.file_size + 1)
        except (
            zipfile.BadZipFile,
            zlib.error,
            struct.error,
            ValueError,
            EOFError,
            NotImplementedError,
            RuntimeError,
        ) as error:
            raise _container(error) from error
        if len(data) != info.file_size:
            raise FormatError("bundle_container", f"{name!r:.300} does not unpack to its stated size")
        return data


def _container(error: Exception) -> FormatError:
    return FormatError("bundle_container", f"not a plain zip: {' '.join(str(error).split())[:200]}")


def _raw_name(info: zipfile.ZipInfo) -> str:
    """Return the name as it stands in the directory: zipfile cuts at a NUL, which would hide the rest."""
    return info.orig_filename


def _is_folder(info: zipfile.ZipInfo) -> bool:
    """Say whether an entry is an empty folder marker, which carries no evidence; its name is checked all the same."""
    if not info.orig_filename.endswith("/"):
        return False
    check_names([info.orig_filename[:-1]])
    if info.file_size or info.compress_size:
        raise FormatError("bundle_container", f"folder {info.orig_filename!r:.300} has content")
    return True


def _check_entry(info: zipfile.ZipInfo) -> None:
    if info.flag_bits & ~(_FLAGS_ALLOWED | _DESCRIPTOR):
        raise FormatError("bundle_encrypted", f"{info.filename!r:.300} is encrypted or patched")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FormatError("bundle_method", f"{info.filename!r:.300} is neither stored nor deflated")
    kind = stat.S_IFMT(info.external_attr >> 16)
    if kind not in (0, stat.S_IFREG):
        raise FormatError("bundle_link", f"{info.filename!r:.300} is a link or device, not a file")
    if info.file_size > RATIO_FREE and info.file_size > limits.MAX_BUNDLE_RATIO * max(info.compress_size, 1):
        raise FormatError(
            "bundle_ratio", f"{info.filename!r:.300} unpacks to more than {limits.MAX_BUNDLE_RATIO} times its size"
        )


def _check_layout(entries: list[zipfile.ZipInfo], directory: int) -> None:
    """Refuse entries that share bytes with each other or the directory, and a zip that does not start with its first
    entry.
    """
    ordered = sorted(entries, key=lambda info: info.header_offset)
    if ordered and ordered[0].header_offset != 0:
        raise FormatError("bundle_container", "bytes stand before the zip's first entry")
    ends = [info.header_offset + _LOCAL_HEADER + len(info.orig_filename) + info.compress_size for info in ordered]
    starts = [info.header_offset for info in ordered[1:]] + [directory]
    for info, end, following in zip(ordered, ends, starts, strict=False):
        if end > following:
            raise FormatError("bundle_overlap", f"{info.filename!r:.300} shares bytes with another entry")


def _directory_count(file: BinaryIO) -> int:
    """Return how many entries the end record claims, after bounding the central directory, which zipfile reads whole.

    Anything after the end record is refused.
    """
    length = file.seek(0, 2)
    if length < _END.size:
        raise FormatError("bundle_container", "too short for a zip")
    file.seek(length - _END.size)
    signature, _, _, _, count, size, _, comment = _END.unpack(file.read(_END.size))
    if signature != b"PK\x05\x06" or comment:
        raise FormatError("bundle_container", "not a zip, or something follows its end record")
    if count == 0xFFFF or size == 0xFFFFFFFF:
        count, size = _zip64_size(file, length)
    if count > 2 * limits.MAX_BUNDLE_FILES:
        raise FormatError("bundle_file_count", f"{count} entries, at most {limits.MAX_BUNDLE_FILES} files")
    if size > min(MAX_DIRECTORY, length):
        raise FormatError("bundle_container", f"a directory of {size} bytes")
    return int(count)


def _zip64_size(file: BinaryIO, length: int) -> tuple[int, int]:
    """Return (count, size) of the central directory from the zip64 records."""
    start = length - _END.size - _END64_LOCATOR.size - _END64.size
    if start < 0:
        raise FormatError("bundle_container", "zip64 fields without zip64 records")
    file.seek(start)
    fields = _END64.unpack(file.read(_END64.size))
    locator = _END64_LOCATOR.unpack(file.read(_END64_LOCATOR.size))
    if fields[0] != b"PK\x06\x06" or locator[0] != b"PK\x06\x07" or locator[2] != start:
        raise FormatError("bundle_container", "zip64 fields without zip64 records")
    return fields[7], fields[8]
