"""The events of a log without an index: by pointers, and by ranges with a bound where pointers lead nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeseal.adapters.evm import BoundContract, Contract, FoundLog, Rejected
from edgeseal.fleetlog_event import decode_anchored
from edgeseal_gateway.chain import history
from edgeseal_gateway.store import anchors
from tests.fakes.submitter import Rig
from tests.unit.gateway.submitter.test_journal import lose_journal

ELSEWHERE = 20_000_000
"""What NUMBER adds to the node's own numbers on a chain of Arbitrum's kind."""


def said(rig: Rig) -> str | None:
    return None if rig.sender.blocked is None else rig.sender.blocked.code


def fleet(rig: Rig) -> BoundContract:
    return BoundContract(rig.node, Contract("FleetLog"), rig.profile.fleet_log_contract)


def sizes(rig: Rig, **options: int) -> list[int]:
    found = list(history.events(fleet(rig), rig.profile.fleet_log, **options))
    opened = fleet(rig).contract.event_topic("Opened")
    return [0 if one.log.topics[0] == opened else decode_anchored(one.log).size for one in found]


def asked(rig: Rig) -> list[tuple[int, int]]:
    """Return the ranges that were asked for."""
    spans = [name.removeprefix("logs ").split("-") for name in rig.node.asked if name.startswith("logs ")]
    return [(int(first), int(last)) for first, last in spans]


def several(folder: Path, counting: int) -> tuple[Rig, list[int]]:
    rig = Rig(folder, counting=counting)
    made = [2]
    rig.work(2)
    for name in ("one", "two"):
        rig.mine(30)
        made.append(rig.grow(name))
        rig.work(made[-1])
    rig.node.asked.clear()
    return rig, made


def test_pointers_lead_back_to_the_opening_without_a_scan(tmp_path: Path) -> None:
    rig, made = several(tmp_path, 0)
    assert sizes(rig) == [*reversed(made), 0]
    assert all(first == last for first, last in asked(rig)) and len(asked(rig)) == len(made) + 1


def test_where_pointers_lead_nowhere_ranges_are_looked_through(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "SPAN", 7)
    rig, made = several(tmp_path, ELSEWHERE)
    assert sizes(rig) == [*reversed(made), 0]
    ranges = [(first, last) for first, last in asked(rig) if last > first]
    assert ranges == sorted(ranges, reverse=True) and ranges[0][1] == rig.chain.height, "newest first"
    assert ranges[-1][0] <= 1 <= ranges[-1][1] and len(ranges) == len(set(ranges)), "no further than the opening"


def test_a_scan_has_a_bound_and_never_begins_at_the_first_block(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "SPAN", 7)
    rig, made = several(tmp_path, ELSEWHERE)
    height = rig.chain.height
    assert sizes(rig, bound=20) == made[-1:], "what lies beyond it is not found, and not asked for"
    assert min(first for first, last in asked(rig) if last <= height) == height - 19
    rig.node.asked.clear()
    assert sizes(rig, floor=height - 10) == made[-1:]
    assert min(first for first, last in asked(rig) if last <= height) == height - 10


def test_a_node_that_finds_a_range_too_long_is_asked_for_less(tmp_path: Path) -> None:
    rig, made = several(tmp_path, ELSEWHERE)
    answer = rig.node.logs

    def strict(addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[FoundLog]:
        if last - first >= 20:
            raise Rejected(-32005, "query exceeds the most blocks", b"")
        return answer(addresses, topics, first, last)

    rig.node.logs = strict  # type: ignore[method-assign]
    assert sizes(rig) == [*reversed(made), 0]
    rig.node.fails = {
        f"logs {first}-{last}": Rejected(-32000, "no", b"") for first in range(200) for last in range(200)
    }
    with pytest.raises(Rejected):
        sizes(rig)


def test_the_sender_takes_over_what_it_finds_there(tmp_path: Path) -> None:
    """The journal is lost on a chain whose pointers lead nowhere: found by ranges, nothing anchored twice."""
    rig, made = several(tmp_path, ELSEWHERE)
    lose_journal(rig)
    rig.work(made[-1])
    rig.audit()
    assert rig.finals() == made and len(rig.account.signed) == len(made)
    size = rig.grow("three")
    rig.work(size)
    rig.audit()
    assert rig.anchored_events() == [*made, size] and rig.state(size) == anchors.FINAL


def test_an_anchor_beyond_the_bound_is_said_and_not_looked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig, made = several(tmp_path, ELSEWHERE)
    rig.mine(60)
    lose_journal(rig)
    real = history.events
    monkeypatch.setattr(history, "events", lambda fleet, log, floor=0: real(fleet, log, floor, bound=40))
    rig.step()
    looked = len(asked(rig))
    rig.step(3)
    assert said(rig) == "history_bound"
    assert len(asked(rig)) == looked and rig.ask(anchors.finality, made[-1]) == "PENDING"
    size = rig.grow("three")
    rig.work(size)
    assert said(rig) is None and rig.ask(anchors.finality, made[-1]) == "FINAL", "the next one covers it"
