"""Messages in, messages out: batches from the broker to ingest and relay, and what they and the fleet log have to say.

Messages are acknowledged only when what they brought is durable. What goes out may be lost with the process or the
broker: a device that lacks something says hello, and everything is made again from the store.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Final, Protocol

from edgeseal import limits, messages, topics
from edgeseal.errors import EvidenceError, Unavailable, UsageError
from edgeseal.messages import Chunk, CommandMessage, Fetch, Hello, KeysetMessage, Message, ReceiptMessage, Refusal
from edgeseal_gateway.ingest import Again, Ingest
from edgeseal_gateway.receipts import Receipts
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.store import anchors, devices, fleetlog, refusals
from edgeseal_gateway.store.database import Database, get_meta, put_meta

MAX_BATCH: Final = 128
MAX_BATCH_BYTES: Final = 8 << 20
"""One transaction: its pages stay well within SQLite's cache, which costs a sixth less than writing some early."""
LINGER_S: Final = 0.004
"""How long a batch stays open after its first message: one fsync for many, and time for the broker's thread to read."""
MAX_INBOX: Final = 256
"""Messages taken from the link and not yet in a batch; the link reads no more from the network then."""
MAX_OUTBOX: Final = 20_000
MAX_OUTBOX_BYTES: Final = 128 << 20
"""Messages that wait for the broker, and their bytes; the oldest go first, their devices will ask again."""
MAX_EACH: Final = 256
"""Messages that wait for one device, above which its questions are not answered anew: what it asked for is on its way,
and must not push out what waits for others."""
_POSITION: Final = "announced_position"
_ANCHOR: Final = "announced_anchor"
_CONFIRMED: Final = "announced_confirmed"
"""Size (8 bytes) and block of the newest anchor announced, final or not: the chain may put it into another block."""
_log = logging.getLogger("edgeseal.courier")

Ack = Callable[[], None]
Inbound = tuple[str, bytes, Ack]


class Courier:
    """Owns the inbox. ``receive``, ``wake`` and ``outgoing`` may be called from any thread, the rest from one."""

    def __init__(
        self,
        database: Database,
        log: bytes,
        ingest: Ingest,
        relay: Relay,
        receipts: Receipts,
        now_ms: Callable[[], int],
    ) -> None:
        self._database = database
        self._log_id = log
        self._ingest = ingest
        self._relay = relay
        self._receipts = receipts
        self._now_ms = now_ms
        self._inbox: queue.SimpleQueue[Inbound | None] = queue.SimpleQueue()
        self._held: deque[Inbound] = deque()
        self._room = threading.Semaphore(MAX_INBOX)
        self._closed = threading.Event()
        self.outgoing = Outbox()

    def receive(self, topic: str, payload: bytes, ack: Ack) -> None:
        """Take one message from the broker; ``ack`` is called when it is dealt with for good.

        Waits while MAX_INBOX messages wait: a store that takes nothing in (a full disk) must not fill the memory.
        """
        while not self._room.acquire(timeout=0.5):
            if self._closed.is_set():
                return  # not acknowledged: the broker brings it again
        self._inbox.put((topic, payload, ack))

    def close(self) -> None:
        """Let nobody wait in ``receive`` any longer."""
        self._closed.set()

    def wake(self) -> None:
        """Say that the fleet log or an anchor has moved on."""
        self._inbox.put(None)

    def step(self, timeout_s: float) -> bool:
        """Deal with one batch and with what is new; return whether records may wait for the sequencer.

        Raises Unavailable: the store; the batch is kept and dealt with in the next step. InvariantBroken.
        """
        self._gather(timeout_s)
        batch = list(self._held)
        if batch:
            self._deal_with(batch)
            # Durable: what the batch brought. A restart before this point gets the messages again.
            for _, _, ack in batch:
                ack()
            self._held.clear()
        self._announce()
        return bool(batch)

    def _gather(self, timeout_s: float) -> None:
        """Fill the held batch from the inbox: wait up to ``timeout_s`` for its first message, then LINGER_S for
        more.
        """
        size = sum(len(payload) for _, payload, _ in self._held)
        deadline = time.monotonic() + (LINGER_S if self._held else timeout_s)
        while len(self._held) < MAX_BATCH and size < MAX_BATCH_BYTES:
            try:
                found = self._inbox.get(True, max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                return
            if found is None:
                deadline = time.monotonic()
                continue
            if not self._held:
                deadline = time.monotonic() + LINGER_S
            self._room.release()
            self._held.append(found)
            size += len(found[1])

    def _deal_with(self, batch: list[Inbound]) -> None:
        segments: list[tuple[bytes, bytes]] = []
        others: dict[tuple[bytes, str], Message] = {}  # of many hellos or fetches of one device the last counts
        bad: list[tuple[bytes, EvidenceError]] = []
        for name, payload, _ in batch:
            log = refusals.OTHERS
            try:
                topic = topics.parse(name)
                log = topic.log
                if topic.kind == "segment":
                    segments.append((log, payload))
                else:
                    others[log, topic.kind] = messages.decode(topic, payload)
            except EvidenceError as error:
                bad.append((log, error))
        answers = self._ingest.take(segments) if segments else []
        lacking = [answer.log for answer in answers if isinstance(answer, Again)]
        self.outgoing.put(answer for answer in answers if not isinstance(answer, Again))
        if others or bad:
            with self._database.write() as connection:
                for log, defect in bad:
                    refusals.count(connection, log, defect.code, defect.message, self._now_ms())
                for message in others.values():
                    lacking += self._other(connection, message)
        if lacking:
            with self._database.read() as connection:
                for log in dict.fromkeys(lacking):
                    device = devices.find(connection, log)
                    if device is not None:
                        self.outgoing.put(self._receipts.again(connection, device))

    def _other(self, connection: sqlite3.Connection, message: Message) -> list[bytes]:
        """Answer a hello or a fetch; return the logs that lack receipts."""
        if self.outgoing.waiting_for(message.log) >= MAX_EACH:
            return []
        if isinstance(message, Fetch):
            self.outgoing.put([self._relay.fetch(connection, message)])
        elif isinstance(message, Hello):
            found, device = self._relay.hello(connection, message)
            self.outgoing.put(found)
            return [] if device is None else [message.log]
        return []

    def _announce(self) -> None:
        """Send what is new in the fleet log, what has become confirmed or final, and what the chain took back, once."""
        with self._database.read() as connection:
            start = _number(connection, _POSITION)
            head = fleetlog.newest_head(connection, self._log_id)
            stop = start if head is None else head.head.size
            moved = self._of_the_chain(connection)
            if stop <= start and moved is None:
                return
            self.outgoing.put(self._relay.fresh(connection, start, stop))
            self.outgoing.put(self._receipts.fresh(connection, start, stop))
            self.outgoing.put([] if moved is None else moved[0])
        with self._database.write() as connection:
            put_meta(connection, _POSITION, stop.to_bytes(8, "big"))
            if moved is not None:
                put_meta(connection, _ANCHOR, moved[1].to_bytes(8, "big"))
                put_meta(connection, _CONFIRMED, moved[2])
        # Durable: how far devices were told. A restart tells nobody twice; who missed it says hello.

    def _of_the_chain(self, connection: sqlite3.Connection) -> tuple[list[ReceiptMessage], int, bytes] | None:
        """Return the receipts that anchors' moves call for, and what is announced once they went out: the size of the
        newest final anchor, and size and block of the newest one that is at least confirmed. None: nothing moved.
        """
        final, settled = anchors.newest_final(connection), anchors.newest_settled(connection)
        after, told = _number(connection, _ANCHOR), get_meta(connection, _CONFIRMED) or b""
        told_size = int.from_bytes(told[:8], "big")
        now = b"" if settled is None else settled.size.to_bytes(8, "big") + (settled.block or b"")
        size, reached = 0 if settled is None else settled.size, after if final is None else max(after, final.size)
        if now == told and reached == after:
            return None
        found: list[ReceiptMessage] = []
        if size < told_size:
            found += self._receipts.withdrawn(connection, size, told_size)
        if final is not None and final.size > after:
            found += self._receipts.anchored(connection, after, final)
        if settled is not None and now != told and (final is None or settled.size > final.size):
            since = min(told_size, size) if told_size != size else (0 if final is None else final.size)
            found += self._receipts.anchored(connection, since, settled)
        return found, reached, now


def _number(connection: sqlite3.Connection, key: str) -> int:
    value = get_meta(connection, key)
    return 0 if value is None else int.from_bytes(value, "big")


class Link(Protocol):
    """The broker connection, as :class:`edgeseal.adapters.mqtt.MqttLink` is one."""

    def wait_ready(self, timeout_s: float, room: int = 1) -> bool:
        """Wait until it can take ``room`` messages; False when time runs out."""
        ...

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message; Unavailable when the link is not ready after all."""
        ...


class Outbox:
    """Messages on their way to the broker. Thread-safe."""

    def __init__(self) -> None:
        self._waiting: deque[Message] = deque()
        self._bytes = 0
        self._each: Counter[bytes] = Counter()
        self._changed = threading.Condition()

    def put(self, found: Iterable[Message]) -> None:
        """Add messages; of too many the oldest are dropped."""
        with self._changed:
            for message in found:
                self._waiting.append(message)
                self._count(message, 1)
            while len(self._waiting) > MAX_OUTBOX or self._bytes > MAX_OUTBOX_BYTES:
                self._count(self._waiting.popleft(), -1)
            self._changed.notify()

    def _count(self, message: Message, sign: int) -> None:
        self._bytes += sign * _weight(message)
        self._each[message.log] += sign
        if not self._each[message.log]:
            del self._each[message.log]

    def waiting_for(self, log: bytes) -> int:
        """Return how many messages wait for one device."""
        with self._changed:
            return self._each[log]

    def __len__(self) -> int:
        """Return how many messages wait."""
        return len(self._waiting)

    def send(self, link: Link, timeout_s: float) -> None:
        """Wait up to ``timeout_s`` for a message and for the link, and send it; a message the link does not take
        stays.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._waiting, timeout_s):
                return
        if not link.wait_ready(timeout_s):
            return
        with self._changed:
            message = self._waiting.popleft()
            self._count(message, -1)
        payload = message.encode()
        if len(payload) > limits.MAX_MESSAGE:
            raise UsageError("mqtt_too_large", f"a message of {len(payload)} bytes for a device")
        try:
            link.publish(topics.down(message.log, _KINDS[type(message)]), payload)
        except Unavailable as error:
            _log.debug("not sent: %s", error)
            with self._changed:
                self._waiting.appendleft(message)
                self._count(message, 1)


def _weight(message: Message) -> int:
    """Return about how many bytes a message takes in memory."""
    return 2_048 + sum(len(getattr(message, name, b"")) for name in _BULK)


_BULK: Final = ("data", "keyset", "command", "args")
"""Fields of messages that may be large."""


_KINDS: Final[dict[type, str]] = {
    ReceiptMessage: "receipt",
    Refusal: "refusal",
    messages.Resend: "resend",
    CommandMessage: "command",
    KeysetMessage: "keyset",
    Chunk: "chunk",
}
