"""S28-S33: confirmed by depth, final by the chain's word, un-mined by a reorganisation, halted by a failure."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal_gateway.store import anchors, operations
from tests.fakes.submitter import Rig


def finality(rig: Rig, size: int = 2) -> str:
    return rig.ask(anchors.finality, size)


def test_S28_confirmed_is_so_many_blocks_deep_and_not_one_fewer(rig: Rig) -> None:
    rig.node.final_lie = 0
    rig.step()
    rig.mine()
    for _ in range(2):
        rig.step()
        assert rig.state() == anchors.MINED and finality(rig) == anchors.PENDING
        rig.mine()
    rig.step()
    assert rig.state() == anchors.CONFIRMED and finality(rig) == "CONFIRMED"


def test_S29_depth_alone_is_never_final_where_the_chain_has_a_word_for_it(rig: Rig) -> None:
    rig.node.final_lie = 0
    rig.confirm()
    rig.mine(50)
    rig.step(3)
    assert rig.state() == anchors.CONFIRMED and finality(rig) == "CONFIRMED"
    rig.node.final_lie = None
    rig.step()
    assert rig.state() == anchors.FINAL and finality(rig) == "FINAL"
    rig.audit()


def test_S29_a_block_that_is_not_the_chains_any_more_is_never_final(rig: Rig) -> None:
    rig.node.final_lie = 0
    rig.confirm()
    rig.chain.reorg(3, instead=3)
    rig.mine(5)
    rig.node.final_lie = None
    rig.node.drop()
    rig.step()
    assert rig.state() != anchors.FINAL
    rig.work(2)
    rig.audit()


def test_S30_an_anchor_that_left_its_block_is_sent_again_with_the_same_bytes(rig: Rig) -> None:
    rig.step()
    rig.mine()
    rig.step()
    assert rig.state() == anchors.MINED
    rig.chain.reorg(1)
    rig.node.drop()
    sent = len(rig.node.sent)
    assert rig.step(), "whoever was told is to be told anew"
    rig.step()
    assert rig.state() == anchors.SENT and rig.node.sent[sent:]
    assert {bytes(raw) for raw in rig.node.sent} == {rig.attempts()[0].raw}
    rig.work(2)
    rig.audit()


@pytest.mark.parametrize("depth", [1, 3, 8, 20])
def test_S31_what_a_reorganisation_took_is_anchored_again_and_once(tmp_path: Path, depth: int) -> None:
    rig = Rig(tmp_path)
    rig.node.final_lie = 0
    rig.mine(depth)
    rig.confirm()
    rig.mine(max(0, depth - rig.means.rules.confirmations))
    rig.step()
    assert finality(rig) == "CONFIRMED"
    rig.chain.reorg(depth, instead=depth + 1)
    rig.node.drop()
    rig.step()
    assert finality(rig) in (anchors.PENDING, "CONFIRMED")
    assert finality(rig) == anchors.PENDING or depth < rig.means.rules.confirmations
    rig.node.final_lie = None
    rig.work(2)
    assert rig.anchored_events() == [2]
    rig.audit()


def test_S32_a_chain_that_goes_back_and_forth_stops_nothing(rig: Rig) -> None:
    """From partly cleared state a submitter can wait for ever (optimism #13061)."""
    for name in ("cam-1", "cam-2", "cam-3"):
        rig.step()
        rig.mine(2)
        rig.step()
        rig.chain.reorg(2)
        rig.step(2)
        rig.mine()
        rig.grow(name)
    rig.work(2)
    rig.work(rig.sequence())
    assert rig.sender.blocked is None
    rig.audit()


def test_S33_a_transaction_that_was_mined_and_failed_halts_and_is_not_repeated(rig: Rig) -> None:
    rig.step()
    failing = rig.attempts()[0]
    rig.chain.breaks.add(failing.hash)
    rig.mine(4)
    rig.step(3)
    assert rig.state() == anchors.REVERTED
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "anchor_failed"
    rig.grow("cam-1")
    signed = len(rig.account.signed)
    for _ in range(20):
        rig.step()
        rig.mine()
        rig.wait(60)
    assert len(rig.account.signed) == signed and rig.state() == anchors.REVERTED and rig.finals() == []
    assert rig.attempts()[0].raw == failing.raw, "kept: it is evidence"
    rig.restart()
    rig.step()
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "anchor_failed"

    with rig.database.write() as connection:
        operations.ask(connection, operations.ABANDON, 2, "operator: the key had been changed", rig.wall_ms())
    rig.step()
    rig.sequence()
    following = rig.ask(anchors.newest_wanted)
    assert following is not None and following.size > 2
    rig.work(following.size)
    (done,) = rig.ask(operations.every, 0, 10)
    assert done.state == operations.DONE and done.outcome
    rig.audit()
