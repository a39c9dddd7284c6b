"""How threads that only follow the model's keep out of its way."""

from __future__ import annotations

import os
from contextlib import suppress


def step_back() -> None:
    """Make the calling thread one that, when it wakes, waits for whoever is running instead of pushing it aside.

    The journal's writer is woken by the thread that runs the model, at the very moment it hands over a record; on a
    busy device the kernel would let the writer run first, and the model's thread would wait for milliseconds. Under
    SCHED_BATCH it goes on undisturbed. Threads started from here on inherit this. Where the kernel does not allow it
    nothing changes. Raises nothing.
    """
    with suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
