"""Endpoints that lie, lag, fall silent or serve something else, and what nodes say (S36–S41)."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from edgeseal.adapters.evm import Busy, Rejected
from edgeseal.errors import InvariantBroken, Unavailable
from edgeseal_gateway.chain import endpoints
from edgeseal_gateway.chain.answers import HAS_IT, PAYS_TOO_LITTLE, Answer, classify
from edgeseal_gateway.store import anchors
from tests.fakes.chain import FakeChain, Tx
from tests.fakes.submitter import Rig

GONE = Unavailable("rpc_unreachable", "gone")


def said(rig: Rig) -> str | None:
    return None if rig.sender.blocked is None else rig.sender.blocked.code


def told(rig: Rig) -> str | None:
    return None if rig.endpoints.trouble is None else rig.endpoints.trouble.code


@pytest.fixture
def two(tmp_path: Path) -> Rig:
    """Two endpoints of one chain."""
    return Rig(tmp_path, endpoints=2)


@pytest.mark.parametrize("fault", ["another chain", "another contract"])
def test_S36_an_endpoint_of_another_chain_is_banned(two: Rig, fault: str) -> None:
    bad, good = two.nodes
    bad.id, bad.wrong_code = (1, False) if fault == "another chain" else (bad.id, True)
    two.work(2)
    two.audit()
    bad.id, bad.wrong_code = good.id, False
    two.wait(10**6)
    two.step()
    assert bad.sent == [] and bad.asked.total() <= 2, "asked once, and never again in this process"
    assert two.endpoints.every[0].banned is not None and two.endpoints.every[0].banned.code in (
        "chain_id", "contract_code",
    )  # fmt: skip
    assert two.endpoints.trouble is two.endpoints.every[0].banned, "and a person is told"
    assert {Tx.read(raw).chain_id for raw in good.sent} == {two.profile.chain_id}, "from the profile, not from a node"


def test_S36_it_is_checked_again_whenever_it_comes_back(two: Rig) -> None:
    first, _ = two.nodes
    two.step()
    first.down = GONE
    two.step()
    first.down, first.id = None, 1
    two.wait(120)
    two.step()
    assert two.endpoints.every[0].banned is not None
    two.work(2)
    two.audit()


def test_S36_with_no_endpoint_of_this_chain_the_process_stops(two: Rig) -> None:
    for node in two.nodes:
        node.id = 1
    with pytest.raises(InvariantBroken, match="chain_id"):
        two.step()
    assert [node.sent for node in two.nodes] == [[], []] and two.account.signed == []


def test_S37_a_transaction_is_sent_to_every_endpoint(two: Rig) -> None:
    two.step()
    assert two.nodes[0].sent == two.nodes[1].sent == [two.attempts()[0].raw]


def test_S37_either_may_die_at_any_time(two: Rig) -> None:
    """Anchors go on while one is away, and are final once both have said so, or the other was away for long."""
    sizes = [2]
    for round_, name in enumerate(("one", "two", "three", "four")):
        two.nodes[round_ % 2].down = GONE
        two.step()
        two.mine(4)
        two.step(2)
        assert two.state(sizes[-1]) == anchors.CONFIRMED
        two.nodes[round_ % 2].down = None
        two.wait(120)
        sizes.append(two.grow(name))
    two.work(sizes[-1])
    two.audit()
    assert two.finals() == sizes
    two.nodes[1].down = GONE
    last = two.grow("five")
    two.step()
    two.mine(6)
    two.step(2)
    assert two.state(last) == anchors.CONFIRMED
    assert told(two) is None
    two.wait(endpoints.SILENT_S + 1)
    two.step(2)
    assert two.state(last) == anchors.FINAL
    assert told(two) == "rpc_silent"


def test_S37_an_endpoint_that_dies_within_a_step_is_replaced_in_it(two: Rig) -> None:
    two.nodes[0].fails["estimate_gas"] = GONE
    two.step()
    assert len(two.account.signed) == 1 and len(two.nodes[1].sent) == 1


def test_S37_one_that_is_asked_too_often_is_left_alone_as_long_as_it_says(two: Rig) -> None:
    two.nodes[0].fails["header"] = Busy("x", 300.0)
    two.step()
    asked = two.nodes[0].asked.total()
    for _ in range(29):
        two.wait(10)
        two.step()
    assert two.nodes[0].asked.total() == asked
    two.nodes[0].fails.clear()
    two.wait(20)
    two.step()
    assert two.nodes[0].asked.total() > asked


def test_S37_pauses_grow_from_one_second_to_a_minute(two: Rig) -> None:
    two.step()
    two.nodes[0].down = GONE
    pauses: list[float] = []
    last = two.monotonic
    asked = two.nodes[0].asked.total()
    while len(pauses) < 9:
        two.wait(0.5)
        two.step()
        if two.nodes[0].asked.total() > asked:
            pauses.append(two.monotonic - last)
            asked, last = two.nodes[0].asked.total(), two.monotonic
    assert pauses[1:4] == [1, 2, 4] and pauses[-1] == 60


def test_S37_a_stale_endpoint_is_asked_last(two: Rig) -> None:
    two.mine(10)
    two.nodes[0].lag = 4
    two.step()
    assert two.nodes[0].asked["estimate_gas"] == 0 and two.nodes[1].asked["estimate_gas"] == 1
    two.nodes[0].lag = 3
    two.grow("one")
    two.mine(4)
    two.step(2)
    assert [one.client for one in two.endpoints.usable()] == two.nodes, "three blocks are in order"


def test_S37_what_one_endpoint_takes_back_is_not_taken_back_by_all(two: Rig) -> None:
    """A node that lags, or lies, cannot have receipts withdrawn."""
    two.confirm()
    two.nodes[0].receipt_lies[two.attempts()[0].hash] = None
    two.step(5)
    assert two.state() == anchors.CONFIRMED and two.sender.figures().reorgs == 0


def test_S37_endpoints_that_disagree_make_nothing_final(two: Rig) -> None:
    """The second endpoint is on a fork of its own, or makes one up: neither confirmed nor final, whoever is asked."""
    fork = FakeChain(two.profile, two.signer.public_key)
    fork.base_fee = 7
    fork.mine([])
    two.nodes[1].chain = fork
    two.step()
    two.chain.mine([Tx.read(two.nodes[0].sent[0])])
    two.chain.mine([])
    fork.base_fee += 1
    for _ in range(8):
        two.chain.mine([])
        fork.mine([])
        two.wait(1)
        two.step()
    assert two.state() == anchors.MINED and two.ask(anchors.finality, 2) == "PENDING"
    two.nodes[1].chain = two.chain
    two.work(2)
    two.audit()


def test_S37_one_that_contradicts_outweighs_two_that_agree(tmp_path: Path) -> None:
    rig = Rig(tmp_path, endpoints=3)
    rig.mine(9)
    header = rig.node.header(3)
    assert header is not None
    rig.step()
    assert rig.endpoints.final(3, header.hash, None)
    fork = FakeChain(rig.profile, rig.signer.public_key)
    fork.base_fee = 7
    for _ in range(9):
        fork.mine([])
    rig.nodes[2].chain = fork
    assert not rig.endpoints.final(3, header.hash, None) and not rig.endpoints.final(3, header.hash, 3)


def test_S37_one_that_calls_blocks_final_too_early_is_not_enough(two: Rig) -> None:
    two.nodes[0].final_lie, two.nodes[1].final_depth = 2, 30
    two.step()
    two.mine(4)
    two.step(3)
    assert two.state() == anchors.CONFIRMED
    two.mine(30)
    two.step()
    assert two.state() == anchors.FINAL


def test_S37_one_that_knows_no_finality_is_not_waited_for_forever(two: Rig) -> None:
    two.nodes[0].knows_final = False
    two.confirm()
    two.mine(30)
    two.step(3)
    assert two.state() == anchors.CONFIRMED and told(two) is None, "it may come to know it"
    assert [one.errors for one in two.endpoints.every] == [0, 0], "nothing else is wrong with it"
    two.wait(endpoints.SILENT_S + 1)
    two.step()
    assert two.state() == anchors.FINAL and told(two) == "rpc_silent"
    two.nodes[0].knows_final = True
    two.work(two.grow("one"))
    assert told(two) is None


def test_S37_one_that_knows_no_finality_still_contradicts(two: Rig) -> None:
    two.nodes[0].knows_final = False
    two.mine(30)
    header = two.nodes[1].header(3)
    assert header is not None
    two.step()
    assert not two.endpoints.final(3, header.hash, None)
    two.wait(endpoints.SILENT_S + 1)
    two.endpoints.refresh()
    assert two.endpoints.final(3, header.hash, None)
    fork = FakeChain(two.profile, two.signer.public_key)
    fork.base_fee = 7
    for _ in range(30):
        fork.mine([])
    two.nodes[0].chain = fork
    assert not two.endpoints.final(3, header.hash, None)


def test_S37_where_none_knows_finality_nothing_is_final(two: Rig) -> None:
    for node in two.nodes:
        node.knows_final = False
    two.confirm()
    two.mine(30)
    two.step()
    two.wait(2 * endpoints.SILENT_S)
    two.step(3)
    assert two.state() == anchors.CONFIRMED and told(two) == "rpc_silent"


@pytest.mark.parametrize("lie", ["price", "gas", "size", "count"])
def test_S37_one_that_names_numbers_beyond_all_bounds_ends_nothing(two: Rig, lie: str) -> None:
    bad, huge = two.nodes[0], 1 << 70
    two.step()
    two.mine()
    tx = two.attempts()[0].hash
    found = bad.receipt(tx)
    assert found is not None
    if lie == "price":
        bad.receipt_lies[tx] = dataclasses.replace(found, gas_price=huge)
    elif lie == "gas":
        bad.receipt_lies[tx] = dataclasses.replace(found, gas_used=huge)
    elif lie == "count":
        bad.count_lie = huge
    else:
        bad.size_lie = (1 << 64) - 1
    for _ in range(3):
        try:
            two.step()
        except Unavailable as error:
            assert error.code == "rpc_answer"
        two.wait(2)
    bad.receipt_lies.clear()
    bad.count_lie = bad.size_lie = None
    two.wait(120)
    two.work(2)
    two.audit()


TEXTS = [
    ("already known", Answer.KNOWN),
    ("transaction already imported", Answer.KNOWN),
    ("AlreadyKnown", Answer.KNOWN),
    ("Known transaction", Answer.KNOWN),
    ("nonce too low: next nonce 5, tx nonce 4", Answer.NONCE_LOW),
    ("OldNonce, Current nonce: 5", Answer.NONCE_LOW),
    ("nonce too high: address 0x00, tx: 7 state: 5", Answer.NONCE_HIGH),
    ("gapped-nonce tx from delegated accounts", Answer.NONCE_HIGH),
    ("future transaction tries to replace pending", Answer.NONCE_HIGH),
    ("replacement transaction underpriced", Answer.REPLACEMENT_LOW),
    ("ReplacementNotAllowed", Answer.REPLACEMENT_LOW),
    ("transaction underpriced: gas tip cap 0, minimum needed 1", Answer.FEE_LOW),
    ("FeeTooLow, EffectivePriorityFeePerGas too low", Answer.FEE_LOW),
    ("max fee per gas less than block base fee: address 0x00, maxFeePerGas: 1 baseFee: 7", Answer.FEE_LOW),
    ("Gas price below configured minimum gas price", Answer.FEE_LOW),
    ("insufficient funds for gas * price + value: balance 1, tx cost 2, overshot 1", Answer.NO_FUNDS),
    ("Insufficient funds for gas * price + value", Answer.NO_FUNDS),
    ("Upfront cost exceeds account balance", Answer.NO_FUNDS),
    ("intrinsic gas too low: gas 20000, minimum needed 21000", Answer.GAS_LOW),
    ("insufficient gas for floor data gas cost: gas 21000, minimum needed 30000", Answer.GAS_LOW),
    ("exceeds block gas limit", Answer.GAS_HIGH),
    ("transaction gas limit too high (cap: 16777216, tx: 16777217)", Answer.GAS_HIGH),
    ("invalid chain id for signer: have 1 want 5", Answer.WRONG_CHAIN),
    ("address already reserved", Answer.RESERVED),
    ("txpool is full", Answer.POOL_FULL),
    ("Too Many Requests", Answer.BUSY),
    ("daily request count exceeded, request rate limited", Answer.BUSY),
    ("rate limit exceeded", Answer.BUSY),
    ("the dog ate it", Answer.OTHER),
]


@pytest.mark.parametrize(("text", "answer"), TEXTS, ids=[text[:40] for text, _ in TEXTS])
def test_S38_what_nodes_say_is_understood(text: str, answer: Answer) -> None:
    assert classify(-32000, text) is classify(-32003, text.upper()) is answer


def test_S38_codes_count_where_words_do_not(rig: Rig) -> None:
    assert classify(-32005, "slow down") is Answer.BUSY and classify(-32000, "slow down") is Answer.OTHER
    assert HAS_IT.isdisjoint(PAYS_TOO_LITTLE)


def test_S38_an_unknown_refusal_is_told_and_the_bytes_are_sent_on(rig: Rig) -> None:
    rig.node.fails["send_raw"] = Rejected(-32000, "the dog ate it", b"")
    rig.step()
    assert rig.sender.blocked is not None and "the dog ate it" in rig.sender.blocked.message
    rig.node.fails.clear()
    rig.step()
    assert rig.node.sent == [rig.attempts()[0].raw], "never dropped, never made anew"
    rig.work(2)
    rig.audit()


def test_S39_a_look_sends_once_and_a_time_out_is_no_failure(rig: Rig) -> None:
    """The answer was lost: the node may have it. It is sent again at the next look, and known there."""
    rig.node.on_send = None
    taken = rig.node.send_raw

    def lost(transaction: bytes) -> bytes:
        taken(transaction)
        raise Unavailable("rpc_unreachable", "timed out")

    rig.node.send_raw = lost  # type: ignore[method-assign]
    with pytest.raises(Unavailable):
        rig.step()
    assert rig.node.asked["send_raw"] == 1 and rig.state() == anchors.PREPARED
    rig.node.send_raw = taken  # type: ignore[method-assign]
    rig.wait(5)
    rig.work(2)
    rig.audit()
    assert len(rig.account.signed) == 1 and set(rig.node.sent) == {rig.attempts()[0].raw}


def test_S40_preparing_is_tried_again_until_it_works_and_said_meanwhile(rig: Rig) -> None:
    rig.node.fails["estimate_gas"] = Unavailable("rpc_answer", "no estimate today")
    for _ in range(40):
        with pytest.raises(Unavailable, match=r"no estimate today|no endpoint answers"):
            rig.step()
        rig.wait(2)
    assert rig.attempts() == [] and rig.state() == anchors.QUEUED
    rig.node.fails.clear()
    rig.wait(60)
    rig.work(2)
    rig.audit()


def test_S41_a_transaction_no_pool_shows_is_complained_of_and_sent_on(rig: Rig) -> None:
    """The node says yes and keeps nothing, then that its pool is full: bytes and hash are kept and watched."""
    rig.node.full = True
    rig.step()
    assert said(rig) is None, "that passes by itself"
    rig.means.rules = dataclasses.replace(rig.means.rules, replaceable=False)
    for _ in range(13):
        rig.wait(10)
        rig.step()
    assert said(rig) == "not_in_mempool"
    assert rig.state() == anchors.PREPARED and rig.node.sent.count(rig.attempts()[0].raw) == 14
    rig.node.full, rig.node.swallows = False, True
    rig.step(3)
    assert rig.chain.mine([Tx.read(rig.attempts()[0].raw)]), "a builder had it all the time"
    rig.work(2)
    rig.audit()
