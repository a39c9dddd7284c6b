"""Tickets: what a caller of the journal gets at once, and what it will hold once the transaction is durable."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from edgeseal.errors import Unavailable

Fields = dict[str, Any]
Build = Callable[[int], Fields]
Also = Callable[[sqlite3.Connection, int], None]
Operation = Callable[[sqlite3.Connection], Any]
T = TypeVar("T")


class Callers(threading.Condition):
    """Those who wait for tickets. ``hurry`` tells the writer that somebody is about to."""

    def __init__(self, hurry: Callable[[], None]) -> None:
        super().__init__()
        self.hurry = hurry


class Ticket(Generic[T]):
    """What ``submit`` gives at once: the promise of a position and leaf hash, kept when the record is durable.

    ``done`` may be polled; ``result`` waits.
    """

    __slots__ = ("also", "build", "done", "error", "kind", "operation", "value", "waiting")

    def __init__(
        self,
        waiting: Callers,
        kind: str,
        build: Build | Fields | None,
        also: Also | None,
        operation: Operation | None,
    ) -> None:
        self.waiting = waiting
        self.kind = kind
        self.build = build
        self.also = also
        self.operation = operation
        self.value: Any = None
        self.error: Exception | None = None
        self.done = False

    def result(self, timeout_s: float | None = None) -> T:
        """Wait until the transaction is durable and return (seq, leaf hash), or the operation's value.

        Raises:
            Unavailable: ``journal_stopped`` or ``store_failed``: not acknowledged; it may or may not be stored.
                ``journal_timeout`` when ``timeout_s`` passed; it may still happen.
            UsageError: the record breaks the format; nothing was stored.
        """
        if not self.done:
            self.waiting.hurry()
            with self.waiting:
                if not self.waiting.wait_for(lambda: self.done, timeout_s):
                    raise Unavailable("journal_timeout", f"not durable after {timeout_s} s")
        if self.error is not None:
            raise self.error
        found: T = self.value
        return found


Appended = tuple[int, bytes]
"""Position and leaf hash of a durable record."""
