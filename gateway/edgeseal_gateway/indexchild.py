"""The indexer as a process of its own: it decodes every record in Python, and would hold ingest's thread up at each
turn.

The parent holds the child's standard input open. When the parent ends, however it ends, the child reads the end of it
and goes.
"""

from __future__ import annotations

import logging
import os
import select
import subprocess
import sys
from pathlib import Path
from typing import Final

from edgeseal.errors import Unavailable
from edgeseal_gateway.config import Config
from edgeseal_gateway.index import Indexer
from edgeseal_gateway.store.database import Database

IDLE_S: Final = 0.2
STOP_TIMEOUT_S: Final = 10.0
_LONGEST_PAUSE_S: Final = 30.0
_log = logging.getLogger("edgeseal.index")


class IndexChild:
    """Starts the child and starts it again when it has ended."""

    def __init__(self, config_path: Path) -> None:
        self._command = [sys.executable, "-m", "edgeseal_gateway.cli", "index", "--config", str(config_path)]
        self._child: subprocess.Popen[bytes] | None = None

    def step(self) -> float:
        """Look after the child; return the pause. Raises Unavailable ``index_ended`` when it has ended."""
        if self._child is None:
            self._child = subprocess.Popen(self._command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        code = self._child.poll()
        if code is not None:
            self._child = None
            raise Unavailable("index_ended", f"the indexer ended with code {code}", "it is started again; see its log")
        return IDLE_S

    def stop(self) -> None:
        """Let the child finish its step and go."""
        if self._child is None or self._child.stdin is None:
            return
        self._child.stdin.close()
        try:
            self._child.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._child.kill()
            self._child.wait()


def run(config: Config) -> None:
    """Follow the store until standard input ends. Raises InvariantBroken, UsageError as the store does."""
    indexer = Indexer(Database(config.store), config.index)
    pause = IDLE_S
    while not _input_ended(0.0):
        try:
            busy = indexer.step()
            pause = IDLE_S
        except Unavailable as error:
            _log.warning("%s", error)
            busy, pause = False, min(2 * pause, _LONGEST_PAUSE_S)
        if not busy and _input_ended(pause):
            break
    indexer.close()


def _input_ended(timeout_s: float) -> bool:
    ready, _, _ = select.select([sys.stdin], [], [], timeout_s)
    return bool(ready) and not os.read(sys.stdin.fileno(), 1)
