"""Commands: recorded under a signed head before, obeyed once, recorded after; refused for good with a reason."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest

from edgeseal import cbor, limits, messages, topics
from edgeseal.commitment import derive_salt, verify
from edgeseal.errors import Unavailable
from edgeseal.head import Seen
from edgeseal.messages import CommandMessage
from edgeseal.record import decode_body
from edgeseal.statements.keyset import Member
from edgeseal_agent.commands import LOGGED_SINGLY, Outcome
from tests.fleetside import Order
from tests.world import Key, Sent

from .conftest import Bench, MakeBench
from .loop import Agent, wait


class Script:
    """An action that does what the test says and remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.gate = threading.Event()
        self.gate.set()
        self.bench: Bench | None = None
        self.covered: list[bool] = []

    def __call__(self, digest: bytes, args: dict[str, Any]) -> Outcome:
        assert self.bench is not None
        ((seq,),) = self.bench.rows("SELECT seq FROM commands WHERE digest = ?", digest)
        ((size,),) = self.bench.rows("SELECT max(size) FROM heads WHERE signed IS NOT NULL")
        self.covered.append(size > seq)
        self.gate.wait(60)
        self.asked.append(args["text"])
        if args["text"] == "fail":
            raise Unavailable("no_luck", "it did not work")
        return Outcome(True, result={"text": args["text"]})


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def agent(bench: Bench, script: Script) -> Iterator[Agent]:
    script.bench = bench
    bench.fleet.enrol(bench.request)
    made = Agent(bench, {"ping": script})
    yield made
    made.stop()


def send(agent: Agent, text: str = "hi", deliver: bool = True, action: str = "ping", **changes: Any) -> Sent:
    """Order a ping (or what ``action`` says) and deliver it."""
    with agent.link.lock:
        sent = agent.bench.fleet.order(agent.log, action, {"text": text}, **changes)
        reply = agent.bench.fleet.deliver(agent.bench.fleet.orders[-1])
    if deliver:
        agent.link.push(*reply)
    return sent


def bodies(agent: Agent, kind: str) -> list[dict[str, Any]]:
    rows = agent.bench.rows("SELECT body FROM records WHERE kind = ? ORDER BY seq", kind)
    return [decode_body(kind, body) for (body,) in rows]


def test_received_under_a_signed_head_then_obeyed_then_result(agent: Agent, script: Script) -> None:
    agent.start()
    sent = send(agent, "hello")
    wait(lambda: bodies(agent, "command.result"))
    assert script.asked == ["hello"] and script.covered == [True]
    (received,), (result,) = bodies(agent, "command.received"), bodies(agent, "command.result")
    assert (received["id"], received["cmd"]) == (sent.command.id, sent.raw)
    assert (result["id"], result["cmd"], result["ok"], result["reason"]) == (sent.command.id, sent.digest, True, None)
    ((seq, data),) = agent.bench.rows("SELECT seq, data FROM openings WHERE field = 'result'")
    verify("result", result["result"], derive_salt(bytes(32), agent.log, seq, "result"), data)
    assert cbor.decode(data, max_size=100) == {"text": "hello"}
    assert agent.commands.position == sent.position


def test_a_failure_is_a_result_with_its_reason(agent: Agent) -> None:
    agent.start()
    send(agent, "fail")
    wait(lambda: bodies(agent, "command.result"))
    (result,) = bodies(agent, "command.result")
    assert (result["ok"], result["reason"], result["result"]) == (False, "no_luck", None)


def test_the_same_command_again_is_nothing_new(agent: Agent, script: Script) -> None:
    agent.start()
    send(agent)
    with agent.link.lock:
        again = agent.bench.fleet.deliver(agent.bench.fleet.orders[-1])
    agent.link.push(*again)
    send(agent, "second")
    wait(lambda: len(bodies(agent, "command.result")) == 2)
    assert script.asked == ["hi", "second"] and not bodies(agent, "command.refused")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"expires_size": 3}, "command_expired"),
        ({"until_ms": 1}, "command_late"),
        ({"tenant": bytes(32)}, "wrong_tenant"),
        ({"audience": bytes(32)}, "wrong_audience"),
        ({"audience": "others"}, "wrong_audience"),
        ({"action": "reboot"}, "unknown_action"),
    ],
)
def test_what_a_device_does_not_obey(agent: Agent, script: Script, changes: dict[str, Any], reason: str) -> None:
    agent.start()
    refused = send(agent, "no", **changes)
    good = send(agent, "yes")
    wait(lambda: bodies(agent, "command.result"))
    assert script.asked == ["yes"]
    (record,) = bodies(agent, "command.refused")
    assert (record["id"], record["cmd"], record["reason"], record["count"]) == (
        refused.command.id, refused.digest, reason, 1,
    )  # fmt: skip
    assert agent.commands.position == good.position


def test_arguments_that_do_not_open_the_commitment_are_refused(agent: Agent, script: Script) -> None:
    agent.start()
    send(agent, deliver=False).args = cbor.encode({"text": "something else"})
    agent.uplink.connected()  # hello, and the gateway delivers
    wait(lambda: bodies(agent, "command.refused"))
    assert bodies(agent, "command.refused")[0]["reason"] == "commitment_mismatch" and script.asked == []


def held_back(agent: Agent, text: str) -> tuple[Order, tuple[str, bytes]]:
    """Order a ping that no hello brings; return it, and the message that delivers it to a device with its receipts."""
    wait(lambda: agent.uplink.status()["acknowledged"] == agent.bench.rows("SELECT max(size) FROM heads")[0][0])
    with agent.link.lock:
        agent.bench.fleet.order(agent.log, "ping", {"text": text})
        order = agent.bench.fleet.orders.pop()
        return order, agent.bench.fleet.deliver(order)


def let_go(agent: Agent, order: Order) -> None:
    """Have the next hello answered with an order that was held back, and say hello."""
    with agent.link.lock:
        agent.bench.fleet.orders.append(order)
    agent.uplink.connected()


@pytest.mark.parametrize("part", ["args", "salt", "receipt"])
def test_a_copy_that_was_spoilt_on_the_way_does_not_cost_the_command(agent: Agent, script: Script, part: str) -> None:
    agent.start()
    order, (topic, payload) = held_back(agent, "hi")
    good = messages.decode(topics.parse(topic), payload)
    assert isinstance(good, CommandMessage)
    data = getattr(good, part)
    agent.link.push(topic, replace(good, **{part: data[:-1] + bytes([data[-1] ^ 1])}).encode())
    wait(lambda: bodies(agent, "command.refused"))
    let_go(agent, order)
    wait(lambda: script.asked == ["hi"])


@pytest.mark.parametrize("audience", [bytes(32), "others"])
def test_a_command_to_others_uses_up_no_position(agent: Agent, script: Script, audience: Any) -> None:
    agent.start()
    order, _ = held_back(agent, "mine")
    refused = send(agent, "theirs", audience=audience)
    wait(lambda: bodies(agent, "command.refused"))
    assert bodies(agent, "command.refused")[0]["cmd"] == refused.digest
    let_go(agent, order)
    wait(lambda: script.asked == ["mine"])


def test_a_group_it_belongs_to_is_an_audience(agent: Agent, script: Script) -> None:
    agent.start()
    send(agent, "all of you", audience="all")
    wait(lambda: script.asked == ["all of you"])


def test_an_operator_without_the_scope_is_refused(agent: Agent) -> None:
    agent.start()
    send(agent, by=agent.bench.fleet.world.outsider)
    wait(lambda: bodies(agent, "command.refused"))
    assert bodies(agent, "command.refused")[0]["reason"] == "role_missing"


def test_a_refused_command_is_refused_for_good(make_bench: MakeBench, script: Script) -> None:
    bench = make_bench()
    script.bench = bench
    bench.fleet.enrol(bench.request)
    early = Agent(bench, {"ping": script}, now_ms=10_000)
    early.start()
    send(early, until_ms=9_000)
    wait(lambda: bodies(early, "command.refused"))
    early.stop()
    bench.reopen()
    late = Agent(bench, {"ping": script}, now_ms=1_000)  # the clock was set back: it would pass now
    late.start()
    with late.link.lock:
        again = bench.fleet.deliver(bench.fleet.orders[-1])
    late.link.push(*again)
    send(late, "next")
    wait(lambda: script.asked == ["next"])
    assert len(bodies(late, "command.refused")) == 1
    late.stop()


def test_an_older_position_is_refused(agent: Agent, script: Script) -> None:
    agent.start()
    fleet = agent.bench.fleet
    order, _ = held_back(agent, "first")
    send(agent, "second")
    wait(lambda: script.asked == ["second"])

    def refused() -> bool:
        """Deliver the older one with the proof that fits now, until none of our receipts comes between."""
        with agent.link.lock:
            assert agent.beliefs.view.seen is not None
            fleet.logs[agent.log].told = agent.beliefs.view.seen.size
            withheld = fleet.deliver(order)
        agent.link.push(*withheld)
        return bool(bodies(agent, "command.refused"))

    wait(refused)
    assert bodies(agent, "command.refused")[0]["reason"] == "command_order"
    assert script.asked == ["second"]


def test_a_missing_proof_is_answered_with_hello_and_then_obeyed(agent: Agent, script: Script) -> None:
    agent.start()
    wait(lambda: agent.bench.fleet.hellos)
    fleet = agent.bench.fleet
    with agent.link.lock:
        fleet.order(agent.log, "ping", {"text": "hi"})
        fleet.logs[agent.log].told = 0  # the gateway forgot what it told: it gives no proof
        reply = fleet.deliver(fleet.orders[-1])
    message = messages.decode(topics.parse(reply[0]), reply[1])
    assert isinstance(message, CommandMessage) and message.path == ()
    before = len(fleet.hellos)
    agent.link.push(*reply)
    wait(lambda: script.asked == ["hi"])
    assert len(fleet.hellos) > before and not bodies(agent, "command.refused")


def test_a_command_waits_for_the_keyset_it_names(agent: Agent, script: Script) -> None:
    agent.start()
    fleet = agent.bench.fleet
    wait(lambda: fleet.hellos)
    agent.link.lose = lambda kind: kind == "keyset"
    with agent.link.lock:
        keyset = fleet.keyset(agent.log)
    send(agent, "new keys")
    wait(lambda: agent.commands.status()["waiting"] == 1)
    assert not bodies(agent, "command.refused")
    agent.link.lose = lambda kind: False
    agent.link.push(*keyset)
    wait(lambda: script.asked == ["new keys"])
    kinds = [kind for (kind,) in agent.bench.rows("SELECT kind FROM records ORDER BY seq")]
    assert kinds.index("policy.changed") < kinds.index("command.received")
    assert agent.beliefs.view.keyset.version == 2


@pytest.mark.parametrize("defect", ["stranger", "skip", "other_root"])
def test_a_keyset_only_the_root_gives_and_only_the_next(agent: Agent, defect: str) -> None:
    from edgeseal.messages import KeysetMessage

    agent.start()
    world = agent.bench.fleet.world
    wait(lambda: agent.bench.fleet.hellos)
    agent.link.lose = lambda kind: kind == "hello"
    statement = world.next_keyset()
    if defect == "stranger":
        statement = world.outsider.state(world.keyset)
    elif defect == "skip":
        statement = world.next_keyset()
    else:
        from dataclasses import replace

        statement = world.outsider.state(replace(world.keyset, root=world.outsider.public))
    agent.link.push(topics.down(agent.log, "keyset"), KeysetMessage(agent.log, statement).encode())
    seen = agent.link.acks
    agent.link.push(topics.down(agent.log, "resend"), b"\x00")
    wait(lambda: agent.link.acks > seen)
    assert agent.beliefs.view.keyset.version == 1 and not bodies(agent, "policy.changed")


def test_a_keyset_as_large_as_the_gateway_takes_is_adopted(agent: Agent) -> None:
    """One that devices refuse would keep them from every later one."""
    agent.start()
    wait(lambda: agent.bench.fleet.hellos)
    world = agent.bench.fleet.world
    scopes = tuple(f"command/{'x' * 50}{number}" for number in range(3))
    members = [Member(Key(1_000 + number).public, "operator", scopes) for number in range(114)]
    statement = world.next_keyset([Member(world.gateway.public, "gateway"), *members])
    assert limits.MAX_STATEMENT - 1_024 < len(statement) <= limits.MAX_STATEMENT
    agent.link.push(topics.down(agent.log, "keyset"), messages.KeysetMessage(agent.log, statement).encode())
    wait(lambda: agent.beliefs.view.keyset.version == 2 or agent.commands.status()["refused"])
    (changed,) = bodies(agent, "policy.changed")
    assert changed["keyset"] == statement


def test_a_keyset_survives_a_restart_and_the_successor_log_moves_the_device(make_bench: MakeBench) -> None:
    from dataclasses import replace

    from edgeseal.messages import KeysetMessage

    bench = make_bench()
    bench.fleet.enrol(bench.request)
    agent = Agent(bench)
    agent.start()
    wait(lambda: bench.fleet.hellos)
    agent.link.lose = lambda kind: kind == "hello"  # this side does not serve the successor
    world = bench.fleet.world
    world.next_keyset()
    moved = replace(world.keyset, next=Seen(b"\x07" * 32, 2, bytes(32)))
    agent.link.push(topics.down(agent.log, "keyset"), KeysetMessage(agent.log, world.root.state(moved)).encode())
    wait(lambda: agent.beliefs.view.home == b"\x07" * 32)
    assert agent.beliefs.view.seen is None
    agent.stop()
    bench.reopen()
    again = Agent(bench)
    assert (again.beliefs.view.home, again.beliefs.view.keyset.version) == (b"\x07" * 32, 2)
    again.stop()


def test_a_flood_of_refusals_is_counted(agent: Agent) -> None:
    agent.start()
    flood = LOGGED_SINGLY + 8  # with what a hello tells again still fewer than the uplink lets wait
    digests = {send(agent, str(number), until_ms=1).digest for number in range(flood)}
    wait(lambda: agent.commands.status()["refused"].get("command_late") == flood)
    agent.uplink.ask()  # what the gateway tells again is known
    send(agent, "in time")
    wait(lambda: bodies(agent, "command.result"))
    assert agent.commands.status()["refused"].get("command_late") == flood
    agent.commands.stop()
    agent.bench.journal.execute(lambda connection: None).result(60)
    refused = bodies(agent, "command.refused")
    assert sum(body["count"] for body in refused) == flood
    single = [body for body in refused if body["id"] is not None]
    assert LOGGED_SINGLY <= len(single) < flood and len(refused) > len(single)
    assert {body["cmd"] for body in single} <= digests


def test_what_a_crash_left_undone_is_done_after_the_restart(make_bench: MakeBench, script: Script) -> None:
    bench = make_bench()
    script.bench = bench
    bench.fleet.enrol(bench.request)
    first = Agent(bench, {"ping": script})
    first.uplink.start(first.link, first.commands)  # the worker does not run: the crash came before it
    first.uplink.connected()
    send(first, "once")
    wait(lambda: bodies(first, "command.received"))
    first.uplink.stop()
    bench.reopen()
    second = Agent(bench, {"ping": script})
    second.start()
    wait(lambda: bodies(second, "command.result"))
    assert script.asked == ["once"] and len(bodies(second, "command.received")) == 1
    second.stop()


def test_nothing_is_done_while_the_token_does_not_sign(make_bench: MakeBench, script: Script) -> None:
    bench = make_bench()
    script.bench = bench
    bench.fleet.enrol(bench.request)
    agent = Agent(bench, {"ping": script})
    agent.start()
    wait(lambda: bench.fleet.hellos)
    away, sign = threading.Event(), bench.signer.sign
    away.set()

    def refuse(message: bytes) -> bytes:
        if away.is_set():
            raise Unavailable("token_failed", "the token is away")
        return sign(message)

    bench.signer.sign = refuse  # type: ignore[method-assign]
    send(agent, "later")
    wait(lambda: bodies(agent, "command.received"))
    with suppress(Unavailable):
        bench.sealer.wait_for(bench.journal.size, 0.5)
    assert script.asked == [] and bench.sealer.failure is not None
    away.clear()
    wait(lambda: script.asked == ["later"])
    assert script.covered == [True]
    agent.stop()
