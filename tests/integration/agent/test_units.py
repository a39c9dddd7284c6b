"""The systemd units: sound, exposed to little, and the agent's and gateway's work done inside what they forbid."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import CHECKOUT
from tests.agentrig import AgentRig
from tests.realparts import sandbox

UNITS = CHECKOUT / "systemd"
MOST_EXPOSED = 2.5
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")


@pytest.fixture(params=["edgeseal-agent", "edgeseal-gateway"])
def name(request: pytest.FixtureRequest) -> str:
    found: str = request.param
    return found


def installed(name: str, folder: Path, *, tpm: bool) -> Path:
    """Copy a unit, its program replaced by one that is there, and its drop-ins if wanted."""
    unit = folder / f"{name}.service"
    unit.write_text((UNITS / unit.name).read_text().replace(f"/usr/bin/{name} ", f"{shutil.which('true')} "))
    if tpm:
        shutil.copytree(UNITS / f"{name}.service.d", folder / f"{name}.service.d")
    return unit


def rate(unit: Path) -> subprocess.CompletedProcess[str]:
    """Return systemd's rating; it fails above the threshold."""
    words = ["--no-pager", "--offline=true", f"--threshold={int(MOST_EXPOSED * 10)}", str(unit)]
    return subprocess.run(["systemd-analyze", "security", *words], capture_output=True, text=True, check=False)


@needs_systemd
@pytest.mark.parametrize("tpm", [False, True])
def test_a_unit_is_sound_and_little_exposed(name: str, tpm: bool, tmp_path: Path) -> None:
    unit = installed(name, tmp_path, tpm=tpm)
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")
    rated = rate(unit)
    level = re.search(r"Overall exposure level for \S+: ([0-9.]+)", rated.stdout)
    assert level is not None and float(level[1]) <= MOST_EXPOSED, rated.stdout
    assert rated.returncode == 0


@needs_systemd
def test_the_check_sees_a_fault_and_an_open_unit(name: str, tmp_path: Path) -> None:
    unit = installed(name, tmp_path, tpm=False)
    text = unit.read_text()
    unit.write_text(text.replace("ProtectSystem=strict", "ProtectSystem=strictly"))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
    assert "Failed to parse protect system value" in verified.stderr
    unit.write_text("[Service]\nExecStart=/bin/true\n")
    assert rate(unit).returncode != 0


def test_no_number_of_failures_leaves_it_down(name: str) -> None:
    lines = (UNITS / f"{name}.service").read_text().splitlines()
    assert {"StartLimitIntervalSec=0", "Restart=on-failure"} <= set(lines), "systemd's default gives up after five"


def test_every_directive_has_its_reason() -> None:
    readme = (UNITS / "README.md").read_text()
    for unit in [*UNITS.glob("*.service"), *UNITS.glob("*.service.d/*.conf")]:
        directives = set(re.findall(r"^([A-Z]\w+)=", unit.read_text(), re.MULTILINE))
        for directive in directives - {"Description", "ExecStart", "WantedBy"}:
            assert f"`{directive}" in readme, f"{unit.name}: {directive}"


@pytest.mark.skipif(shutil.which("systemd-sysusers") is None, reason="no systemd-sysusers on this machine")
def test_the_accounts(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    done = subprocess.run(
        ["systemd-sysusers", f"--root={tmp_path}", str(UNITS / "sysusers.d/edgeseal.conf")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    users = (tmp_path / "etc/passwd").read_text()
    assert re.search(r"^edgeseal:x:\d+:\d+:edgeseal agent:/var/lib/edgeseal:\S*nologin$", users, re.MULTILINE), users
    assert re.search(r"^tss:x:\d+:edgeseal,edgeseal-gateway$", (tmp_path / "etc/group").read_text(), re.MULTILINE)


@needs_systemd
@pytest.mark.skipif(not sandbox.is_possible(), reason="needs root")
def test_the_sandbox_is_one(tmp_path: Path) -> None:
    """Each thing forbidden is tried from inside, so that the next test means something."""
    probe = f"""
import ctypes, json, mmap, os
def tried(what):
    try:
        return bool(what()) or True
    except OSError as error:
        return error.errno
print(json.dumps([
    tried(lambda: open("{tmp_path}/beside", "w")), tried(lambda: open("{tmp_path}/in/a", "w")),
    tried(lambda: mmap.mmap(-1, 4096, prot=7)), tried(lambda: mmap.mmap(-1, 4096, prot=3)),
    tried(lambda: os.sched_setaffinity(0, {{0}})), tried(lambda: os.chroot("/")),
]))
"""
    (tmp_path / "in").mkdir()
    line = sandbox.command(UNITS / "edgeseal-agent.service", tmp_path / "in", [sys.executable, "-c", probe])
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    read_only, refused = 30, 1
    assert json.loads(done.stdout) == [read_only, True, refused, True, refused, refused]


def keep_tls_files(rig: AgentRig) -> None:
    """Copy the broker's files, which belong to its own user, to where the confined agent may read them."""
    text = rig.config.read_text()
    for name, path in re.findall(r"(\w+_file): (/[^,}]+)", text):
        copy = rig.folder / f"tls-{name}.pem"
        shutil.copyfile(path, copy)
        text = text.replace(path, str(copy))
    rig.config.write_text(text)


@needs_systemd
@pytest.mark.skipif(not sandbox.is_possible(), reason="needs root")
def test_inference_works_inside_the_units_sandbox(rig: AgentRig) -> None:
    rig.drop(20)
    keep_tls_files(rig)
    agent = [sys.executable, "-m", "edgeseal_agent.cli", "run", "--config", str(rig.config), "--once"]
    line = sandbox.command(UNITS / "edgeseal-agent.service", rig.folder, agent)
    done = subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    status = rig.status()
    assert rig.done() == 20 and status["unsealed"] == 0 and status["unsent"] == 0
