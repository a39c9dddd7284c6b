"""Numbers that no store holds, from a gateway or a broker that means harm: dropped with a reason, and nothing stops."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from edgeseal import cose, topics
from edgeseal.errors import VerificationError
from edgeseal.head import DeviceHead, FleetHead, HeadClock
from edgeseal.merkle import leaf_hash, node_hash
from edgeseal.messages import ReceiptMessage, Refusal, Resend
from edgeseal.receipt import encode_inclusion
from edgeseal_agent import authority

from .conftest import Bench
from .loop import Agent, wait

HUGE = (1 << 64) - 1


@pytest.fixture
def agent(bench: Bench) -> Iterator[Agent]:
    bench.fleet.enrol(bench.request)
    made = Agent(bench)
    made.start()
    wait(lambda: bench.rows("SELECT count(*) FROM receipts") != [(0,)])
    yield made
    made.stop()


def push(agent: Agent, kind: str, payload: bytes) -> None:
    agent.link.push(topics.down(agent.log, kind), payload)


def still_works(agent: Agent) -> None:
    bench = agent.bench
    for _ in range(bench.head_every):
        bench.journal.append("state", {"name": "x", "pub": {}})
    wait(lambda: agent.uplink.failure or agent.uplink.status()["acknowledged"] >= bench.head_every)
    assert agent.uplink.failure is None


def test_a_receipt_for_a_head_of_a_size_that_is_none(agent: Agent) -> None:
    log, clock = agent.log, HeadClock(1, 1, 1)
    head = DeviceHead(log=log, size=HUGE, root=bytes(32), prev=(0, bytes(32)), seen=None, anchored=None, clock=clock)
    signed = agent.bench.key.state(head)
    taken: Any = agent.bench.rows("SELECT receipt FROM receipts")[0][0]
    push(agent, "receipt", ReceiptMessage(log, signed, taken, 0, (), None).encode())
    wait(lambda: agent.uplink.failure or agent.uplink.counts["dropped_receipt_head"])
    still_works(agent)


def test_a_request_from_a_position_that_is_none(agent: Agent) -> None:
    push(agent, "refusal", Refusal(agent.log, "bodies_missing", "", HUGE).encode())
    push(agent, "resend", Resend(agent.log, HUGE - 1).encode())
    wait(lambda: agent.uplink.failure or agent.uplink.counts["resends"])
    still_works(agent)


def test_a_fleet_log_of_a_size_that_is_none(agent: Agent) -> None:
    """A gateway can sign any size, and prove anything of a tree that it makes up."""
    world, view = agent.bench.fleet.world, replace(agent.beliefs.view, seen=None)
    path = [bytes([number]) * 32 for number in range(64)]
    root = leaf_hash(b"entry")
    for sibling in path:
        root = node_hash(root, sibling)
    signed = world.gateway.fleet_head(FleetHead(view.home, HUGE, root, (2, b"\x01" * 32)))
    head = cose.decode(signed, limit=2_048, names=(FleetHead.NAME,))
    with pytest.raises(VerificationError, match="path_size"):
        authority.check_included(view, b"entry", encode_inclusion(head, HUGE, 0, path), 0, ())
