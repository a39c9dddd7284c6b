"""The table: one line for each figure, with its floor, whether it is met, the A/A spread and how to repeat it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from benchmarks.trials import Ratio, Spread

Tell = Callable[[str], None]
MET: Final = "met"
WITHIN: Final = "within A/A"
"""Beyond the floor by less than the same differs from itself: no miss that this run can show."""
MISSED: Final = "MISSED"
SHOWN: Final = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One figure. ``value`` and ``floor`` are numbers for programs, ``measured`` and ``wanted`` say them for people."""

    row: str
    what: str
    measured: str
    wanted: str
    state: str
    spread: str
    value: float | None = None
    floor: float | None = None

    def as_json(self) -> dict[str, Any]:
        return {**asdict(self), "command": command(self.row)}


def command(row: str) -> str:
    """Return what repeats a row."""
    return f"python -m benchmarks {row}"


def at_least(row: str, what: str, value: float, floor: float, form: str, spread: Spread | None = None) -> Row:
    """A figure that has to reach its floor. ``form`` formats value and floor, as ``"{:.1f} ×"``."""
    low = floor * spread.least if spread else floor
    state = MET if value >= floor else WITHIN if value >= low else MISSED
    return Row(row, what, form.format(value), "≥ " + form.format(floor), state, str(spread or ""), value, floor)


def at_most(row: str, what: str, value: float, ceiling: float, form: str, spread: Spread | None = None) -> Row:
    """A figure that may not pass its ceiling."""
    high = ceiling * spread.most if spread else ceiling
    state = MET if value <= ceiling else WITHIN if value <= high else MISSED
    return Row(row, what, form.format(value), "≤ " + form.format(ceiling), state, str(spread or ""), value, ceiling)


def ratio_at_least(row: str, what: str, ratio: Ratio, floor: float, form: str = "{:.2f} ×") -> Row:
    return at_least(row, what, ratio.median, floor, form, ratio.spread)


def ratio_at_most(row: str, what: str, ratio: Ratio, ceiling: float, form: str = "{:.3f} ×") -> Row:
    return at_most(row, what, ratio.median, ceiling, form, ratio.spread)


def shown(row: str, what: str, measured: str, value: float | None = None, spread: str = "") -> Row:
    """A figure without a floor."""
    return Row(row, what, measured, "", SHOWN, spread, value)


_HEADINGS: Final = ("row", "what", "measured", "floor", "", "A/A spread")


def render(rows: Sequence[Row]) -> str:
    """Return the table as text."""
    lines = [_HEADINGS, *((row.row, row.what, row.measured, row.wanted, row.state, row.spread) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_HEADINGS))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]
    text.insert(1, "  ".join("-" * width for width in widths))
    names = list(dict.fromkeys(row.row for row in rows))
    return "\n".join([*text, "", *(f"{name}: {command(name)}" for name in names)])
