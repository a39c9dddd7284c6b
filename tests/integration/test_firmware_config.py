"""Each file of firmware-config/ under the tool that will read it on a device."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgeseal_agent import config
from edgeseal_console.demo.parts import CHECKOUT
from tests.e2e.documents import blocks

FILES = CHECKOUT / "firmware-config"
RULES = FILES / "udev/60-edgeseal-tpm.rules"
USER_DATA = FILES / "cloud-init/user-data"


UNPACKED = CHECKOUT / ".tools/usr"
"""Where scripts/setup unpacks tools that nobody wants installed."""
PLACES = f"{os.environ['PATH']}:/usr/sbin:{UNPACKED}/sbin:{UNPACKED}/bin"
ENVIRONMENT = {**os.environ, "PATH": PLACES, "PYTHONPATH": f"{UNPACKED}/lib/python3/dist-packages"}


def run(*words: str | Path, code: int = 0) -> str:
    """Run a tool; return all it said."""
    line = [str(word) for word in words]
    done = subprocess.run(line, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    assert done.returncode == code, f"{words}: {done.returncode}: {done.stdout}{done.stderr}"
    return done.stdout + done.stderr


def tool(name: str) -> pytest.MarkDecorator:
    """Skip, with the reason, where a tool is not installed."""
    return pytest.mark.skipif(shutil.which(name, path=PLACES) is None, reason=f"no {name} on this machine")


def may_unshare(what: str) -> bool:
    return os.geteuid() == 0 and subprocess.run(["unshare", what, "true"], check=False).returncode == 0


# ---- nftables -------------------------------------------------------------------------------------------------------

RULESETS = sorted(FILES.glob("nftables/*.nft"))


@tool("nft")
@pytest.mark.skipif(not may_unshare("--net"), reason="needs root")
@pytest.mark.parametrize("rules", RULESETS, ids=lambda path: path.stem)
def test_rules_load_and_load_again(rules: Path, tmp_path: Path) -> None:
    run("unshare", "--net", "nft", "-c", "-f", rules)
    run("unshare", "--net", "sh", "-c", 'nft -f "$0" && nft -f "$0"', rules)
    broken = tmp_path / "broken.nft"
    broken.write_text(rules.read_text().replace("policy drop", "policy perhaps"))
    run("unshare", "--net", "nft", "-c", "-f", broken, code=1)


class Namespace:
    """A network namespace with a process that holds it."""

    def __init__(self) -> None:
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "600"])
        own = os.readlink("/proc/self/ns/net")
        deadline = time.monotonic() + 60
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == own:
            assert time.monotonic() < deadline
            time.sleep(0.01)

    def run(self, *words: str | Path) -> str:
        return run("nsenter", "-t", str(self.holder.pid), "-n", "--", *words)

    def listen(self, address: str, ports: list[int]) -> subprocess.Popen[str]:
        """Start a program that listens on ports and says so."""
        program = (
            "import socket, sys, time\n"
            "held = [socket.create_server((sys.argv[1], int(port))) for port in sys.argv[2:]]\n"
            "print('listening', flush=True)\n"
            "time.sleep(600)\n"
        )
        words = ["nsenter", "-t", str(self.holder.pid), "-n", "--", sys.executable, "-c", program]
        started = subprocess.Popen([*words, address, *map(str, ports)], stdout=subprocess.PIPE, text=True)
        assert started.stdout is not None and started.stdout.readline() == "listening\n"
        return started

    def reaches(self, address: str, port: int) -> bool:
        program = (
            "import socket, sys\n"
            "try: socket.create_connection((sys.argv[1], int(sys.argv[2])), float(sys.argv[3])).close(); print(1)\n"
            "except (TimeoutError, PermissionError): print(0)\n"
        )
        return self.run(sys.executable, "-c", program, address, str(port), "3") == "1\n"


@pytest.fixture
def wire() -> Iterator[tuple[Namespace, Namespace]]:
    """A device at 192.168.77.2 and the world at 192.168.77.1, with a wire between them."""
    device, world = Namespace(), Namespace()
    try:
        device.run("ip", "link", "add", "name", "ours", "type", "veth", "peer", "name", "theirs", "netns",
                   str(world.holder.pid))  # fmt: skip
        for side, name, address in ((device, "ours", "192.168.77.2/24"), (world, "theirs", "192.168.77.1/24")):
            side.run("ip", "address", "add", address, "dev", name)
            side.run("ip", "link", "set", name, "up")
        yield device, world
    finally:
        for side in (device, world):
            side.holder.kill()
            side.holder.wait()


@tool("nft")
@tool("ip")
@tool("nsenter")
@pytest.mark.skipif(not may_unshare("--net"), reason="needs root")
def test_a_device_speaks_to_its_broker_and_is_spoken_to_by_nobody(wire: tuple[Namespace, Namespace]) -> None:
    device, world = wire
    listeners = [world.listen("192.168.77.1", [8883, 8080]), device.listen("192.168.77.2", [22, 8883])]
    try:
        assert device.reaches("192.168.77.1", 8080) and world.reaches("192.168.77.2", 8883), "without rules"
        device.run("nft", "-f", FILES / "nftables/edgeseal-device.nft")
        assert device.reaches("192.168.77.1", 8883) and world.reaches("192.168.77.2", 22)
        assert not device.reaches("192.168.77.1", 8080), "only the broker"
        assert not world.reaches("192.168.77.2", 8883), "nothing comes in"
        assert re.search(r"counter packets [1-9]", device.run("nft", "list", "chain", "inet", "edgeseal", "output"))
    finally:
        for listener in listeners:
            listener.kill()
            listener.communicate()


# ---- mosquitto ------------------------------------------------------------------------------------------------------

BROKER = """
mount -t tmpfs etc /etc/mosquitto
mkdir /etc/mosquitto/certs
echo '127.0.0.1 broker.example' >hosts
mount --bind hosts /etc/hosts
ip link set lo up
systemctl() { mosquitto -c /etc/mosquitto/mosquitto.conf & }
"""
"""A machine with nothing in its network and in /etc/mosquitto; no systemd is there to start the broker."""

SPEAK = """
import sys
from pathlib import Path
from edgeseal.adapters.mqtt import Endpoint, MqttLink
name, topic = sys.argv[1:]
files = [Path(file) for file in ("ca.pem", f"{name}.pem", f"{name}.key")]
link = MqttLink(Endpoint("broker.example", 8883, name, *files, retry_min_s=0.1, retry_max_s=1), [topic], print)
link.start()
print(name, "heard" if link.wait_ready(60) else "not heard")
link.stop(1.0)
"""


@pytest.mark.skipif(not may_unshare("--net"), reason="needs root")
def test_the_broker_of_the_operators_guide(tmp_path: Path) -> None:
    """Certificates, files and configuration as docs/operating.md tells to type them, and the gateway at the broker."""
    (tmp_path / "firmware-config").symlink_to(FILES)
    (tmp_path / "speak.py").write_text(SPEAK)
    (certificates,), (install,) = (blocks("docs/operating.md", f"broker{part}") for part in ("-certificates", ""))
    told = f"{sys.executable} speak.py gateway 'edgeseal/v1/+/up/#'"
    script = f"set -e\nexport PATH=$PATH:/usr/sbin\n{BROKER}{certificates}{install}{told}"
    words = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]  # what is started ends with the shell
    done = subprocess.run(
        [*words, "bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0 and "gateway heard" in done.stdout, done.stdout + done.stderr


# ---- udev -----------------------------------------------------------------------------------------------------------


def udev_complaints(rules: Path) -> list[str]:
    """Return what udev says of a rules file: by ``udevadm verify``, before systemd 254 by reading it for a device."""
    if "verify" in run("udevadm", "--help"):
        done = subprocess.run(["udevadm", "verify", str(rules)], capture_output=True, text=True, check=False)
        return [line for line in (done.stdout + done.stderr).splitlines() if rules.name + ":" in line]
    script = (
        'mkdir -p /run/udev/rules.d && mount --bind "$0" /run/udev/rules.d && udevadm test --action=add /class/mem/null'
    )
    said = run("unshare", "--mount", "sh", "-c", script, rules.parent)
    assert f"Reading rules file: /run/udev/rules.d/{rules.name}" in said
    return [line for line in said.splitlines() if f"{rules.name}:" in line]


@tool("udevadm")
@pytest.mark.skipif(not may_unshare("--mount"), reason="needs root")
def test_udev_takes_the_rule(tmp_path: Path) -> None:
    copy = tmp_path / RULES.name
    shutil.copy(RULES, copy)
    assert udev_complaints(copy) == []
    copy.write_text(RULES.read_text().replace('MODE="0660"', 'MODUS="0660"'))
    assert udev_complaints(copy)


# ---- time, watchdog, disk -------------------------------------------------------------------------------------------


@tool("chronyd")
def test_chrony_takes_its_file(tmp_path: Path) -> None:
    said = run("chronyd", "-p", "-f", FILES / "chrony/edgeseal.conf")
    assert "minsources 2" in said
    wrong = tmp_path / "chrony.conf"
    wrong.write_text("makestep never\n")
    run("chronyd", "-p", "-f", wrong, code=1)


@tool("systemd-analyze")
def test_the_watchdogs_times_are_times() -> None:
    text = (FILES / "watchdog/10-edgeseal-watchdog.conf").read_text()
    times = dict(re.findall(r"^(\w+WatchdogSec)=(.*)$", text, re.MULTILINE))
    assert times.keys() == {"RuntimeWatchdogSec", "RebootWatchdogSec"} and "[Manager]" in text
    spans = {
        name: int(re.findall(r"μs: (\d+)", run("systemd-analyze", "timespan", span))[0]) for name, span in times.items()
    }
    assert spans["RuntimeWatchdogSec"] < 15_000_000, "more than a Pi's counter holds"


@tool("findmnt")
def test_the_read_only_root(tmp_path: Path) -> None:
    fstab = FILES / "pi/fstab"
    done = subprocess.run(
        ["findmnt", "--verify", "--tab-file", str(fstab)], capture_output=True, text=True, check=False
    )
    assert "0 parse errors" in done.stdout + done.stderr
    lines = [line.split() for line in fstab.read_text().splitlines() if line and not line.startswith("#")]
    assert {len(fields) for fields in lines} == {6}
    options = {fields[1]: fields[3].split(",") for fields in lines}
    assert "ro" in options["/"] and "ro" in options["/boot/firmware"] and "rw" in options["/data"]
    assert all({"nodev", "nosuid", "noexec"} <= set(options[place]) for place in options if place != "/")
    wrong = tmp_path / "fstab"
    wrong.write_text("LABEL=x / ext4\nrubbish\n")
    done = subprocess.run(
        ["findmnt", "--verify", "--tab-file", str(wrong)], capture_output=True, text=True, check=False
    )
    assert "0 parse errors" not in done.stdout + done.stderr


# ---- cloud-init ----------------------------------------------------------------------------------------------------


@tool("cloud-init")
def test_cloud_init_takes_its_file(tmp_path: Path) -> None:
    assert "Valid" in run("cloud-init", "schema", "--config-file", USER_DATA)
    wrong = tmp_path / "user-data"
    wrong.write_text(USER_DATA.read_text().replace("package_update: true", "package_update: perhaps"))
    assert "package_update" in run("cloud-init", "schema", "--config-file", wrong, code=1)


def test_the_first_start_script(tmp_path: Path) -> None:
    data: dict[str, Any] = yaml.safe_load(USER_DATA.read_text())
    assert USER_DATA.read_text().startswith("#cloud-config\n")
    (written,) = data["write_files"]
    script = tmp_path / "edgeseal"
    script.write_text(written["content"])
    run("sh", "-n", script)
    for place in re.findall(r"/usr/share/edgeseal/(\S+)", written["content"]):
        assert (CHECKOUT / place).exists(), place
    provision = (FILES / "provision-tpm.sh").read_text()
    assert all(
        f"missing+=({name})" in provision for name in data["packages"] if name.startswith(("tpm", "lib", "open"))
    )


# ---- what devices are told to write into agent.yaml -----------------------------------------------------------------


def test_the_credential_of_the_drop_in_is_the_one_the_script_names(tmp_path: Path) -> None:
    drop_in = (CHECKOUT / "systemd/edgeseal-agent.service.d/10-tpm.conf").read_text()
    state = re.search(r"--state (\S+)", drop_in)
    credential = re.search(r"^LoadCredential=([\w-]+):(\S+)$", drop_in, re.MULTILINE)
    assert state is not None and credential is not None
    assert credential[2] == f"{state[1]}/secrets/device.pin"
    file = tmp_path / "agent.yaml"
    file.write_text(
        "schema: edgeseal-agent/1\nname: cam-1\nstate_dir: state\nprovisioning: pack.cbor\n"
        f"key: {{module: /m.so, token: device, label: device, pin_credential: {credential[1]}}}\n"
    )
    assert config.load(file).key.pin.credential == credential[1]
