"""What to offer for a transaction, and what more to offer for its replacement. Pure: numbers in, numbers out.

All amounts are wei a gas (EIP-1559). A replacement must raise tip and cap each by a tenth (geth's rule); by an
eighth, so that clients which ask for 12.5 % take it too, and rounded up, so that tiny values move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from edgeseal.chainrules import ChainRules

GWEI: Final = 1_000_000_000
GAS_MARGIN_PERCENT: Final = 25
"""Over the estimate: the state may change until it is mined, and a call keeps 1/64 back from what it calls."""
MAX_TX_GAS: Final = 16_777_216
"""The most gas a transaction may have (EIP-7825)."""
RUNAWAY_WEI: Final = 100 * GWEI
RUNAWAY_TIMES: Final = 5
"""Above RUNAWAY_WEI nothing is offered beyond so many times what the market asks: a node that lies cannot burn more."""
PATIENCE_WEI: Final = 60 * GWEI
PATIENCE_MS: Final = 600_000
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8


@dataclass(frozen=True, slots=True)
class Fees:
    """The most paid in all (``max_fee``), and the part for the block's maker (``tip``), tip ≤ max_fee."""

    max_fee: int
    tip: int


@dataclass(frozen=True, slots=True)
class Market:
    """What the chain asks: the newest block's base fee, and the tip a node suggests."""

    base_fee: int
    tip: int


@dataclass(frozen=True, slots=True)
class Bounds:
    """What may be offered: tips from ``min_tip`` to ``max_tip``, never more than ``ceiling`` in all."""

    min_tip: int
    max_tip: int
    ceiling: int

    @classmethod
    def of(cls, rules: ChainRules | None, ceiling: int) -> Bounds:
        """Return the bounds of a chain's rules under the configured ceiling; without rules the ceiling bounds alone."""
        if rules is None:
            return cls(1, ceiling, ceiling)
        most = min(ceiling, rules.max_fee_wei)
        return cls(min(rules.min_tip_wei, most), min(rules.max_tip_wei, most), most)


def suggestion(market: Market, bounds: Bounds) -> Fees:
    """Return what the market asks: the suggested tip within its bounds, and room for the base fee to double."""
    tip = min(max(market.tip, bounds.min_tip), bounds.max_tip)
    return Fees(tip + 2 * max(market.base_fee, bounds.min_tip), tip)


def first(market: Market, bounds: Bounds) -> Fees | None:
    """Return what to offer at first, or None when the base fee leaves no room below the ceiling: then it waits."""
    asked = suggestion(market, bounds)
    if market.base_fee + asked.tip > bounds.ceiling:
        return None
    return Fees(min(asked.max_fee, bounds.ceiling), asked.tip)


def bumped(before: Fees, market: Market, bounds: Bounds) -> Fees | None:
    """Return what to offer for a replacement, or None when that would exceed what may be offered: then the old one is
    sent again.
    """
    asked = suggestion(market, bounds)
    tip = max(_raised(before.tip), asked.tip)
    least = Fees(_raised(before.max_fee), _raised(before.tip))
    for fees in (Fees(max(least.max_fee, tip + 2 * market.base_fee), tip), least):
        if fees.max_fee <= bounds.ceiling and not _runs_away(fees, asked):
            return fees
    return None


def worth(waited_ms: int, ceiling: int) -> int:
    """Return the most that an anchor which waits for so long may pay a gas: 60 gwei at first, ten more for the first
    ten minutes, growing with the square of time, up to ``ceiling``.

    How much waits does not count: what waits becomes one anchor.
    """
    return min(ceiling, PATIENCE_WEI + 10 * GWEI * waited_ms * waited_ms // PATIENCE_MS**2)


def gas_limit(estimate: int, before: int = 0) -> int:
    """Return the gas limit for an estimate: a margin over it, never below the one of the transaction it replaces."""
    return min(MAX_TX_GAS, max(before, estimate + estimate * GAS_MARGIN_PERCENT // 100))


def _runs_away(fees: Fees, asked: Fees) -> bool:
    return fees.max_fee > RUNAWAY_WEI and fees.max_fee > RUNAWAY_TIMES * asked.max_fee


def _raised(amount: int) -> int:
    return max(amount + 1, -(-amount * _BUMP_NUMERATOR // _BUMP_DENOMINATOR))
