"""The rule of tests/conftest.py: in CI, a skip without a known reason fails the run."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
LAZY = "import pytest\n@pytest.mark.skip(reason='later')\ndef test_x():\n    pass\n"
INSIDE = "import pytest\ndef test_x():\n    pytest.skip('later')\n"
MODULE = "import pytest\npytest.importorskip('no_such_module')\n"
EXPLAINED = "import pytest\n@pytest.mark.skip(reason='no forge for this platform')\ndef test_x():\n    pass\n"


def run_pytest(folder: Path, source: str, ci: str) -> subprocess.CompletedProcess[str]:
    shutil.copy(CONFTEST, folder)
    (folder / "test_x.py").write_text(source)
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "-c", os.devnull],
        cwd=folder,
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("source", [LAZY, INSIDE, MODULE])
def test_an_unexplained_skip_fails_in_ci(tmp_path: Path, source: str) -> None:
    result = run_pytest(tmp_path, source, ci="true")
    assert result.returncode != 0
    assert "unexplained skip in CI" in result.stdout


@pytest.mark.parametrize("source", [LAZY, INSIDE])
def test_a_skip_outside_ci_passes(tmp_path: Path, source: str) -> None:
    assert run_pytest(tmp_path, source, ci="").returncode == 0


def test_an_explained_skip_passes_in_ci(tmp_path: Path) -> None:
    result = run_pytest(tmp_path, EXPLAINED, ci="true")
    assert result.returncode == 0
    assert "1 skipped" in result.stdout
