"""Against other people's programs, each in an environment of its own: model-signing, and the older TFLite runtime.

Both environments are installed from the package index, so this is part of ``make soak``.
"""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from pathlib import Path
from typing import Any

import pytest

from edgeseal.model import parse_package
from edgeseal.runtime import RuntimeInfo, exactness
from edgeseal_console.operate.models import pack
from tests.models import build, digits

pytestmark = [pytest.mark.soak, pytest.mark.timeout(1800)]

SIGNING = ["model-signing==1.1.1", "sigstore==4.5.1", "pyopenssl"]
OLD_RUNTIME = ["tflite-runtime==2.14.0", "numpy<2", "pillow", "PyYAML", "cbor2"]

RUN = """
import json, sys
from pathlib import Path
from edgeseal.adapters.packagedir import read_package
from edgeseal.adapters.tflite import TfliteRunner, check_golden
from edgeseal.model import parse_package
for folder in sys.argv[1:]:
    package = parse_package(read_package(Path(folder)))
    runner = TfliteRunner(package.model)
    check_golden(package, runner)
    print(json.dumps({"runtime": runner.info.to_list(), "arithmetic": runner.arithmetic}))
"""


def environment(folder: Path, packages: list[str]) -> Path:
    """Return the Python of a new environment with ``packages`` in it."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    subprocess.run([python, "-m", "pip", "install", "--quiet", *packages], check=True)
    return python


def test_model_signing_still_gives_the_known_digests(tmp_path: Path) -> None:
    python = environment(tmp_path / "venv", SIGNING)
    fresh = tmp_path / "digests.json"
    subprocess.run([python, digits.ROOT / "tests" / "models" / "peer.py", fresh], check=True)
    assert json.loads(fresh.read_text()) == json.loads((digits.ROOT / "tests/models/known-digests.json").read_text())


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="no wheel for this platform")
def test_the_older_runtime_passes_the_golden_vectors_within_tolerance(tmp_path: Path) -> None:
    folders = [digits.DIGITS / "package"]
    for name, make in build.MODELS.items():
        (tmp_path / name).write_bytes(make())
        folders.append(pack(tmp_path / name, "own", "1.0", tmp_path / f"{name}-package").folder)
    python = environment(tmp_path / "venv", OLD_RUNTIME)
    lines = subprocess.run(
        [python, "-c", RUN, *folders], check=True, capture_output=True, text=True, env={"PYTHONPATH": str(digits.ROOT)}
    ).stdout.splitlines()
    assert len(lines) == len(folders)
    found: list[dict[str, Any]] = [json.loads(line) for line in lines]
    recorded = parse_package(digits.files()).manifest.runtime
    for entry in found:
        other = RuntimeInfo(*entry["runtime"])
        assert other.family == "tflite-runtime"
        assert not exactness(recorded, other, "integer").owed
    assert [entry["arithmetic"] for entry in found] == ["integer", "float", "integer", "float"]
