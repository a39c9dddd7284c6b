"""docs/field-guide.md as a new user types it: the built package installed by apt, and an inference sealed.

It is installed on this very machine as a copy that only the test sees: an overlay over ``/`` in a mount namespace
of its own, whose changes are in memory and go with the test's shell. Nothing is installed for real.
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import CHECKOUT
from tests.e2e.documents import blocks
from tests.e2e.processes import wait_for
from tests.e2e.terminal import Terminal as Shell
from tests.fleetside import FleetSide, make_pack

GUIDE = "docs/field-guide.md"
CONFIG = "/etc/edgeseal/agent.yaml"
UNIT = "/usr/lib/systemd/system/edgeseal-agent.service"
ENABLED = "/etc/systemd/system/multi-user.target.wants/edgeseal-agent.service"

SHELL = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root"
BOARD = """
mount -t tmpfs board "$1"
mkdir "$1/changes" "$1/work" "$1/root"
mount -t overlay board -o "lowerdir=/,upperdir=$1/changes,workdir=$1/work" "$1/root"
cd "$1/root"
mount -t proc proc proc
mount --rbind /dev dev
mount -t tmpfs run run
mount -t tmpfs tmp tmp
"""
"""Makes a machine like this one in the folder ``$1``."""

AS_NEW = """
exec 2>&1
dpkg --purge edgeseal-agent >/dev/null 2>&1
rm -rf /var/lib/edgeseal /etc/edgeseal
echo 'APT::Install-Recommends "false";' >/etc/apt/apt.conf.d/99-no-network
cd /tmp/carried
"""
"""Forgets an agent that this machine may have. SoftHSM, which the package recommends, is there already."""

SANDBOX = """
unshare --mount sh -e -c '
mount --bind /var/lib/edgeseal /var/lib/edgeseal
mount -o remount,bind,ro /
exec setpriv --reuid edgeseal --regid edgeseal --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
' sh python3 /tmp/carried/sandbox.py {unit} -- {line} --once
"""
"""The service's command line as its user, with the mounts, capabilities and system calls that its unit leaves."""


class Terminal(Shell):
    """A shell whose commands have no input of their own: apt would read what is typed after it."""

    def run(self, block: str) -> str:
        return super().run(f"{{\n{block}\n}} </dev/null")


def as_root() -> list[str]:
    """Return the words that make root of us; none when we are. Skips where nobody makes us root without a question."""
    if os.geteuid() == 0:
        return []
    asked = ["sudo", "-n", "true"]
    if shutil.which("sudo") is None or subprocess.run(asked, capture_output=True, check=False).returncode != 0:
        pytest.skip("needs root")
    return ["sudo", "-n"]


@pytest.fixture
def board(tmp_path: Path) -> Iterator[list[str]]:
    """The words that run a command on a copy of this machine, with a folder for what is carried to it."""
    if shutil.which("systemd-sysusers") is None or shutil.which("softhsm2-util") is None:
        pytest.skip("no systemd and SoftHSM on this machine")
    place, carried = tmp_path / "board", tmp_path / "carried"
    place.mkdir()
    carried.mkdir()
    tried = [*as_root(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-e", "-c"]
    if subprocess.run([*tried, BOARD, "sh", str(place)], capture_output=True, check=False).returncode != 0:
        pytest.skip("no overlay mounts on this machine")
    begin = f'{BOARD}cp -r "$2" tmp/carried\nshift 2\nexec env -i {SHELL} chroot . "$@"'
    yield [*tried, begin, "sh", str(place), str(carried)]
    assert list(place.iterdir()) == []


def guide(name: str) -> str:
    """Return the block of the guide with this mark."""
    (block,) = blocks(GUIDE, f"field-{name}")
    return block


def status(terminal: Terminal) -> dict[str, object]:
    """Return what the agent says of itself; one in the background may say other things between."""
    said = terminal.run(f"runuser -u edgeseal -- edgeseal-agent status --config {CONFIG} --json")
    found: dict[str, object] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found


@pytest.mark.timeout(900)
def test_from_apt_install_to_a_sealed_inference(package: Path, board: list[str], tmp_path: Path) -> None:
    carried = tmp_path / "carried"
    shutil.copy(package, carried)
    shutil.copy(CHECKOUT / "tests/realparts/sandbox.py", carried)
    (carried / "pack.cbor").write_bytes(make_pack(FleetSide().world))
    with Terminal(tmp_path, [*board]) as terminal:
        terminal.run(AS_NEW)
        terminal.run(guide("install"))
        terminal.run(guide("configure"))
        assert "kid  " in terminal.run(guide("init"))
        checked = terminal.run(guide("check"))
        assert "a run works: 0 fail" in checked and "digits 1.0.0, golden vectors pass" in checked
        said = terminal.run(guide("infer"))
        assert "all under a signed head" in said and "model       digits 1.0.0, package" in said
        found = status(terminal)
        assert found["unsealed"] == 0 and found["size"] == found["records"] == found["unsent"]
        assert found["inputs_kept"] == 1

        exported = terminal.run(guide("export") + "base64 /var/lib/edgeseal/device.zip\n")
        assert "1 inputs" in exported
        replayed = carry_home(exported, tmp_path)
        assert "inference: model " in replayed and "ok      integrity           PROVED" in replayed
        assert "ok      reexecution" in replayed

        # No systemd runs here to start it: systemctl enables the unit, and what it would start is started below.
        enable, look = guide("service").splitlines()
        assert look.startswith("systemctl status ") and " --now " in enable
        terminal.run(enable.replace(" --now ", " "))
        assert terminal.run(f"readlink -f {ENABLED}") == terminal.run(f"readlink -f {UNIT}")
        terminal.run(
            "install -o edgeseal -g edgeseal -m 0600 /usr/share/edgeseal/digits-inputs/001* /var/lib/edgeseal/inbox/"
        )
        line = terminal.run(f"sed -n s/^ExecStart=//p {UNIT}").strip()
        terminal.run(SANDBOX.format(unit=UNIT, line=line))
        confined = status(terminal)
        assert confined["unsealed"] == 0 and confined["inputs_kept"] == 2

        terminal.run(guide("by-hand"))
        wait_for("the third input", lambda: status(terminal)["inputs_kept"] == 3)
        terminal.run("kill %1 && wait %1 || test $? = 143")
        assert status(terminal)["unsealed"] == 0


def carry_home(exported: str, folder: Path) -> str:
    """Write the bundle that came over the terminal, and return what the guide's console commands say of it."""
    text = exported.partition(" inputs\n")[2]
    (folder / "device.zip").write_bytes(base64.b64decode(text))
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    said = ""
    for command in guide("replay").splitlines():
        done = subprocess.run(
            shlex.split(command), cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        said += done.stdout
    return said
