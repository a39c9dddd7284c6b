"""slither finds nothing of high or medium impact in our contracts that `contracts/audit/slither.json` does not explain.

It runs in a virtual environment of its own, made from `requirements/slither.lock`: its dependencies are not ours.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
CONTRACTS = ROOT / "contracts"
FORGE = CONTRACTS / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin"


def run(*command: str | Path, cwd: Path, path: str = "") -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOUNDRY_")}
    env["PATH"] = f"{path}{os.pathsep}{env['PATH']}"
    return subprocess.run(list(map(str, command)), cwd=cwd, env=env, capture_output=True, text=True, check=False)


def findings(folder: Path) -> list[dict[str, Any]]:
    made = run("uv", "venv", "--quiet", "--python", sys.executable, folder / "venv", cwd=folder)
    assert made.returncode == 0, made.stderr
    lock = ROOT / "requirements" / "slither.lock"
    python = folder / "venv" / "bin" / "python"
    made = run("uv", "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", lock, cwd=folder)
    assert made.returncode == 0, made.stderr

    work = folder / "contracts"
    work.mkdir()
    for name in ("src", "bin"):
        shutil.copytree(CONTRACTS / name, work / name)
    shutil.copy(CONTRACTS / "foundry.toml", work)
    (work / "node_modules").symlink_to(CONTRACTS / "node_modules")
    # Its exit code counts findings: what it found is what is judged.
    done = run(
        folder / "venv" / "bin" / "slither", ".", "--filter-paths", "node_modules", "--exclude-informational",
        "--exclude-optimization", "--exclude-low", "--json", folder / "found.json",
        cwd=work, path=str(FORGE),
    )  # fmt: skip
    assert (folder / "found.json").exists(), done.stderr
    report = json.loads((folder / "found.json").read_text("utf-8"))
    assert report["success"], report["error"]
    found: list[dict[str, Any]] = report["results"]["detectors"]
    return found


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.skipif(platform.machine() != "x86_64", reason="no forge for this platform")
def test_every_finding_is_triaged(tmp_path: Path) -> None:
    triage = json.loads((CONTRACTS / "audit" / "slither.json").read_text("utf-8"))
    known = {(row["check"], row["contract"], row["function"]) for row in triage}
    assert all(row["why"] for row in triage)
    found = {
        (row["check"], element["type_specific_fields"]["parent"]["name"], element["name"])
        for row in findings(tmp_path)
        for element in row["elements"][:1]
    }
    assert found - known == set(), "not triaged"
    assert known - found == set(), "triaged, but no longer found"
