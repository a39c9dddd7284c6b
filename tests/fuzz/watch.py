"""The two bounds of a decoder: processor time by an alarm that interrupts it, memory by the kernel's own peak."""

from __future__ import annotations

import gc
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

SECONDS = 1.0
"""Processor time of one input; a loaded machine does not shorten it."""
GROWTH_KB = 64 * 1024
"""How far the resident memory may rise while inputs are decoded."""


class TooLong(Exception):
    """An input took more than its second."""


@contextmanager
def alarm() -> Iterator[None]:
    """Interrupt the body when it has used ``SECONDS`` of processor time."""
    signal.signal(signal.SIGPROF, _too_long)
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


class PeakMemory:
    """The process's highest resident memory since this was made, against what it was then."""

    def __init__(self, name: str) -> None:
        self._name = name
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")
        self._before = _high_water_kb()

    def check(self, label: str = "") -> None:
        """Fail when memory rose, even for a moment, by more than ``GROWTH_KB``."""
        growth = _high_water_kb() - self._before
        assert growth <= GROWTH_KB, f"{self._name} {label}: memory rose by {growth} KB"


def _high_water_kb() -> int:
    found = re.search(r"^VmHWM:\s+(\d+) kB$", Path("/proc/self/status").read_text(), re.MULTILINE)
    assert found
    return int(found[1])


def _too_long(_signal: int, _frame: FrameType | None) -> None:
    raise TooLong
