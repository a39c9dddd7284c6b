"""Bodies that go: lowest class first, named under a signed head before, never what is protected or held."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeseal import segment
from edgeseal.errors import Unavailable, UsageError
from edgeseal.record import NEVER_DROPPED, decode_body
from edgeseal_agent import config, incidents, outbox, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.configlink import UplinkConfig
from edgeseal_agent.disk import INPUT_COST, MB, PRESSED_SHARE, THIN_SHARE, DiskGuard
from edgeseal_agent.inference import keep_opening
from edgeseal_agent.sending import SendState
from edgeseal_agent.thinning import CLASSES, ERASABLE, MAX_PLAN, Thinning, can_make_room, stripped

from .conftest import Bench, MakeBench
from .test_housekeeping import storage

DAY_MS = 86_400_000
BEAT = {"up": 1, "records": 1, "free": 1, "unsent": 1}
TAMPER = {"what": "lid", "detail": "open"}
INFERENCE = {
    "model": bytes(32), "file": bytes(32), "rt": ["ai-edge-litert", "2", "xnnpack", "auto", 1, "x86_64"],
    "input": [0, bytes(32)], "tensor": [0, bytes(32)], "output": [0, bytes(32)], "pub": {},
    "us": 1, "config": bytes(32), "build": "b",
}  # fmt: skip


class Full(DiskGuard):
    """A disk that is full until told otherwise."""

    full = True

    def wants_thinning(self) -> bool:
        return self.full


def thinning(bench: Bench, days: int = 0, now_ms: int | None = None, full: bool = True, **classes: int) -> Thinning:
    guard = Full(bench.store, storage(when_full="thin"))
    guard.full = full
    by_class = dict.fromkeys(ERASABLE, days) | classes
    return Thinning(bench.store, bench.journal, guard, lambda: now_ms or time.time_ns() // 1_000_000, by_class)


def fill(bench: Bench) -> dict[str, list[int]]:
    """Append records of several kinds in turn; return kind → positions."""
    found: dict[str, list[int]] = {}
    for _ in range(3):
        for kind, body in (("inference", INFERENCE), ("inference", INFERENCE), ("heartbeat", BEAT), ("tamper", TAMPER)):
            found.setdefault(kind, []).append(bench.journal.append(kind, body)[0])
    bench.sealer.wait_for(bench.journal.size, 60)
    return found


def without_body(bench: Bench) -> list[int]:
    return [seq for (seq,) in bench.rows("SELECT seq FROM records WHERE length(body) = 0 ORDER BY seq")]


def said(bench: Bench, kind: str) -> list[dict[str, Any]]:
    rows = bench.rows("SELECT body FROM records WHERE kind = ? ORDER BY seq", kind)
    return [decode_body(kind, body) for (body,) in rows]


def run(bench: Bench, thinned: Thinning, steps: int = 40) -> list[str]:
    """Step until nothing is left to do, each plan sealed in between."""
    done = []
    for _ in range(steps):
        bench.sealer.wait_for(bench.journal.size, 60)
        step = thinned.step()
        if step is None:
            break
        assert step != "waiting"
        done.append(step)
    return done


def test_the_lowest_class_goes_first_and_what_matters_never(bench: Bench) -> None:
    at = fill(bench)
    thinned = thinning(bench)
    assert thinned.step() == "planned"
    assert without_body(bench) == [], "nothing goes before the record that names it is sealed"
    bench.sealer.wait_for(bench.journal.size, 60)
    assert thinned.step() == "stripped"
    assert without_body(bench) == at["heartbeat"]
    assert run(bench, thinned) == ["planned", "stripped"]
    gone = sorted(at["heartbeat"] + at["inference"])
    assert without_body(bench) == gone
    bodies = said(bench, "thinned")
    named = sorted(seq for body in bodies for start, stop in body["ranges"] for seq in range(start, stop))
    assert named == gone and all(body["form"] == 1 and body["reason"] == "quota" for body in bodies)
    assert recovery.check(bench.store) == bench.journal.size


def test_a_plan_outlives_a_restart(bench: Bench) -> None:
    at = fill(bench)
    assert thinning(bench).step() == "planned"
    bench.reopen()
    bench.sealer.wait_for(bench.journal.size, 60)
    later = thinning(bench, full=False)
    assert later.step() == "stripped" and without_body(bench) == at["heartbeat"]
    assert later.step() is None


def test_nothing_to_do_while_there_is_room(bench: Bench) -> None:
    fill(bench)
    assert thinning(bench, full=False).step() is None and without_body(bench) == []


def test_a_plan_waits_for_its_head(bench: Bench) -> None:
    fill(bench)
    thinned = thinning(bench)
    bench.sealer.stop()
    assert thinned.step() == "planned" and thinned.step() == "waiting"
    assert without_body(bench) == []


def acknowledge(bench: Bench, finality: int = outbox.FINAL) -> None:
    receipt = outbox.Receipt(bench.journal.size, 1, 1, b"", b"", finality)
    bench.journal.execute(lambda c: outbox.keep_receipt(c, receipt)).result(60)


def test_retention_waits_for_age_and_receipt(bench: Bench) -> None:
    at = fill(bench)
    now = time.time_ns() // 1_000_000
    late = now + 200 * DAY_MS
    assert thinning(bench, 184, late, full=False).step() is None, "no receipt"
    for finality in (outbox.PENDING, outbox.CONFIRMED):
        acknowledge(bench, finality)
        assert thinning(bench, 184, late, full=False).step() is None, "no final receipt"
    acknowledge(bench)
    assert thinning(bench, 184, now + 100 * DAY_MS, full=False).step() is None, "too young"
    erasing = thinning(bench, 184, late, full=False)
    assert run(bench, erasing) == ["planned", "stripped"] * 2
    assert without_body(bench) == sorted(at["heartbeat"] + at["inference"])
    assert [body["reason"] for body in said(bench, "tombstone")] == ["retention"] * 2
    assert recovery.check(bench.store) == bench.journal.size, "headers stay"


def test_each_class_has_its_own_retention(bench: Bench) -> None:
    at = fill(bench)
    acknowledge(bench)
    late = time.time_ns() // 1_000_000 + 300 * DAY_MS
    run(bench, thinning(bench, 0, late, full=False, telemetry=184, inference=301))
    assert without_body(bench) == at["heartbeat"]
    run(bench, thinning(bench, 0, late, full=False, inference=299))
    assert without_body(bench) == sorted(at["heartbeat"] + at["inference"])


def test_a_legal_hold_beats_retention(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    acknowledge(bench)
    incidents.ask(tmp_path, incidents.Request(incidents.new_id(), "open", 1 << 40, "legal hold, case 12"))
    incidents.take_up(tmp_path, bench.store, bench.journal)
    late = time.time_ns() // 1_000_000 + 3_000 * DAY_MS
    assert run(bench, thinning(bench, 184, late, full=False)) == []
    assert without_body(bench) == []


@pytest.mark.parametrize(("clock", "wall_ms", "goes"), [("rtc", 1_760_000_000_000, True), ("none", 1_000, False)])
def test_a_clock_that_was_not_set_erases_nothing(
    make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch, clock: str, wall_ms: int, goes: bool
) -> None:
    """A record of 1970 is not fifty years old."""
    monkeypatch.setattr(DeviceClock, "wall_ms", lambda self: wall_ms)
    bench = make_bench(clock=clock)
    at = fill(bench)
    acknowledge(bench)
    run(bench, thinning(bench, 184, 1_800_000_000_000, full=False))
    assert without_body(bench) == (sorted(at["heartbeat"] + at["inference"]) if goes else [])


def test_an_incident_holds_its_window(bench: Bench, tmp_path: Path) -> None:
    at = fill(bench)
    state = tmp_path / "state"
    state.mkdir()
    held = bench.journal.size - at["inference"][4]
    opening = incidents.Request(incidents.new_id(), "open", held, "the arm hit the fence")
    incidents.ask(state, opening)
    assert incidents.take_up(state, bench.store, bench.journal) == 1
    assert incidents.take_up(state, bench.store, bench.journal) == 0 and not list((state / "incidents").iterdir())
    later = fill(bench)
    incidents.ask(state, incidents.Request(opening.id, "closed", 0, "a loose bolt"))
    assert incidents.take_up(state, bench.store, bench.journal) == 1
    window = incidents.find(bench.store, opening.id)
    assert window == (at["inference"][4], bench.journal.size)
    after = fill(bench)
    run(bench, thinning(bench))
    both = [seq for kind in ("heartbeat", "inference") for seq in at[kind] + after[kind]]
    assert without_body(bench) == sorted(seq for seq in both if not window[0] <= seq < window[1])
    assert not set(later["inference"]) & set(without_body(bench))
    assert [(body["state"], body["from"], body["to"], body["why"]) for body in said(bench, "incident")] == [
        ("open", window[0], None, "the arm hit the fence"), ("closed", window[0], window[1], "a loose bolt"),
    ]  # fmt: skip


def test_a_long_hold_is_no_obstacle(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where it is longer than what one plan looks over."""
    monkeypatch.setattr("edgeseal_agent.thinning.CHUNK", 4)
    monkeypatch.setattr("edgeseal_agent.thinning.MAX_CHUNKS", 2)
    fill(bench)
    hold = incidents.Request(incidents.new_id(), "open", 10_000, "smoke")
    for state in ("open", "closed"):
        incidents.ask(tmp_path, incidents.Request(hold.id, state, hold.before, "smoke"))
        incidents.take_up(tmp_path, bench.store, bench.journal)
    after = fill(bench)
    run(bench, thinning(bench))
    assert without_body(bench) == sorted(after["heartbeat"] + after["inference"])


def test_an_incident_opened_in_time_saves_what_was_planned_to_go(bench: Bench, tmp_path: Path) -> None:
    fill(bench)
    thinned = thinning(bench)
    assert thinned.step() == "planned"
    incidents.ask(tmp_path, incidents.Request(incidents.new_id(), "open", 10_000, "smoke"))
    incidents.take_up(tmp_path, bench.store, bench.journal)
    bench.sealer.wait_for(bench.journal.size, 60)
    assert thinned.step() == "stripped" and without_body(bench) == []
    assert thinned.step() is None, "what is held is not planned again"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '{"id": "00", "state": "open", "before": 1, "why": "x"}',
        '{"id": "%s", "state": "opened", "before": 1, "why": "x"}',
        '{"id": "%s", "state": "open", "before": -1, "why": "x"}',
        '{"id": "%s", "state": "open", "before": 1, "why": ""}',
        '{"id": "%s", "state": "closed", "before": 0, "why": "of none that is open"}',
        "x" * 100_000,
    ],
)
def test_what_is_no_request_is_dropped(bench: Bench, tmp_path: Path, text: str) -> None:
    folder = tmp_path / "incidents"
    folder.mkdir()
    (folder / "request").write_text(text.replace("%s", "ab" * 16))
    size = bench.journal.size
    assert incidents.take_up(tmp_path, bench.store, bench.journal) == 0
    assert bench.journal.size == size and not list(folder.iterdir())


def test_a_reason_and_an_id_are_needed(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="incident_request"):
        incidents.ask(tmp_path, incidents.Request(bytes(16), "open", 0, ""))
    with pytest.raises(UsageError, match="state_missing"):
        incidents.ask(tmp_path / "nowhere", incidents.Request(bytes(16), "open", 0, "x"))
    for text in ("", "xyz", "ab" * 16):
        with pytest.raises(UsageError, match="incident_unknown"):
            incidents.known_id(bench.store, text)


def test_no_plan_is_larger_than_a_record_can_name(bench: Bench) -> None:
    tickets = []
    for _ in range(300):
        tickets += [bench.journal.submit("heartbeat", BEAT), bench.journal.submit("tamper", TAMPER)]
    tickets[-1].result(60)
    bench.sealer.wait_for(bench.journal.size, 60)
    assert run(bench, thinning(bench)) == ["planned", "stripped"] * 2
    assert len(without_body(bench)) == 300 and MAX_PLAN > 300


def test_what_is_sent_of_them_is_their_header(bench: Bench) -> None:
    at = fill(bench)
    assert run(bench, thinning(bench), 2) == ["planned", "stripped"]
    with closing(bench.store.reader()) as connection:
        out = outbox.next_segment(connection, bench.identity.log, 0)
        assert out is not None
        sent = segment.decode(out.payload).items
        assert [place for place, item in enumerate(sent) if item.form == segment.HEADER_ONLY] == without_body(bench)
        assert {item.reason for item in sent if item.form == segment.HEADER_ONLY} == {"quota"}
        first = at["heartbeat"][0]
        size = bench.journal.size
        assert outbox.accounted_at(connection, 0, first) == first
        assert outbox.accounted_at(connection, 0, size) == size
        assert first + 1 < outbox.accounted_at(connection, 0, first + 1) <= size
        assert outbox.accounted_at(connection, size, size) == size
        assert outbox.is_gone(connection, first) and not outbox.is_gone(connection, first + 1)
        assert sum(item.stop - item.start for item in stripped(connection, 0, size)) == len(without_body(bench))


def test_no_receipt_is_waited_for_that_cannot_come() -> None:
    state = SendState(UplinkConfig(4, 30, 1, 60, 10), 0)
    state.connect(0.0)
    state.has_sent(100, 0.0, accounted_at=250)
    assert state.in_flight == 0 and state.sent == 100 and state.may_send(0.0)
    state.has_sent(200, 0.0, accounted_at=250)
    state.has_sent(260, 0.0, accounted_at=260)
    assert state.in_flight == 1 and not state.may_send(0.0)
    state.receipt(260)
    assert state.acknowledged == 260 and state.in_flight == 0


def test_protected_kinds_are_in_no_class() -> None:
    taken = {kind for kinds in (*CLASSES, *ERASABLE.values()) for kind in kinds}
    assert not taken & NEVER_DROPPED
    kept = {"decision.verdict", "tamper", "incident", "thinned", "tombstone", "closed", "fault", "gap", "attest"}
    assert not taken & kept


def test_the_retention_floor_is_half_a_year(tmp_path: Path) -> None:
    file = tmp_path / "agent.yaml"
    text = (
        "schema: edgeseal-agent/1\nname: cam-1\nstate_dir: state\nprovisioning: pack.cbor\n"
        "key: {token: t, label: k, create: true}\nstorage: {body_retention_days: %d, when_full: thin}\n"
    )
    for days in (0, 184, 1000):
        file.write_text(text % days)
        assert config.load(file).storage.body_retention_days == days
    for low in (text % 183, text.replace("%d", "0, class_retention_days: {decision: 183}")):
        file.write_text(low)
        with pytest.raises(UsageError, match="at least 184"):
            config.load(file)
    file.write_text(text.replace("%d", "200, class_retention_days: {inference: 400, decision: 0}"))
    assert config.load(file).storage.retention_of() == {"telemetry": 200, "inference": 400, "decision": 0}


def test_the_guard_asks_for_room_before_it_stops(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def at(used_mb: float, when_full: str = "thin") -> tuple[DiskGuard, list[bool]]:
        told: list[bool] = []
        monkeypatch.setattr(bench.store, "bytes_on_disk", lambda: 200 * MB)
        monkeypatch.setattr(bench.store, "bytes_in_use", lambda: int(used_mb * MB))
        return DiskGuard(bench.store, storage(quota_mb=100, when_full=when_full), lambda: told.append(True)), told

    for used, near in ((89, False), (91, True)):
        guard, told = at(used)
        guard.check()
        assert (guard.wants_thinning(), guard.keeps_inputs, bool(told)) == (near, not near, near)
    with pytest.raises(Unavailable, match="quota_reached"):
        at(0, "stop")[0].check()  # without thinning the size of the files counts
    with pytest.raises(Unavailable, match="quota_reached"):
        at(0, "stop")[0].require_room(lambda: True)
    guard, _ = at(101)
    with pytest.raises(Unavailable, match="quota_reached"):
        guard.require_room(lambda: False)  # nothing is left to take: not even a start is recorded
    guard.require_room(lambda: True)
    guard.check()  # bodies may still go: what is no input is recorded
    guard.makes_room = False
    with pytest.raises(Unavailable, match="quota_reached"):
        guard.check()
    guard, told = at(91)
    guard.require_room(lambda: False)  # a start near the quota: nothing can be recorded yet, so nothing is decided
    assert guard.keeps_inputs and not told


def test_the_guard_grants_no_more_than_fits(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    used, quota = [0.0], 2
    monkeypatch.setattr(bench.store, "bytes_on_disk", lambda: int(used[0] * MB))
    monkeypatch.setattr(bench.store, "bytes_in_use", lambda: int(used[0] * MB))
    guard = DiskGuard(bench.store, storage(quota_mb=quota, when_full="thin"))
    line = quota * MB * PRESSED_SHARE
    for share in (0.0, 0.5, 0.8, 0.9, 0.94, 0.95, 1.5):
        used[0] = share * quota
        granted = guard.room(10 * INPUT_COST)
        assert 0 <= granted <= max(0, line - used[0] * MB - 10 * INPUT_COST), "what is on its way is counted"
        assert share > 0.9 or granted >= INPUT_COST
    used[0] = 0.5 * quota
    granted = guard.room(0)
    guard.check()
    left = int(quota * MB * THIN_SHARE - used[0] * MB) - granted
    assert [guard.keep(left // 2), guard.keep(left // 2), guard.keep(left)] == [True, True, False]
    assert not guard.keeps_inputs, "openings end where the records let in still fit"
    assert DiskGuard(bench.store, storage(quota_mb=quota, when_full="stop")).room(1 << 40) >= INPUT_COST


def keep_inputs(bench: Bench, count: int) -> None:
    for number in range(count):

        def also(connection: sqlite3.Connection, seq: int, content: bytes = b"%d" % number * 500) -> None:
            keep_opening(connection, seq, "input", content, as_file=True)

        bench.journal.append("inference", INFERENCE, also)
    bench.sealer.wait_for(bench.journal.size, 60)


def test_what_opens_bodies_that_went_goes_last(bench: Bench, tmp_path: Path) -> None:
    """Inputs that were kept while there was room must not be what stops the agent at its quota."""
    keep_inputs(bench, 6)
    incidents.ask(tmp_path, incidents.Request(bytes(16), "open", 2, "why"))
    incidents.take_up(tmp_path, bench.store, bench.journal)
    bench.sealer.wait_for(bench.journal.size, 60)
    thinned = thinning(bench)
    assert thinned.expects() and can_make_room(bench.store)
    assert thinned.step() == "planned"
    bench.sealer.wait_for(bench.journal.size, 60)
    assert thinned.step() == "stripped" and len(without_body(bench)) == 4
    assert bench.rows("SELECT count(*) FROM inputs") == [(6,)] and not thinned.expects(), "the others are held"
    assert can_make_room(bench.store)
    assert thinned.step() == "stripped"
    assert bench.rows("SELECT count(*) FROM inputs") == [(2,)] == bench.rows("SELECT count(*) FROM openings")
    assert thinned.step() is None
    bench.journal.append("inference", INFERENCE)
    assert not thinned.expects() and not can_make_room(bench.store), "an open incident holds all that comes"
    assert thinning(bench, full=False).step() is None


@pytest.mark.parametrize("between", [False, True], ids=["alone", "between others"])
def test_pages_that_bodies_leave_count_as_room(bench: Bench, between: bool) -> None:
    """Also where no two of them are neighbours: then each page keeps something."""
    tickets = []
    for _ in range(2_000):
        tickets.append(bench.journal.submit("inference", {**INFERENCE, "build": "b" * 500}))
        if between:
            tickets.append(bench.journal.submit("tamper", TAMPER))
    tickets[-1].result(60)
    bench.sealer.wait_for(bench.journal.size, 60)
    before = bench.store.bytes_in_use()
    run(bench, thinning(bench))
    assert len(without_body(bench)) == 2_000
    with closing(bench.store.connect()) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert before - bench.store.bytes_in_use() > 2_000 * 400
