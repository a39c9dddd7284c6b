"""The model packages on this device: found by digest, installed from what was fetched, never changed in place."""

from __future__ import annotations

from pathlib import Path

from edgeseal.adapters.packagedir import read_package, write_package
from edgeseal.errors import EdgesealError, UsageError, VerificationError
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

    def install(self, files: dict[str, bytes]) -> bytes:
        """Keep these files under their digest, durable when it returns, and return the digest. Idempotent.

        Raises Unavailable ``package_unwritable``, FormatError as :func:`edgeseal.model.package_digest`.
        """
        digest = package_digest(files)
        folder = self._folder / digest.hex()
        try:
            if not folder.exists():
                write_package(files, folder)
        except UsageError as error:
            if error.code != "package_exists":
                raise
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
