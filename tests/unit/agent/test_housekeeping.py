"""Disk guard, retention, notifications, clock: what keeps an agent running for years."""

from __future__ import annotations

import os
import socket
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from edgeseal.record import CLOCK_SOURCES
from edgeseal_agent import identity, outbox, retention
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.configlog import StorageConfig
from edgeseal_agent.disk import DiskGuard
from edgeseal_agent.inference import MAX_INLINE, keep_opening
from edgeseal_agent.notify import Notifier
from edgeseal_agent.store import Store

from .conftest import Bench

YEAR_MS = 365 * retention.DAY_MS


def storage(**changes: Any) -> StorageConfig:
    fields = {"quota_mb": 1000, "when_full": "stop", "min_free_mb": 0, "retain_inputs": True, "retention_days": 30}
    return StorageConfig(**{**fields, **changes})


def test_the_guard_says_stop_before_the_disk_does(bench: Bench) -> None:
    DiskGuard(bench.store, storage()).check()
    with pytest.raises(Unavailable) as caught:
        DiskGuard(bench.store, storage(min_free_mb=2**24)).check()
    assert caught.value.code == "disk_full" and caught.value.remedy


def test_a_quota_stops_or_costs_the_inputs(bench: Bench) -> None:
    blob = bytes(2_000_000)
    bench.journal.execute(lambda c: keep_opening(c, 0, "input", blob, as_file=True)).result(60)
    with pytest.raises(Unavailable) as caught:
        DiskGuard(bench.store, storage(quota_mb=1)).check()
    assert caught.value.code == "quota_reached"
    told: list[bool] = []
    guard = DiskGuard(bench.store, storage(quota_mb=1, when_full="drop_inputs"), lambda: told.append(True))
    before = guard.keeps_inputs
    guard.check()
    guard._next_ns = 0
    guard.check()
    assert (before, guard.keeps_inputs, told) == (True, False, [True])


def add_inputs(bench: Bench, count: int) -> list[int]:
    """Records with an input each; the last two share theirs."""
    seqs = []
    for number in range(count):
        content = b"shared" if number >= count - 2 else b"input %d" % number

        def also(connection: sqlite3.Connection, seq: int, content: bytes = content) -> None:
            keep_opening(connection, seq, "input", content, as_file=True)
            keep_opening(connection, seq, "output", b"out")

        seqs.append(bench.journal.append("state", {"name": "x", "pub": {}}, also)[0])
    return seqs


def delete(bench: Bench, now_ms: int, days: int) -> int:
    deleted: int = bench.journal.execute(lambda c: retention.delete_old_inputs(c, now_ms, days)).result(60)
    return deleted


def receipt_for(bench: Bench, size: int, finality: int = outbox.FINAL) -> None:
    receipt = outbox.Receipt(size, 5, 6, b"h", b"r", finality)
    bench.journal.execute(lambda c: outbox.keep_receipt(c, receipt)).result(60)


def test_inputs_go_after_their_floor_and_a_receipt_and_not_before(bench: Bench) -> None:
    seqs = add_inputs(bench, 6)
    later = DeviceClock().wall_ms() + YEAR_MS
    assert delete(bench, later, 30) == 0  # no receipt
    receipt_for(bench, seqs[4], outbox.PENDING)
    receipt_for(bench, seqs[5], outbox.CONFIRMED)
    assert delete(bench, later, 30) == 0  # the chain can still take both back
    receipt_for(bench, seqs[4])
    assert delete(bench, later, 0) == 0  # kept for ever
    assert delete(bench, DeviceClock().wall_ms(), 30) == 0  # too young
    assert delete(bench, later, 30) == 4
    assert bench.rows("SELECT DISTINCT seq FROM openings ORDER BY seq") == [(seqs[4],), (seqs[5],)]
    assert bench.rows("SELECT count(*) FROM inputs") == [(1,)]  # the shared one is still opened by others
    assert bench.rows("SELECT count(*) FROM records") == [(8,)]  # records stay


def test_large_openings_are_kept_once(bench: Bench) -> None:
    large = bytes(MAX_INLINE + 1)

    def write(connection: sqlite3.Connection) -> None:
        for seq in (0, 1):
            keep_opening(connection, seq, "tensor", large)
        keep_opening(connection, 0, "output", b"small")

    bench.journal.execute(write).result(60)
    assert bench.rows("SELECT count(*) FROM inputs") == [(1,)]
    assert bench.rows("SELECT field, data IS NULL FROM openings WHERE seq = 0 ORDER BY field") == [
        ("output", 0),
        ("tensor", 1),
    ]


def test_systemd_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.bind(str(tmp_path / "notify"))
        supervisor.settimeout(60)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        monkeypatch.setenv("WATCHDOG_USEC", "60000000")
        notifier = Notifier()
        notifier.send("READY=1", "STATUS=well")
        assert supervisor.recv(100) == b"READY=1\nSTATUS=well" and notifier.watchdog_s == 30
    notifier.send("STOPPING=1")  # nobody listens any more: no error
    monkeypatch.delenv("NOTIFY_SOCKET")
    Notifier().send("READY=1")


def test_the_clock_says_what_it_believes() -> None:
    clock = DeviceClock()
    assert clock.belief().source in CLOCK_SOURCES and clock.belief() is clock.belief()
    assert clock.mono_ms() <= clock.mono_ms() and clock.wall_ms() > 1_600_000_000_000
    assert DeviceClock("rtc").belief() == DeviceClock("rtc").belief()
    assert DeviceClock("rtc").belief().source == "rtc" and DeviceClock("rtc").belief().uncertainty_ms is None


@pytest.mark.parametrize(("content", "mode"), [(bytes(32), 0o644), (bytes(31), 0o600), (None, 0)])
def test_an_epoch_secret_that_is_not_ours_alone_is_refused(tmp_path: Path, content: bytes | None, mode: int) -> None:
    if content is not None:
        (tmp_path / "epoch.secret").write_bytes(content)
        (tmp_path / "epoch.secret").chmod(mode)
    with pytest.raises(InvariantBroken) as caught:
        identity.read_secret(tmp_path)
    assert caught.value.code == "epoch_secret"


def test_the_lock_is_one_process_at_a_time(tmp_path: Path) -> None:
    with identity.exclusive(tmp_path):
        assert identity.is_running(tmp_path)
        with pytest.raises(UsageError) as caught, identity.exclusive(tmp_path):
            pass
        assert caught.value.code == "already_running"
    assert not identity.is_running(tmp_path)


def test_a_store_of_another_version_is_refused(tmp_path: Path) -> None:
    store = Store.create(tmp_path / "journal.db", {"log": bytes(32)})
    connection = store.connect()
    connection.execute("UPDATE meta SET value = 99 WHERE key = 'schema'")
    connection.close()
    with pytest.raises(UsageError) as caught:
        Store.open(tmp_path / "journal.db")
    assert caught.value.code == "schema_unknown"
    with pytest.raises(UsageError) as caught:
        Store.create(tmp_path / "journal.db", {})
    assert caught.value.code == "state_exists"
    (tmp_path / "torn.db").write_bytes(b"not a database, and longer than a header" * 100)
    with pytest.raises(InvariantBroken) as broken:
        Store.open(tmp_path / "torn.db")
    assert broken.value.code == "store_damaged"


def test_files_are_written_whole_or_not_at_all(tmp_path: Path) -> None:
    identity.write_file(tmp_path / "a", b"one")
    identity.write_file(tmp_path / "a", b"two")
    assert (tmp_path / "a").read_bytes() == b"two" and os.listdir(tmp_path) == ["a"]
    assert (tmp_path / "a").stat().st_mode & 0o777 == 0o600
