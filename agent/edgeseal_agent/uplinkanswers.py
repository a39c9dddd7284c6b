"""What the gateway says, sorted: each message to whoever deals with it, refusals into what goes out next."""

from __future__ import annotations

import logging
import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import messages, topics
from edgeseal.errors import EvidenceError, VerificationError
from edgeseal.messages import Chunk, CommandMessage, KeysetMessage, ReceiptMessage, Refusal, Resend
from edgeseal_agent import outbox
from edgeseal_agent.authority import ProofMissing
from edgeseal_agent.sending import SendState
from edgeseal_agent.uplinkpackages import NO_PACKAGE, PackageFetch
from edgeseal_agent.uplinkreceipts import Receipts
from edgeseal_agent.uplinkroles import Orders

logger = logging.getLogger(__name__)

SET_BACK: Final = "device_behind"
"""The gateway holds more of this log than the device: its store was set back."""


@dataclass(slots=True)
class HelloTurn:
    """Whether ``hello`` is to be said, and the monotonic second before which it is not."""

    due: bool = False
    not_before_s: float = 0.0


class Answers:
    """Takes the gateway's messages, untrusted until somebody has checked them. For the uplink's thread alone.

    ``receipted`` is told the size that a checked receipt covers, durable by then. ``orders`` has to be set before the
    first message is taken.
    """

    def __init__(
        self, connection: sqlite3.Connection, log: bytes, state: SendState, hello: HelloTurn, receipts: Receipts,
        packages: PackageFetch, receipted: Callable[[int], None], counts: Counter[str],
    ) -> None:  # fmt: skip
        self._connection, self._log = connection, log
        self._state, self._hello = state, hello
        self._receipts, self._packages, self._receipted = receipts, packages, receipted
        self._counts = counts
        self._stored_bare = 0
        self.orders: Orders | None = None
        self.last_refusal: dict[str, Any] | None = None

    def take(self, topic: str, payload: bytes) -> None:
        """Decode one message and hand it on; what is malformed is counted and dropped."""
        try:
            place = topics.parse(topic)
            if place.log != self._log or place.direction != "down":
                raise VerificationError("topic_mismatch", "a message for another device")
            message = messages.decode(place, payload)
            self._handle(message)
        except EvidenceError as error:
            self._counts[f"dropped_{error.code}"] += 1

    def _handle(self, message: messages.Message) -> None:
        assert self.orders is not None
        if isinstance(message, ReceiptMessage):
            self._receipt(message)
        elif isinstance(message, CommandMessage):
            self.orders.receive(message)
        elif isinstance(message, KeysetMessage):
            self.orders.take_keyset(message)
        elif isinstance(message, Refusal):
            self._refusal(message)
        elif isinstance(message, Resend):
            self._resend(message)
        elif isinstance(message, Chunk):
            self._packages.hand_on(message)

    def _receipt(self, message: ReceiptMessage) -> None:
        try:
            self._receipted(self._receipts.take(message))
        except ProofMissing:
            self._counts["proof_missing"] += 1
            self._hello.due = True

    def _resend(self, message: Resend) -> None:
        self._counts["resends"] += 1
        if message.start < self._stored_bare and outbox.is_gone(self._connection, message.start):
            return  # it has the header, the body is gone, and the record that says so follows
        self._state.resend(min(message.start, self._signed()), time.monotonic())

    def _refusal(self, message: Refusal) -> None:
        """The gateway did not take something. Everything is kept; it is sent again after a wait."""
        self._counts[f"refused_{message.code}"] += 1
        if self.last_refusal is None or self.last_refusal["code"] != message.code:
            logger.warning(
                "the gateway refuses: %s (%r); everything is kept and sent again", message.code, message.detail
            )
        self.last_refusal = {"code": message.code, "detail": message.detail, "size": message.size}
        if message.code in NO_PACKAGE:
            self._packages.hand_on(None)
        elif message.code == "bodies_missing":
            # Everything below this size is stored; what it misses it asks for by position, in a message of its own.
            self._stored_bare = min(message.size, self._signed())
        elif message.code != SET_BACK:  # that one status shows: nothing that is sent would change it
            self._wait(message)

    def _wait(self, message: Refusal) -> None:
        now_s = time.monotonic()
        self._state.refuse(message.code, min(message.size, self._signed()), now_s)
        self._hello.due = True
        self._hello.not_before_s = max(self._hello.not_before_s, now_s + (self._state.wait_s(now_s) or 0.0))

    def _signed(self) -> int:
        return outbox.signed_size(self._connection)
