"""Alternated trials: what is compared runs in turns within one process, so that a busy machine is busy for both.

The spread of the same against itself (A/A), measured in the same turns, says which differences mean anything.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from typing import Final, TypeVar

T = TypeVar("T")
PAIRS: Final = 5
"""Pairs behind each median."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The least and the largest ratio of the same to itself. Which of two equals stands above is chance: both count."""

    least: float
    most: float

    @classmethod
    def of(cls, ratios: list[float]) -> Spread:
        most = max(max(ratio, 1 / ratio) for ratio in ratios)
        return cls(1 / most, most)

    def __str__(self) -> str:
        return f"{self.least:.2f} to {self.most:.2f}"


@dataclass(frozen=True, slots=True)
class Ratio:
    """The median ratio of paired trials, and the A/A spread beside it."""

    median: float
    spread: Spread
    pairs: int

    @classmethod
    def of(cls, ratios: list[float], same: list[float]) -> Ratio:
        return cls(median(ratios), Spread.of(same), len(ratios))


def in_turns(rounds: int, trials: dict[str, Callable[[], T]], tell: Callable[[str], None]) -> dict[str, list[T]]:
    """Run every trial once a round, forwards and backwards by turns, and return what each gave, round by round."""
    found: dict[str, list[T]] = {name: [] for name in trials}
    for number in range(rounds):
        order = list(trials) if number % 2 == 0 else list(reversed(trials))
        for name in order:
            tell(f"round {number + 1} of {rounds}: {name}")
            found[name].append(trials[name]())
    return found


def ratios(above: list[float], below: list[float]) -> list[float]:
    """Return above / below, pair by pair."""
    return [a / b for a, b in zip(above, below, strict=True)]
