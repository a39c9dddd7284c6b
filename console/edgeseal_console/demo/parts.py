"""The outside parts of a demo or a test, started and stopped as child processes: the MQTT broker and the chain.

Each is a context manager, listens on loopback at a port of its own choice, keeps that port and its state over
``stop`` or ``kill`` and ``start``, and is ended by the kernel when this process dies. Start them from the main
thread: the kernel takes the end of the starting thread for the end of the parent.
"""

from __future__ import annotations

import contextlib
import json
import os
import pwd
import shutil
import signal
import socket
import string
import subprocess
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from edgeseal.errors import Unavailable, UsageError
from edgeseal_console.demo.authority import Authority, CertificateFiles
from edgeseal_console.demo.ownedfolder import OwnedFolder, sweep

START_TIMEOUT_S: Final = 60.0
STOP_TIMEOUT_S: Final = 20.0
ADDRESS: Final = "127.0.0.1"
CHECKOUT: Final = Path(__file__).resolve().parents[3]
CHAIN_ID: Final = 31337
BROKER_USER: Final = "mosquitto"
BROKER_FOLDER: Final = "edgeseal-broker-"
"""How the names of brokers' temporary folders begin."""
_POLL_S = 0.02


def free_port() -> int:
    """Return a loopback TCP port that was free just now."""
    with socket.socket() as probe:
        probe.bind((ADDRESS, 0))
        return int(probe.getsockname()[1])


class Part(ABC):
    """A child process that listens on one TCP port. Subclasses say what to run."""

    name = "part"

    def __init__(self, directory: Path) -> None:
        """Nothing is started yet; the log will be ``directory``/<name>.log, appended to at each start."""
        self.directory = directory
        self.port = free_port()
        self.log = directory / f"{self.name}.log"
        self._process: subprocess.Popen[bytes] | None = None

    @abstractmethod
    def command(self) -> Sequence[str]:
        """Return the command line to run."""

    def pid(self) -> int | None:
        """Return the process id while it runs, else None."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def start(self) -> Self:
        """Start it and return once it accepts connections; nothing happens if it runs already.

        Raises Unavailable ``part_not_started`` with the end of its log when it ends or says nothing within
        ``START_TIMEOUT_S``, UsageError ``part_missing`` when its program is not installed.
        """
        if self.pid() is not None:
            return self
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while not self.answers():
            if self.pid() is None or time.monotonic() > deadline:
                self.kill()
                said = self.log.read_text(errors="replace")[-2000:]
                raise Unavailable("part_not_started", f"{self.name} did not start; its log ends: {said}")
            time.sleep(_POLL_S)
        return self

    def answers(self) -> bool:
        """Tell whether it accepts connections."""
        try:
            with socket.create_connection((ADDRESS, self.port), timeout=1):
                return True
        except OSError:
            return False

    def stop(self) -> None:
        """End it in good order (SIGTERM), by force after ``STOP_TIMEOUT_S``; nothing happens if it does not run."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End it by force (SIGKILL), as a power cut would."""
        self._end(signal.SIGKILL)

    def _end(self, how: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(how)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def __enter__(self) -> Self:
        """Start it."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it, whatever happened."""
        self.stop()


class Broker(Part):
    """mosquitto with the settings and ACL of ``firmware-config/mosquitto``, under a certificate authority of its own.

    Its files lie in a temporary directory that ends with the ``with`` block, since, started as root, it runs as its
    own user, who could not reach into private folders; those of brokers whose process was killed end at the next start.
    ``authority`` issues client certificates: ``gateway``, and one
    named by its log id for each device.
    """

    name = "mosquitto"

    def __init__(self) -> None:
        """Write configuration and certificates. Raises UsageError ``part_missing`` when mosquitto is not installed."""
        self._program = _find_program("mosquitto")
        sweep(BROKER_FOLDER, _broker_users())
        self._folder = OwnedFolder(BROKER_FOLDER)
        super().__init__(self._folder.path)
        self.authority = Authority(self.directory / "authority")
        files = self.authority.issue_server("localhost", ADDRESS)
        state, acl = self.directory / "state", self.directory / "acl"
        state.mkdir(mode=0o700)
        settings = CHECKOUT / "firmware-config" / "mosquitto"
        shutil.copyfile(settings / "acl", acl)
        acl.chmod(0o600)
        template = string.Template((settings / "mosquitto.conf.in").read_text())
        self._config = self.directory / "mosquitto.conf"
        self._config.write_text(
            template.substitute(
                port=self.port,
                address=ADDRESS,
                authority=files.authority,
                certificate=files.certificate,
                key=files.key,
                acl=acl,
                state=state,
            )
        )
        if os.geteuid() == 0:
            _give_to(
                BROKER_USER, self.directory, self.directory / "authority", state, acl, self._config, *_paths(files)
            )

    def command(self) -> Sequence[str]:
        """Return mosquitto's command line, as its own user when we are root."""
        change = ["--reuid", BROKER_USER, "--regid", BROKER_USER, "--clear-groups"] if os.geteuid() == 0 else []
        return [*_dies_with_parent(*change), self._program, "-c", str(self._config)]

    def close(self) -> None:
        """Stop the broker and remove its directory."""
        self.stop()
        self._folder.remove()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it and remove its directory."""
        self.close()


class Chain(Part):
    """anvil, an EVM node of one process: Osaka rules, so that P-256 signatures are checked by the precompile.

    With ``block_time_s`` it makes a block at that pace and ``finalized`` follows two blocks behind; without, it makes a
    block for each transaction. State lives in memory: after ``stop`` it starts from nothing.
    """

    name = "anvil"

    def __init__(self, directory: Path, block_time_s: float | None = None) -> None:
        """Find the program. Raises UsageError ``part_missing`` when it is not installed."""
        super().__init__(directory)
        self._program = find_anvil()
        self._pace = [] if block_time_s is None else ["--block-time", str(block_time_s)]

    @property
    def url(self) -> str:
        """The JSON-RPC endpoint."""
        return f"http://{ADDRESS}:{self.port}"

    def command(self) -> Sequence[str]:
        """Return anvil's command line."""
        place = ["--host", ADDRESS, "--port", str(self.port), "--chain-id", str(CHAIN_ID)]
        rules = ["--hardfork", "osaka", "--slots-in-an-epoch", "1", "--accounts", "1"]
        return [*_dies_with_parent(), self._program, *place, *rules, *self._pace]

    def call(self, method: str, *parameters: object) -> Any:
        """Return the result of a JSON-RPC call, such as ``anvil_mine``. Raises Unavailable ``chain_call``."""
        body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": parameters}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})
        try:
            with urllib.request.urlopen(request, timeout=30) as response:
                answer = json.load(response)
        except (OSError, ValueError) as error:
            raise Unavailable("chain_call", f"{method}: {error}") from error
        if "error" in answer:
            raise Unavailable("chain_call", f"{method}: {answer['error']}")
        return answer.get("result")

    def answers(self) -> bool:
        """Tell whether it answers a call."""
        try:
            return super().answers() and self.call("eth_chainId") == hex(CHAIN_ID)
        except Unavailable:
            return False

    def fund(self, address: str, wei: int = 10**20) -> None:
        """Set the balance of an account, given as ``0x`` and 40 digits. Raises Unavailable ``chain_call``."""
        self.call("anvil_setBalance", address, hex(wei))


def find_anvil() -> str:
    """Return the path of anvil's native program, ours before any other. Raises UsageError ``part_missing``."""
    for found in sorted(CHECKOUT.glob("contracts/node_modules/@foundry-rs/anvil-linux-*/bin/anvil")):
        return str(found)
    return _find_program("anvil")


def _find_program(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")
    if found is None:
        raise UsageError("part_missing", f"{name} is not installed", "run scripts/setup run")
    return found


def _dies_with_parent(*credentials: str) -> list[str]:
    """Return the start of a command line whose process gets SIGTERM from the kernel when this process ends."""
    return [_find_program("setpriv"), "--pdeathsig", "TERM", *credentials, "--"]


def _broker_users() -> set[int]:
    """Return the ids of the users that own the folders of our brokers."""
    users = {os.geteuid()}
    if os.geteuid() == 0:
        with contextlib.suppress(KeyError):
            users.add(pwd.getpwnam(BROKER_USER).pw_uid)
    return users


def _give_to(user: str, *paths: Path) -> None:
    try:
        owner = pwd.getpwnam(user)
    except KeyError:
        raise UsageError("part_missing", f"there is no user {user}", "install the package mosquitto") from None
    for path in paths:
        os.chown(path, owner.pw_uid, owner.pw_gid)


def _paths(files: CertificateFiles) -> tuple[Path, Path, Path]:
    return files.authority, files.certificate, files.key
