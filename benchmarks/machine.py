"""What the kernel says of the machine and of a process."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


def describe() -> str:
    """Return the kind of machine that figures were measured on."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    kind = models[0] if models else platform.machine()
    return f"{kind}, {cpus()} CPUs, Linux {platform.release()}, Python {platform.python_version()}"


def tree() -> str:
    """Return which commit is measured; ``+`` stands for changes that are not committed."""
    git = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty=+"]
    done = subprocess.run(git, capture_output=True, text=True, check=False)
    return f"commit {done.stdout.strip()}" if done.returncode == 0 else "no commit"


def cpus() -> int:
    """Return how many CPUs there are."""
    return sum(line.startswith("cpu") and line[3].isdigit() for line in Path("/proc/stat").read_text().splitlines())


def memory_mb(pid: int | str, field: str) -> float:
    """Return a line of a process's status, such as VmRSS or VmHWM (the peak), in MB of 1,000,000 bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) * 1_024 / 1e6
    raise SystemExit(f"no {field} in /proc/{pid}/status")


class Idle:
    """How many CPUs had nothing to do, over the stretches of time between ``start`` and ``stop``."""

    def __init__(self) -> None:
        self._idle = self._total = 0
        self._began = (0, 0)

    def start(self) -> None:
        self._began = _ticks()

    def stop(self) -> None:
        idle, total = _ticks()
        self._idle += idle - self._began[0]
        self._total += total - self._began[1]

    @property
    def cpus(self) -> float:
        return cpus() * self._idle / self._total if self._total else 0.0


def _ticks() -> tuple[int, int]:
    """Return (idle, all) of the machine's clock ticks so far."""
    ticks = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return ticks[3] + ticks[4], sum(ticks)
