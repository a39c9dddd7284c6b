"""How the running stages are: the last trouble of each, for status and health. Thread-safe."""

from __future__ import annotations

import threading

from edgeseal.errors import EdgesealError


class Board:
    """One place where stages say how they are and the web pages read it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._troubles: dict[str, EdgesealError] = {}

    def say(self, stage: str, trouble: EdgesealError | None) -> None:
        """Note that ``stage`` has this trouble, or none."""
        with self._lock:
            if trouble is None:
                self._troubles.pop(stage, None)
            else:
                self._troubles[stage] = trouble

    def troubles(self) -> list[dict[str, str | None]]:
        """Return stage, code, message and remedy of every stage in trouble."""
        with self._lock:
            return [
                {"stage": stage, "code": error.code, "message": error.message, "remedy": error.remedy}
                for stage, error in sorted(self._troubles.items())
            ]
