"""The demo model's package as files, and the same with one thing changed."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

from edgeseal.adapters.packagedir import read_package

ROOT: Final = Path(__file__).resolve().parents[2]
DIGITS: Final = ROOT / "models" / "digits"


def files() -> dict[str, bytes]:
    """Return the committed package, path to content."""
    return read_package(DIGITS / "package")


def with_manifest(old: str, new: str) -> dict[str, bytes]:
    """Return the package with ``old``, which must stand there once, replaced by ``new`` in the manifest."""
    changed = files()
    text = changed["manifest.yaml"].decode()
    assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times in the manifest"
    changed["manifest.yaml"] = text.replace(old, new).encode()
    return changed


def held_out() -> list[tuple[bytes, int]]:
    """Return the 450 held-out images as PNG bytes, each with the digit it shows."""
    with zipfile.ZipFile(DIGITS / "held-out.zip") as archive:
        return [(archive.read(name), int(name[4])) for name in sorted(archive.namelist())]
