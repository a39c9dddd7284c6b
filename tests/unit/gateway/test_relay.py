"""What devices are told: receipts they can check from where they stand, commands in order, keysets, packages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

import pytest

from edgeseal import messages, topics
from edgeseal.errors import Unavailable
from edgeseal.head import Seen
from edgeseal.merkle import leaf_hash, verify_consistency
from edgeseal.messages import (
    Chunk,
    CommandMessage,
    Fetch,
    Hello,
    KeysetMessage,
    Message,
    ReceiptMessage,
    Refusal,
    Resend,
)
from edgeseal.receipt import Receipt
from edgeseal_gateway.courier import MAX_EACH, MAX_INBOX, Courier, Outbox
from edgeseal_gateway.receipts import Receipts
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.store import anchors, devices, fleetlog, refusals
from edgeseal_gateway.told import Told
from tests.gatewaystore import Founded
from tests.tenant import segment_of
from tests.world import Device


class Desk:
    """A courier without a broker: messages go in by hand, what would be sent is read here."""

    def __init__(self, founded: Founded, folder: Path) -> None:
        self.founded = founded
        self.told = Told(founded.profile.fleet_log)
        log = founded.profile.fleet_log
        self.relay = Relay(log, self.told, folder, founded.now_ms)
        receipts = Receipts(log, 31337, self.told)
        self.courier = Courier(founded.database, log, founded.ingest, self.relay, receipts, founded.now_ms)
        self.acknowledged: list[str] = []

    def send(self, log: bytes, kind: str, payload: bytes) -> list[Message]:
        name = topics.up(log, kind)
        self.courier.receive(name, payload, lambda: self.acknowledged.append(name))
        self.courier.step(0)
        return self.sent()

    def announce(self) -> list[Message]:
        self.courier.step(0)
        return self.sent()

    def sent(self) -> list[Message]:
        link = Collector()
        while len(self.courier.outgoing):
            self.courier.outgoing.send(link, 0)
        return link.found()

    def hello(self, device: Device, **changes: object) -> list[Message]:
        size, root = device.last
        fields = {
            "log": device.log, "key": device.key.public, "size": size, "root": root, "seen": device.seen,
            "keyset": 1, "position": None,
        }  # fmt: skip
        return self.send(device.log, "hello", Hello(**{**fields, **changes}).encode())  # type: ignore[arg-type]


class Collector:
    """A link that takes everything."""

    def __init__(self) -> None:
        self._sent: list[tuple[str, bytes]] = []

    def wait_ready(self, timeout_s: float, room: int = 1) -> bool:
        return True

    def publish(self, topic: str, payload: bytes) -> None:
        self._sent.append((topic, payload))

    def found(self) -> list[Message]:
        return [messages.decode(topics.parse(topic), payload) for topic, payload in self._sent]


@pytest.fixture
def desk(founded: Founded, tmp_path: Path) -> Desk:
    made = Desk(founded, tmp_path)
    made.announce()
    return made


def check(founded: Founded, device: Device, message: ReceiptMessage | CommandMessage, entry: bytes) -> None:
    """Check a receipt as the device would, from what it has seen, and move that on."""
    receipt = Receipt.decode(message.receipt)
    fleet = receipt.verify_inclusion(founded.signer.public_key, leaf_hash(entry))
    seen = device.seen
    if seen is not None and seen.size != fleet.size:
        pair = sorted([(seen.size, seen.root), (fleet.size, fleet.root)])
        assert message.start == pair[0][0]
        verify_consistency(pair[0][0], pair[1][0], pair[0][1], pair[1][1], list(message.path))
    if seen is None or fleet.size > seen.size:
        device.seen = Seen(fleet.log, fleet.size, fleet.root)


def of(kind: type, found: Sequence[Message]) -> list[Message]:
    return [one for one in found if isinstance(one, kind)]


def test_receipts_lead_on_from_what_was_seen(founded: Founded, desk: Desk) -> None:
    device = founded.device()
    assert [type(one) for one in desk.announce()] == [Resend]
    device.seen = Seen(founded.profile.fleet_log, 2, _root(founded, 2))
    device.heads.clear()
    device.last = (0, bytes(32))
    device.seal(2)
    for _ in range(4):
        desk.send(device.log, "segment", segment_of(device, founded.known(device).size))
        founded.sequence()
        (found,) = desk.announce()
        assert isinstance(found, ReceiptMessage) and found.head == device.heads[-1] and found.anchor is None
        check(founded, device, found, found.head)
        device.infer(2)
        device.seal()
    final = founded.read(anchors.newest_wanted)
    assert final is not None
    assert desk.acknowledged


def _root(founded: Founded, size: int) -> bytes:
    return founded.ask(fleetlog.root_at, size)


def test_anchored_receipts_come_once_and_on_asking(founded: Founded, desk: Desk) -> None:
    founded.finish_anchor(2)
    device = founded.device()
    device.infer(1)
    device.seal()
    desk.send(device.log, "segment", segment_of(device, 0))
    founded.monotonic += 1_000_000
    founded.sequence()
    wanted = founded.read(anchors.newest_wanted)
    assert wanted is not None
    desk.announce()
    founded.finish_anchor(wanted.size)
    (found,) = desk.announce()
    assert isinstance(found, ReceiptMessage) and found.anchor is not None
    assert (found.anchor.size, found.anchor.number) == (wanted.size, 7)
    check(founded, device, found, found.head)
    assert desk.announce() == []
    (again,) = of(ReceiptMessage, desk.hello(device))
    assert isinstance(again, ReceiptMessage) and again.anchor == found.anchor
    (again,) = of(ReceiptMessage, desk.send(device.log, "segment", segment_of(device, 0)))
    assert isinstance(again, ReceiptMessage) and again.anchor == found.anchor


def test_hello_brings_what_is_missing_in_order(founded: Founded, desk: Desk) -> None:
    device = founded.device()
    founded.hand_in(founded.tenant.next_keyset())
    prev = bytes(32)
    sent = []
    for text in ("one", "two", "three"):
        command = founded.tenant.command(device.log, prev, {"text": text})
        prev = sha256(command[0]).digest()
        founded.hand_in(*command)
        founded.sequence()
        sent.append(command[0])
    group = founded.tenant.command("all", bytes(32), {"text": "group"})
    founded.hand_in(*group)
    founded.sequence()
    desk.announce()
    device.seen = Seen(founded.profile.fleet_log, 2, _root(founded, 2))
    found = desk.hello(device)
    assert [type(one) for one in found[:2]] == [Resend, KeysetMessage]
    commands = [one for one in found if isinstance(one, CommandMessage)]
    assert [one.command for one in commands] == [*sent, group[0]]
    for one in commands:
        check(founded, device, one, one.command)
    second = Receipt.decode(commands[1].receipt).index
    rest = [one for one in desk.hello(device, position=second, keyset=2) if isinstance(one, CommandMessage)]
    assert [one.command for one in rest] == [sent[2], group[0]]
    assert of(KeysetMessage, desk.hello(device, keyset=2)) == []


def test_commands_go_out_to_their_audience_once(founded: Founded, desk: Desk) -> None:
    one, two = founded.device("one"), founded.device("two")
    desk.announce()
    founded.hand_in(*founded.tenant.command("all", bytes(32), {"text": "both"}))
    founded.hand_in(*founded.tenant.command(one.log, bytes(32), {"text": "first"}))
    founded.sequence()
    found = of(CommandMessage, desk.announce())
    assert sorted(message.log for message in found) == sorted([one.log, two.log, one.log])
    assert desk.announce() == []


def test_hello_of_strangers_of_the_set_back_and_of_the_ended(founded: Founded, desk: Desk) -> None:
    stranger = founded.tenant.device_of("stranger")
    (found,) = desk.hello(stranger)
    assert isinstance(found, Refusal) and found.code == "unknown_key"
    ((log, *_),) = founded.read(devices.applicants)
    assert log == stranger.log
    device = founded.device()
    desk.send(device.log, "segment", segment_of(device, 0))
    (found,) = of(Refusal, desk.hello(device, size=1))
    assert isinstance(found, Refusal) and (found.code, found.size) == ("device_behind", 2)
    with founded.database.write() as connection:
        devices.set_state(connection, device.log, devices.FROZEN)
    (found,) = desk.hello(device)
    assert isinstance(found, Refusal) and found.code == "log_frozen"


def test_what_a_device_says_it_saw_is_not_believed_blindly(founded: Founded, desk: Desk) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    founded.sequence()
    desk.announce()
    log = founded.profile.fleet_log
    for seen, code in (
        (Seen(log, (1 << 64) - 1, bytes(32)), "behind_device"),
        (Seen(log, 3, bytes(32)), "seen_contradicts"),
    ):
        (found,) = of(ReceiptMessage, desk.hello(device, seen=seen, position=(1 << 64) - 1))
        assert isinstance(found, ReceiptMessage) and (found.start, found.path) == (0, ())
        assert founded.refused(device)[code] == 1
    assert founded.sequencer.step() is False and founded.sequencer.blocked is None, "hello is signed by nobody"


def test_a_package_travels_in_pieces(founded: Founded, desk: Desk, tmp_path: Path) -> None:
    device = founded.device()
    desk.announce()
    archive = bytes(range(256)) * 2_000
    digest = sha256(archive).digest()
    (tmp_path / f"{digest.hex()}.cbor").write_bytes(archive)
    got = b""
    while len(got) < len(archive):
        (piece,) = desk.send(device.log, "fetch", Fetch(device.log, digest, len(got)).encode())
        assert isinstance(piece, Chunk) and (piece.total, piece.offset) == (len(archive), len(got))
        got += piece.data
    assert got == archive
    (end,) = desk.send(device.log, "fetch", Fetch(device.log, digest, 1 << 63).encode())
    assert isinstance(end, Chunk) and end.data == b""
    (found,) = desk.send(device.log, "fetch", Fetch(device.log, bytes(32), 0).encode())
    assert isinstance(found, Refusal) and found.code == "package_unknown"
    stranger = founded.tenant.device_of("stranger")
    (found,) = desk.send(stranger.log, "fetch", Fetch(stranger.log, digest, 0).encode())
    assert isinstance(found, Refusal) and found.code == "unknown_key"


def test_junk_on_any_topic_is_counted_and_acknowledged(founded: Founded, desk: Desk) -> None:
    names = ["", "edgeseal/v1/xyz/up/hello", topics.up(bytes(32), "hello"), topics.down(bytes(32), "receipt")]
    for name in names:
        desk.courier.receive(name, b"junk", lambda: desk.acknowledged.append("junk"))
    desk.courier.step(0)
    assert len(desk.acknowledged) == 4 and desk.sent() == []
    assert sum(founded.read(refusals.totals).values()) == 4


def test_nothing_is_acknowledged_that_was_not_stored(
    founded: Founded, desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    device = founded.device()
    desk.announce()

    def full(*_: object) -> None:
        raise Unavailable("store_unavailable", "no space")

    with monkeypatch.context() as patched:
        patched.setattr(devices, "advance", full)
        with pytest.raises(Unavailable):
            desk.send(device.log, "segment", segment_of(device, 0))
        assert desk.acknowledged == []
    desk.courier.step(0)
    assert len(desk.acknowledged) == 1 and founded.known(device).size == 2


def test_what_the_link_does_not_take_stays(founded: Founded) -> None:
    class Broken(Collector):
        def publish(self, topic: str, payload: bytes) -> None:
            raise Unavailable("mqtt_offline", "gone")

    outbox = Outbox()
    outbox.put([Resend(bytes(32), 1), Resend(bytes(32), 2)])
    outbox.send(Broken(), 0)
    link = Collector()
    while len(outbox):
        outbox.send(link, 0)
    assert link.found() == [Resend(bytes(32), 1), Resend(bytes(32), 2)]


def test_a_device_that_floods_is_answered_once_a_batch(founded: Founded, desk: Desk, tmp_path: Path) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    founded.sequence()
    desk.announce()
    archive = bytes(300_000)
    (tmp_path / f"{sha256(archive).hexdigest()}.cbor").write_bytes(archive)
    hello = Hello(device.log, device.key.public, 2, device.root(2), None, 1, None).encode()
    fetch = Fetch(device.log, sha256(archive).digest(), 0).encode()
    for _ in range(50):
        for kind, payload in (("hello", hello), ("fetch", fetch), ("segment", segment_of(device, 0))):
            desk.courier.receive(topics.up(device.log, kind), payload, lambda: desk.acknowledged.append("one"))
    desk.courier.step(0)
    desk.courier.step(0)
    found = desk.sent()
    assert len(desk.acknowledged) == 150
    assert len(of(Chunk, found)) <= 2 and len(of(ReceiptMessage, found)) <= 2


def test_what_waits_for_the_store_is_bounded(desk: Desk) -> None:
    taken: list[int] = []
    refused = threading.Event()

    def flood() -> None:
        for number in range(MAX_INBOX + 1):
            desk.courier.receive("no/topic", b"junk", lambda: desk.acknowledged.append("junk"))
            taken.append(number)
        refused.set()

    thread = threading.Thread(target=flood, daemon=True)
    thread.start()
    while len(taken) < MAX_INBOX:
        thread.join(0.01)
        assert thread.is_alive()
    assert not refused.is_set() and desk.acknowledged == []
    desk.courier.close()  # the gateway stops: what waits comes again, unacknowledged
    assert refused.wait(60)
    while len(desk.acknowledged) < MAX_INBOX:
        desk.courier.step(0)
    assert len(desk.acknowledged) == MAX_INBOX


def test_one_that_asks_and_asks_pushes_out_nobodys_messages(founded: Founded, desk: Desk) -> None:
    device, other = founded.device(), founded.device("cam-2")
    founded.take(device, segment_of(device, 0))
    for _ in range(3):
        founded.hand_in(founded.tenant.next_keyset())
        founded.sequence()
    desk.announce()
    desk.courier.outgoing.put([Resend(other.log, 7)])
    hello = Hello(device.log, device.key.public, 2, device.root(2), None, 0, None).encode()
    for _ in range(MAX_EACH):
        desk.courier.receive(topics.up(device.log, "hello"), hello, lambda: desk.acknowledged.append("one"))
        desk.courier.step(0)
    assert len(desk.acknowledged) == MAX_EACH, "each is dealt with all the same"
    assert MAX_EACH <= desk.courier.outgoing.waiting_for(device.log) < MAX_EACH + 10
    assert Resend(other.log, 7) in desk.sent()
    assert desk.courier.outgoing.waiting_for(device.log) == 0
    assert [one for one in desk.hello(device, keyset=1) if isinstance(one, KeysetMessage)] != []


def test_keysets_that_wait_count_with_their_bytes() -> None:
    outbox = Outbox()
    outbox.put(KeysetMessage(number.to_bytes(32, "big"), bytes(32_768)) for number in range(10_000))
    assert len(outbox) < 5_000


def test_what_waits_for_the_broker_is_bounded() -> None:
    outbox = Outbox()
    outbox.put(Chunk(bytes(32), bytes(32), 1 << 30, number, bytes(1 << 18)) for number in range(1_000))
    outbox.put(Resend(bytes(32), number) for number in range(10))
    assert len(outbox) < 600
    link = Collector()
    while len(outbox):
        outbox.send(link, 0)
    found = link.found()
    assert found[-10:] == [Resend(bytes(32), number) for number in range(10)]
    newest = found[-11]
    assert isinstance(newest, Chunk) and newest.offset == 999
