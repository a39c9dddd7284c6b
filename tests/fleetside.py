"""The other side of an agent, in memory: a gateway that checks what a device sends as strictly as the format says.

It holds no network: ``handle`` takes a topic and a payload and returns the answers. Tests let it forget, refuse or lie.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from edgeseal import cbor, cose, limits, merkle, messages, segment, topics
from edgeseal.head import Seen
from edgeseal.messages import (
    Anchor,
    Chunk,
    CommandMessage,
    Fetch,
    Hello,
    KeysetMessage,
    ReceiptMessage,
    Refusal,
    Resend,
)
from edgeseal.pack import Pack
from edgeseal.segment import Segment
from edgeseal.statements.enrolment import Enrolment, device_log_id
from tests.world import CHAIN, CONTRACT, Sent, World

Reply = tuple[str, bytes]


def make_pack(world: World) -> bytes:
    """The provisioning pack of a world."""
    newest = world.heads[-1]
    return Pack(world.root.public, CHAIN, CONTRACT, bytes(32), world.log, world.keysets[-1], newest).encode()


@dataclass
class HeldLog:
    """What this side holds of one device log."""

    key: cose.PublicKey
    frontier: merkle.Frontier = field(default_factory=merkle.Frontier)
    items: list[segment.Item] = field(default_factory=list)
    heads: list[bytes] = field(default_factory=list)
    positions: dict[int, int] = field(default_factory=dict)
    """Device-log size of a head -> its position in the fleet log."""
    told: int = 0
    """Fleet size the device is taken to have seen."""


@dataclass
class Order:
    """A command as it will be delivered: to which log, and what."""

    log: bytes
    sent: Sent


class FleetSide:
    """A gateway in memory over a World. Counts what it saw in ``counts``."""

    def __init__(self, world: World | None = None) -> None:
        self.world = world or World()
        self.logs: dict[bytes, HeldLog] = {}
        self.orders: list[Order] = []
        self.packages: dict[bytes, bytes] = {}
        self.hellos: list[Hello] = []
        self.counts: Counter[str] = Counter()
        self.refuse_with: str | None = None
        self.silent = False
        """True: segments are taken and no receipt is given."""

    # What an operator does

    def enrol(self, request: dict[str, Any]) -> int:
        """Enrol from the JSON that ``init`` printed; return the position."""
        key = cose.PublicKey.of(bytes.fromhex(request["x"]), bytes.fromhex(request["y"]))
        statement = Enrolment(
            key, bytes.fromhex(request["genesis"]), request["name"], request["assurance"], None,
            tuple(request["groups"]), request["cadence"],
        )  # fmt: skip
        position = self.world.add(self.world.operator.state(statement))
        self.world.head()
        self.logs[device_log_id(key.kid)] = HeldLog(key)
        return position

    def order(self, log: bytes, action: str, args: dict[str, Any], **changes: Any) -> Sent:
        """Sequence a command to ``log``; it is delivered by ``pending_orders`` or the next hello."""

        class Target:
            """Stands for a device of the world, whose records this side does not make."""

            seen: Seen | None = None

        target = Target()
        target.log = log  # type: ignore[attr-defined]
        sent = self.world.send(target, action, args, **changes)  # type: ignore[arg-type]
        self.orders.append(Order(log, sent))
        return sent

    def deliver(self, order: Order) -> Reply:
        """Return the message that delivers one command, with the proof the device needs."""
        sent = order.sent
        start, path = self._path(order.log)
        message = CommandMessage(
            order.log, sent.raw, sent.salt, sent.args, self.world.receipt(sent.position), start, path
        )  # fmt: skip
        return topics.down(order.log, "command"), message.encode()

    def keyset(self, log: bytes) -> Reply:
        """Sequence the next keyset and return the message that delivers it."""
        statement = self.world.next_keyset()
        self.world.add(statement)
        self.world.head()
        return topics.down(log, "keyset"), KeysetMessage(log, statement).encode()

    # What a gateway does

    def handle(self, topic: str, payload: bytes) -> list[Reply]:
        """Take one message of a device and return the answers."""
        place = topics.parse(topic)
        assert place.direction == "up"
        self.counts[place.kind] += 1
        held = self.logs.get(place.log)
        if place.kind == "hello":
            hello = messages.decode(place, payload)
            assert isinstance(hello, Hello)
            self.hellos.append(hello)
        if held is None:
            return self._refuse(place.log, "unknown_key", 0)
        if place.kind == "segment":
            return self._segment(held, segment.decode(payload))
        if place.kind == "fetch":
            fetch = messages.decode(place, payload)
            assert isinstance(fetch, Fetch)
            return self._chunk(fetch)
        return self._hello(held, self.hellos[-1])

    def _refuse(self, log: bytes, code: str, size: int) -> list[Reply]:
        self.counts[f"refused_{code}"] += 1
        return [(topics.down(log, "refusal"), Refusal(log, code, "", size).encode())]

    def _hello(self, held: HeldLog, hello: Hello) -> list[Reply]:
        assert hello.seen is not None and hello.seen.root == self.world.root_hash(hello.seen.size)
        held.told = hello.seen.size
        replies: list[Reply] = []
        if hello.size > held.frontier.size:
            replies.append((topics.down(hello.log, "resend"), Resend(hello.log, held.frontier.size).encode()))
        elif hello.size < held.frontier.size:
            replies += self._refuse(hello.log, "device_behind", held.frontier.size)
        for statement in self.world.keysets[hello.keyset :]:
            replies.append((topics.down(hello.log, "keyset"), KeysetMessage(hello.log, statement).encode()))
        after = -1 if hello.position is None else hello.position
        replies += [self.deliver(o) for o in self.orders if o.log == hello.log and o.sent.position > after]
        if held.positions and not self.silent:
            replies.append(self._receipt(held, hello.log, max(held.positions)))
        return replies

    def _segment(self, held: HeldLog, found: Segment) -> list[Reply]:
        if self.refuse_with is not None:
            return self._refuse(found.log, self.refuse_with, held.frontier.size)
        head = found.head.verify(held.key)
        size = held.frontier.size
        if found.start > size:
            return self._refuse(found.log, "segment_gap", size)
        overlap = found.items[: size - found.start]
        stored = held.items[found.start : size]
        assert [item.leaf for item in overlap] == [item.leaf for item in stored[: len(overlap)]], "a fork"
        if head.size in held.positions:
            return [self._receipt(held, found.log, head.size)]
        fresh = found.items[size - found.start :]
        grown = merkle.Frontier(size, held.frontier.hashes)
        grown.extend([item.leaf for item in fresh])
        assert grown.root() == head.root and grown.size == head.size, "the items miss the root"
        assert head.prev[0] < head.size
        held.frontier = grown
        held.items += fresh
        held.heads.append(found.head.signed.raw)
        held.positions[head.size] = self.world.add(found.head.signed.raw)
        self.world.head()
        return [] if self.silent else [self._receipt(held, found.log, head.size)]

    def _receipt(
        self, held: HeldLog, log: bytes, size: int, anchor: Anchor | None = None, final: bool = False
    ) -> Reply:
        position = held.positions[size]
        start, path = self._path(log)
        statement = self.world.statements[position]
        message = ReceiptMessage(log, statement, self.world.receipt(position), start, path, anchor, final)
        return topics.down(log, "receipt"), message.encode()

    def anchored(self, log: bytes, final: bool = True) -> Reply:
        """Anchor everything and return the receipt that tells the device."""
        made = self.world.anchor(tell=False)
        held = self.logs[log]
        told = Anchor(self.world.size, self.world.root_hash(), CHAIN, made.block, len(self.world.anchors), bytes(32))
        return self._receipt(held, log, max(held.positions), told, final)

    def _path(self, log: bytes) -> tuple[int, tuple[bytes, ...]]:
        held, size = self.logs[log], self.world.size
        told, held.told = held.told, size
        if told in (0, size):
            return 0, ()
        return told, tuple(self.world.consistency(told, size)[2])

    def _chunk(self, fetch: Fetch) -> list[Reply]:
        data = self.packages.get(fetch.package)
        if data is None:
            return self._refuse(fetch.log, "package_unknown", self.logs[fetch.log].frontier.size)
        piece = data[fetch.offset : fetch.offset + limits.MAX_CHUNK]
        chunk = Chunk(fetch.log, fetch.package, len(data), fetch.offset, piece)
        return [(topics.down(fetch.log, "chunk"), chunk.encode())]

    # What a test asks

    def kinds(self, log: bytes) -> list[str]:
        """The kinds of all records held of a log, in order."""
        return [cbor.decode(item.header or b"", max_size=512)["kind"] for item in self.logs[log].items]

    def leaves(self, log: bytes) -> list[bytes]:
        """The leaf hashes of all records held of a log, in order."""
        return [item.leaf for item in self.logs[log].items]
