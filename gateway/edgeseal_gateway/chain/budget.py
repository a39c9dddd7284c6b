"""What may be spent, and how long the money lasts. Pure: numbers in, answers and words for a person out.

Amounts are wei, times wall ms. What was signed and is not mined yet counts with the most it can cost; a clock that was
set back gives no money back, since what lies ahead of now counts too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

HOUR_MS: Final = 3_600_000
DAY_MS: Final = 24 * HOUR_MS
GWEI: Final = 1_000_000_000
_ETHER: Final = 10**18
_AVERAGED_DAYS: Final = 7

Spent = Sequence[tuple[int, int]]
"""(wall ms at which it was signed, wei)."""


@dataclass(frozen=True, slots=True)
class SpendLimits:
    """The most that may be signed away within any hour and any 24 hours, in wei."""

    per_hour_wei: int
    per_day_wei: int


LONG_DAYS: Final = 3_650
"""For more days than this a figure says nothing."""


class Funds(Enum):
    """How the account stands."""

    OK = "ok"
    LOW = "low"
    BLOCKED = "blocked"


@dataclass(frozen=True, slots=True)
class BalanceState:
    """How the account stands, for how many days it lasts (None where nothing was spent yet), and words for a
    person.
    """

    funds: Funds
    days: float | None
    words: str


def spent_since(spent: Spent, start_ms: int) -> int:
    """Return what was spent at or after ``start_ms``."""
    return sum(wei for at_ms, wei in spent if at_ms >= start_ms)


def allowed(spent: Spent, cost: int, now_ms: int, limits: SpendLimits) -> bool:
    """Tell whether ``cost`` more may be signed away now."""
    return refusal(spent, cost, now_ms, limits) is None


def refusal(spent: Spent, cost: int, now_ms: int, limits: SpendLimits) -> str | None:
    """Return in words why ``cost`` more may not be signed away now, None when it may."""
    for name, window, most in (("hour", HOUR_MS, limits.per_hour_wei), ("day", DAY_MS, limits.per_day_wei)):
        before = spent_since(spent, now_ms - window)
        if before + cost > most:
            return (
                f"{ether(cost)} more would make {ether(before + cost)} within one {name}, "
                f"chain.spend_per_{name}_gwei allows {ether(most)}"
            )
    return None


def daily_spend(spent: Spent, now_ms: int) -> int:
    """Return what a day costs, averaged over the last seven days or over the time since the first payment in them,
    at least one day.
    """
    recent = [(at_ms, wei) for at_ms, wei in spent if at_ms >= now_ms - _AVERAGED_DAYS * DAY_MS]
    if not recent:
        return 0
    elapsed = max(DAY_MS, now_ms - min(at_ms for at_ms, _ in recent))
    return sum(wei for _, wei in recent) * DAY_MS // elapsed


def balance_state(balance: int, in_flight: int, daily_spend: int, alarm_days: int) -> BalanceState:
    """Judge an account.

    Args:
        balance: what it holds.
        in_flight: the most that what is signed and not mined, and what is to be signed next, can cost.
        daily_spend: what a day costs (:func:`daily_spend`), 0 where nothing was spent yet.
        alarm_days: below so many days of spending it is low.

    Returns:
        ``BLOCKED`` when it cannot pay for what is in flight or is empty, ``LOW`` below ``alarm_days``, else ``OK``.
    """
    free = balance - in_flight
    days = max(0, free) / daily_spend if daily_spend else None
    if free < 0 or balance == 0:
        lacking = max(1, -free)
        words = f"it holds {ether(balance)} and what is to be sent may cost {ether(in_flight)}: send it at least " + (
            f"{ether(lacking)}; anchoring goes on by itself"
        )
        return BalanceState(Funds.BLOCKED, days, words)
    if days is not None and free < daily_spend * alarm_days:
        words = f"it holds {ether(balance)}, enough for {days:.1f} days at {ether(daily_spend)} a day; the alarm is at "
        return BalanceState(Funds.LOW, days, words + f"{alarm_days} days: send it {ether(daily_spend * alarm_days)}")
    if days is None:
        lasts = "nothing was spent yet"
    else:
        lasts = "it lasts for years" if days > LONG_DAYS else f"it lasts {days:.1f} days"
    return BalanceState(Funds.OK, days, f"it holds {ether(balance)}; {lasts}")


def ether(wei: int) -> str:
    """Return an amount for a person: ether with up to nine digits, or wei where it is less than a gwei."""
    if 0 < abs(wei) < GWEI:
        return f"{wei} wei"
    whole, part = divmod(wei, _ETHER)
    digits = f"{part // GWEI:09d}".rstrip("0")
    return f"{whole}.{digits} ETH" if digits else f"{whole} ETH"
