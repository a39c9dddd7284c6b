"""One stage of the running gateway: a step done again and again on a thread of its own, and what its failures mean."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from typing import Final

from edgeseal.errors import EdgesealError, InvariantBroken
from edgeseal_gateway.board import Board

FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 30.0
_log = logging.getLogger("edgeseal.stage")


class Fate:
    """Whether the process goes on: set once, by a signal or by the first stage that cannot. Thread-safe."""

    def __init__(self) -> None:
        self._ended = threading.Event()
        self.error: BaseException | None = None

    def end(self, error: BaseException | None = None) -> None:
        """Stop everything; the first error given stays the reason."""
        if error is not None and self.error is None:
            self.error = error
        self._ended.set()

    @property
    def ended(self) -> bool:
        """Whether everything is to stop."""
        return self._ended.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for the end at most so long; return whether it has come."""
        return self._ended.wait(timeout_s)


class Stage(threading.Thread):
    """Calls ``step`` until the end. A step returns how many seconds to pause after it.

    A world that is down, or a setting that does not fit, is shown on the board and tried again with back-off; a broken
    invariant, and whatever nobody foresaw, ends the process.
    """

    def __init__(self, name: str, step: Callable[[], float], board: Board, fate: Fate) -> None:
        super().__init__(name=name, daemon=True)
        self._step = step
        self._board = board
        self._fate = fate

    def run(self) -> None:
        """Run until the end (called by ``start``)."""
        pause = FIRST_PAUSE_S
        while not self._fate.ended:
            try:
                rest = self._step()
            except InvariantBroken as error:
                self._give_up(error)
            except EdgesealError as error:
                _log.warning("%s: %s", self.name, error)
                self._board.say(self.name, error)
                self._fate.wait(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            except BaseException as error:
                self._give_up(error)
            else:
                self._board.say(self.name, None)
                pause = FIRST_PAUSE_S
                if rest:
                    self._fate.wait(rest)

    def _give_up(self, error: BaseException) -> None:
        _log.critical("%s cannot go on: %s", self.name, error, exc_info=not isinstance(error, EdgesealError))
        if not isinstance(error, EdgesealError):
            error = InvariantBroken("unexpected", f"{self.name} failed in a way nobody foresaw: {error!r}")
        self._fate.end(error)
