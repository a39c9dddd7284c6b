"""docs/field-guide.md as a new user types it, block by block: from ``apt install`` of the built package to a device
that is enrolled, updated and taken out of service, and one whose key is in a TPM.

It is installed on this very machine as a copy that only the test sees: an overlay over ``/`` in a mount namespace
of its own, whose changes are in memory and go with the test's shell. Nothing is installed for real. Broker, chain,
gateway, operator and TPM (swtpm) are real and run beside it. No systemd boots there: ``tests/realparts/standin.py``
stands in for the manager, and says what it does not show.

What the guide tells a reader to put in is put in: his broker, his gateway, a fingerprint.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization

from edgeseal_console.demo.fleet import BIN, Fleet
from edgeseal_console.demo.parts import ADDRESS, CHECKOUT
from tests.e2e.conftest import running
from tests.e2e.documents import blocks
from tests.e2e.processes import wait_for
from tests.e2e.terminal import Terminal as Shell
from tests.realparts.tpm import Maker, SoftwareTpm

GUIDE = "docs/field-guide.md"
CONFIG = "/etc/edgeseal/agent.yaml"
UNIT = "/usr/lib/systemd/system/edgeseal-agent.service"
ENABLED = "/etc/systemd/system/multi-user.target.wants/edgeseal-agent.service"
NEWER = "0.1.0+test"

SHELL = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LANG=C.UTF-8"
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

CARRIED = """
mkdir -p root/carried run/standin run/systemd/system
chmod 700 root
mount --bind "$2" root/carried
cp "$3"/standin.py "$3"/sandbox.py run/standin/
mv usr/bin/systemctl usr/bin/systemctl.real
for name in systemctl systemd-run; do install -m 0755 "$3/standin.py" usr/bin/$name; done
shift 3
"""
"""Puts the folder ``$2`` where root of that machine works, and the stand-ins of the folder ``$3`` in their places."""

AS_NEW = """
exec 2>&1
dpkg --purge edgeseal-agent >/dev/null 2>&1
rm -rf /var/lib/edgeseal /etc/edgeseal /etc/systemd/system/edgeseal-agent.service.d
echo 'APT::Install-Recommends "false";' >/etc/apt/apt.conf.d/99-no-network
cd /root/carried
"""
"""Forgets an agent that this machine may have. SoftHSM, which the package recommends, is there already."""


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
def carried(tmp_path: Path) -> Path:
    """What is carried to the device and back."""
    folder = tmp_path / "carried"
    folder.mkdir()
    return folder


@pytest.fixture
def terminal(tmp_path: Path, carried: Path) -> Iterator[Terminal]:
    """Root's shell on a copy of this machine that has no agent, in the folder with what is carried to it."""
    if shutil.which("systemd-sysusers") is None or shutil.which("softhsm2-util") is None:
        pytest.skip("no systemd and SoftHSM on this machine")
    place = tmp_path / "board"
    place.mkdir()
    tried = [*as_root(), "unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-e", "-c"]
    if subprocess.run([*tried, BOARD, "sh", str(place)], capture_output=True, check=False).returncode != 0:
        pytest.skip("no overlay mounts on this machine")
    begin = f'{BOARD}{CARRIED}exec env -i {SHELL} chroot . "$@"'
    words = [*tried, begin, "sh", str(place), str(carried), str(CHECKOUT / "tests/realparts")]
    with Terminal(tmp_path, words) as shell:
        shell.run(AS_NEW)
        yield shell
    assert list(place.iterdir()) == []


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Broker, chain, operator and gateway of the devices here."""
    with running(tmp_path_factory.mktemp("fleet")) as made:
        yield made


class Operator:
    """A terminal on the operator's machine, whose ``./ops`` is the fleet's, and the broker's authority with him."""

    def __init__(self, fleet: Fleet, folder: Path, maker: Maker) -> None:
        folder.mkdir()
        self.folder = folder
        (folder / "ops").symlink_to(fleet.home)
        authority = fleet.broker.authority
        shutil.copy(authority.certificate, folder)
        key = authority._key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "ca.key").write_bytes(key)
        (folder / "tpm-maker-root.pem").write_bytes(maker.certificate.public_bytes(serialization.Encoding.PEM))

    def run(self, block: str, place: Path | None = None) -> str:
        """Run a block as it is written and return what it printed; a command that fails fails the test."""
        environment = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-e", "-o", "pipefail", "-c", block],
            cwd=place or self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"exit {done.returncode} in\n{block}\n{done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def operator(fleet: Fleet, tmp_path: Path, maker: Maker, carried: Path) -> Operator:
    """The operator, who has given the device its provisioning pack."""
    made = Operator(fleet, tmp_path / "operator", maker)
    made.run("edgeseal provision --home ./ops --out pack.cbor")
    shutil.copy(made.folder / "pack.cbor", carried)
    return made


@pytest.fixture(scope="session")
def newer_package(package: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package once more under a higher version, which its program names too; not compressed, to be quick."""
    folder = tmp_path_factory.mktemp("newer")
    root = folder / "root"
    subprocess.run(["dpkg-deb", "--raw-extract", str(package), str(root)], check=True)
    (metadata,) = root.glob("usr/lib/edgeseal/edgeseal-*.dist-info/METADATA")
    for path in (root / "DEBIAN/control", metadata):
        text, count = re.subn(r"^Version: .*$", f"Version: {NEWER}", path.read_text(), flags=re.MULTILINE)
        assert count == 1
        path.write_text(text)
    made = folder / re.sub(r"_[^_]*_", f"_{NEWER}_", package.name)
    words = ["dpkg-deb", "--root-owner-group", "-Znone", "--build", str(root), str(made)]
    subprocess.run(words, check=True, capture_output=True)
    return made


def guide(name: str, **put_in: str) -> str:
    """Return the block of the guide with this mark, ``put_in`` in the places of the words that stand for them."""
    (block,) = blocks(GUIDE, f"field-{name}")
    for word, own in put_in.items():
        wanted = WORDS[word]
        assert wanted in block, f"{wanted} is not in\n{block}"
        block = block.replace(wanted, own)
    return block


WORDS = {
    "broker": "host: broker.example", "port": "port: 8883", "gateway": "https://gateway.example:8420",
    "fingerprint": "FINGERPRINT", "owner": "--owner edgeseal",
    "check": "runuser -u edgeseal -- edgeseal-agent check --config /etc/edgeseal/agent.yaml",
}  # fmt: skip


def status(terminal: Terminal) -> dict[str, Any]:
    """Return what the agent says of itself; one in the background may say other things between."""
    said = terminal.run(f"runuser -u edgeseal -- edgeseal-agent status --config {CONFIG} --json")
    found: dict[str, Any] = json.loads(next(line for line in said.splitlines() if line.startswith("{")))
    return found


def give(terminal: Terminal, name: str) -> None:
    """Put one of the package's inputs into the device's inbox."""
    place = "/usr/share/edgeseal/digits-inputs"
    terminal.run(f"install -o edgeseal -g edgeseal -m 0600 {place}/{name}* /var/lib/edgeseal/inbox/")


def connect(terminal: Terminal, operator: Operator, carried: Path, fleet: Fleet, **put_in: str) -> str:
    """Do what section 7 says up to the restart, on device and console; return what ``check`` said."""
    terminal.run(guide("certificate"))
    for name in ("device.csr", "enrol-request.json"):
        shutil.copy(carried / name, operator.folder)
    assert f"CN = {status(terminal)['log']}" in operator.run(guide("request"))
    operator.run(guide("sign"))
    for name in ("device.pem", "ca.pem"):
        shutil.copy(operator.folder / name, carried)
    return terminal.run(guide("connect", broker="host: localhost", port=f"port: {fleet.broker.port}", **put_in))


def received(terminal: Terminal) -> bool:
    """Tell whether no input waits and the gateway has a receipt for everything recorded."""
    look = "sleep 0.5; ls /var/lib/edgeseal/inbox 2>/dev/null || true"  # at leisure: others need the processor
    waiting = terminal.run(look)
    return waiting == "" and bool(status(terminal)["unsent"] == 0)


def test_every_block_of_the_guide_is_typed_here() -> None:
    text = Path(__file__).read_text()
    marked = re.findall(r"<!-- test: field-([a-z-]+) -->", (CHECKOUT / GUIDE).read_text())
    assert len(blocks(GUIDE)) == len(marked) and len(set(marked)) == len(marked), "a block without a mark of its own"
    assert [name for name in marked if f'guide("{name}"' not in text] == []


@pytest.mark.timeout(900)
def test_a_device_from_apt_install_to_its_end(
    package: Path, newer_package: Path, terminal: Terminal, operator: Operator, carried: Path, fleet: Fleet
) -> None:
    shutil.copy(package, carried)
    alone(terminal, operator, carried)
    connected(terminal, operator, carried, fleet)
    updated(terminal, operator, carried, package, newer_package)
    out_of_service(terminal, operator, carried)


def alone(terminal: Terminal, operator: Operator, carried: Path) -> None:
    """Sections 1 to 6: no gateway knows of it yet."""
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

    assert "1 inputs" in terminal.run(guide("export"))
    carry_home(terminal, operator, carried, "device.zip")
    replayed = operator.run(guide("replay"))
    assert "inference: model " in replayed and "ok      integrity           PROVED" in replayed
    assert "ok      reexecution" in replayed

    assert "active (running)" in terminal.run(guide("service"))
    assert terminal.run(f"readlink -f {ENABLED}") == terminal.run(f"readlink -f {UNIT}")
    give(terminal, "001")
    wait_for("an input in the unit's sandbox", lambda: status(terminal)["inputs_kept"] == 2)
    terminal.run("systemctl stop edgeseal-agent")
    assert status(terminal)["unsealed"] == 0

    terminal.run(guide("by-hand"))
    wait_for("the third input", lambda: status(terminal)["inputs_kept"] == 3)
    terminal.run("kill %1 && wait %1 || test $? = 143")
    assert status(terminal)["unsealed"] == 0


def carry_home(terminal: Terminal, operator: Operator, carried: Path, name: str) -> None:
    """Carry a bundle from the device's state to the operator."""
    terminal.run(f"cp /var/lib/edgeseal/{name} . && chmod a+r {name}")
    shutil.copy(carried / name, operator.folder)


def connected(terminal: Terminal, operator: Operator, carried: Path, fleet: Fleet) -> None:
    """Section 7."""
    checked = connect(terminal, operator, carried, fleet)
    assert "ok    broker TLS" in checked and "ok    broker: " in checked and "enrol the device" in checked
    wait_for("the gateway's refusal", lambda: "unknown_key" in terminal.run(guide("status")))
    operator.run(guide("enrol"))
    wait_for("everything received", lambda: received(terminal))
    wait_for("an anchor for good", lambda: "receipt     final" in terminal.run(guide("status")))
    said = terminal.run(guide("status"))
    assert "running, connected" in said and "received by the gateway" in said


def updated(terminal: Terminal, operator: Operator, carried: Path, package: Path, newer: Path) -> None:
    """Section 10: another version, and the one before again, over a service that runs."""
    before = status(terminal)
    configured = terminal.run(f"sha256sum {CONFIG}")
    (carried / package.name).unlink()
    shutil.copy(newer, carried)
    terminal.run(guide("update"))
    assert "ok    device key" in terminal.run(guide("check"))
    (carried / newer.name).unlink()
    shutil.copy(package, carried)
    terminal.run(guide("update").replace("apt install -y", "apt install -y --allow-downgrades"))
    assert terminal.run(f"sha256sum {CONFIG}") == configured
    give(terminal, "002")
    wait_for("the history goes on", lambda: received(terminal))
    after = status(terminal)
    assert (after["log"], after["kid"]) == (before["log"], before["kid"])
    assert after["daemon"]["running"] and after["boot"] > before["boot"] + 1 and after["records"] > before["records"]


def out_of_service(terminal: Terminal, operator: Operator, carried: Path) -> None:
    """Section 11; and what purging the package leaves."""
    ended = terminal.run(guide("decommission"))
    assert "is destroyed" in ended and terminal.run(f"test -e {ENABLED} || echo disabled") == "disabled\n"
    assert "closed      for good: sold" in terminal.run(guide("status"))
    carry_home(terminal, operator, carried, "last.zip")
    told = operator.run("edgeseal replay last.zip --ask integrity,append_only")
    assert "ok      append_only" in told and f"edgeseal-agent {NEWER}" in told and "sold" in told
    purge, wipe = guide("remove").splitlines()
    assert "/var/lib/edgeseal is kept" in terminal.run(purge)
    terminal.run(f"test ! -e /usr/lib/edgeseal && test -s /var/lib/edgeseal/journal.db && test -s {CONFIG}")
    terminal.run(wipe)


@pytest.mark.timeout(900)
def test_a_device_with_its_key_in_a_tpm(
    package: Path, terminal: Terminal, operator: Operator, carried: Path, fleet: Fleet, software_tpm: SoftwareTpm,
    maker: Maker,
) -> None:  # fmt: skip
    """Section 8. The TPM is reached over a socket and not as /dev/tpmrm0, which the script is told."""
    maker.certify(software_tpm)
    shutil.copy(package, carried)
    terminal.run(guide("install"))
    terminal.run(guide("configure"))
    terminal.run(f"sed -i 's/^name: .*/name: camera-2/' {CONFIG}")
    terminal.run(guide("tpm-provision", owner=f"--owner edgeseal --tcti {software_tpm.tcti}"))
    said = terminal.run(guide("tpm-init"))
    assert "tpm-unverified" in said and "ok    TPM attestation" in said and "a run works: 0 fail" in said

    operator.run(guide("tpm-claim"), fleet.gateway_folder)
    shutil.copy(fleet.gateway_folder / "claim.txt", carried)
    apply_and_accept(terminal, operator, fleet)
    connect(terminal, operator, carried, fleet, check="agent check")
    terminal.run(guide("service"))
    give(terminal, "000")
    wait_for("an input received", lambda: received(terminal))
    assert status(terminal)["inputs_kept"] == 1


@pytest.mark.timeout(900)
def test_a_board_that_does_it_by_itself(
    newer_package: Path, terminal: Terminal, operator: Operator, carried: Path, fleet: Fleet
) -> None:
    """firmware-config/cloud-init/user-data: its script at the first start, at one more, and once it has what is left
    for a person to do. cloud-init's part, which installs packages and runs the script at each start, is not shown here.
    """
    (written,) = yaml.safe_load((CHECKOUT / "firmware-config/cloud-init/user-data").read_text())["write_files"]
    (carried / "at-start").write_text(written["content"])
    own = {"broker": "host: localhost", "port": f"port: {fleet.broker.port}"}
    settings = "".join(
        text for block in (guide("configure"), guide("connect", **own))
        for text in re.findall(r"<<'YAML'\n(.*?)YAML\n", block, re.DOTALL)
    )  # fmt: skip
    (carried / "agent.yaml").write_text(settings.replace("camera-1", "camera-3"))
    shutil.copy(newer_package, carried / "edgeseal.deb")
    seed = "/boot/firmware/edgeseal"
    terminal.run(f"mkdir -p {seed} && mount -t tmpfs seed /boot/firmware && mkdir {seed}")
    terminal.run(f"cp edgeseal.deb pack.cbor agent.yaml {seed}/ && mount -o remount,ro /boot/firmware")
    for _ in range(2):
        terminal.run("sh at-start")
        assert terminal.run(f"test -e {ENABLED} || echo not yet") == "not yet\n"
    terminal.run(f"cp {seed}/enrol-request.json . && mount -o remount,rw /boot/firmware")
    shutil.copy(carried / "enrol-request.json", operator.folder)
    operator.run(guide("enrol"))
    files = fleet.broker.authority.issue_client(json.loads((carried / "enrol-request.json").read_text())["log"])
    for name, path in (("ca.pem", files.authority), ("device.pem", files.certificate), ("device.key", files.key)):
        shutil.copy(path, carried / name)
    terminal.run(f"cp ca.pem device.pem device.key {seed}/ && mount -o remount,ro /boot/firmware && sh at-start")
    wait_for("everything received", lambda: received(terminal))
    assert terminal.run(f"test -e {seed}/device.key || stat -c '%U %a' /etc/edgeseal/device.key") == "edgeseal 400\n"


def apply_and_accept(terminal: Terminal, operator: Operator, fleet: Fleet) -> None:
    """The device waits at one terminal while the operator, at another, compares what both show, and accepts."""
    shown: list[str] = []
    block = guide("tpm-enrol", gateway=f"http://{ADDRESS}:{fleet.api_port}")
    waiting = threading.Thread(target=lambda: shown.append(terminal.run(block)))
    waiting.start()

    def applicants() -> list[str]:
        return re.findall(r"\b[0-9a-f]{64}\b", operator.run("edgeseal identity applicants --home ./ops"))

    wait_for("an applicant", lambda: bool(applicants()))
    (fingerprint, *_) = applicants()
    accepted = operator.run(guide("tpm-accept", fingerprint=fingerprint))
    waiting.join(240)
    assert "tpm-ek-verified" in accepted
    assert len(shown) == 1 and fingerprint in shown[0].replace(" ", "") and "enrolled" in shown[0]
