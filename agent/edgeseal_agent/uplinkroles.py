"""Who the uplink deals with: the link to the broker below it, who is told of a link, and who is handed commands."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from edgeseal.messages import CommandMessage, KeysetMessage


class Link(Protocol):
    """A connection to the broker that keeps itself up."""

    @property
    def ready(self) -> bool:
        """Whether it is connected, with its subscriptions made."""

    def publish(self, topic: str, payload: bytes) -> None:
        """Send one message, at least once. Raises Unavailable when it is not ready or too much is under way."""


class Receiver(Protocol):
    """Who is told of a link: that it is up, what came, and that it gave up."""

    def connected(self) -> None:
        """The link is up and subscribed."""

    def received(self, topic: str, payload: bytes, ack: Callable[[], None]) -> None:
        """A message came; ``ack`` is called once it is dealt with."""

    def failed(self, error: BaseException) -> None:
        """The link gave up for good."""


class Orders(Protocol):
    """Who is handed commands and keysets, by the uplink's thread; ``position`` is that of the last command taken."""

    position: int | None

    def receive(self, message: CommandMessage) -> None:
        """Judge one command."""

    def take_keyset(self, message: KeysetMessage) -> None:
        """Judge one keyset."""

    def tick(self) -> None:
        """Called now and then."""
