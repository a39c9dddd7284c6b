"""The journal: appends records to the device log, durable when acknowledged, many callers to one fsync.

One writer thread assigns positions, encodes each record once, grows the Merkle frontier, cuts heads and commits all
of that in one SQLite transaction. A ticket is done only after COMMIT has returned. Any failure of the disk ends the
writer: what was not acknowledged may or may not be stored, nothing more is written, and a restart takes up what the
file holds.
"""

from __future__ import annotations

import os
import queue
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, Final, TypeVar

from edgeseal import cbor, limits, record
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal.head import NO_HEAD, Anchored, DeviceHead, HeadClock, Seen
from edgeseal.merkle import Frontier
from edgeseal_agent.background import Follower
from edgeseal_agent.batch import Batch
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.sealing import SealPolicy, is_urgent
from edgeseal_agent.store import Store, split_hashes, store_error
from edgeseal_agent.ticket import Also, Appended, Build, Callers, Fields, Ticket

MAX_BATCH: Final = 2_048
"""Most records of one transaction."""
MAX_PENDING: Final = 65_536
"""Submitted and not yet taken by the writer; beyond it ``submit`` blocks."""

CLOSED: Final = "closed"
"""The kind that ends a log (``docs/format.md`` 5)."""

OnHead = Callable[[int, bytes], None]
T = TypeVar("T")

_STOP: Final = object()


class Journal:
    """Appends to one store. Every method is thread-safe; ``submit`` and ``execute`` return before anything is written.

    Args:
        store: an existing store; this process holds its lock.
        boot: the agent's start count, for headers.
        clock: read by the writer for each record.
        policy: when heads are cut; this object becomes its owner.
        on_head: called by the writer after the commit of a head payload, with (size, payload): durable and unsigned.
        guard: called before each transaction that adds records; raises ``Unavailable`` to stop (disk full, quota).
        acks: file descriptor; ``"<seq> <leaf hex>\\n"`` is written for each record after its fsync.
    """

    def __init__(
        self,
        store: Store,
        *,
        boot: int,
        clock: DeviceClock,
        policy: SealPolicy,
        on_head: OnHead | None = None,
        guard: Callable[[], None] | None = None,
        acks: int | None = None,
    ) -> None:
        self._log: bytes = store.meta()["log"]
        self._boot = boot
        self._clock = clock
        self._policy = policy
        self._on_head = on_head
        self._guard = guard
        self._acks = acks
        self._connection = store.connect()
        self._queue: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._follower = Follower()
        self._waiting = Callers(self._follower.hurry)
        self._failure: Exception | None = None
        self._closing = False
        self._ended = False
        self._load()
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def _load(self) -> None:
        """Take up what the file holds; see :mod:`edgeseal_agent.recovery` for the check that it is whole."""
        size, frontier, seen, anchored = self._connection.execute(
            "SELECT size, frontier, seen, anchored FROM log"
        ).fetchone()
        self._frontier = Frontier(size, split_hashes(frontier))
        row = cbor.decode(anchored, max_size=1024)
        self._seen = Seen.from_list(cbor.decode(seen, max_size=1024))
        self._anchored = None if row is None else Anchored(*row)
        last = self._connection.execute("SELECT size, root FROM heads ORDER BY size DESC LIMIT 1").fetchone()
        self._last_head: tuple[int, bytes] = NO_HEAD if last is None else (last[0], last[1])
        final = self._connection.execute("SELECT kind FROM records ORDER BY seq DESC LIMIT 1").fetchone()
        self._ended = final is not None and final[0] == CLOSED
        self._unsigned: int = self._connection.execute("SELECT count(*) FROM heads WHERE signed IS NULL").fetchone()[0]
        for header, body in self._connection.execute(
            "SELECT length(header), length(body) FROM records WHERE seq >= ?", (self._last_head[0],)
        ):
            self._policy.note(header + body, True, time.monotonic_ns())

    @property
    def size(self) -> int:
        """The number of durable records (read without a lock: it may be one batch old)."""
        return self._frontier.size

    @property
    def failure(self) -> Exception | None:
        """Why the writer stopped, None while it works."""
        return self._failure

    def submit(self, kind: str, build: Build | Fields, also: Also | None = None) -> Ticket[Appended]:
        """Queue one record and return its ticket at once; positions are assigned in the order of calls.

        Args:
            build: the body's fields, or a function of the position that returns them; it runs in the writer thread.
            also: further rows for the same transaction, given the connection and the position; runs in the writer
                thread.

        Raises:
            Unavailable: ``journal_stopped``.
        """
        if self._failure is not None or self._closing:
            raise self._stopped()
        while self._queue.qsize() > MAX_PENDING and self._failure is None:
            with self._waiting:
                self._waiting.wait(0.05)
        ticket: Ticket[Appended] = Ticket(self._waiting, kind, build, also, None)
        self._queue.put(ticket)
        return ticket

    def append(self, kind: str, build: Build | Fields, also: Also | None = None) -> Appended:
        """Append one record, wait until it is durable and return (seq, leaf hash). Errors of submit and of the
        ticket.
        """
        self._follower.hurry()
        return self.submit(kind, build, also).result()

    def execute(self, operation: Callable[[sqlite3.Connection], T]) -> Ticket[T]:
        """Queue rows that are no record, in order with the records; ``result`` returns what ``operation`` returned.

        ``operation`` runs in the writer thread inside the transaction. What it raises of :class:`EdgesealError`
        undoes its own rows and comes out of the ticket; anything else stops the journal.
        """
        if self._failure is not None or self._closing:
            raise self._stopped()
        ticket: Ticket[T] = Ticket(self._waiting, "", None, None, operation)
        self._queue.put(ticket)
        return ticket

    def set_seen(self, seen: Seen | None, anchored: Anchored | None) -> Ticket[None]:
        """Store the newest fleet head checked and the newest anchor told; the next head that is cut names them."""

        def write(connection: sqlite3.Connection) -> None:
            connection.execute(
                "UPDATE log SET seen = ?, anchored = ?",
                (
                    cbor.encode(None if seen is None else seen.as_list()),
                    cbor.encode(None if anchored is None else
                                [anchored.log, anchored.size, anchored.root, anchored.chain, anchored.block]),
                ),
            )  # fmt: skip
            self._seen, self._anchored = seen, anchored

        return self.execute(write)

    def store_signed(self, heads: list[tuple[int, bytes]]) -> Ticket[None]:
        """Store signed heads (size, COSE bytes) whose payloads this journal cut."""

        def write(connection: sqlite3.Connection) -> None:
            for size, signed in heads:
                changed = connection.execute(
                    "UPDATE heads SET signed = ? WHERE size = ? AND signed IS NULL", (signed, size)
                ).rowcount
                if changed != 1:
                    raise InvariantBroken("head_signed_twice", f"no unsigned head of size {size}")
            self._unsigned -= len(heads)

        return self.execute(write)

    def close(self) -> None:
        """Let the writer finish what is queued, cut a last head over it and stop. Idempotent; raises nothing."""
        if not self._closing:
            self._closing = True
            self._queue.put(_STOP)
            self._follower.hurry()
        self._thread.join()

    def _stopped(self) -> Unavailable:
        reason = "it was closed" if self._failure is None else str(self._failure)
        return Unavailable("journal_stopped", f"the journal takes no more records: {reason}")

    def _run(self) -> None:
        self._follower.begin()
        stopping = False
        while not stopping:
            batch = self._take()
            stopping = bool(batch) and batch[-1] is _STOP
            tickets = batch[:-1] if stopping else batch
            try:
                self._commit(tickets, stopping)
                if self._queue.empty():
                    self._follower.step_back()
            except Exception as error:
                self._fail(error, tickets, stopping)
                break
        self._connection.close()

    def _take(self) -> list[Any]:
        """Return what is queued, waiting for the first or for the time a head is due; ``_STOP`` comes last."""
        wait_ns = self._policy.wait_ns(time.monotonic_ns())
        batch: list[Any] = []
        with suppress(queue.Empty):
            batch.append(self._queue.get(timeout=None if wait_ns is None else wait_ns / 1e9))
            while batch[-1] is not _STOP and len(batch) < MAX_BATCH:
                batch.append(self._queue.get_nowait())
        return batch

    def _commit(self, tickets: list[Ticket[Any]], stopping: bool) -> None:
        """Write one batch. When COMMIT has returned all of it is durable; a restart continues from there."""
        if self._guard is not None and any(ticket.operation is None for ticket in tickets):
            self._guard()
        batch = Batch(self._connection, self._frontier.size)
        self._connection.execute("BEGIN IMMEDIATE")
        belief, salts = self._clock.belief(), _salts(len(tickets))
        for ticket in tickets:
            if ticket.operation is not None:
                batch.flush()
                self._operate(ticket)
            else:
                self._add(batch, ticket, belief, next(salts))
        batch.flush()
        if self._policy.is_due(time.monotonic_ns(), self._signer_busy(batch)) or (
            stopping and self._frontier.size > max(1, self._last_head[0])
        ):
            self._cut(batch)
        batch.finish(self._frontier)
        self._connection.execute("COMMIT")
        self._acknowledge(batch, tickets)

    def _add(self, batch: Batch, ticket: Ticket[Any], belief: record.Clock, salt: bytes) -> None:
        """Encode one record and add it to the batch; one that breaks the format, or comes after
        ``closed``, fails alone and takes no position.
        """
        seq = self._frontier.size
        if self._ended:
            ticket.error = log_closed()
            return
        try:
            fields = ticket.build(seq) if callable(ticket.build) else ticket.build
            assert fields is not None
            made = record.make(
                log=self._log, seq=seq, boot=self._boot, t=self._clock.wall_ms(), mono=self._clock.mono_ms(),
                clk=belief,
                kind=ticket.kind, fields=fields, salt=salt,
            )  # fmt: skip
        except EdgesealError as error:
            ticket.error = error
            return
        size = len(made.header) + len(made.body)
        if self._policy.would_overflow(size):
            self._cut(batch)
        batch.add(seq, ticket.kind, made)
        self._frontier.add(made.leaf)
        self._ended = ticket.kind == CLOSED
        self._policy.note(size, is_urgent(ticket.kind, fields), time.monotonic_ns())
        ticket.value = (seq, made.leaf)
        if ticket.also is not None:
            batch.flush()
            ticket.also(self._connection, seq)
        if self._policy.is_full(self._signer_busy(batch)):
            self._cut(batch)

    def _operate(self, ticket: Ticket[Any]) -> None:
        assert ticket.operation is not None
        self._connection.execute("SAVEPOINT operation")
        try:
            ticket.value = ticket.operation(self._connection)
        except InvariantBroken:
            raise
        except EdgesealError as error:
            self._connection.execute("ROLLBACK TO operation")
            ticket.error = error
        self._connection.execute("RELEASE operation")

    def _signer_busy(self, batch: Batch) -> bool:
        return self._unsigned + len(batch.heads) > 0

    def _cut(self, batch: Batch) -> None:
        """Add a head over everything so far. Its payload commits with the records; signing starts only after that."""
        size = self._frontier.size
        if size < 2:
            return
        root = self._frontier.root()
        head = DeviceHead(
            log=self._log, size=size, root=root, prev=self._last_head, seen=self._seen, anchored=self._anchored,
            clock=HeadClock(self._clock.wall_ms(), self._clock.mono_ms(), self._boot),
        )  # fmt: skip
        batch.heads.append((size, root, b"".join(self._frontier.hashes), head.payload()))
        self._last_head = (size, root)
        self._policy.sealed()

    def _acknowledge(self, batch: Batch, tickets: list[Ticket[Any]]) -> None:
        self._unsigned += len(batch.heads)
        if self._acks is not None:
            made = [ticket.value for ticket in tickets if ticket.operation is None and ticket.error is None]
            lines = [b"%d %s\n" % (seq, leaf.hex().encode()) for seq, leaf in made]
            _write_all(self._acks, b"".join(lines))
        with self._waiting:
            for ticket in tickets:
                ticket.done = True
            self._waiting.notify_all()
        if self._on_head is not None:
            for size, _, _, payload in batch.heads:
                self._on_head(size, payload)

    def _fail(self, error: Exception, tickets: list[Ticket[Any]], stopping: bool) -> None:
        """Stop for good: fail this batch and all that is still queued, until the journal is closed."""
        cause = error if isinstance(error, EdgesealError) else store_error(error)
        self._failure = cause
        with self._waiting:
            for ticket in tickets:
                _refuse(ticket, cause)
            self._waiting.notify_all()
        while not stopping:
            item = self._queue.get()
            stopping = item is _STOP
            if not stopping:
                with self._waiting:
                    _refuse(item, cause)
                    self._waiting.notify_all()


def log_closed() -> UsageError:
    """Return the refusal of every record after ``closed``."""
    return UsageError("log_closed", "this log was closed: no record may follow", "enrol a new epoch with a new key")


def _refuse(ticket: Ticket[Any], cause: Exception) -> None:
    ticket.error = cause
    ticket.done = True


def _salts(count: int) -> Iterator[bytes]:
    """Return so many fresh salts, drawn in one go: each draw lets other threads run."""
    drawn = os.urandom(limits.DIGEST * count)
    return (drawn[at : at + limits.DIGEST] for at in range(0, len(drawn), limits.DIGEST))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
