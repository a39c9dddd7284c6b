"""A rule opens an incident, prolongs it while causes come, closes it, and a restart changes none of that."""

from __future__ import annotations

import sqlite3
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import UsageError
from edgeseal.record import decode_body
from edgeseal_agent import incidents, retention
from edgeseal_agent.config import load
from edgeseal_agent.configlog import IncidentConfig
from edgeseal_agent.incidentrule import LOOK_BACK, IncidentRule
from edgeseal_agent.inference import keep_opening

from .conftest import Bench

STATE = {"name": "x", "pub": {}}
TAMPER = {"what": "lid", "detail": "open"}
RULE = IncidentConfig(("tamper", "denied"), before=3, after=5)


def verdict(allow: bool) -> dict[str, Any]:
    return {"agent": "a", "id": bytes(16), "allow": allow, "rule": "r", "data": None, "pub": {}}


def records(bench: Bench, count: int) -> None:
    for _ in range(count):
        bench.journal.append("state", STATE)


def said(bench: Bench) -> list[tuple[str, int, int | None]]:
    rows = bench.rows("SELECT body FROM records WHERE kind = 'incident' ORDER BY seq")
    return [(body["state"], body["from"], body["to"]) for (raw,) in rows for body in [decode_body("incident", raw)]]


def test_a_cause_holds_what_was_before_and_comes_after(bench: Bench) -> None:
    rule = IncidentRule(RULE, bench.store, bench.journal)
    records(bench, 6)
    rule.step()
    assert said(bench) == []
    cause, _ = bench.journal.append("tamper", TAMPER)
    rule.step()
    assert said(bench) == [("open", cause - 3, None)]
    records(bench, 3)
    rule.step()
    later, _ = bench.journal.append("decision.verdict", verdict(False))  # while it is open: it lasts longer
    rule.step()
    records(bench, 3)
    rule.step()
    assert len(said(bench)) == 1
    records(bench, 3)
    rule.step()
    _, second = said(bench)
    assert second[:2] == ("closed", cause - 3) and second[2] is not None and second[2] > later + 5
    ((identity, start, stop),) = bench.rows("SELECT id, start, stop FROM incidents")
    assert (start, stop) == second[1:] and len(identity) == 16
    again, _ = bench.journal.append("tamper", TAMPER)
    rule.step()
    assert said(bench)[-1] == ("open", again - 3, None), "another cause, another incident"
    assert bench.rows("SELECT count(*) FROM incidents") == [(2,)]


def test_what_is_allowed_or_not_asked_for_opens_nothing(bench: Bench) -> None:
    rule = IncidentRule(RULE, bench.store, bench.journal)
    bench.journal.append("decision.verdict", verdict(True))
    bench.journal.append("fault", {"what": "x", "detail": ""})
    rule.step()
    IncidentRule(IncidentConfig(), bench.store, bench.journal).step()
    assert said(bench) == []


def test_a_restart_neither_forgets_nor_repeats(bench: Bench) -> None:
    bench.journal.append("tamper", TAMPER)  # killed before anybody looked
    bench.reopen()
    IncidentRule(RULE, bench.store, bench.journal).step()
    assert len(said(bench)) == 1
    bench.reopen()
    rule = IncidentRule(RULE, bench.store, bench.journal)
    rule.step()
    assert len(said(bench)) == 1
    records(bench, 8)
    rule.step()
    assert [state for state, _, _ in said(bench)] == ["open", "closed"]
    bench.reopen()
    IncidentRule(RULE, bench.store, bench.journal).step()
    assert len(said(bench)) == 2


def closed_by_a_person(bench: Bench, tmp_path: Path) -> IncidentRule:
    """A rule whose window was open when somebody closed it."""
    rule = IncidentRule(RULE, bench.store, bench.journal)
    bench.journal.append("tamper", TAMPER)
    rule.step()
    ((identity,),) = bench.rows("SELECT id FROM incidents")
    incidents.ask(tmp_path, incidents.Request(identity, "closed", 0, "a false alarm"))
    incidents.take_up(tmp_path, bench.store, bench.journal)
    return rule


def test_what_a_person_closed_is_not_closed_again(bench: Bench, tmp_path: Path) -> None:
    rule = closed_by_a_person(bench, tmp_path)
    records(bench, 10)
    rule.step()
    assert [state for state, _, _ in said(bench)] == ["open", "closed"]


def test_a_cause_after_a_person_closed_opens_another(bench: Bench, tmp_path: Path) -> None:
    rule = closed_by_a_person(bench, tmp_path)
    for _ in range(2):  # the same for the next run
        cause, _ = bench.journal.append("tamper", TAMPER)
        rule.step()
        assert said(bench)[-1] == ("open", cause - 3, None), "what the closed window does not hold"
        ((identity,),) = bench.rows("SELECT id FROM incidents WHERE stop IS NULL")
        incidents.ask(tmp_path, incidents.Request(identity, "closed", 0, "another"))
        incidents.take_up(tmp_path, bench.store, bench.journal)
        bench.reopen()
        rule = IncidentRule(RULE, bench.store, bench.journal)
    assert bench.rows("SELECT count(*) FROM incidents") == [(3,)]


def test_a_cause_long_before_a_kill_is_not_forgotten(bench: Bench) -> None:
    """A fast device writes more between two looks than any number would allow for."""
    rule = IncidentRule(RULE, bench.store, bench.journal)
    records(bench, LOOK_BACK)
    rule.step()
    cause, _ = bench.journal.append("tamper", TAMPER)
    for ticket in [bench.journal.submit("state", STATE) for _ in range(LOOK_BACK + 10)]:
        ticket.result(60)
    bench.reopen()
    IncidentRule(RULE, bench.store, bench.journal).step()
    assert said(bench)[0] == ("open", cause - 3, None)


def test_a_rule_that_is_taken_away_leaves_nothing_open(bench: Bench) -> None:
    """An open window holds all that comes: without its rule nothing would ever end it."""
    bench.journal.append("tamper", TAMPER)
    IncidentRule(RULE, bench.store, bench.journal).step()
    bench.reopen()
    without = IncidentRule(IncidentConfig(), bench.store, bench.journal)
    without.step()
    assert [state for state, _, _ in said(bench)] == ["open", "closed"]
    size = bench.journal.size
    without.step()
    assert bench.journal.size == size
    bench.journal.append("tamper", TAMPER)
    bench.reopen()
    without = IncidentRule(IncidentConfig(), bench.store, bench.journal)
    without.step()
    assert len(said(bench)) == 2, "closed once"


def keep(content: bytes, connection: sqlite3.Connection, seq: int) -> None:
    keep_opening(connection, seq, "input", content, as_file=True)


def test_the_ring_keeps_the_newest_inputs_and_those_held(bench: Bench) -> None:
    rule = IncidentRule(IncidentConfig(("tamper",), before=2, after=0), bench.store, bench.journal)
    for number in range(12):
        content = b"input %d" % number
        bench.journal.append("state", STATE, partial(keep, content))
        if number == 5:
            cause, _ = bench.journal.append("tamper", TAMPER)
            rule.step()
            rule.step()
    ((start, stop),) = bench.rows("SELECT start, stop FROM incidents")
    assert start == cause - 2 and stop is not None
    size = bench.journal.size
    assert bench.journal.execute(lambda c: retention.delete_beyond_ring(c, 0)).result(60) == 0
    assert bench.journal.execute(lambda c: retention.delete_beyond_ring(c, 4)).result(60) > 0
    left = [seq for (seq,) in bench.rows("SELECT seq FROM openings ORDER BY seq")]
    assert left == [seq for seq in left if start <= seq < stop or seq >= size - 4]
    assert {cause - 2, cause - 1} <= set(left) and len([seq for seq in left if seq >= size - 4]) == 4
    assert bench.rows("SELECT count(*) FROM inputs") == [(len(left),)]


def test_the_configuration_names_causes(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    text = (
        "schema: edgeseal-agent/1\nname: cam-1\nstate_dir: state\nprovisioning: pack.cbor\n"
        "key: {token: t, label: k, create: true}\nstorage: {ring_records: 500}\nincidents: {on: [%s], before: 7}\n"
    )
    file.write_text(text % "denied, tamper")
    assert load(file).incidents == IncidentConfig(("denied", "tamper"), 7, 1_000)
    assert load(file).storage.ring_records == 500
    file.write_text(text % "inference")
    with pytest.raises(UsageError, match=r"incidents\.on"):
        load(file)
