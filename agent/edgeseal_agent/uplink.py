"""Store and forward: sends segments until receipts come back.

One thread owns all of it; the link's callbacks only queue. A segment is forgotten by nobody before its receipt is
checked; records stay in the store even then.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any, Final

from edgeseal import topics
from edgeseal.errors import Unavailable
from edgeseal.messages import Fetch, Hello
from edgeseal_agent import outbox
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.configlink import UplinkConfig
from edgeseal_agent.identity import Identity
from edgeseal_agent.journal import Journal
from edgeseal_agent.sending import SendState
from edgeseal_agent.store import Store
from edgeseal_agent.uplinkanswers import Answers, HelloTurn
from edgeseal_agent.uplinkpackages import PackageFetch
from edgeseal_agent.uplinkreceipts import Receipts
from edgeseal_agent.uplinkroles import Link, Orders

logger = logging.getLogger(__name__)

HELLO_EVERY_S: Final = 0.5
"""Least time between two ``hello`` that answer a missing proof."""
IDLE_S: Final = 5.0
MAX_RECEIVED: Final = 64
"""Messages taken from the link and not dealt with; the link reads no more from the network then."""


class Uplink:
    """The device's side of the protocol of ``docs/format.md`` section 11."""

    def __init__(
        self, store: Store, journal: Journal, beliefs: Beliefs, identity: Identity, config: UplinkConfig,
        max_package_bytes: int,
    ) -> None:  # fmt: skip
        self._beliefs = beliefs
        self._identity = identity
        self._connection = store.reader()
        self._state = SendState(config, outbox.acknowledged(self._connection))
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._received = threading.Semaphore(MAX_RECEIVED)
        self._link: Link | None = None
        self._commands: Orders | None = None
        self._hello = HelloTurn()
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.counts: Counter[str] = Counter()
        self._packages = PackageFetch(
            identity.log, max_package_bytes, self._events.put, self._publish_fetch, self.counts, self._stopping
        )
        receipts = Receipts(self._connection, journal, beliefs, identity, self.counts)
        self._answers = Answers(
            self._connection, identity.log, self._state, self._hello, receipts, self._packages, self._receipted,
            self.counts,
        )  # fmt: skip
        self.failure: Exception | None = None

    def start(self, link: Link, commands: Orders) -> None:
        """Begin to send, as soon as the link says that it is connected."""
        self._link, self._commands = link, commands
        self._answers.orders = commands
        self._thread = threading.Thread(target=self._run, name="uplink", daemon=True)
        self._thread.start()

    # What others tell it, from any thread; each returns at once, but for ``received``.

    def connected(self) -> None:
        """The link is up and subscribed."""
        self._events.put(self._on_connect)

    def received(self, topic: str, payload: bytes, ack: Callable[[], None]) -> None:
        """A message came; ``ack`` is called once it is dealt with, what follows from it durable.

        Waits while MAX_RECEIVED messages are not dealt with, so that a broker that floods fills no memory.
        """

        def deal() -> None:
            self._received.release()
            self._answers.take(topic, payload)
            ack()

        while not self._received.acquire(timeout=0.5):
            if self._stopping.is_set() or self.failure is not None:
                return  # not acknowledged: it comes again
        self._events.put(deal)

    def failed(self, error: BaseException) -> None:
        """The link gave up for good."""
        self.failure = Unavailable("mqtt_failed", repr(error))
        self._events.put(_nothing)

    def sealed(self, size: int) -> None:
        """A signed head of ``size`` is durable: there is something to send."""
        self._events.put(_nothing)

    def ask(self) -> None:
        """Something the gateway has is missing: tell it our state with ``hello``, not more often than it can answer."""
        self._events.put(self._want_hello)

    def stop(self) -> None:
        """Stop at once. Idempotent; raises nothing."""
        self._stopping.set()
        self._events.put(None)
        if self._thread is not None:
            self._thread.join()

    def flush(self, size: int, timeout_s: float) -> bool:
        """Wait until a receipt covers ``size`` or the time is over; return whether it does."""
        with self._changed:
            return self._changed.wait_for(
                lambda: self._state.acknowledged >= size or self.failure is not None, timeout_s
            ) and self.failure is None  # fmt: skip

    def fetch(self, digest: bytes) -> bytes:
        """Return the archive of a package, asked of the gateway in chunks. For one other thread; blocks.

        Raises Unavailable ``package_unavailable``: too large, or no new byte for FETCH_PATIENCE_S; ``stopping``.
        """
        return self._packages.fetch(digest)

    def status(self) -> dict[str, Any]:
        """Return what ``status`` shows of the way to the gateway."""
        state = self._state
        return {
            "connected": state.connected,
            "acknowledged": state.acknowledged,
            "in_flight": state.in_flight,
            "counts": dict(self.counts),
            "last_refusal": self._answers.last_refusal,
        }

    # The thread.

    def _run(self) -> None:
        try:
            with closing(self._connection):
                while not self._stopping.is_set():
                    self._step()
        except Exception as error:  # whatever nobody foresaw too: the agent must not go on without this thread
            self.failure = error
            with self._changed:
                self._changed.notify_all()

    def _step(self) -> None:
        """Handle what came, then send what may be sent."""
        event: Callable[[], None] | None = _nothing
        try:
            event = self._events.get(timeout=self._wait_s())
            while event is not None:
                event()
                event = self._events.get_nowait()
        except queue.Empty:
            pass
        if event is None:
            return
        assert self._commands is not None and self._link is not None
        self._commands.tick()
        now_s = time.monotonic()
        if self._state.connected and not self._link.ready:
            self._state.disconnect()
            logger.warning("the connection to the broker is lost; records wait")
        if self._state.is_overdue(now_s):
            self.counts["receipt_overdue"] += 1
            self._hello.due = True
        self._state.is_crossed(now_s)
        try:
            if self._hello.due and self._state.connected and now_s >= self._hello.not_before_s:
                self._say_hello(now_s)
            self._send(now_s)
        except Unavailable:
            self.counts["link_busy"] += 1  # what was not sent is still in the store

    def _send(self, now_s: float) -> None:
        while self._state.may_send(now_s):
            out = outbox.next_segment(self._connection, self._identity.log, self._state.sent)
            if out is None:
                return
            self._publish("segment", out.payload)
            self._state.has_sent(
                out.size, now_s, outbox.accounted_at(self._connection, self._state.acknowledged, out.size)
            )
            self.counts["segments"] += 1

    def _wait_s(self) -> float:
        now_s = time.monotonic()
        waits = [IDLE_S if self._link is not None and self._link.ready else IDLE_S / 5, self._state.wait_s(now_s)]
        if self._hello.due and self._state.connected:
            waits.append(max(0.0, self._hello.not_before_s - now_s))
        return min(wait for wait in waits if wait is not None)

    def _on_connect(self) -> None:
        now_s = time.monotonic()
        self._state.connect(now_s)
        self._hello.due, self._hello.not_before_s = True, now_s
        self.counts["connections"] += 1
        logger.info("connected to the broker, %d records acknowledged", self._state.acknowledged)

    def _want_hello(self) -> None:
        self._hello.due = True

    def _say_hello(self, now_s: float) -> None:
        head = self._connection.execute(
            "SELECT size, root FROM heads WHERE signed IS NOT NULL ORDER BY size DESC LIMIT 1"
        ).fetchone()
        view, position = self._beliefs.view, None if self._commands is None else self._commands.position
        hello = Hello(
            self._identity.log, self._identity.key, head[0], head[1], view.seen, view.keyset.version, position
        )  # fmt: skip
        self._publish("hello", hello.encode())
        self._hello.due = False
        self._hello.not_before_s = now_s + HELLO_EVERY_S

    def _publish(self, kind: str, payload: bytes) -> None:
        assert self._link is not None
        self._link.publish(topics.up(self._identity.log, kind), payload)

    def _publish_fetch(self, fetch: Fetch) -> None:
        self._publish("fetch", fetch.encode())

    def _receipted(self, size: int) -> None:
        with self._changed:
            self._state.receipt(size)
            self._changed.notify_all()


def _nothing() -> None:
    """The event that only wakes the thread."""
