"""What sections of the agent's configuration have in common: paths, secrets, names, sections that may be missing.

Each raises FormatError, with the dotted name of the key, and nothing else. Relative paths are relative to ``base``.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeseal import limits, strictyaml
from edgeseal.errors import FormatError, UsageError

NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
TEXT: Final = r"[^\x00-\x1f]{1,512}"


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands: a file, or the name of a credential in systemd's ``$CREDENTIALS_DIRECTORY``."""

    file: Path | None
    credential: str | None

    def path(self) -> Path:
        """Return the file to read.

        Raises:
            UsageError: ``credential_missing``: a credential is named and systemd handed none to this process.
        """
        if self.file is not None:
            return self.file
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise UsageError(
                "credential_missing",
                f"credential {self.credential} is configured and CREDENTIALS_DIRECTORY is not set",
                "start under systemd with LoadCredential=, or name a file instead",
            )
        return Path(directory) / str(self.credential)


def optional(section: strictyaml.Section, key: str) -> strictyaml.Section:
    """Return the section ``key``, an empty one where it is missing."""
    return section.section(key) if key in section else strictyaml.Section({}, section.path(key))


def path(section: strictyaml.Section, key: str, base: Path, default: str | None = None) -> Path:
    """Return the path that ``key`` holds, ``~`` expanded; it need not exist."""
    text = section.text(key, TEXT) if default is None else section.text(key, TEXT, default)
    return base / Path(text).expanduser()


def maybe_path(section: strictyaml.Section, key: str, base: Path) -> Path | None:
    """Return the path that ``key`` holds, None where it is missing."""
    return path(section, key, base) if key in section else None


def has_secret(section: strictyaml.Section, key: str) -> bool:
    """Return whether a secret of this name is told."""
    return f"{key}_file" in section or f"{key}_credential" in section


def secret(section: strictyaml.Section, key: str, base: Path) -> Secret:
    """Return where the secret ``key`` stands: exactly one of ``key_file`` and ``key_credential`` is needed."""
    file = maybe_path(section, f"{key}_file", base)
    name = f"{key}_credential"
    credential = section.text(name, r"[A-Za-z0-9._-]{1,64}") if name in section else None
    if (file is None) == (credential is None):
        raise FormatError("yaml_missing_key", f"give exactly one of {section.path(key)}_file and {section.path(name)}")
    return Secret(file, credential)


def words(section: strictyaml.Section, key: str) -> list[str]:
    """Return a list of names, an empty one where ``key`` is missing."""
    found = section.sequence(key, limits.MAX_GROUPS, [])
    holder = strictyaml.Section({str(number): word for number, word in enumerate(found)}, section.path(key))
    return [holder.text(str(number), NAME) for number in range(len(found))]
