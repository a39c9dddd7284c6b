"""The model packages on this device: found by digest, installed from what was fetched, never changed in place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from edgeseal.adapters.packagedir import read_package, write_package
from edgeseal.errors import EdgesealError, Unavailable, UsageError, VerificationError
from edgeseal.model import decode_package, package_digest


class Packages:
    """A folder of package folders. Those the agent installs are named by their digest; others may have any name."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def find(self, digest: bytes) -> dict[str, bytes] | None:
        """Return the files of the package with this digest, read once and hashed as read; None when it is not here."""
        named = self._folder / digest.hex()
        others = sorted(path for path in self._folder.glob("*") if path != named and path.is_dir())
        for path in [named, *others] if named.is_dir() else others:
            try:
                files = read_package(path)
                if package_digest(files) == digest:
                    return files
            except EdgesealError:
                continue  # not a package, or one that is broken: it is not the one asked for
        return None

    def is_changed(self, digest: bytes) -> bool:
        """Say whether something stands under the digest's name that is not the package with this digest."""
        folder = self._folder / digest.hex()
        return os.path.lexists(folder) and not _holds(folder, digest)

    def install(self, files: dict[str, bytes]) -> bytes:
        """Keep these files under their digest, durable when it returns, and return the digest. Idempotent.

        What stands under that name and is something else is put aside (:func:`_put_aside`): it must not keep the device
        from its model. A crash in between finds neither and fetches anew.

        Raises Unavailable ``package_unwritable``, FormatError as :func:`edgeseal.model.package_digest`.
        """
        digest = package_digest(files)
        folder = self._folder / digest.hex()
        try:
            if os.path.lexists(folder) and not _holds(folder, digest):
                _put_aside(folder)
            if not folder.exists():
                write_package(files, folder)
        except UsageError as error:
            if error.code != "package_exists":
                raise
        except OSError as error:
            raise Unavailable("package_unwritable", f"{folder}: {error.strerror}") from error
        return digest

    def unpack(self, archive: bytes, digest: bytes) -> dict[str, bytes]:
        """Return the files in a fetched archive and keep them.

        Raises FormatError for a malformed archive, VerificationError ``package_digest`` when it is another package.
        """
        files = decode_package(archive)
        if package_digest(files) != digest:
            raise VerificationError("package_digest", "the package that was sent is not the one asked for")
        self.install(files)
        return files


def _holds(folder: Path, digest: bytes) -> bool:
    """Say whether a folder holds the package with this digest."""
    try:
        return package_digest(read_package(folder)) == digest
    except EdgesealError:
        return False


def _put_aside(folder: Path) -> None:
    """Take what is no package any more out of the way: the first goes to a name that begins with a dot, where it may
    show who changed it, a further one goes for good. Raises OSError.
    """
    aside = folder.with_name(f".{folder.name}.changed")
    if not os.path.lexists(aside):
        folder.rename(aside)
    elif folder.is_dir() and not folder.is_symlink():
        shutil.rmtree(folder)
    else:
        folder.unlink()
