"""How threads that follow the model's keep out of its way, and hurry when somebody waits for them."""

from __future__ import annotations

import os
import threading


class Follower:
    """The scheduling of one thread that is woken by others' work, such as the journal's writer.

    The thread that runs the model wakes the writer at the very moment it hands over a record. On a busy device the
    kernel would let the writer run first, and the model's thread would wait for milliseconds. Stepped back
    (SCHED_BATCH) the writer waits for whoever is running; a caller who is going to wait for it lets it hurry.
    """

    def __init__(self) -> None:
        self._thread = 0
        self._back = False

    def begin(self) -> None:
        """Step back; called by the thread itself when it starts. Threads it starts later inherit that."""
        self._thread = threading.get_native_id()
        self.step_back()

    def step_back(self) -> None:
        """Let whoever runs go on when this thread wakes. Where the kernel does not allow it nothing changes."""
        if not self._back and self._thread:
            self._back = self._set(os.SCHED_BATCH)

    def hurry(self) -> None:
        """Let the thread be scheduled as any other until it steps back again; for any thread."""
        if self._back:
            self._back = not self._set(os.SCHED_OTHER)

    def _set(self, policy: int) -> bool:
        try:
            os.sched_setscheduler(self._thread, policy, os.sched_param(0))
        except OSError:
            return False
        return True
