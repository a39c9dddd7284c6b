"""Long without a gateway: thirty days at the quota, and a million records that go out at once.

Soak only; the short form, with a real gateway, is ``tests/e2e/test_offline_quota.py``.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeseal.record import decode_body
from edgeseal.segment import Item, Segment
from edgeseal_agent import config, identity, incidents, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.configlog import StorageConfig
from edgeseal_agent.disk import DiskGuard
from edgeseal_agent.journal import Journal
from edgeseal_agent.sealer import Sealer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.thinning import CLASSES, Thinning
from edgeseal_console.demo.parts import Broker
from tests.agentrig import MODEL, AgentRig, Gateway, wait
from tests.fleetside import FleetSide, HeldLog, Reply
from tests.unit.agent.conftest import Bench
from tests.unit.agent.loop import Agent
from tests.unit.agent.test_thinning import BEAT, INFERENCE, TAMPER

MINUTE_MS, DAY_MINUTES = 60_000, 1_440
MAX_RESIDENT_MB = 120
RECORDS = int(os.environ.get("EDGESEAL_RESYNC_RECORDS") or 1_000_000)


class LeanSide(FleetSide):
    """A gateway that keeps of each record its leaf hash, and counts forms and kinds."""

    def __init__(self) -> None:
        super().__init__()
        self.forms: Counter[int] = Counter()

    def _segment(self, held: HeldLog, found: Segment) -> list[Reply]:
        before = len(held.items)
        replies = super()._segment(held, found)
        fresh = held.items[before:]
        self.forms.update(item.form for item in fresh)
        held.items[before:] = [Item(None, None, item.leaf, "withheld") for item in fresh]
        return replies


class Hours:
    """A clock that a test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.ms = 1_760_000_000_000
        monkeypatch.setattr(DeviceClock, "wall_ms", lambda clock: self.ms)
        monkeypatch.setattr(DeviceClock, "mono_ms", lambda clock: self.ms - 1_760_000_000_000)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_thirty_days_at_the_quota(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = Hours(monkeypatch)
    bench = Bench(tmp_path / "journal.db", FleetSide(), _key(), head_every=256, head_max_ms=3_600_000)
    storage = StorageConfig(30, "thin", 0, True, 0)
    guard = DiskGuard(bench.store, storage)
    thinning = Thinning(bench.store, bench.journal, guard, lambda: clock.ms, storage.retention_of())
    opened = incidents.Request(incidents.new_id(), "open", 100, "the arm hit the fence")
    given: Counter[str] = Counter()

    def add(kind: str, body: dict[str, Any]) -> Any:
        given[kind] += 1
        return bench.journal.submit(kind, body)

    for minute in range(30 * DAY_MINUTES):
        clock.ms += MINUTE_MS
        add("heartbeat", BEAT)
        ticket = add("inference", INFERENCE)
        if minute % DAY_MINUTES == 100:
            ticket = add("tamper", TAMPER)
        if minute == 10 * DAY_MINUTES:
            incidents.ask(tmp_path, opened)
        if minute == 10 * DAY_MINUTES + 60:
            incidents.ask(tmp_path, incidents.Request(opened.id, "closed", 0, "a loose bolt"))
        incidents.take_up(tmp_path, bench.store, bench.journal)
        if minute % 60 == 59:
            ticket.result(60)
            while thinning.step() in ("planned", "stripped", "waiting"):
                bench.sealer.wait_for(outstanding(bench), 60)
            assert bench.store.bytes_in_use() <= storage.quota_mb << 20, f"over the quota, minute {minute}"
    bench.journal.append("tamper", TAMPER)
    given["tamper"] += 1
    size = bench.journal.size
    bench.sealer.wait_for(size, 60)
    window = incidents.find(bench.store, opened.id)
    assert window is not None and window[1] is not None

    bench.fleet.enrol(bench.request)
    agent = Agent(bench)
    agent.start()
    try:
        assert agent.uplink.flush(size, 1_800)
    finally:
        agent.stop()
        bench.close()
    items = bench.fleet.logs[agent.log].items
    kinds = bench.fleet.kinds(agent.log)
    assert len(items) == size and recovery.check(bench.store) == size
    gone = [seq for seq, item in enumerate(items) if item.form]
    with capsys.disabled():
        print(f"\n30 days: {size} records, {len(gone)} bodies thinned, {Counter(kinds)['thinned']} records say so")
    assert {kind: count for kind, count in Counter(kinds).items() if kind in given} == given, "every record is there"
    assert gone and {kinds[seq] for seq in gone} <= {kind for group in CLASSES for kind in group}
    assert not [seq for seq in gone if window[0] <= seq < window[1]], "an incident holds its window"
    named = {
        seq for kind, item in zip(kinds, items, strict=True) if kind == "thinned" and item.body is not None
        for start, stop in decode_body(kind, item.body)["ranges"] for seq in range(start, stop)
    }  # fmt: skip
    assert set(gone) <= named


def outstanding(bench: Bench) -> int:
    """The size of the newest head that was cut."""
    found: int = bench.rows("SELECT max(size) FROM heads")[0][0]
    return found


def _key() -> Any:
    from tests.world import Key

    return Key(77)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_a_million_records_go_out_in_little_memory(
    tmp_path: Path, broker: Broker, capsys: pytest.CaptureFixture[str]
) -> None:
    with Gateway(broker, LeanSide()) as gateway:
        rig = AgentRig.enrolled(
            tmp_path / "device", gateway, broker,
            extra=[f"model: {{package: {MODEL / 'package'}}}", "seal: {head_every: 256}"],
        )  # fmt: skip
        fill(rig, RECORDS)
        try:
            rig.start()
            assert rig.process is not None
            pid = rig.process.pid
            held = gateway.side.logs[rig.log]
            wait(lambda: held.frontier.size >= RECORDS, 6_000)
            wait(lambda: rig.status()["unsent"] < 100, 600)
            peak = resident_mb(pid)
            rig.stop()
        finally:
            rig.close()
        assert isinstance(gateway.side, LeanSide) and set(gateway.side.forms) == {0}
        refused = {code: n for code, n in gateway.side.counts.items() if code.startswith("refused")}
    with capsys.disabled():
        print(f"\nresync of {RECORDS} records: peak resident memory of the agent {peak:.0f} MB, refusals {refused}")
    assert peak <= MAX_RESIDENT_MB


def resident_mb(pid: int) -> float:
    """The most memory the process ever had resident, in MB."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert found is not None
    return int(found[1]) / 1024


def fill(rig: AgentRig, count: int) -> None:
    """Put so many records under signed heads into the device's log, with its own token."""
    settings = config.load(rig.config)
    store = identity.open_store(settings)
    with identity.exclusive(settings.state_dir):
        known = identity.Identity.of(store.meta())
        sealer = Sealer(store, identity.open_signer(settings.key, known.key))
        journal = Journal(
            store, boot=recovery.begin(store).boot, clock=DeviceClock("none"), policy=SealPolicy(256, 60_000),
            on_head=sealer.offer,
        )  # fmt: skip
        sealer.start(journal)
        try:
            for number in range(count):
                ticket = journal.submit("heartbeat", BEAT)
                if number % 20_000 == 0:
                    ticket.result(600)
            journal.append("tamper", TAMPER)
            sealer.wait_for(journal.size, 600)
        finally:
            sealer.stop()
            journal.close()
    with closing(store.reader()) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone()[0] > count
