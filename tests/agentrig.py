"""A real agent process with a real token on a real broker, and a strict gateway in memory at the broker's other end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from edgeseal import topics
from edgeseal.adapters.mqtt import Ack, Endpoint, MqttLink
from edgeseal_console.demo.parts import ADDRESS, Broker
from tests.fleetside import FleetSide, Reply, make_pack

MODEL = Path(__file__).parents[1] / "models" / "digits"
WAIT_S = 120.0
AGENT = [sys.executable, "-m", "edgeseal_agent.cli"]


def wait(what: Callable[[], Any], seconds: float = WAIT_S) -> None:
    """Wait until ``what`` holds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.02)


class Gateway:
    """A FleetSide at a broker. A context manager."""

    def __init__(self, broker: Broker, side: FleetSide | None = None) -> None:
        self.side = side or FleetSide()
        self.lock = threading.Lock()
        files = broker.authority.issue_client("gateway")
        endpoint = Endpoint(
            ADDRESS,
            broker.port,
            "gateway",
            files.authority,
            files.certificate,
            files.key,
            retry_min_s=0.2,
            retry_max_s=1,
        )
        self.failures: list[BaseException] = []
        self.link = MqttLink(endpoint, [topics.ALL_UP], self._take, on_failed=self.failures.append)

    def _take(self, topic: str, payload: bytes, ack: Ack) -> None:
        with self.lock:
            replies = self.side.handle(topic, payload)
        for reply in replies:
            self.push(*reply)
        ack()

    def push(self, topic: str, payload: bytes) -> None:
        """Send one message to a device."""
        while not self.link.wait_ready(1.0):
            pass
        self.link.publish(topic, payload)

    def do(self, what: Callable[[FleetSide], Reply]) -> None:
        """Let the fleet side make a message, and send it."""
        with self.lock:
            reply = what(self.side)
        self.push(*reply)

    def held(self, log: bytes) -> list[str]:
        """The leaf hashes held of a log, in hex and in order."""
        with self.lock:
            found = self.side.logs.get(log)
            return [] if found is None else [item.leaf.hex() for item in found.items]

    def __enter__(self) -> Self:
        self.link.start()
        assert self.link.wait_ready(60)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.link.stop(1.0)
        if error is None:
            assert not self.failures, self.failures


class AgentRig:
    """One device: its folder, configuration and process. ``acks`` collects what ``--acks`` said, over all runs."""

    def __init__(self, folder: Path, world_pack: bytes, *, extra: Sequence[str] = ()) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "pack.cbor").write_bytes(world_pack)
        self.config = folder / "agent.yaml"
        self.inbox = folder / "inbox"
        self.inbox.mkdir(exist_ok=True)
        self._lines = [
            "schema: edgeseal-agent/1", "name: cam-1", "groups: [all]", "state_dir: state", "provisioning: pack.cbor",
            "key: {token: edge, label: device, create: true}",
            "source: {kind: watch, path: inbox, poll_ms: 20, settle_ms: 0}",
            "uplink: {receipt_timeout_s: 5, retry_min_s: 1, retry_max_s: 2, flush_s: 20}",
            *extra,
        ]  # fmt: skip
        self.config.write_text("\n".join(self._lines) + "\n")
        self.acks: dict[int, str] = {}
        self.process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None
        self.errors = folder / "agent.log"

    @classmethod
    def enrolled(cls, folder: Path, gateway: Gateway, broker: Broker, *, extra: Sequence[str] = ()) -> AgentRig:
        """Make, initialise and enrol one device, with the broker in its configuration."""
        rig = cls(folder, make_pack(gateway.side.world), extra=extra)
        request = rig.init()
        rig.connect(broker)
        with gateway.lock:
            gateway.side.enrol(request)
        return rig

    @property
    def log(self) -> bytes:
        """Its device log id."""
        return bytes.fromhex(json.loads((self.folder / "state" / "enrol-request.json").read_text())["log"])

    def init(self) -> dict[str, Any]:
        """Run ``init`` and return what it printed."""
        found: dict[str, Any] = json.loads(self.run("init", "--json"))
        return found

    def connect(self, broker: Broker) -> None:
        """Issue its client certificate and add the broker to its configuration."""
        files = broker.authority.issue_client(self.log.hex())
        mqtt = (
            f"mqtt: {{host: {ADDRESS}, port: {broker.port}, ca_file: {files.authority}, "
            f"cert_file: {files.certificate}, key_file: {files.key}}}"
        )
        self.config.write_text("\n".join([*self._lines, mqtt]) + "\n")

    def run(self, command: str, *words: str, code: int | None = 0) -> str:
        """Run a subcommand to its end; return what it printed, standard error if it should fail. ``code`` None: any."""
        line = [*AGENT, command, "--config", str(self.config), *words]
        done = subprocess.run(line, capture_output=True, text=True, timeout=WAIT_S)
        assert code in (None, done.returncode), f"{line}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done.stderr if code else done.stdout

    def status(self) -> dict[str, Any]:
        """Return ``status --json``."""
        found: dict[str, Any] = json.loads(self.run("status", "--json"))
        return found

    def start(self, *words: str, program: Sequence[str] = AGENT) -> None:
        """Start ``run --acks`` and collect its acknowledgements."""
        reading, writing = os.pipe()
        line = [*program, "run", "--config", str(self.config), "--acks", str(writing), *words]
        with self.errors.open("a") as errors:
            self.process = subprocess.Popen(line, stderr=errors, stdout=errors, pass_fds=[writing], text=True)
        os.close(writing)
        self._reader = threading.Thread(target=self._collect, args=(reading,), daemon=True)
        self._reader.start()

    def _collect(self, descriptor: int) -> None:
        with os.fdopen(descriptor) as lines:
            for line in lines:
                if not line.endswith("\n"):
                    return  # cut off in the middle of a write: nothing was said
                seq, leaf = line.split()
                assert self.acks.setdefault(int(seq), leaf) == leaf, f"position {seq} acknowledged twice, differently"

    def stop(self, how: signal.Signals = signal.SIGTERM, code: int | None = 0) -> None:
        """End it by a signal and check its exit code (None: any)."""
        assert self.process is not None
        self.process.send_signal(how)
        self.wait_end(code)

    def wait_end(self, code: int | None = 0) -> None:
        """Wait until it has ended, and for the last acknowledgement it wrote."""
        assert self.process is not None and self._reader is not None
        found = self.process.wait(WAIT_S)
        self._reader.join(WAIT_S)
        self.process = None
        assert code is None or found == code, f"exit code {found}; its log ends: {self.said()}"

    def said(self) -> str:
        """The end of what it wrote to standard error."""
        return self.errors.read_text(errors="replace")[-3000:]

    def close(self) -> None:
        """End it if it runs."""
        if self.process is not None:
            self.process.kill()
            self.wait_end(None)

    def drop(self, count: int, prefix: str = "image") -> None:
        """Put so many held-out images into the watched folder, each whole at once."""
        with zipfile.ZipFile(MODEL / "held-out.zip") as archive:
            entries = [name for name in archive.namelist() if name.endswith(".png")]
            for number in range(count):
                name = f"{prefix}-{number:05d}.png"
                hidden = self.inbox / f".{name}"
                hidden.write_bytes(archive.read(entries[number % len(entries)]))
                hidden.rename(self.inbox / name)

    def done(self) -> int:
        """How many inputs were recorded and moved away."""
        folder = self.folder / "inbox.done"
        return sum(1 for _ in folder.iterdir()) if folder.is_dir() else 0
