"""What to offer for a transaction, and what more to offer for its replacement. Pure: numbers in, numbers out.

All amounts are wei a gas (EIP-1559). A replacement must raise tip and cap each by a tenth (geth's rule); by an
eighth, so that clients which ask for 12.5 % take it too, and rounded up, so that tiny values move.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

GAS_MARGIN_PERCENT: Final = 25
_BUMP_NUMERATOR, _BUMP_DENOMINATOR = 9, 8


@dataclass(frozen=True, slots=True)
class Fees:
    """The most paid in all (``max_fee``), and the part for the block's maker (``tip``), tip ≤ max_fee."""

    max_fee: int
    tip: int


def first(base_fee: int, suggested_tip: int, ceiling: int) -> Fees:
    """Return what to offer at first: the suggested tip, and room for the base fee to double, below ``ceiling``."""
    tip = max(1, min(suggested_tip, ceiling))
    return Fees(min(ceiling, tip + 2 * base_fee), tip)


def bumped(before: Fees, base_fee: int, suggested_tip: int, ceiling: int) -> Fees | None:
    """Return what to offer for a replacement, or None when that would exceed ``ceiling``: then the old one is sent
    again.
    """
    tip = max(_raised(before.tip), suggested_tip)
    fees = Fees(max(_raised(before.max_fee), tip + 2 * base_fee), tip)
    if fees.max_fee > ceiling:
        least = Fees(_raised(before.max_fee), _raised(before.tip))
        return least if least.max_fee <= ceiling else None
    return fees


def gas_limit(estimate: int) -> int:
    """Return the gas limit for an estimate: a margin over it, since the state may change until it is mined."""
    return estimate + estimate * GAS_MARGIN_PERCENT // 100


def _raised(amount: int) -> int:
    return max(amount + 1, -(-amount * _BUMP_NUMERATOR // _BUMP_DENOMINATOR))
