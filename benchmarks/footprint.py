"""What the agent takes: the resident memory of ``edgeseal-agent run`` with the digits model, and how long a start
takes until the first record is sealed. A real process, token, broker (TLS) and disk; inputs come through the watched
folder.

A record is sealed when a signed head over it is in the store. The first is the boot record; the first inference comes
after the model is loaded and has passed its golden vectors.
"""

from __future__ import annotations

import signal
import sqlite3
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.device import make_device
from benchmarks.machine import memory_mb
from benchmarks.table import Row, Tell, at_most, shown
from benchmarks.trials import PAIRS, Spread
from benchmarks.workdir import folder
from edgeseal_agent import config as configuration
from edgeseal_agent import identity
from edgeseal_console.demo.parts import ADDRESS, Broker

NAME: Final = "footprint"
MEMORY_MB: Final = 85.0
START_S: Final = 2.0
INPUTS: Final = 200
TIMEOUT_S: Final = 120.0
DIGITS: Final = Path(__file__).resolve().parent.parent / "models" / "digits"


@dataclass(frozen=True, slots=True)
class Start:
    """Seconds from the start of the process to the first sealed record and to the first sealed inference; memory in
    MB after INPUTS inferences, resident and at its peak.
    """

    sealed_s: float
    inferred_s: float
    resident_mb: float
    peak_mb: float


def measure(tell: Tell) -> list[Row]:
    with folder() as root, Broker() as broker:
        path = _device(root, broker)
        starts = []
        for number in range(PAIRS):
            tell(f"start {number + 1} of {PAIRS}")
            starts.append(_start(path, root, number))
    first, inferred = [start.sealed_s for start in starts], [start.inferred_s for start in starts]
    memory, peak = max(start.resident_mb for start in starts), max(start.peak_mb for start in starts)
    return [
        at_most(NAME, f"resident memory after {INPUTS} inferences", memory, MEMORY_MB, "{:.1f} MB"),
        shown(NAME, "its peak", f"{peak:.1f} MB", peak),
        at_most(NAME, "start to first sealed record, median", median(first), START_S, "{:.2f} s", _around(first)),
        shown(
            NAME, "start to first sealed inference, median", f"{median(inferred):.2f} s", median(inferred),
            str(_around(inferred)),
        ),
    ]  # fmt: skip


def _around(values: list[float]) -> Spread:
    """Return how the same start differs from its own median."""
    return Spread.of([value / median(values) for value in values])


def _device(root: Path, broker: Broker) -> Path:
    """Initialise a device that knows the broker; its name there is its log id, so the certificate comes last."""
    tls = {name: str(root / f"{name}.pem") for name in ("ca_file", "cert_file", "key_file")}
    path = make_device(
        root / "device",
        mqtt={"host": ADDRESS, "port": broker.port, **tls},
        model={"package": str(DIGITS / "package")},
        source={"kind": "watch", "path": "in", "settle_ms": 0, "poll_ms": 20},
        uplink={"flush_s": 0},
    )
    log = identity.open_store(configuration.load(path)).meta()["log"]
    files = broker.authority.issue_client(log.hex())
    for name, issued in zip(tls, (files.authority, files.certificate, files.key), strict=True):
        Path(tls[name]).write_bytes(issued.read_bytes())
    return path


def _start(path: Path, root: Path, number: int) -> Start:
    config = configuration.load(path)
    inbox = config.source.path
    assert inbox is not None
    inbox.mkdir(exist_ok=True)
    with zipfile.ZipFile(DIGITS / "held-out.zip") as archive:
        for name in archive.namelist()[:INPUTS]:
            (inbox / f"{number}-{name}").write_bytes(archive.read(name))
    store = config.state_dir / identity.STORE_NAME
    with closing(sqlite3.connect(f"file:{store}?mode=ro", uri=True)) as reader:
        before = reader.execute("SELECT size FROM log").fetchone()[0]
        done = reader.execute(_INFERENCES).fetchone()[0]
        command = [sys.executable, "-m", "edgeseal_agent.cli", "run", "--config", str(path)]
        started = time.perf_counter()
        with open(root / "agent.log", "ab") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        try:
            _wait(process, root, lambda: reader.execute(_SEALED).fetchone()[0] > before)
            sealed_s = time.perf_counter() - started
            _wait(process, root, lambda: reader.execute(_INFERENCES).fetchone()[0] > done)
            inferred_s = time.perf_counter() - started
            _wait(process, root, lambda: reader.execute(_INFERENCES).fetchone()[0] >= done + INPUTS)
            return Start(sealed_s, inferred_s, memory_mb(process.pid, "VmRSS"), memory_mb(process.pid, "VmHWM"))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(TIMEOUT_S)


_SEALED: Final = "SELECT coalesce(max(size), 0) FROM heads WHERE signed IS NOT NULL"
_INFERENCES: Final = (
    "SELECT count(*) FROM records WHERE kind = 'inference'"
    " AND seq < (SELECT coalesce(max(size), 0) FROM heads WHERE signed IS NOT NULL)"
)


def _wait(process: subprocess.Popen[bytes], root: Path, ready: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not ready():
        if process.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the agent did not get that far: {(root / 'agent.log').read_text()[-2000:]}")
        time.sleep(0.005)
