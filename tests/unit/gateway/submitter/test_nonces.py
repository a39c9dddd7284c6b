"""Nonces are the journal's own, taken last, never given twice, and nobody else's (S08–S13)."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal.errors import Unavailable
from edgeseal_gateway.chain.answers import Answer, classify
from edgeseal_gateway.chain.sendstate import NONCE_LOST_AFTER, Do, Mined, Seen, SendRules, SendState, State
from edgeseal_gateway.store import anchors, attempts, operations
from tests.fakes.chain import Tx
from tests.fakes.submitter import ETHER, Rig

RULES = SendRules(3, True, True)


def resume(rig: Rig) -> None:
    with rig.database.write() as connection:
        operations.ask(connection, "resume", None, "the treasurer paid a bill from it", rig.clock)
    rig.step()


def test_S08_the_next_nonce_is_the_journals_and_never_asked_of_the_pool(rig: Rig) -> None:
    rig.work(2)
    rig.node.lag = 1  # behind a load balancer: a node that has not seen our last block yet
    rig.grow("one")
    rig.step()
    rig.node.lag = 0
    assert [tx.nonce for tx in rig.account.signed] == [0, 1]
    assert "transaction_count 'latest'" in rig.node.asked and "transaction_count 'pending'" not in rig.node.asked


def test_S08_the_chain_says_the_first_nonce_where_the_account_was_used_before(rig: Rig) -> None:
    rig.foreign(0)
    rig.work(2)
    assert [tx.nonce for tx in rig.account.signed] == [1]


@pytest.mark.parametrize("method", ["estimate_gas", "priority_fee", "balance", "call 'pending'"])
def test_S09_nothing_is_signed_before_everything_is_priced(rig: Rig, method: str) -> None:
    rig.node.fails[method] = Unavailable("rpc_unreachable", "gone")
    with pytest.raises(Unavailable):
        rig.step()
    assert rig.account.signed == [] and rig.ask(attempts.next_nonce) is None
    rig.node.fails.clear()
    rig.wait(60)
    rig.work(2)
    assert [tx.nonce for tx in rig.account.signed] == [0]


def test_S09_a_signer_that_fails_gives_the_nonce_back(rig: Rig) -> None:
    rig.account.fails = Unavailable("token_failed", "the signer is away")
    with pytest.raises(Unavailable, match="token_failed"):
        rig.step()
    assert rig.attempts() == [] and rig.state() == anchors.QUEUED and rig.ask(attempts.next_nonce) is None
    rig.account.fails = None
    rig.work(2)
    assert [tx.nonce for tx in rig.account.signed] == [0]


def test_S10_a_gap_below_ours_is_filled_with_an_empty_transaction(rig: Rig) -> None:
    """Somebody had used nonce 0, ours took 1, and a reorganisation takes theirs back: ours waits for one below."""
    rig.foreign(0)
    rig.step()
    (ours,) = rig.attempts()
    assert ours.nonce == 1
    rig.chain.reorg(1, instead=1)
    rig.step()
    (filling,) = rig.ask(attempts.of_nonce, 0)
    tx = Tx.read(filling.raw)
    assert (tx.to, tx.data, tx.value, tx.gas) == (rig.account.address, b"", 0, 21_000) and filling.size == 0
    rig.work(2)
    rig.audit()
    assert [one.hash for one in rig.attempts()] == [ours.hash], "ours was never made anew: no nonce was reset"


def test_S10_a_filling_that_waits_is_outbid_like_any_other(rig: Rig) -> None:
    rig.foreign(0)
    rig.step()
    rig.chain.reorg(1, instead=1)
    rig.step()
    rig.wait(50)
    rig.step()
    first, second = rig.ask(attempts.of_nonce, 0)
    assert second.max_fee > first.max_fee and second.size == 0
    rig.work(2)
    rig.audit()


def test_S11_a_lost_nonce_is_believed_after_three_looks_only() -> None:
    state, used = SendState(RULES), Seen(10, 6, 5, None)
    for _ in range(NONCE_LOST_AFTER - 1):
        assert state.decide(State.SENT, used) == (State.SENT, Do.WAIT)
    assert state.decide(State.SENT, Seen(10, 5, 5, None)) == (State.SENT, Do.WAIT), "not used after all: count anew"
    for _ in range(NONCE_LOST_AFTER - 1):
        assert state.decide(State.SENT, used) == (State.SENT, Do.WAIT)
    mined = Mined(True, 10, True, False, False)
    assert state.decide(State.SENT, Seen(10, 6, 5, mined)) == (State.MINED, Do.NOTE), "never given up while mined"
    assert state.decide(State.MINED, Seen(10, 5, 5, None)) == (State.SENT, Do.UNMINE), "a reorganisation: count anew"
    for _ in range(NONCE_LOST_AFTER - 1):
        assert state.decide(State.SENT, used) == (State.SENT, Do.WAIT)
    assert state.decide(State.SENT, used) == (State.QUEUED, Do.REQUEUE)


def test_S12_a_stranger_on_the_key_stops_all_signing_until_a_person_answers(rig: Rig) -> None:
    rig.step()
    rig.node.drop()
    rig.foreign(0)
    rig.step(NONCE_LOST_AFTER + 3)
    assert rig.state() == anchors.QUEUED, "the anchor waits again"
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "foreign_nonce"
    rig.restart()
    rig.step(3)
    assert len(rig.account.signed) == 1 and rig.sender.blocked is not None, "over a restart too"
    resume(rig)
    rig.work(2)
    rig.audit()
    assert [tx.nonce for tx in rig.account.signed] == [0, 1]
    (done,) = rig.ask(operations.every, 0, 10)
    assert done.state == operations.DONE and done.outcome == "goes on with nonce 1"


def test_S12_nonces_used_while_nothing_was_under_way_stop_it_too(rig: Rig) -> None:
    rig.work(2)
    rig.foreign(1)
    rig.grow("one")
    rig.step(3)
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "foreign_nonce"
    assert len(rig.account.signed) == 1


def test_S12_one_endpoint_alone_cannot_blame_a_stranger(tmp_path: Path) -> None:
    """It claims that nonces are used which the other has not seen: nothing stops, and nothing is purged or skipped."""
    rig = Rig(tmp_path, endpoints=2)
    rig.nodes[0].count_lie = 9
    rig.step(NONCE_LOST_AFTER + 3)
    assert rig.state() in (anchors.PREPARED, anchors.SENT) and rig.ask(attempts.foreign) is None
    rig.work(2)
    rig.audit()
    size = rig.grow("one")
    rig.work(size)
    rig.audit()
    assert rig.sender.blocked is None


@pytest.mark.parametrize("lie", [0, 1])
def test_S08_an_endpoint_that_has_forgotten_our_nonces_gets_nothing_signed_anew(tmp_path: Path, lie: int) -> None:
    """What stands on the chain is not outbid, whatever one endpoint says is still to be mined."""
    rig = Rig(tmp_path, endpoints=2)
    rig.work(2)
    size = rig.grow("one")
    rig.work(size)
    rig.nodes[0].count_lie = lie
    signed = len(rig.account.signed)
    for _ in range(5):
        rig.wait(60)
        rig.step()
    assert len(rig.account.signed) == signed == 2


def test_S13_one_account_one_kind_of_transaction(rig: Rig) -> None:
    """Anchors, replacements, empty ones: all of type 2, to the fleet log or to the account itself. Never a blob, so no
    pool keeps the account reserved for another kind; a node that says so is named, and the bytes are kept.
    """
    rig.node.reserved = True
    rig.step()
    assert classify(-32000, "address already reserved") is Answer.RESERVED
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "anchor_refused"
    rig.node.reserved = False
    for _ in range(12):
        rig.wait(50)
        rig.step()
    rig.chain.fund(rig.account.address, ETHER)
    rig.work(2)
    sent = [Tx.read(raw) for raw in rig.node.sent]
    assert {raw[0] for raw in rig.node.sent} == {2} and len({tx.hash for tx in sent}) > 10
    assert {tx.to for tx in sent} == {rig.profile.fleet_log_contract, rig.account.address}
    assert {tx.value for tx in sent} == {0}
