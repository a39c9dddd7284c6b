"""What is offered, when more is offered, and where it ends (S14–S24)."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from edgeseal.chainrules import ChainRules
from edgeseal_gateway.chain import fees
from edgeseal_gateway.chain.budget import SpendLimits
from edgeseal_gateway.chain.fees import Bounds, Fees, Market
from edgeseal_gateway.chain.means import Settings
from edgeseal_gateway.chain.sendstate import BUMP_AFTER_MS, MAX_ATTEMPTS, Push, SendRules, push
from edgeseal_gateway.store import anchors, attempts
from tests.fakes.chain import GWEI, Tx
from tests.fakes.node import outbids
from tests.fakes.submitter import Rig

WIDE = Bounds(1, 10**15, 10**15)
RULES = SendRules(3, True, True)


def test_S14_the_first_offer_is_the_tip_and_room_for_the_base_fee_to_double() -> None:
    bounds = Bounds(1, 500 * GWEI, 500 * GWEI)
    assert fees.first(Market(10 * GWEI, 2 * GWEI), bounds) == Fees(22 * GWEI, 2 * GWEI)
    assert fees.first(Market(400 * GWEI, 2 * GWEI), bounds) == Fees(500 * GWEI, 2 * GWEI), "less room at the ceiling"
    assert fees.first(Market(499 * GWEI, 2 * GWEI), bounds) is None, "it waits: it could not be mined"
    least = fees.first(Market(0, 0), Bounds(5, 100, 1_000))
    assert least == Fees(15, 5), "the least tip, and a base fee of at least that"
    assert fees.first(Market(7, 900), Bounds(5, 100, 1_000)) == Fees(114, 100), "the highest tip"


def test_S14_a_chains_rules_bound_what_is_offered() -> None:
    rules = ChainRules("x", "tag", 1, 1_000, "public", 0, "none", None, 40, 9, 2)
    assert Bounds.of(rules, 1_000) == Bounds(2, 9, 40) and Bounds.of(rules, 30) == Bounds(2, 9, 30)
    assert Bounds.of(None, 30) == Bounds(1, 30, 30)


def test_S15_a_replacement_raises_tip_and_cap_each_by_a_tenth_and_more() -> None:
    """Over tiny and huge values: geth's pool and those that ask for an eighth take every one of them."""
    drawn = random.Random(15)
    for _ in range(3_000):
        cap = drawn.choice([1, 2, 3, 9, 10, 99, drawn.randrange(1, 10**4), drawn.randrange(1, 10**11)])
        before = Fees(cap, drawn.randrange(0, cap + 1))
        market = Market(drawn.randrange(0, 2 * cap + 1), drawn.randrange(0, 2 * cap + 1))
        after = fees.bumped(before, market, WIDE)
        if after is None:
            continue  # it runs away from the market: shown below
        old = Tx(b"", b"", b"", 1, 0, b"", b"", 1, before.max_fee, before.tip, 0)
        new = Tx(b"", b"", b"", 1, 0, b"", b"", 1, after.max_fee, after.tip, 0)
        assert outbids(old, new) and after.tip <= after.max_fee
        assert 8 * after.tip >= 9 * before.tip and 8 * after.max_fee >= 9 * before.max_fee


def test_S15_the_strict_pool_takes_our_replacements(rig: Rig) -> None:
    rig.step()
    for number in range(2, 6):
        rig.wait(50)
        rig.step()
        found = rig.attempts()
        waiting = rig.node.pool[rig.account.address][0]
        assert len(found) == number and waiting.hash == found[-1].hash
        assert all(one.taken_ms is not None for one in found)


def test_S16_a_replacement_follows_the_market() -> None:
    drawn = random.Random(16)
    for _ in range(2_000):
        before = Fees(1_000, drawn.randrange(0, 1_001))
        market = Market(drawn.randrange(0, 10**6), drawn.randrange(0, 10**6))
        after = fees.bumped(before, market, WIDE)
        assert after is not None
        assert after.max_fee >= after.tip + 2 * market.base_fee and after.tip >= market.tip
    assert fees.bumped(Fees(10, 1), Market(100, 7), Bounds(1, 1_000, 1_000)) == Fees(207, 7)
    assert fees.bumped(Fees(10, 1), Market(1_000, 7), Bounds(1, 1_000, 1_000)) == Fees(12, 2), (
        "no room: the least raise"
    )


def test_S17_it_is_replaced_after_48_seconds_and_not_while_it_is_mined(rig: Rig) -> None:
    assert push(RULES, 1, BUMP_AFTER_MS - 1, 0, True) is Push.WAIT and BUMP_AFTER_MS == 48_000
    assert push(RULES, 1, BUMP_AFTER_MS, 0, True) is Push.BUMP
    rig.step()
    rig.wait(47)
    rig.step()
    assert len(rig.attempts()) == 1
    rig.wait(2)
    rig.step()
    assert len(rig.attempts()) == 2
    rig.mine()
    for _ in range(5):
        rig.wait(100)
        rig.step()
    assert rig.state() == anchors.MINED and len(rig.attempts()) == 2


def test_S18_a_node_that_asks_for_more_gets_more_at_once_and_once(rig: Rig) -> None:
    """The base fee rose between our look and the sending: the node of anvil's kind refuses what is below it."""
    rig.node.anvil = True
    rig.chain.base_fee = 20 * GWEI  # the newest header still says 1 gwei
    rig.step()
    rig.step()
    assert len(rig.attempts()) == 2, "replaced at once"
    for _ in range(5):
        rig.step()
    assert len(rig.attempts()) == 2, "once; from then on by the clock"
    rig.mine()
    rig.wait(50)
    rig.step()
    assert len(rig.attempts()) == 3
    rig.work(2)
    rig.audit()


def test_S19_where_no_more_may_be_offered_the_old_bytes_go_out_again(rig: Rig) -> None:
    rig.step()
    rig.chain.base_fee = 490 * GWEI
    rig.mine()
    rig.sender.use(Settings(Bounds(1, GWEI, 3 * GWEI), rig.settings.limits))
    rig.node.drop()
    for _ in range(3):
        rig.wait(50)
        rig.step()
    assert rig.sender.blocked is not None and rig.sender.blocked.code == "fee_ceiling"
    (only,) = rig.attempts()
    assert rig.node.sent.count(only.raw) >= 4 and rig.node.pool[rig.account.address][0].raw == only.raw
    rig.chain.base_fee = GWEI
    rig.work(2)
    rig.audit()


def test_S20_no_offer_runs_away_from_the_market_or_above_the_ceiling() -> None:
    asked = fees.suggestion(Market(10 * GWEI, GWEI), WIDE)
    most = fees.RUNAWAY_TIMES * asked.max_fee
    offer = Fees(most - 1, GWEI)
    assert offer.max_fee > fees.RUNAWAY_WEI
    assert fees.bumped(offer, Market(10 * GWEI, GWEI), WIDE) is None, "above 100 gwei: at most five times what is asked"
    cheap = Fees(50 * GWEI, GWEI)
    assert fees.bumped(cheap, Market(1, 1), WIDE) is not None, "below 100 gwei it is outbid whatever the market says"
    for ceiling in (60, 100, 10**9):
        found = fees.bumped(Fees(50, 5), Market(ceiling, 1), Bounds(1, ceiling, ceiling))
        assert found is None or found.max_fee <= ceiling
    assert fees.bumped(Fees(990, 1), Market(1_000, 7), Bounds(1, 1_000, 1_000)) is None


def test_S21_gas_is_estimated_again_for_each_replacement_and_never_falls(rig: Rig) -> None:
    assert fees.gas_limit(80_000, 120_000) == 120_000 and fees.gas_limit(100_000, 120_000) == 125_000
    rig.step()
    before = rig.node.asked["estimate_gas"]
    rig.wait(50)
    rig.step()
    first, second = rig.attempts()
    assert rig.node.asked["estimate_gas"] == before + 1 and second.gas >= first.gas


def test_S21_that_it_is_anchored_already_is_no_failure_of_a_replacement(tmp_path: Path) -> None:
    """Our own transaction was mined behind the back of the node we ask: the other one is asked, and nothing replaced.
    Where a stranger brought the head meanwhile, ours gives way to an empty one, and the anchor is taken over.
    """
    rig = Rig(tmp_path, endpoints=2)
    rig.step()
    rig.wait(50)
    rig.mine()
    rig.nodes[0].lag = 1
    rig.nodes[0].fails["call 'pending'"] = rig.nodes[0].fails["estimate_gas"] = AssertionError("asked for too late")
    rig.step()
    rig.nodes[0].lag = 0
    rig.nodes[0].fails.clear()
    rig.work(2)
    rig.audit()
    assert rig.anchored_events() == [2]


def test_S22_an_anchor_waits_out_a_spike_and_pays_more_the_longer_it_waited(rig: Rig) -> None:
    """Anchors may wait; what may not (a revocation, a halt) goes from the operators' accounts, not from this one."""
    assert fees.worth(0, 500 * GWEI) == 60 * GWEI and fees.worth(600_000, 500 * GWEI) == 70 * GWEI
    assert fees.worth(3_600_000, 500 * GWEI) == 420 * GWEI and fees.worth(10**9, 500 * GWEI) == 500 * GWEI
    assert fees.worth(0, 5 * GWEI) == 5 * GWEI
    rig.chain.base_fee = 150 * GWEI
    rig.mine()
    rig.step()
    assert rig.account.signed == [] and rig.sender.blocked is not None and rig.sender.blocked.code == "fee_ceiling"
    rig.wait(1_000)
    rig.step()
    assert rig.account.signed == []
    rig.wait(1_000)
    rig.step()
    assert len(rig.account.signed) == 1
    rig.work(2)


def test_S23_a_transaction_that_never_gets_in_is_replaced_by_an_empty_one(rig: Rig) -> None:
    assert push(RULES, MAX_ATTEMPTS, BUMP_AFTER_MS, 0, True) is Push.PURGE
    rig.step()
    for _ in range(MAX_ATTEMPTS):
        rig.wait(50)
        rig.step()
    slot = rig.ask(attempts.of_nonce, 0)
    assert [one.size for one in slot] == [2] * MAX_ATTEMPTS + [0]
    assert Tx.read(slot[-1].raw).data == b"" and Tx.read(slot[-1].raw).to == rig.account.address
    (mined,) = rig.mine()
    assert mined.hash == slot[-1].hash
    rig.step()
    assert rig.state() in (anchors.QUEUED, anchors.SENT)
    rig.work(2)
    rig.audit()
    assert rig.attempts()[-1].nonce == 1


def test_S23_the_poisoned_one_may_be_mined_after_all(rig: Rig) -> None:
    rig.step()
    for _ in range(MAX_ATTEMPTS):
        rig.wait(50)
        rig.step()
    old = Tx.read(rig.attempts()[3].raw)
    assert rig.chain.mine([old]) == [old]
    rig.node.drop()
    rig.work(2)
    rig.audit()
    assert rig.anchored_events() == [2] and rig.chain.state.nonces[rig.account.address] == 1


def test_S24_the_budget_is_asked_before_anything_is_signed(rig: Rig) -> None:
    cost = 3 * GWEI * 100_000
    rig.sender.use(Settings(rig.settings.bounds, SpendLimits(cost - 1, 10 * cost)))
    rig.step(3)
    assert rig.account.signed == [] and rig.sender.blocked is not None and rig.sender.blocked.code == "spend_limit"
    rig.sender.use(Settings(rig.settings.bounds, SpendLimits(cost, 10 * cost)))
    rig.work(2)
    rig.grow("one")
    rig.step()
    assert len(rig.account.signed) == 1, "what the first cost counts for an hour"
    rig.wait(3_601)
    rig.step()
    assert len(rig.account.signed) == 2


def test_S24_a_replacement_is_paid_for_by_the_difference(rig: Rig) -> None:
    cost = 3 * GWEI * 100_000
    rig.sender.use(Settings(rig.settings.bounds, SpendLimits(cost + cost // 10, 10 * cost)))
    rig.step()
    rig.wait(50)
    rig.step()
    assert len(rig.attempts()) == 1 and rig.sender.blocked is not None and rig.sender.blocked.code == "spend_limit"
    rig.sender.use(Settings(rig.settings.bounds, SpendLimits(cost + cost // 5, 10 * cost)))
    rig.wait(50)
    rig.step()
    assert len(rig.attempts()) == 2


@pytest.mark.parametrize("replaceable", [True, False])
def test_S45_where_nothing_can_be_replaced_nothing_is(replaceable: bool) -> None:
    rules = SendRules(3, True, replaceable)
    found = {push(rules, attempts, 10**9, 0, True) for attempts in (1, MAX_ATTEMPTS, 50)}
    assert found == ({Push.BUMP, Push.PURGE} if replaceable else {Push.WAIT})
