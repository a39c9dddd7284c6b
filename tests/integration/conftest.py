"""The Debian package, built once for the tests that look into it and those that install it."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import CHECKOUT

SYSTEM_PYTHON = Path("/usr/bin/python3")


def is_debian_12() -> bool:
    if not (shutil.which("dpkg-deb") and SYSTEM_PYTHON.exists()):
        return False
    version = subprocess.run([str(SYSTEM_PYTHON), "--version"], capture_output=True, text=True, check=False).stdout
    return version.startswith("Python 3.11.")


@pytest.fixture(scope="session")
def package() -> Path:
    """The package for this machine, as ``make deb`` makes it."""
    if not is_debian_12():
        pytest.skip("no dpkg and Python of Debian 12 on this machine")
    words = [str(CHECKOUT / "scripts" / "deb")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return CHECKOUT / done.stdout.split()[-1]
