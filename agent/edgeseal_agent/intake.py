"""The loop between source and journal: take an input, run the model, queue the record, put the input away when
durable. While there is no room for its record an input waits where it is, in the source.
"""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from edgeseal.errors import EdgesealError, EvidenceError, FormatError, Unavailable, UsageError
from edgeseal_agent.disk import INPUT_COST
from edgeseal_agent.inference import Engine, Inference, InferenceRecorder, explain
from edgeseal_agent.journal import Journal
from edgeseal_agent.source import Source, Waiting
from edgeseal_agent.store import store_error
from edgeseal_agent.ticket import Appended, Ticket

MAX_IN_FLIGHT: Final = 256
"""Inputs whose record is queued and not yet durable."""
MAX_IN_FLIGHT_BYTES: Final = 16_777_216


@dataclass(slots=True)
class _Pending:
    item: Waiting
    ok: bool
    ticket: Ticket[Appended]
    size: int


class Intake:
    """Runs in a thread of its own. ``idle`` is set when a pass over the source found nothing and nothing is in
    flight. ``room`` returns the bytes of the store that further inputs may take, given those on their way; it is
    asked again when they are used up.
    """

    def __init__(
        self, source: Source, engine: Engine, recorder: InferenceRecorder, journal: Journal, *, poll_ms: int,
        room: Callable[[int], int],
    ) -> None:  # fmt: skip
        self._source = source
        self._engine = engine
        self._recorder = recorder
        self._journal = journal
        self._poll_s = poll_ms / 1000
        self._pending: deque[_Pending] = deque()
        self._bytes = 0
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.idle = threading.Event()
        self.waits = False
        """Whether an input waits for room: to be made by whoever watches over the disk."""
        self.unbounded = threading.Event()
        """Set while no room can be made: inputs go on, until the journal's guard ends the run and says why."""
        self._room = room
        self._left = 0
        self.settled = 0
        self.failed = 0
        self.failure: Exception | None = None

    def start(self) -> None:
        """Begin to take inputs, as soon as a model is active."""
        self._thread = threading.Thread(target=self._run, name="intake", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the input at hand, put away what is durable, and stop. Idempotent; raises nothing."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        try:
            while not self._stopping.is_set():
                self._pass()
            self._settle(all_of_them=True)
        except Exception as error:  # whatever nobody foresaw too: the agent must not go on without this thread
            self.failure = _ended_by(error)
        finally:
            self.idle.set()

    def _pass(self) -> None:
        """Take what waits now; with nothing there, put away and wait a moment."""
        if not self._engine.ready.wait(self._poll_s):
            return
        items = self._source.waiting()
        if items:
            self.idle.clear()
        for item in items:
            while self._has_no_room() and not self._stopping.wait(self._poll_s):
                self._settle()
            if self._stopping.is_set():
                return
            self._take(item)
            self._settle()
        if not items:
            self._settle(all_of_them=True)
            if not self._source.expecting and not self._pending:
                self.idle.set()
            self._stopping.wait(self._poll_s)

    def _has_no_room(self) -> bool:
        """Say whether the next input has to wait, and count on its bytes when it has not."""
        if self._left < INPUT_COST:
            self._left = self._room(len(self._pending) * INPUT_COST)
        self.waits = self._left < INPUT_COST and not self.unbounded.is_set()
        self._left -= 0 if self.waits else INPUT_COST
        return self.waits

    def _take(self, item: Waiting) -> None:
        try:
            raw = item.read()
            ticket = self._engine.run(raw, lambda done: self._submit(item, done))
            self._keep(_Pending(item, True, ticket, sum(map(len, raw))))
        except EvidenceError as error:
            self._keep(_Pending(item, False, self._fault(item, error), 0))
        except MemoryError:
            too_large = FormatError("input_too_large", "there is not enough memory for it")
            self._keep(_Pending(item, False, self._fault(item, too_large), 0))

    def _submit(self, item: Waiting, done: Inference) -> Ticket[Appended]:
        return self._recorder.submit(done, self._source.note(item))

    def _keep(self, pending: _Pending) -> None:
        self._pending.append(pending)
        self._bytes += pending.size

    def _settle(self, all_of_them: bool = False) -> None:
        """Put away the inputs whose record is durable; wait for the oldest while too much is in flight."""
        while self._pending:
            oldest = self._pending[0]
            crowded = len(self._pending) > MAX_IN_FLIGHT or self._bytes > MAX_IN_FLIGHT_BYTES
            if not (oldest.ticket.done or crowded or all_of_them):
                return
            self._result(oldest)
            # Durable: the record and the note of its input. A restart only repeats the move below.
            self._pending.popleft()
            self._bytes -= oldest.size
            self._source.settle(oldest.item, oldest.ok)
            self.settled += 1
            self.failed += not oldest.ok

    def _result(self, oldest: _Pending) -> None:
        """Wait for a record; one that cannot be put together costs its input, recorded as a fault, and not the run."""
        try:
            oldest.ticket.result()
        except (EvidenceError, UsageError) as error:
            if not oldest.ok:
                raise
            oldest.ok = False
            oldest.ticket = self._fault(oldest.item, error)
            oldest.ticket.result()

    def _fault(self, item: Waiting, error: EdgesealError) -> Ticket[Appended]:
        fields = {"what": "input", "detail": f"{item.name[:80]}: {explain(error)}"}
        return self._journal.submit("fault", fields, self._source.note(item, ok=False))

    def tidy(self) -> None:
        """Let the source forget what it needs no more. For another thread: it may wait for the disk, and a disk that
        fails ends the intake. Raises what the journal raises.
        """
        try:
            self._source.tidy()
        except OSError as error:
            self.failure = _ended_by(error)

    def status(self) -> dict[str, Any]:
        """Return counters for ``status``: inputs put away, how many of them failed, in flight; and whether further ones
        wait for room.
        """
        counts = {"settled": self.settled, "failed": self.failed, "in_flight": len(self._pending)}
        return {**counts, "waits": self.waits}


def _ended_by(error: Exception) -> Exception:
    """Return what ended the intake as an error with a remedy; what nobody foresaw, as it is."""
    if isinstance(error, EdgesealError):
        return error
    if isinstance(error, OSError):
        return Unavailable(
            "source_failed", f"the source: {error.filename}: {error.strerror}",
            "mend or mount its folders; what was not recorded is still there",
        )  # fmt: skip
    return store_error(error) if isinstance(error, sqlite3.Error) else error
