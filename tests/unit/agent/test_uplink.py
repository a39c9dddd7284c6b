"""Store and forward: nothing is taken for sent without a receipt that holds, and everything gets one in the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from edgeseal import messages, topics
from edgeseal.head import DeviceHead, SignedDeviceHead
from edgeseal.messages import Anchor, Chunk, ReceiptMessage, Refusal
from edgeseal_agent import outbox
from edgeseal_agent.uplink import MAX_RECEIVED
from edgeseal_agent.uplinkpackages import NO_PACKAGE
from tests.world import Key

from .conftest import Bench, MakeBench
from .loop import Agent, wait


def state(number: int) -> dict[str, Any]:
    return {"name": "load", "pub": {"n": number}}


def load(bench: Bench, count: int) -> int:
    """Append and seal; return the size."""
    for ticket in [bench.journal.submit("state", state(number)) for number in range(count)]:
        ticket.result(60)
    bench.journal.append("tamper", {"what": "end", "detail": ""})
    bench.sealer.wait_for(bench.journal.size, 60)
    return bench.journal.size


@pytest.fixture
def agent(bench: Bench) -> Iterator[Agent]:
    made = Agent(bench)
    yield made
    made.stop()


def held(agent: Agent) -> list[bytes]:
    return agent.bench.fleet.leaves(agent.log)


def stored(agent: Agent) -> list[bytes]:
    from edgeseal.merkle import leaf_hash

    return [leaf_hash(header) for (header,) in agent.bench.rows("SELECT header FROM records ORDER BY seq")]


def test_everything_arrives_in_order_and_gets_a_receipt(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    size = load(agent.bench, 3000)
    assert agent.uplink.flush(size, 60)
    assert held(agent) == stored(agent)
    agent.bench.journal.execute(lambda connection: None).result(60)  # what was queued before is durable now
    assert agent.bench.rows("SELECT max(size) FROM receipts") == [(size,)]
    seen = agent.beliefs.view.seen
    assert seen is not None and seen.size == agent.bench.fleet.world.size
    assert agent.link.acks > 0


def test_a_log_that_is_not_enrolled_keeps_and_retries(agent: Agent) -> None:
    agent.start()
    size = load(agent.bench, 100)
    wait(lambda: agent.uplink.counts["refused_unknown_key"] >= 2)
    assert agent.uplink.status()["last_refusal"]["code"] == "unknown_key"
    agent.bench.fleet.enrol(agent.bench.request)
    assert agent.uplink.flush(size, 60)
    assert held(agent) == stored(agent)


def test_receipts_that_are_lost_are_asked_for_again(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    lost: list[str] = []
    agent.link.lose = lambda kind: kind == "receipt" and len(lost) < 2 and not lost.append(kind)  # type: ignore[func-returns-value]
    agent.start()
    size = load(agent.bench, 300)
    assert agent.uplink.flush(size, 60)
    assert len(lost) == 2 and held(agent) == stored(agent)


def test_segments_that_are_lost_are_sent_again(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    lost: list[str] = []
    agent.link.lose = lambda kind: kind == "segment" and len(lost) < 2 and not lost.append(kind)  # type: ignore[func-returns-value]
    agent.start()
    assert agent.uplink.flush(load(agent.bench, 500), 60)
    assert len(lost) == 2 and held(agent) == stored(agent)


def test_the_broker_may_be_away_for_the_first_half(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.link.up = False
    agent.start()
    load(agent.bench, 1500)
    assert held(agent) == []
    agent.link.up = True
    agent.uplink.connected()
    size = load(agent.bench, 1500)
    assert agent.uplink.flush(size, 60)
    assert held(agent) == stored(agent)


def test_a_restart_begins_where_the_receipts_end(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.fleet.enrol(bench.request)
    first = Agent(bench)
    first.start()
    size = load(bench, 200)
    assert first.uplink.flush(size, 60)
    first.stop()
    bench.reopen()
    second = Agent(bench)
    assert second.uplink.status()["acknowledged"] == size
    second.start()
    assert second.uplink.flush(load(bench, 10), 60)
    assert held(second) == stored(second)
    second.stop()


def test_a_gateway_that_forgot_gets_everything_again(agent: Agent) -> None:
    fleet = agent.bench.fleet
    fleet.enrol(agent.bench.request)
    agent.start()
    assert agent.uplink.flush(load(agent.bench, 300), 60)
    kept = fleet.logs[agent.log]
    fleet.logs[agent.log] = type(kept)(kept.key)
    agent.uplink.connected()
    wait(lambda: held(agent) == stored(agent))


def receipt_of(agent: Agent) -> ReceiptMessage:
    """A fresh honest receipt for the device's newest head."""
    fleet = agent.bench.fleet
    with agent.link.lock:
        topic, payload = fleet._receipt(fleet.logs[agent.log], agent.log, max(fleet.logs[agent.log].positions))
    message = messages.decode(topics.parse(topic), payload)
    assert isinstance(message, ReceiptMessage)
    return message


def deliver(agent: Agent, message: ReceiptMessage) -> None:
    agent.link.push(topics.down(agent.log, "receipt"), message.encode())


def with_(message: ReceiptMessage, **changes: Any) -> ReceiptMessage:
    return replace(message, **changes)


@pytest.mark.parametrize("defect", ["stranger", "other_head", "signature", "path", "log"])
def test_a_receipt_that_does_not_hold_counts_for_nothing(agent: Agent, defect: str) -> None:
    """A broker can send anything; only the gateway's signature over our own head lets the device forget."""
    fleet = agent.bench.fleet
    fleet.enrol(agent.bench.request)
    fleet.silent = True
    agent.start()
    load(agent.bench, 10)
    wait(lambda: len(held(agent)) == 13)
    good = receipt_of(agent)
    if defect == "stranger":
        stranger = Key(77)
        fleet.world.last = (0, bytes(32))
        position = max(fleet.logs[agent.log].positions.values())
        bad = with_(good, receipt=fleet.world.receipt(position, fleet.world.head(key=stranger)))
    elif defect == "other_head":
        ((older,),) = agent.bench.rows("SELECT signed FROM heads WHERE size = 2")
        bad = with_(good, head=older)
    elif defect == "signature":
        bad = with_(good, receipt=good.receipt[:-1] + bytes([good.receipt[-1] ^ 1]))
    elif defect == "path":
        fleet.world.add(fleet.world.next_keyset())
        fleet.world.head()
        bad = with_(receipt_of(agent), start=2, path=(bytes(32), bytes(32)))
    else:
        bad = with_(good, log=bytes(32))
    before = sum(count for name, count in agent.uplink.counts.items() if name.startswith("dropped_"))
    deliver(agent, bad)
    wait(lambda: sum(n for name, n in agent.uplink.counts.items() if name.startswith("dropped_")) > before)
    assert agent.uplink.status()["acknowledged"] == 0
    assert agent.bench.rows("SELECT count(*) FROM receipts") == [(0,)]


def test_two_roots_for_one_fleet_size_are_kept_as_evidence(agent: Agent) -> None:
    fleet = agent.bench.fleet
    fleet.enrol(agent.bench.request)
    agent.start()
    assert agent.uplink.flush(load(agent.bench, 5), 60)
    world, log = fleet.world, fleet.logs[agent.log]
    position = max(log.positions.values())
    # The gateway shows this device another fleet log of the same size: its last statement is another one.
    kept, world.statements = world.statements, [*world.statements[:-2], world.statements[-1], world.statements[-2]]
    index = world.statements.index(kept[position])
    world.last = (0, bytes(32))
    forged = world.head()
    receipt = world.receipt(index, forged)
    deliver(agent, ReceiptMessage(agent.log, kept[position], receipt, 0, (), None))
    wait(lambda: agent.uplink.counts["dropped_fleet_fork"] == 1)
    world.statements = kept
    wait(lambda: ("attest",) in agent.bench.rows("SELECT kind FROM records WHERE kind = 'attest'"))
    assert agent.bench.rows("SELECT count(*) FROM records WHERE kind = 'tamper' AND seq > 7") == [(1,)]


def newest_head(agent: Agent) -> DeviceHead:
    ((signed,),) = agent.bench.rows("SELECT signed FROM heads ORDER BY size DESC LIMIT 1")
    return SignedDeviceHead.decode(signed).head


def final_size(agent: Agent) -> int:
    agent.bench.journal.execute(lambda connection: None).result(60)  # what was queued before is durable now
    with closing(agent.bench.store.reader()) as connection:
        return outbox.final(connection)


def test_a_confirmed_anchor_is_not_taken_for_final(agent: Agent) -> None:
    fleet = agent.bench.fleet
    fleet.enrol(agent.bench.request)
    agent.start()
    size = load(agent.bench, 5)
    assert agent.uplink.flush(size, 60)
    with agent.link.lock:
        anchored = fleet.anchored(agent.log, final=False)
    agent.link.push(*anchored)
    wait(lambda: agent.uplink.counts["receipts_confirmed"] == 1)
    assert final_size(agent) == 0, "nothing below it may be deleted"
    assert agent.uplink.flush(load(agent.bench, 1), 60)
    assert newest_head(agent).anchored is None
    with agent.link.lock:
        anchored = fleet.anchored(agent.log)
    agent.link.push(*anchored)
    wait(lambda: agent.uplink.counts["receipts_final"] == 1)
    assert final_size(agent) >= size


def test_a_receipt_taken_back_by_the_chain_is_pending_again_and_a_final_one_stays(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    size = load(agent.bench, 5)
    assert agent.uplink.flush(size, 60)
    pending, states = receipt_of(agent), []
    anchor = anchor_of(agent)
    for message in (
        with_(pending, anchor=anchor), pending, with_(pending, anchor=anchor, final=True), pending,
        with_(pending, anchor=anchor),
    ):  # fmt: skip
        before = agent.uplink.counts["receipts"]
        deliver(agent, with_(message, start=0, path=()))
        wait(lambda before=before: agent.uplink.counts["receipts"] == before + 1)  # type: ignore[misc]
        final_size(agent)
        ((state,),) = agent.bench.rows("SELECT finality FROM receipts ORDER BY size DESC LIMIT 1")
        states.append(state)
    assert states == [outbox.CONFIRMED, outbox.PENDING, outbox.FINAL, outbox.FINAL, outbox.FINAL]
    assert agent.uplink.status()["acknowledged"] == size, "what the gateway stored is stored, whatever the chain does"


def test_an_anchor_of_another_fleet_head_than_the_receipts_is_dropped(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    assert agent.uplink.flush(load(agent.bench, 5), 60)
    message = receipt_of(agent)
    anchor = anchor_of(agent)
    for number, lie in enumerate((replace(anchor, size=anchor.size + 1), replace(anchor, root=bytes(32)))):
        deliver(agent, with_(message, anchor=lie, final=True))
        wait(lambda number=number: agent.uplink.counts["dropped_receipt_head"] == number + 1)  # type: ignore[misc]
    assert final_size(agent) == 0


def anchor_of(agent: Agent) -> Anchor:
    """What an honest gateway says when its newest fleet head was anchored."""
    world = agent.bench.fleet.world
    return Anchor(world.size, world.root_hash(), 31337, bytes(32), 7, bytes(32))


def test_an_anchor_it_was_told_of_stands_in_the_next_head(agent: Agent) -> None:
    fleet = agent.bench.fleet
    fleet.enrol(agent.bench.request)
    agent.start()
    assert agent.uplink.flush(load(agent.bench, 5), 60)
    with agent.link.lock:
        anchored = fleet.anchored(agent.log)
    agent.link.push(*anchored)
    wait(lambda: agent.uplink.counts["receipts_final"] == 1)
    load(agent.bench, 1)
    head = newest_head(agent)
    assert head.anchored is not None and head.anchored.block == fleet.world.anchors[-1].block
    assert head.seen is not None and head.seen.size >= head.anchored.size


def test_garbage_from_the_broker_is_counted_and_dropped(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    for kind in topics.DOWN_KINDS:
        agent.link.push(topics.down(agent.log, kind), b"\xff\x00garbage")
    agent.link.push("other/topic", b"")
    agent.link.push(topics.down(bytes(32), "resend"), b"")
    agent.link.push(topics.up(agent.log, "hello"), b"")
    assert agent.uplink.flush(load(agent.bench, 10), 60)
    assert agent.uplink.failure is None
    assert sum(n for name, n in agent.uplink.counts.items() if name.startswith("dropped_")) >= len(topics.DOWN_KINDS)


def test_a_broker_that_floods_fills_no_memory(agent: Agent) -> None:
    taken: list[int] = []
    acked: list[int] = []
    done = threading.Event()

    def flood() -> None:
        for number in range(4 * MAX_RECEIVED):
            agent.uplink.received("other/topic", b"", lambda number=number: acked.append(number))  # type: ignore[misc]
            taken.append(number)
        done.set()

    threading.Thread(target=flood, daemon=True).start()
    wait(lambda: len(taken) == MAX_RECEIVED)
    wait(lambda: not agent.uplink._received.acquire(blocking=False))  # and nobody deals with any
    assert not done.is_set() and len(taken) == MAX_RECEIVED
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    wait(done.is_set)
    wait(lambda: len(acked) == 4 * MAX_RECEIVED)
    assert acked == list(range(4 * MAX_RECEIVED))


def test_what_no_fetch_asked_for_is_dropped(agent: Agent) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    package = bytes(range(32))
    agent.bench.fleet.packages[package] = b"an archive"
    for _ in range(3):
        agent.link.push(topics.down(agent.log, "chunk"), Chunk(agent.log, package, 3, 0, b"bad").encode())
        agent.link.push(
            topics.down(agent.log, "refusal"), Refusal(agent.log, "package_unknown", "not here", 0).encode()
        )
    wait(lambda: agent.uplink.counts["dropped_chunk"] == 6)
    assert agent.uplink.fetch(package) == b"an archive"


@pytest.mark.parametrize("code", sorted(NO_PACKAGE))
def test_a_refused_package_holds_no_records_up(agent: Agent, code: str) -> None:
    agent.bench.fleet.enrol(agent.bench.request)
    agent.start()
    agent.link.push(topics.down(agent.log, "refusal"), Refusal(agent.log, code, "not for you", 0).encode())
    wait(lambda: agent.uplink.counts[f"refused_{code}"] == 1)
    assert agent.uplink._state._hold_code == ""
