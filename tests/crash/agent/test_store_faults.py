"""The store's disk fails at every commit in turn: with the write on it or not. Whatever it was, nothing acknowledged is
lost, nothing is said twice, and the restart goes on with the one tree there is.
"""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from typing import Any, ClassVar

import pytest

from edgeseal import merkle
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal.head import SignedDeviceHead
from edgeseal_agent import recovery
from tests.unit.agent.conftest import Bench, MakeBench


class FaultyDisk(sqlite3.Connection):
    """Fails at the n-th COMMIT of the process, before or after it took effect; at the n-th INSERT of records."""

    commits: ClassVar[int] = 0
    inserts: ClassVar[int] = 0
    fail_commit: ClassVar[int | None] = None
    fail_insert: ClassVar[int | None] = None
    persisted: ClassVar[bool] = False

    @classmethod
    def plan(cls, *, commit: int | None = None, insert: int | None = None, persisted: bool = False) -> None:
        cls.commits = cls.inserts = 0
        cls.fail_commit, cls.fail_insert, cls.persisted = commit, insert, persisted

    def execute(self, sql: str, parameters: Any = ()) -> sqlite3.Cursor:
        if sql.startswith("INSERT INTO records"):
            FaultyDisk.inserts += 1
            if FaultyDisk.inserts == FaultyDisk.fail_insert:
                raise sqlite3.OperationalError("database or disk is full")
        if sql == "COMMIT":
            FaultyDisk.commits += 1
            if FaultyDisk.commits == FaultyDisk.fail_commit:
                if FaultyDisk.persisted:
                    super().execute(sql)
                raise sqlite3.OperationalError("disk I/O error")
        return super().execute(sql, parameters)


def work(bench: Bench) -> dict[int, bytes]:
    """Append what makes heads and signatures until the disk fails; return what was acknowledged."""
    acknowledged: dict[int, bytes] = {}
    with suppress(EdgesealError):
        for number in range(12):
            kind = "tamper" if number % 3 == 2 else "state"
            fields = {"what": "x", "detail": ""} if kind == "tamper" else {"name": "x", "pub": {"n": number}}
            seq, leaf = bench.journal.append(kind, fields)
            acknowledged[seq] = leaf
            if kind == "tamper":
                bench.sealer.wait_for(seq + 1, 30)
    return acknowledged


def audit(bench: Bench, acknowledged: dict[int, bytes]) -> None:
    """The whole store against what was promised: every record, the one tree, the chain of heads, all signed."""
    size = recovery.check(bench.store)
    leaves = [merkle.leaf_hash(header) for (header,) in bench.rows("SELECT header FROM records ORDER BY seq")]
    assert len(leaves) == size
    assert {seq: leaves[seq] for seq in acknowledged} == acknowledged
    before = (0, bytes(32))
    for head_size, payload, signed in bench.rows("SELECT size, payload, signed FROM heads ORDER BY size"):
        found = SignedDeviceHead.decode(signed)
        head = found.verify(bench.key.public)
        assert found.signed.payload == payload and head.size == head_size
        assert head.prev == before and head.root == merkle.root(leaves[:head_size])
        before = (head.size, head.root)
    assert before[0] == size


def fail_and_restart(bench: Bench, **plan: Any) -> tuple[dict[int, bytes], bool]:
    """Run over a disk that fails as planned, then over a sound one; return what was acknowledged, whether it failed."""
    bench.close()
    bench.factory = FaultyDisk
    FaultyDisk.plan(**plan)
    bench.open(boot=2)
    acknowledged = work(bench)
    failed = bench.journal.failure is not None
    if failed:
        with pytest.raises(Unavailable):
            bench.journal.append("state", {"name": "after", "pub": {}})
    bench.close()
    payloads = dict(bench.rows("SELECT size, payload FROM heads"))
    bench.factory = None
    bench.open()
    acknowledged |= dict([bench.journal.append("tamper", {"what": "end", "detail": ""})])
    bench.sealer.wait_for(bench.journal.size, 60)
    assert payloads.items() <= dict(bench.rows("SELECT size, payload FROM heads")).items(), "a payload was made anew"
    return acknowledged, failed


@pytest.mark.parametrize("persisted", [False, True])
def test_a_commit_that_fails_at_any_point_loses_nothing_acknowledged(make_bench: MakeBench, persisted: bool) -> None:
    failures = 0
    for number in range(1, 18):
        bench = make_bench(head_max_ms=3_600_000)
        acknowledged, failed = fail_and_restart(bench, commit=number, persisted=persisted)
        failures += failed
        audit(bench, acknowledged)
    assert failures >= 12


def test_a_write_that_fails_at_any_point_loses_nothing_acknowledged(make_bench: MakeBench) -> None:
    for number in range(1, 12):
        bench = make_bench(head_max_ms=3_600_000)
        acknowledged, failed = fail_and_restart(bench, insert=number)
        assert failed
        audit(bench, acknowledged)


def test_a_full_disk_is_called_that(make_bench: MakeBench) -> None:
    bench = make_bench()
    bench.close()
    bench.factory = FaultyDisk
    FaultyDisk.plan(insert=1)
    bench.open(boot=2)
    with pytest.raises(Unavailable) as caught:
        bench.journal.append("state", {"name": "x", "pub": {}})
    assert caught.value.code == "disk_full" and caught.value.remedy is not None
    assert bench.journal.failure is caught.value


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE records SET header = zeroblob(100) WHERE seq = 6",
        "DELETE FROM records WHERE seq = 6",
        "DELETE FROM records WHERE seq = 1",
        "UPDATE log SET frontier = zeroblob(length(frontier))",
        "UPDATE log SET size = size - 1",
        "UPDATE heads SET root = zeroblob(32) WHERE size = (SELECT max(size) FROM heads)",
    ],
)
def test_a_store_that_was_changed_behind_our_back_is_not_continued(make_bench: MakeBench, change: str) -> None:
    bench = make_bench(head_max_ms=3_600_000)
    for ticket in [bench.journal.submit("state", {"name": "x", "pub": {}}) for _ in range(5)]:
        ticket.result(60)
    writer = bench.store.connect()
    writer.execute(change)
    writer.close()
    with pytest.raises(InvariantBroken) as caught:
        recovery.begin(bench.store)
    assert caught.value.code == "store_damaged"
