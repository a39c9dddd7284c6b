"""Two gateways, back-pressure, order, stopping, people, clocks, figures (S42–S54)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeseal.adapters.evm import Account, EvmClient
from edgeseal.errors import InvariantBroken, Unavailable
from edgeseal_gateway.chain import fees
from edgeseal_gateway.chain.endpoints import Endpoint
from edgeseal_gateway.chain.fees import Bounds
from edgeseal_gateway.chain.lease import Lease
from edgeseal_gateway.chain.means import Settings
from edgeseal_gateway.sequencer import AnchorPolicy
from edgeseal_gateway.store import anchors, attempts, fleetlog, operations
from edgeseal_gateway.store.database import Database
from tests.fakes.chain import GWEI, Tx, refusal
from tests.fakes.submitter import PUBLIC, Rig


def ask(rig: Rig, what: str, target: int | None) -> operations.Operation:
    with rig.database.write() as connection:
        number = operations.ask(connection, what, target, "operator: as agreed on the phone", rig.clock)
    rig.step()
    return next(one for one in rig.ask(operations.every, number, 1))


def test_S42_a_holder_that_was_overtaken_can_sign_nothing_more(rig: Rig) -> None:
    """It still believes it has the lease: the token in the store is compared where the bytes are kept."""
    other = Lease(Database(rig.path), rig.seconds, rig.wall_ms, "here", alone_here=True)
    other.acquire()
    assert rig.lease.held()
    with pytest.raises(InvariantBroken, match="lease_lost"):
        rig.step()
    assert rig.node.sent == [] and rig.attempts() == [] and rig.state() == anchors.QUEUED


def test_S42_without_the_lease_nothing_is_signed_or_sent(rig: Rig) -> None:
    rig.step()
    rig.lease.release()
    rig.node.drop()
    rig.wait(100)
    rig.step(3)
    assert len(rig.node.sent) == 1 and rig.sender.blocked is not None
    assert rig.sender.blocked.code == "lease_not_held"
    rig.lease.acquire()
    rig.work(2)
    rig.audit()


def test_S43_with_sixteen_not_final_the_open_batch_grows(rig: Rig) -> None:
    """A chain that calls nothing final for hours: the log goes on, the anchors do not pile up."""
    rig.node.final_depth = 10**6
    for number in range(anchors.MAX_UNFINAL + 4):
        for _ in range(6):
            rig.step()
            rig.mine()
        rig.grow(f"device-{number}")
    flying = rig.ask(anchors.in_flight)
    assert len(flying) == anchors.MAX_UNFINAL and all(one.state == anchors.CONFIRMED for one in flying)
    assert rig.ask(anchors.newest_wanted) is None, "back-pressure: no further snapshot is made"
    before = rig.ask(fleetlog.size)
    assert before > flying[-1].size
    rig.node.final_depth = 2
    rig.step()
    size = rig.sequence()
    rig.work(size)
    rig.audit()
    assert len(rig.finals()) == anchors.MAX_UNFINAL + 1, "what waited is one anchor"


def test_S44_the_next_is_never_sent_before_the_one_below_it_is_confirmed(rig: Rig) -> None:
    sizes, order = [2], []
    rig.node.on_send = lambda when: order.append((when, dict(states(rig))))
    for name in ("one", "two", "three"):
        rig.work(sizes[-1])
        sizes.append(rig.grow(name))
    rig.work(sizes[-1])
    for when, found in order:
        unconfirmed = [
            size for size, state in found.items() if state in (anchors.PREPARED, anchors.SENT, anchors.MINED)
        ]
        assert when in ("before", "after") and len(unconfirmed) <= 1
    sent = [Tx.read(raw).nonce for raw in dict.fromkeys(rig.node.sent)]
    assert sent == sorted(sent) == [0, 1, 2, 3] and rig.anchored_events() == sizes


def states(rig: Rig) -> dict[int, str]:
    other = Database(rig.path)
    with other.read() as connection:
        found = dict(connection.execute("SELECT size, state FROM anchor"))
    other.close()
    return found


def test_S45_without_a_mempool_it_is_sent_again_and_never_outbid(tmp_path: Path) -> None:
    rig = Rig(tmp_path, dataclasses.replace(PUBLIC, mempool="none"))
    for _ in range(8):
        rig.step()
        rig.wait(100)
    assert len(rig.attempts()) == 1 and set(rig.node.sent) == {rig.attempts()[0].raw}
    rig.work(2)
    rig.audit()


def test_S46_stopping_sends_nothing_new_and_follows_what_is_mined(rig: Rig) -> None:
    rig.step()
    rig.wait(100)
    assert not rig.sender.follow()
    assert len(rig.node.sent) == 1 and len(rig.attempts()) == 1, "no replacement either"
    rig.mine(6)
    assert rig.sender.follow() and rig.state() == anchors.FINAL
    rig.grow("one")
    assert not rig.sender.follow() and not rig.sender.follow()
    assert len(rig.account.signed) == 1


def test_S47_limits_change_while_it_runs(rig: Rig) -> None:
    rig.sender.use(Settings(Bounds(1, GWEI, GWEI), rig.settings.limits))
    rig.step()
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "fee_ceiling"
    rig.sender.use(rig.settings)
    rig.step()
    assert len(rig.account.signed) == 1


def test_S47_a_nonce_is_used_up_by_hand(rig: Rig) -> None:
    rig.step()
    done = ask(rig, operations.CANCEL, 0)
    slot = rig.ask(attempts.of_nonce, 0)
    assert done.state == operations.DONE and [one.size for one in slot] == [2, 0]
    (mined,) = rig.mine()
    assert mined.data == b""
    rig.work(2)
    rig.audit()
    assert rig.attempts()[-1].nonce == 1
    late = ask(rig, operations.CANCEL, 0)
    assert late.state == operations.REFUSED and late.done_at_ms is not None


@pytest.mark.parametrize("mined", ["the empty one", "the anchor"])
def test_S47_an_anchor_is_given_up_by_hand(rig: Rig, mined: str) -> None:
    rig.step()
    done = ask(rig, operations.ABANDON, 2)
    assert done.state == operations.DONE and rig.state() is None
    if mined == "the anchor":
        assert rig.chain.mine([Tx.read(rig.attempts()[0].raw)])
        rig.node.drop()
        rig.step()
        rig.work(2)  # taken over from the chain: nothing is lost
    size = rig.grow("one")
    rig.work(size)
    rig.audit()
    assert rig.finals() == ([2, size] if mined == "the anchor" else [size])


def test_S47_what_cannot_be_given_up_is_refused_with_words(rig: Rig) -> None:
    rig.confirm()
    for target in (2, 99):
        done = ask(rig, operations.ABANDON, target)
        assert done.state == operations.REFUSED and done.outcome
    assert rig.state() == anchors.CONFIRMED


def test_S48_the_longest_wait_makes_an_anchor_however_small(rig: Rig) -> None:
    """One enrolment, and nothing else for an hour; a reorganisation resets nothing of it."""
    rig.work(2)
    rig.policy = AnchorPolicy(1_000_000, 3_600)
    rig.restart()
    rig.grow("one")
    rig.wait(3_599)
    rig.sequence()
    assert rig.ask(anchors.newest_wanted) is None
    rig.wait(2)
    size = rig.sequence()
    wanted = rig.ask(anchors.newest_wanted)
    assert wanted is not None and wanted.size == size
    rig.step()
    since = rig.ask(anchors.find, size)
    rig.mine(3)
    rig.step()
    rig.chain.reorg(3, instead=4)
    rig.step()
    again = rig.ask(anchors.find, size)
    assert since is not None and again is not None and again.since_ms == since.since_ms is not None
    rig.work(size)
    rig.audit()


@pytest.mark.parametrize("change", ["nonce", "to", "data", "gas", "max_fee", "chain_id", "value"])
def test_S49_what_a_signer_gives_back_is_compared_with_what_was_asked(rig: Rig, change: str) -> None:
    other: dict[str, object] = {"to": b"\x66" * 20, "data": b"\x01"}
    number = dict.fromkeys(("nonce", "gas", "chain_id", "value"), 77777) | {"max_fee": 10**12}
    rig.account.alters = lambda tx: dataclasses.replace(tx, **{change: {**other, **number}[change]})  # type: ignore[arg-type]
    with pytest.raises(InvariantBroken, match="signer_mismatch"):
        rig.step()
    assert rig.attempts() == [] and rig.node.sent == [] and rig.ask(attempts.next_nonce) is None


def test_S49_another_account_is_not_ours(rig: Rig) -> None:
    rig.account._account = Account(b"\x08" * 32)
    with pytest.raises(InvariantBroken, match="signer_mismatch"):
        rig.step()
    assert rig.attempts() == [] and rig.node.sent == []


def test_S50_figures_say_how_it_stands(tmp_path: Path) -> None:
    rig = Rig(tmp_path, endpoints=2)
    rig.nodes[1].down = Unavailable("rpc_unreachable", "gone")
    rig.step()
    rig.wait(50)
    rig.step()
    found = rig.sender.figures()
    assert (found.waiting, found.unfinal, found.bumps, found.reorgs, found.next_nonce) == (0, 1, 1, 0, 1)
    assert found.height == 1 and found.mined_nonces == 0 and found.base_fee == GWEI
    assert found.oldest_ms is not None and rig.clock - found.oldest_ms >= 50_000
    errors = [(one.name, one.errors > 0, one.banned is None) for one in rig.endpoints.every]
    assert errors == [("http://node-0.example", False, True), ("http://node-1.example", True, True)]
    rig.nodes[1].down = None
    rig.wait(120)
    rig.work(2)
    assert rig.sender.figures().unfinal == 0 and rig.sender.figures().oldest_ms is None


def test_S50_an_endpoints_secrets_are_in_no_figure() -> None:
    one = Endpoint(EvmClient("https://user:pass@node.example:8545/v3/0123456789abcdef?key=1"))
    assert one.name == "https://node.example:8545"


def test_S51_timers_follow_a_clock_that_never_jumps(rig: Rig) -> None:
    rig.step()
    rig.clock += 10**9
    rig.step()
    assert len(rig.attempts()) == 1, "the wall clock was set forward: nothing is replaced"
    rig.clock -= 2 * 10**9
    rig.monotonic += 49
    rig.step()
    assert len(rig.attempts()) == 2, "and back: it is replaced all the same"
    rig.work(2)
    rig.audit()


def test_S53_the_contract_is_asked_before_anything_is_signed(rig: Rig) -> None:
    """On the pending state, and the refusal costs nothing; it is asked again, since the reason may pass."""
    rig.chain.refuses = refusal("WrongKey(bytes32,bytes32)", 1, 2)
    rig.step(3)
    assert rig.account.signed == [] and rig.node.asked["call 'pending'"] == 3 and rig.node.asked["estimate_gas"] == 0
    assert rig.sender.blocked is not None and "WrongKey" in rig.sender.blocked.message
    assert rig.state() == anchors.QUEUED and rig.ask(attempts.next_nonce) is None
    rig.chain.refuses = None
    rig.work(2)
    rig.audit()


def test_S54_the_gas_limit_leaves_room_for_what_a_call_keeps_back() -> None:
    """A call hands on 63/64 of its gas: the limit is above the estimate by more, up to a transaction's most."""
    for estimate in (21_000, 72_000, 85_000, 120_000, 13_000_000):
        limit = fees.gas_limit(estimate)
        assert limit * 63 // 64 >= estimate and limit <= fees.MAX_TX_GAS
    assert fees.gas_limit(80_000) == 100_000 and fees.gas_limit(16_000_000) == fees.MAX_TX_GAS == 16_777_216


def test_a_head_that_is_decided_and_not_signed_is_waited_for(rig: Rig) -> None:
    with rig.database.write() as connection:
        connection.execute("UPDATE fleet_head SET signature = NULL")
    rig.step(2)
    assert rig.account.signed == [] and rig.sender.blocked is None
    rig.sequence()
    rig.work(2)
    rig.audit()
