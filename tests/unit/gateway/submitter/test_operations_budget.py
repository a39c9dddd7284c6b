"""S24, S25, S26: what may be spent, and what is said of an account before it is empty."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeseal_gateway.chain.budget import (
    DAY_MS,
    GWEI,
    HOUR_MS,
    Funds,
    SpendLimits,
    allowed,
    balance_state,
    daily_spend,
    ether,
    refusal,
    spent_since,
)

ETHER = 10**18
LIMITS = SpendLimits(per_hour_wei=10 * GWEI, per_day_wei=30 * GWEI)
NOW = 1_700_000_000_000


def test_S24_what_an_hour_may_cost_is_never_passed() -> None:
    spent = [(NOW - 1_000, 6 * GWEI), (NOW - 2_000, 3 * GWEI)]
    assert allowed(spent, GWEI, NOW, LIMITS)
    assert not allowed(spent, GWEI + 1, NOW, LIMITS)
    words = refusal(spent, GWEI + 1, NOW, LIMITS)
    assert words is not None and "one hour" in words and "spend_per_hour_gwei" in words


def test_S24_what_a_day_may_cost_is_never_passed() -> None:
    spent = [(NOW - hours * HOUR_MS, 7 * GWEI) for hours in (2, 4, 6, 8)]
    assert allowed(spent, 2 * GWEI, NOW, LIMITS)
    words = refusal(spent, 3 * GWEI, NOW, LIMITS)
    assert words is not None and "one day" in words


def test_S24_an_hour_later_there_is_room_again() -> None:
    spent = [(NOW, 10 * GWEI)]
    assert not allowed(spent, 1, NOW + HOUR_MS - 1, LIMITS)
    assert not allowed(spent, 1, NOW + HOUR_MS, LIMITS)
    assert allowed(spent, 1, NOW + HOUR_MS + 1, LIMITS)


def test_S51_a_clock_set_back_gives_no_money_back() -> None:
    assert not allowed([(NOW, 10 * GWEI)], 1, NOW - 5 * HOUR_MS, LIMITS)


@given(
    st.lists(st.tuples(st.integers(0, 3 * DAY_MS), st.integers(0, 20 * GWEI)), max_size=60),
    st.integers(0, 12 * GWEI),
)
def test_S24_whoever_asks_before_each_payment_stays_within_both(asks: list[tuple[int, int]], last: int) -> None:
    paid: list[tuple[int, int]] = []
    for at_ms, cost in sorted(asks):
        if allowed(paid, cost, at_ms, LIMITS):
            paid.append((at_ms, cost))
    for at_ms, _ in paid:
        within = [(when, wei) for when, wei in paid if when <= at_ms]
        assert spent_since(within, at_ms - HOUR_MS) <= LIMITS.per_hour_wei
        assert spent_since(within, at_ms - DAY_MS) <= LIMITS.per_day_wei


def test_S26_an_account_that_lasts_is_no_news() -> None:
    state = balance_state(100 * ETHER, ETHER, ETHER, 7)
    assert state.funds is Funds.OK and state.days == 99.0 and state.words.endswith("it lasts 99.0 days")
    assert balance_state(10_000 * ETHER, 0, ETHER, 7).words.endswith("it lasts for years")


def test_S26_the_alarm_comes_days_before_the_end() -> None:
    state = balance_state(7 * ETHER, 0, ETHER, 7)
    assert state.funds is Funds.OK
    state = balance_state(7 * ETHER - ETHER // 10, 0, ETHER, 7)
    assert state.funds is Funds.LOW and state.days is not None and state.days < 7
    assert "7 days" in state.words and "send it 7 ETH" in state.words


def test_S25_what_is_in_flight_is_taken_off_first() -> None:
    state = balance_state(10 * ETHER, 4 * ETHER, ETHER, 7)
    assert state.funds is Funds.LOW and state.days == 6.0
    state = balance_state(3 * ETHER, 4 * ETHER, ETHER, 7)
    assert state.funds is Funds.BLOCKED and "at least 1 ETH" in state.words


def test_S26_before_the_first_payment_only_an_empty_account_is_wrong() -> None:
    assert balance_state(1, 0, 0, 7).funds is Funds.OK
    assert balance_state(0, 0, 0, 7).funds is Funds.BLOCKED
    assert balance_state(0, 0, 0, 7).days is None


def test_S26_a_day_costs_what_the_last_week_cost_on_average() -> None:
    assert daily_spend([], NOW) == 0
    assert daily_spend([(NOW - HOUR_MS, 5)], NOW) == 5, "one hour is no basis: at least a day"
    week = [(NOW - day * DAY_MS, ETHER) for day in range(7)] + [(NOW - 30 * DAY_MS, 1000 * ETHER)]
    assert daily_spend(week, NOW) == 7 * ETHER // 6


def test_amounts_are_readable() -> None:
    assert [ether(wei) for wei in (0, 17, GWEI, ETHER, 3 * ETHER // 2)] == [
        "0 ETH", "17 wei", "0.000000001 ETH", "1 ETH", "1.5 ETH",
    ]  # fmt: skip
