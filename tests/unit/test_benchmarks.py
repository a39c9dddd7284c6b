"""The benchmarks' own arithmetic and their histories: what is measured is what a device makes, and a miss is a miss."""

from __future__ import annotations

import pytest

from benchmarks import table, trials
from benchmarks.history import LongHistory
from benchmarks.table import MET, MISSED, WITHIN
from edgeseal import segment
from edgeseal.cbor import encode
from edgeseal.merkle import leaf_hash, root
from edgeseal.record import Header, check_body, decode_body


@pytest.mark.parametrize(
    ("value", "state"), [(5.0, MET), (4.6, WITHIN), (4.4, MISSED)], ids=["reached", "within the spread", "below it"]
)
def test_a_floor_is_missed_only_beyond_the_spread(value: float, state: str) -> None:
    ratio = trials.Ratio(value, trials.Spread(0.9, 1.2), 5)
    assert table.ratio_at_least("row", "what", ratio, 5.0).state == state


@pytest.mark.parametrize(
    ("value", "state"), [(1.02, MET), (1.2, WITHIN), (1.23, MISSED)], ids=["kept", "within the spread", "above it"]
)
def test_a_ceiling_is_missed_only_beyond_the_spread(value: float, state: str) -> None:
    ratio = trials.Ratio(value, trials.Spread(0.9, 1.2), 5)
    assert table.ratio_at_most("row", "what", ratio, 1.02).state == state


def test_without_a_spread_a_floor_is_a_floor() -> None:
    assert table.at_least("row", "what", 4.99, 5.0, "{}").state == MISSED
    assert table.at_most("row", "what", 5.01, 5.0, "{}").state == MISSED


def test_trials_take_turns_forwards_and_backwards() -> None:
    ran: list[str] = []

    def trial(name: str) -> int:
        ran.append(name)
        return len(ran)

    found = trials.in_turns(3, {"a": lambda: trial("a"), "b": lambda: trial("b")}, lambda text: None)
    assert ran == ["a", "b", "b", "a", "a", "b"]
    assert found == {"a": [1, 4, 5], "b": [2, 3, 6]}


def test_a_ratio_is_the_median_of_pairs() -> None:
    ratio = trials.Ratio.of(trials.ratios([10.0, 30.0, 20.0], [10.0, 10.0, 10.0]), [0.8, 1.1, 1.0])
    assert (ratio.median, ratio.spread, ratio.pairs) == (2.0, trials.Spread(0.8, 1.25), 3)


def test_the_table_names_the_command_of_each_row_once() -> None:
    text = table.render([table.shown("gas", "one", "1"), table.shown("gas", "two", "2")])
    assert text.count("python -m benchmarks gas") == 1


def test_a_long_history_is_what_a_device_makes() -> None:
    history = LongHistory()
    pairs = [pair for chunk in history.sealed(700, 64, 200) for pair in chunk]
    assert len(pairs) == 700
    for seq, (data, body) in enumerate(pairs):
        header = Header.decode(data)
        assert (header.log, header.seq, header.encode()) == (history.log, seq, data)
        check_body(header, body)
        assert encode(decode_body(header.kind, body)) == body
    assert history.device.last == (700, root(leaf_hash(data) for data, _ in pairs))


def test_its_segments_are_segments_of_that_many_records() -> None:
    found = [segment.decode(data) for data in LongHistory().segments(96, 32)]
    assert [(each.start, len(each.items), each.head.head.size) for each in found] == [
        (0, 32, 32),
        (32, 32, 64),
        (64, 32, 96),
    ]
