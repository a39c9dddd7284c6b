"""Money, depth, finality, reorganisations, failures (S25–S35)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeseal.adapters.evm import TxReceipt
from edgeseal.chainrules import ChainRules
from edgeseal_gateway.chain.sendstate import Do, Mined, Seen, SendRules, SendState, State
from edgeseal_gateway.store import anchors, attempts, operations
from edgeseal_gateway.web import answers
from tests.fakes.chain import GWEI, Tx
from tests.fakes.submitter import ETHER, PUBLIC, Rig

OPSTACK = dataclasses.replace(PUBLIC, l1_fee="opstack", l1_fee_oracle=b"\x42" * 20)
PRIVATE = ChainRules("mine", "confirmations", 3, 1_000, "public", 0, "none", None, 500 * GWEI, 50 * GWEI, 1)
COST = 3 * GWEI * 100_000


def said(rig: Rig) -> str | None:
    return None if rig.sender.blocked is None else rig.sender.blocked.code


def test_S25_the_balance_covers_gas_and_the_fee_for_data(tmp_path: Path) -> None:
    rig = Rig(tmp_path, OPSTACK)
    rig.node.l1_fee = 7 * GWEI
    rig.chain.fund(rig.account.address, COST + 7 * GWEI - 1)
    rig.step()
    assert rig.account.signed == [] and said(rig) == "funds"
    rig.chain.fund(rig.account.address, COST + 7 * GWEI)
    rig.step()
    assert len(rig.account.signed) == 1


def test_S25_the_balance_covers_everything_in_flight(rig: Rig) -> None:
    """A gap is to be filled below an anchor that waits: both must be paid for."""
    rig.foreign(0)
    rig.step()
    rig.chain.reorg(1, instead=1)
    filling = 3 * GWEI * 21_000
    rig.chain.fund(rig.account.address, COST + filling - 1)
    rig.step()
    assert rig.ask(attempts.of_nonce, 0) == [] and said(rig) == "funds"
    rig.chain.fund(rig.account.address, COST + filling)
    rig.step()
    assert len(rig.ask(attempts.of_nonce, 0)) == 1


def test_S26_without_funds_it_waits_and_goes_on_by_itself(rig: Rig) -> None:
    rig.chain.fund(rig.account.address, COST - 1)
    rig.step(3)
    assert rig.state() == anchors.BLOCKED_FUNDS and said(rig) == "funds" and rig.ask(attempts.next_nonce) is None
    rig.restart()
    rig.step()
    assert rig.state() == anchors.BLOCKED_FUNDS and rig.account.signed == []
    rig.chain.fund(rig.account.address, ETHER)
    rig.work(2)
    rig.audit()
    assert [tx.nonce for tx in rig.account.signed] == [0] and rig.sender.blocked is None


def test_S26_a_node_that_finds_the_account_empty_keeps_nothing_and_gets_it_again(rig: Rig) -> None:
    """Paid out between our look and the pool's: the bytes are kept, and sent until there is money again."""
    rig.node.on_send = lambda when: rig.chain.fund(rig.account.address, 1) if when == "before" else None
    rig.step()
    assert said(rig) == "funds" and rig.node.pool == {} and rig.state() == anchors.PREPARED
    rig.node.on_send = None
    rig.step(3)
    rig.chain.fund(rig.account.address, ETHER)
    rig.work(2)
    rig.audit()
    assert len(rig.account.signed) == 1


def test_S27_one_transaction_at_a_time_waits_to_be_mined(rig: Rig) -> None:
    """So none can pile up behind one that the account cannot pay for."""
    for name in ("one", "two", "three", "four", "five", "six", "seven"):
        rig.grow(name)
        rig.step(2)
        assert len(rig.node.pool[rig.account.address]) == 1 and len(rig.account.signed) == 1
    rig.work(2)
    rig.work(rig.sequence())
    rig.audit()
    assert len(rig.finals()) == 2, "what waited meanwhile became one anchor"


@pytest.mark.parametrize("confirmations", [1, 3, 10])
def test_S28_confirmed_is_so_many_blocks_deep_and_not_one_less(confirmations: int) -> None:
    rules = SendRules(confirmations, True, True)
    mined = Mined(True, 100, False, False, False)
    for newest in range(100, 100 + confirmations - 1):
        assert SendState(rules).decide(State.MINED, Seen(newest, 6, 5, mined)) == (State.MINED, Do.WAIT)
    at_last = SendState(rules).decide(State.MINED, Seen(100 + confirmations - 1, 6, 5, mined))
    assert at_last == (State.CONFIRMED, Do.CONFIRM)
    contradicted = dataclasses.replace(mined, contradicted=True)
    assert SendState(rules).decide(State.MINED, Seen(500, 6, 5, contradicted)) == (State.MINED, Do.WAIT)


def test_S28_the_stricter_of_configuration_and_profile_counts(tmp_path: Path) -> None:
    profile = Rig(tmp_path).profile
    assert SendRules.of(profile, 1).confirmations == 3 and SendRules.of(profile, 7).confirmations == 7
    public = dataclasses.replace(profile, rules=None, kind="public")
    assert SendRules.of(public, 2) == SendRules(2, True, True)


def test_S29_final_is_what_the_chain_calls_final(rig: Rig) -> None:
    rig.node.final_depth = 20
    rig.confirm()
    assert rig.ask(anchors.finality, 2) == "CONFIRMED" and rig.ask(anchors.covering, 2) is None
    found = rig.ask(anchors.newest_settled)
    assert found is not None and found.evidence is None, "evidence is kept of what is final only"
    rig.mine(17)
    rig.step()
    assert rig.state() == anchors.CONFIRMED
    rig.mine()
    assert rig.step() and rig.state() == anchors.FINAL and rig.ask(anchors.finality, 2) == "FINAL"
    rig.audit()
    assert rig.ask(anchors.finality, 3) == "PENDING"


def test_S29_where_the_operator_runs_the_chain_depth_is_final(tmp_path: Path) -> None:
    rig = Rig(tmp_path, PRIVATE)
    rig.node.final_depth = 10**6
    rig.step()
    rig.mine(3)
    rig.step()
    assert rig.state() == anchors.FINAL and "finalized" not in str(rig.node.asked)
    rig.audit()


@pytest.mark.parametrize(("rules", "by"), [(PUBLIC, "tag"), (PRIVATE, "confirmations"), (None, "confirmations")])
def test_S29_status_says_what_final_rests_on(tmp_path: Path, rules: ChainRules | None, by: str) -> None:
    rig = Rig(tmp_path, rules)
    shown = rig.ask(answers.status, rig.profile, rig.signer.public_key.kid)
    assert shown["anchor"]["final_by"] == by


def test_S29_a_final_tag_on_another_block_is_not_enough(tmp_path: Path) -> None:
    """The tag has passed the height; the receipt's block is not the one that stands there."""
    rig = Rig(tmp_path)
    rig.node.final_depth = 0
    rig.step()
    rig.mine(2)
    receipt = rig.node.receipt(rig.attempts()[0].hash)
    assert receipt is not None
    rig.chain.reorg(2, instead=6)
    rig.node.drop()
    rig.node.receipt_lies[receipt.tx] = receipt
    rig.step(4)
    assert rig.state() in (anchors.PREPARED, anchors.SENT)


@pytest.mark.parametrize("depth", [1, 2, 3, 5, 9, 14, 20])
def test_S30_a_block_taken_back_unmines_the_anchor_and_the_same_bytes_go_out(rig: Rig, depth: int) -> None:
    """One to twenty blocks deep, past what was called safe; the transaction is back in no pool."""
    rig.node.final_depth = 64
    rig.confirm()
    rig.mine(max(0, depth - 3))
    rig.step()
    raw = rig.attempts()[0].raw
    rig.chain.reorg(max(depth, 3), instead=max(depth, 3) + 1)
    rig.node.drop()
    sent = len(rig.node.sent)
    assert rig.step(), "whoever was told is to be told anew"
    assert rig.state() == anchors.SENT and rig.ask(anchors.finality, 2) == "PENDING"
    found = rig.ask(anchors.find, 2)
    assert found is not None and (found.block, found.number, found.tx, found.log_index) == (None,) * 4
    assert rig.node.sent[sent:] == [raw] and rig.sender.figures().reorgs == 1
    rig.node.final_depth = 2
    rig.work(2)
    rig.audit()
    assert len(rig.account.signed) == 1


def test_S30_a_node_that_lags_takes_nothing_back_and_another_block_is_confirmed_anew() -> None:
    rules, there = SendRules(3, True, True), Mined(True, 100, False, False, False)
    moved = dataclasses.replace(there, moved=True)
    cases = [
        (there, 101, (State.CONFIRMED, Do.WAIT)),
        (moved, 101, (State.MINED, Do.UNMINE)),
        (dataclasses.replace(moved, contradicted=True), 101, (State.CONFIRMED, Do.WAIT)),
        (there, 102, (State.CONFIRMED, Do.WAIT)),
        (moved, 102, (State.CONFIRMED, Do.CONFIRM)),
    ]
    for mined, newest, told in cases:
        assert SendState(rules).decide(State.CONFIRMED, Seen(newest, 6, 5, mined)) == told


def test_S30_moved_into_another_block_it_is_confirmed_anew(rig: Rig) -> None:
    rig.node.final_depth = 64
    rig.confirm()
    old = rig.ask(anchors.find, 2)
    (tx,) = rig.chain.reorg(3)
    rig.chain.mine([])
    assert rig.chain.mine([tx]) == [tx]
    rig.step()
    found = rig.ask(anchors.find, 2)
    assert old is not None and found is not None and found.state == anchors.MINED and found.block != old.block
    rig.mine(2)
    rig.step()
    assert rig.state() == anchors.CONFIRMED
    rig.node.final_depth = 2
    rig.work(2)
    rig.audit()


def test_S31_what_was_taken_back_is_anchored_again_and_never_twice(rig: Rig) -> None:
    """Two anchors in flight, both taken back, the older one gone from every pool."""
    rig.node.final_depth = 64
    rig.confirm()
    size = rig.grow("one")
    rig.step()
    rig.mine(3)
    rig.step()
    assert rig.state(size) == anchors.CONFIRMED
    rig.chain.reorg(6, instead=7)
    rig.node.drop()
    rig.step()
    assert (rig.state(2), rig.state(size)) == (anchors.SENT, anchors.SENT)
    rig.node.final_depth = 2
    rig.work(size)
    rig.audit()
    assert rig.finals() == [2, size] and rig.anchored_events() == [2, size] and len(rig.account.signed) == 2


def test_S32_a_chain_that_goes_back_clears_what_was_counted(rig: Rig) -> None:
    """A stranger used our nonce; the blocks above are taken back: two looks before and one after are not three."""
    rig.step()
    rig.node.drop()
    rig.foreign(0)
    rig.mine(4)
    rig.step(2)
    rig.chain.reorg(3)
    rig.step(2)
    assert rig.state() in (anchors.PREPARED, anchors.SENT)
    rig.step()
    assert rig.state() == anchors.QUEUED


def test_S33_a_transaction_that_fails_halts_everything(rig: Rig) -> None:
    rig.step()
    tx = Tx.read(rig.node.sent[0])
    rig.chain.breaks.add(tx.hash)
    rig.mine()
    rig.step()
    assert rig.state() == anchors.MINED, "not believed before its depth"
    rig.mine(2)
    rig.grow("one")
    for _ in range(4):
        rig.wait(100)
        rig.step()
        rig.mine()
    assert rig.state() == anchors.REVERTED and said(rig) == "anchor_failed" and len(rig.account.signed) == 1
    rig.restart()
    rig.step(2)
    assert said(rig) == "anchor_failed" and rig.attempts()[0].raw == tx.raw, "kept, over a restart"
    with rig.database.write() as connection:
        operations.ask(connection, "abandon", 2, "auditor: seen, a node of ours was at fault", rig.clock)
    rig.step()
    size = rig.grow("two")
    rig.work(size)
    rig.audit()


def test_S33_a_failure_that_a_reorganisation_takes_back_was_none(rig: Rig) -> None:
    rig.step()
    tx = Tx.read(rig.node.sent[0])
    rig.chain.breaks.add(tx.hash)
    rig.mine(3)
    rig.step()
    assert rig.state() == anchors.REVERTED
    rig.chain.breaks.clear()
    rig.chain.reorg(3, instead=4)
    rig.work(2)
    rig.audit()
    assert len(rig.account.signed) == 1


def test_S34_success_without_the_event_is_not_success(rig: Rig) -> None:
    rig.step()
    rig.chain.silent.add(Tx.read(rig.node.sent[0]).hash)
    rig.mine(3)
    rig.step()
    assert rig.state() == anchors.REVERTED and said(rig) == "anchor_mismatch"
    assert rig.ask(anchors.finality, 2) == "PENDING"


def lie(receipt: TxReceipt, **changes: object) -> TxReceipt:
    return dataclasses.replace(receipt, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("what", ["made up", "another root", "another contract", "other bytes"])
def test_S34_a_receipt_that_its_block_does_not_prove_is_not_believed(rig: Rig, what: str) -> None:
    rig.step()
    rig.mine(3)
    tx = rig.attempts()[0].hash
    receipt = rig.node.receipt(tx)
    assert receipt is not None
    (log,) = receipt.logs
    other = dataclasses.replace(log, data=log.data[:40] + bytes(10) + log.data[50:])
    rig.node.receipt_lies[tx] = {
        "made up": lie(receipt, ok=True, encoded=b"\x02\xc0"),
        "another root": lie(receipt, logs=(other,)),
        "another contract": lie(receipt, logs=(dataclasses.replace(log, address=b"\x66" * 20),)),
        "other bytes": lie(receipt, encoded=receipt.encoded[:-1] + b"\x00"),
    }[what]
    for _ in range(3):
        rig.wait(70)
        try:
            rig.step()
        except Exception as error:
            assert getattr(error, "code", "") == "rpc_unreachable"
    assert rig.ask(anchors.finality, 2) == "PENDING"
    rig.node.receipt_lies.clear()
    rig.wait(70)
    if rig.state() != anchors.REVERTED:
        rig.work(2)
        rig.audit()
    else:
        assert what in ("another root", "another contract"), "proved to stand there without what it should say"


def test_S34_the_contracts_state_is_asked_for_after_the_block(rig: Rig) -> None:
    rig.step()
    rig.mine(3)
    rig.chain.blocks[-3].state.size = 0
    with pytest.raises(Exception, match="rpc_unreachable"):
        rig.step()
    assert rig.state() in (anchors.PREPARED, anchors.SENT, anchors.MINED)
    rig.chain.blocks[-3].state.size = 2
    rig.node.forgets_state = True  # pruned: then the newest state must do
    rig.wait(70)
    rig.work(2)
    rig.audit()


def test_S35_whichever_attempt_is_mined_is_found(rig: Rig) -> None:
    rig.step()
    for _ in range(4):
        rig.wait(50)
        rig.step()
    middle = rig.attempts()[2]
    assert len(rig.attempts()) == 5 and rig.chain.mine([Tx.read(middle.raw)])
    rig.node.drop()
    rig.work(2)
    rig.audit()
    final = rig.ask(anchors.newest_final)
    assert final is not None and final.tx == middle.hash
    assert rig.ask(attempts.foreign) is None, "by its own hash, not as somebody else's"
    paid = {one.hash: one.paid for one in rig.attempts()}
    assert paid[middle.hash] == 80_000 * min(middle.max_fee, GWEI + middle.tip)
    assert [wei for tx, wei in paid.items() if tx != middle.hash] == [None] * 4
