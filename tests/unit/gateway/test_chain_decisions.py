"""The pure parts of the sender: what to offer, and what to do about a transaction."""

from __future__ import annotations

import pytest

from edgeseal_gateway.chain import fees
from edgeseal_gateway.chain.fees import Fees
from edgeseal_gateway.chain.sendstate import BUMP_AFTER_MS, NONCE_LOST_AFTER, Do, Mined, Seen, SendState

GWEI = 10**9


def test_the_first_offer_leaves_room_for_the_base_fee_to_double() -> None:
    assert fees.first(10 * GWEI, 2 * GWEI, 500 * GWEI) == Fees(22 * GWEI, 2 * GWEI)
    assert fees.first(400 * GWEI, 2 * GWEI, 500 * GWEI) == Fees(500 * GWEI, 2 * GWEI)
    assert fees.first(0, 0, 500 * GWEI) == Fees(1, 1)
    assert fees.first(1, 900 * GWEI, 500 * GWEI) == Fees(500 * GWEI, 500 * GWEI)


@pytest.mark.parametrize("before", [Fees(1, 1), Fees(9, 8), Fees(100 * GWEI, GWEI), Fees(444 * GWEI, 3)])
def test_a_replacement_raises_tip_and_cap_by_a_tenth_and_more(before: Fees) -> None:
    after = fees.bumped(before, 0, 0, 500 * GWEI)
    assert after is not None and after.tip <= after.max_fee
    for old, new in ((before.tip, after.tip), (before.max_fee, after.max_fee)):
        assert new > old and 10 * new >= 11 * old and 8 * new >= 9 * old


def test_a_replacement_follows_the_market_up_to_the_ceiling() -> None:
    assert fees.bumped(Fees(10, 1), 100, 7, 1_000) == Fees(207, 7)
    assert fees.bumped(Fees(10, 1), 1_000, 7, 1_000) == Fees(12, 2)
    assert fees.bumped(Fees(990, 1), 1_000, 7, 1_000) is None


def test_the_gas_limit_has_a_margin() -> None:
    assert fees.gas_limit(80_000) == 100_000


def look(newest: int = 10, nonces: int = 5, mined: Mined | None = None, now: int = 0) -> Seen:
    return Seen(newest, nonces, mined, now)


def test_unmined_is_sent_again_and_then_replaced() -> None:
    state = SendState(5, 2)
    assert state.decide(look(now=1), 0) is Do.SEND_AGAIN
    assert state.decide(look(now=BUMP_AFTER_MS), 0) is Do.BUMP


def test_mined_waits_for_its_depth() -> None:
    state = SendState(5, 3)
    assert state.decide(look(10, 6, Mined(True, 9, True)), 0) is Do.WAIT
    assert state.decide(look(11, 6, Mined(True, 9, True)), 0) is Do.FINISH
    assert SendState(5, 1).decide(look(9, 6, Mined(True, 9, True)), 0) is Do.FINISH


def test_a_reorganised_transaction_is_sent_again() -> None:
    state = SendState(5, 3)
    assert state.decide(look(10, 6, Mined(True, 9, True)), 0) is Do.WAIT
    assert state.decide(look(11, 5, Mined(True, 9, False)), 0) is Do.SEND_AGAIN
    assert state.decide(look(11, 5, None), 0) is Do.SEND_AGAIN


def test_a_failed_transaction_is_named() -> None:
    assert SendState(5, 3).decide(look(10, 6, Mined(False, 10, True)), 0) is Do.REVERTED


def test_a_lost_nonce_is_believed_after_some_looks_only() -> None:
    state = SendState(5, 1)
    for _ in range(NONCE_LOST_AFTER - 1):
        assert state.decide(look(nonces=6), 0) is Do.WAIT
    assert state.decide(look(nonces=5), 0) is Do.SEND_AGAIN
    for _ in range(NONCE_LOST_AFTER - 1):
        assert state.decide(look(nonces=6), 0) is Do.WAIT
    assert state.decide(look(nonces=6), 0) is Do.NONCE_LOST
