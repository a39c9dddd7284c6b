"""S28-S31: receipts say confirmed and final as the chain does, and are given anew when it takes a block back."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import pytest

from edgeseal import topics
from edgeseal.messages import Hello, Message, ReceiptMessage
from edgeseal.receipt import Receipt
from edgeseal_gateway.courier import Courier
from edgeseal_gateway.receipts import Receipts
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.store import anchors, fleetlog, guard
from edgeseal_gateway.told import Told
from tests.gatewaystore import Founded
from tests.tenant import segment_of
from tests.world import Device

PENDING, CONFIRMED, FINAL = anchors.PENDING, "CONFIRMED", "FINAL"


class Desk(Founded):
    """A gateway's store and its courier, and what that would send to devices."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.restart()

    def restart(self) -> None:
        log, told = self.profile.fleet_log, Told(self.profile.fleet_log)
        relay = Relay(log, told, self.path.parent, self.now_ms)
        receipts = Receipts(log, self.profile.chain_id, told)
        self.courier = Courier(self.database, log, self.ingest, relay, receipts, self.now_ms)

    def say(self) -> list[ReceiptMessage]:
        """Return the receipts that go out now."""
        self.courier.step(0)
        waiting: deque[Message] = self.courier.outgoing._waiting
        found = [one for one in waiting if isinstance(one, ReceiptMessage)]
        waiting.clear()
        return found

    def grow(self, device: Device) -> int:
        """Take in a segment of a device, sequence its head, tell everybody; return the log's size."""
        device.add("state", name="door", pub={})
        device.seal()
        self.take(device, segment_of(device, self.known(device).size))
        size = self.sequence()
        self.say()
        return size

    def found(self, size: int, block: int = 1, state: str = anchors.CONFIRMED) -> None:
        with self.database.write() as connection:
            anchors.found(connection, size, state, bytes([block]) * 32, block, bytes([block, 1]) * 16, 0)

    def lost(self, size: int, state: str = anchors.SENT) -> None:
        with self.database.write() as connection:
            anchors.lost(connection, size, state)

    def finish(self, size: int, block: int = 1) -> None:
        with self.database.write() as connection:
            place = bytes([block]) * 32, block, bytes([block, 1]) * 16
            anchors.finish(connection, size, *place, 0, b"\xa0")
            guard.note_chain(connection, size, fleetlog.root_at(connection, size))


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def finality(message: ReceiptMessage) -> str:
    if message.anchor is None:
        return PENDING
    fleet = Receipt.decode(message.receipt)
    assert fleet.size == message.anchor.size, "anchor and receipt are of one fleet head"
    return FINAL if message.final else CONFIRMED


def said(desk: Desk) -> list[str]:
    return [finality(message) for message in desk.say()]


def test_S28_a_receipt_is_confirmed_first_and_final_when_the_chain_says_so(desk: Desk) -> None:
    size = desk.grow(desk.device())
    desk.found(size, state=anchors.MINED)
    assert said(desk) == [], "mined is not confirmed"
    desk.found(size)
    assert said(desk) == [CONFIRMED] and said(desk) == []
    desk.finish(size)
    assert said(desk) == [FINAL] and said(desk) == []


def test_S29_what_is_final_at_once_is_said_once(desk: Desk) -> None:
    desk.finish(desk.grow(desk.device()))
    assert said(desk) == [FINAL] and said(desk) == []


def test_S31_a_reorganisation_takes_receipts_back_and_they_are_given_again(desk: Desk) -> None:
    size = desk.grow(desk.device())
    desk.found(size, block=1)
    assert said(desk) == [CONFIRMED]
    desk.lost(size)
    (taken_back,) = desk.say()
    assert finality(taken_back) == PENDING and said(desk) == []
    Receipt.decode(taken_back.receipt).verify_inclusion(desk.signer.public_key, _leaf(taken_back))
    desk.found(size, block=2)
    (again,) = desk.say()
    assert finality(again) == CONFIRMED and again.anchor is not None and again.anchor.block == bytes([2]) * 32
    desk.finish(size, block=2)
    assert said(desk) == [FINAL]


def _leaf(message: ReceiptMessage) -> bytes:
    from edgeseal.merkle import leaf_hash

    return leaf_hash(message.head)


def test_S31_the_same_anchor_in_another_block_is_said_again(desk: Desk) -> None:
    size = desk.grow(desk.device())
    desk.found(size, block=1)
    assert said(desk) == [CONFIRMED]
    desk.found(size, block=2)
    (again,) = desk.say()
    assert finality(again) == CONFIRMED and again.anchor is not None and again.anchor.number == 2


def test_S31_a_reorganisation_takes_back_the_newest_and_leaves_what_is_below(desk: Desk) -> None:
    first, second = desk.device("cam-1"), desk.device("cam-2")
    low = desk.grow(first)
    desk.found(low, block=1)
    assert said(desk) == [CONFIRMED]
    high = desk.grow(second)
    desk.found(high, block=2)
    (only,) = desk.say()
    assert only.log == second.log, "the first device's newest head was under the anchor before"
    desk.lost(high)
    (back,) = desk.say()
    assert (finality(back), back.log) == (PENDING, second.log)


def test_S30_a_crash_between_a_reorganisation_and_the_word_of_it_loses_nothing(desk: Desk) -> None:
    size = desk.grow(desk.device())
    desk.found(size)
    assert said(desk) == [CONFIRMED]
    desk.lost(size)
    desk.restart()
    assert said(desk) == [PENDING]
    desk.restart()
    assert said(desk) == []


def test_S29_what_is_final_is_never_taken_back(desk: Desk) -> None:
    size = desk.grow(desk.device())
    desk.finish(size)
    said(desk)
    desk.lost(size)
    assert said(desk) == []
    assert desk.ask(anchors.finality, size) == FINAL


def test_S31_a_device_that_was_away_is_told_how_it_stands_now(desk: Desk) -> None:
    device = desk.device()
    low = desk.grow(device)
    desk.finish(low, block=1)
    middle = desk.grow(device)
    desk.found(middle, block=2)
    desk.grow(device)
    desk.say()

    def hello() -> list[str]:
        size, root = device.last
        message = Hello(device.log, device.key.public, size, root, device.seen, 1, None)
        desk.courier.receive(topics.up(device.log, "hello"), message.encode(), lambda: None)
        return said(desk)

    assert hello() == [FINAL, CONFIRMED, PENDING]
    desk.lost(middle)
    desk.say()
    assert hello() == [FINAL, PENDING]
