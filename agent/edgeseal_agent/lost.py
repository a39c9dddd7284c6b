"""``edgeseal-agent lost``: the store is gone and the key is not; how far did the log reach that the gateway has?

The question is a ``hello`` of size 0, the answer the receipt for the newest head there (``docs/format.md`` 11). That
head is signed by our own key, so nobody can make one up; a gateway or a broker can only withhold a newer one.
"""

from __future__ import annotations

import logging
import queue
import time
from collections.abc import Callable
from contextlib import suppress
from hashlib import sha256
from typing import Any, Final, Protocol

from edgeseal import messages, topics
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError, Unavailable, UsageError
from edgeseal.head import NO_HEAD, Seen, SignedDeviceHead
from edgeseal.messages import Hello, KeysetMessage, ReceiptMessage, Refusal
from edgeseal.statements.enrolment import device_log_id
from edgeseal_agent import identity
from edgeseal_agent.authority import ProofMissing, View, check_included, check_keyset
from edgeseal_agent.config import Config
from edgeseal_agent.initialise import read_pack
from edgeseal_agent.predecessor import Predecessor

logger = logging.getLogger(__name__)

ASK_EVERY_S: Final = 1.0
UNKNOWN: Final = "unknown_key"
BEHIND: Final = "device_behind"


class Line(Protocol):
    """A connection to the broker, started."""

    @property
    def ready(self) -> bool:
        """Whether it is connected and subscribed."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message. Raises Unavailable when it is not ready."""

    def stop(self, timeout_s: float) -> None:
        """Disconnect."""


Received = Callable[[str, bytes, Callable[[], None]], None]
Dial = Callable[[Config, bytes, Received], Line]


def dial(config: Config, log: bytes, received: Received) -> Line:
    """Return the configured connection to the broker, started. Raises UsageError ``no_uplink``."""
    from edgeseal_agent.mqttlink import make_link

    if config.mqtt is None:
        raise UsageError("no_uplink", "without mqtt the gateway cannot be asked", "set mqtt in the configuration")
    link = make_link(config.mqtt, log, _Answers(received))
    link.start()
    return link


class _Answers:
    """What a link tells, less what only an uplink wants to know."""

    def __init__(self, received: Received) -> None:
        self.received = received

    def connected(self) -> None:
        """The next question goes out by the clock."""

    def failed(self, error: BaseException) -> None:
        """The time is up soon enough."""
        logger.error("the connection to the broker failed: %r", error)


def ask(config: Config, patience_s: float, call: Dial = dial) -> Predecessor:
    """Return what the gateway can show of the log whose store is gone.

    Raises:
        UsageError: ``state_exists`` when the store is there; ``no_uplink``; the token's. EvidenceError: the pack.
        Unavailable: ``gateway_silent``: no answer in time. The token.
    """
    if (config.state_dir / identity.STORE_NAME).exists():
        raise UsageError("state_exists", f"{config.state_dir} holds its device log", "nothing is lost: run it")
    key = identity.open_signer(config.key).public_key
    question = _Question(config, key)
    link = call(config, question.log, question.received)
    try:
        return question.put(link, patience_s)
    finally:
        link.stop(1.0)


def unanswered(config: Config) -> Predecessor:
    """Return what there is to say where the gateway does not answer: that nothing is known. Raises what the token
    raises.
    """
    key = identity.open_signer(config.key).public_key
    text = (
        f"the store of epoch {config.epoch}, log {device_log_id(key.kid).hex()}, is lost; the gateway did not answer, "
        "so nothing is known of it"
    )
    return Predecessor(config.name, config.epoch, key, *NO_HEAD, None, text)


class _Question:
    """One log's question and what came back, judged under the provisioning pack and the keysets that follow it."""

    def __init__(self, config: Config, key: PublicKey) -> None:
        pack = read_pack(config.provisioning)
        keyset, head = pack.verify()
        self._config = config
        self._key = key
        self._view = View(
            pack.root, pack.log, keyset, sha256(pack.keyset).digest(), Seen(head.log, head.size, head.root)
        )
        self._came: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self._shown: SignedDeviceHead | None = None
        self._held: int | None = None

    @property
    def log(self) -> bytes:
        """The log that is asked for."""
        return device_log_id(self._key.kid)

    def received(self, topic: str, payload: bytes, ack: Callable[[], None]) -> None:
        """Take a message off the link."""
        self._came.put((topic, payload))
        ack()

    def put(self, link: Line, patience_s: float) -> Predecessor:
        """Ask until the newest head is shown that the gateway says it holds, or time is up."""
        deadline, next_s = time.monotonic() + patience_s, 0.0
        while (now := time.monotonic()) < deadline and not self._is_answered():
            if link.ready and now >= next_s:
                next_s = now + ASK_EVERY_S
                with suppress(Unavailable):
                    link.publish(topics.up(self.log, "hello"), self._hello())
            with suppress(queue.Empty):
                self._take(*self._came.get(timeout=0.1))
        if self._held is None and self._shown is None:
            raise Unavailable(
                "gateway_silent", f"the gateway did not answer within {patience_s:.0f} s",
                "is it there, and is mqtt configured as it was?",
            )  # fmt: skip
        return self._answer()

    def _hello(self) -> bytes:
        view = self._view
        return Hello(self.log, self._key, *NO_HEAD, view.seen, view.keyset.version, None).encode()

    def _is_answered(self) -> bool:
        if self._held is None:
            return False
        return self._held == 0 or (self._shown is not None and self._shown.head.size >= self._held)

    def _take(self, topic: str, payload: bytes) -> None:
        """Take one answer; what is malformed, false or of another log says nothing."""
        try:
            place = topics.parse(topic)
            if place.log != self.log or place.direction != "down":
                return
            message: Any = messages.decode(place, payload)
            if isinstance(message, KeysetMessage):
                self._view = check_keyset(self._view, message.keyset)
            elif isinstance(message, Refusal) and message.code in (UNKNOWN, BEHIND):
                self._held = message.size if message.code == BEHIND else 0
            elif isinstance(message, ReceiptMessage):
                self._receipt(message)
        except (EvidenceError, ProofMissing) as error:
            logger.info("an answer that says nothing: %s", error)

    def _receipt(self, message: ReceiptMessage) -> None:
        found = SignedDeviceHead.decode(message.head)
        found.verify(self._key)
        included = check_included(self._view, message.head, message.receipt, message.start, message.path)
        view = self._view
        self._view = View(view.root, view.home, view.keyset, view.digest, included.seen)
        if self._shown is None or found.head.size > self._shown.head.size:
            self._shown = found

    def _answer(self) -> Predecessor:
        config, shown = self._config, self._shown
        size, root = NO_HEAD if shown is None else (shown.head.size, shown.head.root)
        if shown is None:
            known = "the gateway shows no head of it"
        else:
            known = f"the newest head that the gateway shows has size {size}"
        beyond = f", and it says that it holds {self._held}" if self._held is not None and self._held > size else ""
        text = (
            f"the store of epoch {config.epoch}, log {self.log.hex()}, is lost; {known}{beyond}; "
            "how many records came after it is not known"
        )
        return Predecessor(
            config.name, config.epoch, self._key, size, root, None if shown is None else shown.signed.raw, text
        )
