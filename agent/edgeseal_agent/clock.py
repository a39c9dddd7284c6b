"""The device's clocks: wall time, time since the machine's boot, and how far the wall clock may be believed.

No clock is trusted for anything by a verifier; what a record says of time is the device's belief, with its source.
"""

from __future__ import annotations

import ctypes
import time
from typing import Final

from edgeseal.record import Clock

REFRESH_NS: Final = 1_000_000_000
_TIME_ERROR: Final = 5
_STA_UNSYNC: Final = 0x0040


class _Timex(ctypes.Structure):
    """``struct timex`` of adjtimex(2), up to the fields read here; the rest is room for the kernel to write."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_long * 40),
    )


class DeviceClock:
    """Reads the clocks. ``source`` is a word of :data:`edgeseal.record.CLOCK_SOURCES`, or ``auto``: ask the kernel."""

    def __init__(self, source: str = "auto") -> None:
        self._source = source
        self._belief = Clock("none", None)
        self._fresh_until = 0
        self._libc = ctypes.CDLL(None, use_errno=True) if source in ("auto", "ntp", "ptp", "gnss") else None

    def wall_ms(self) -> int:
        """Return wall-clock milliseconds since the Unix epoch, 0 when the clock stands before it."""
        return max(0, time.time_ns() // 1_000_000)

    def mono_ms(self) -> int:
        """Return milliseconds since the machine's boot, suspend included; never falls until the next boot."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def belief(self) -> Clock:
        """Return source and uncertainty of the wall clock, asked of the kernel at most once a second."""
        now = time.monotonic_ns()
        if now >= self._fresh_until:
            self._belief = self._ask()
            self._fresh_until = now + REFRESH_NS
        return self._belief

    def _ask(self) -> Clock:
        if self._libc is None:
            return Clock(self._source, None)
        buffer = _Timex()
        state = self._libc.adjtimex(ctypes.byref(buffer))
        synchronised = state not in (-1, _TIME_ERROR) and not buffer.status & _STA_UNSYNC
        if not synchronised:
            return Clock("none" if self._source == "auto" else self._source, None)
        return Clock("ntp" if self._source == "auto" else self._source, -(-buffer.maxerror // 1000))
