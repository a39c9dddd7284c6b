"""The index of records: derived, so that whatever happens to its file, it is built again."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
from pathlib import Path

import pytest

from edgeseal_gateway.index import Indexer
from edgeseal_gateway.store import indexfile
from edgeseal_gateway.web.indexes import Indexes
from tests.gatewaystore import Founded
from tests.tenant import segment_of
from tests.world import Device


def filled(founded: Founded) -> Device:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    for _ in range(2):
        start = device.last[0]
        device.infer(600)
        device.seal()
        founded.take(device, segment_of(device, start))
    return device


def work(indexer: Indexer) -> None:
    while indexer.step():
        pass


def size(indexes: Indexes) -> int:
    return indexfile.indexed_size(indexes.connection, 1)


def _open(path: str, start: object, done: object) -> None:
    start.wait(60)  # type: ignore[attr-defined]
    connection = indexfile.open_index(Path(path))
    connection.execute("INSERT INTO record VALUES (?, 1, '', 1, 1, 1, 0, NULL)", (os.getpid(),))
    done.put(1)  # type: ignore[attr-defined]


def test_of_those_who_open_it_at_once_one_begins_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for turn in range(5):
        path, start, done = tmp_path / f"{turn}.db", context.Barrier(3), context.SimpleQueue()
        openers = [context.Process(target=_open, args=(str(path), start, done)) for _ in range(3)]
        for one in openers:
            one.start()
        for one in openers:
            one.join(60)
        assert [one.exitcode for one in openers] == [0, 0, 0]
        assert sqlite3.connect(path).execute("SELECT count(*) FROM record").fetchone() == (3,)


def test_one_that_is_damaged_is_built_again_and_readers_follow(founded: Founded, tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    device = filled(founded)
    indexer, readers = Indexer(founded.database, path), Indexes(path)
    work(indexer)
    assert size(readers) == device.size
    readers.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    with path.open("r+b") as file:
        for page in range(1, path.stat().st_size // 4096):
            file.seek(4096 * page)
            file.write(os.urandom(4096))
    start = device.last[0]
    device.infer(5)
    device.seal()
    founded.take(device, segment_of(device, start))
    again = Indexer(founded.database, path)  # a cache may hide the damage from the one that wrote it
    work(again)
    assert size(readers) == device.size
    assert readers.connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.parametrize("others", [False, True])
def test_one_that_is_deleted_while_it_is_used_is_built_again(founded: Founded, tmp_path: Path, others: bool) -> None:
    path = tmp_path / "index.db"
    device = filled(founded)
    indexer, readers = Indexer(founded.database, path), Indexes(path)
    work(indexer)
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    if others:
        assert size(readers) == 0
    work(indexer)
    assert size(readers) == device.size


def test_store_and_index_are_for_one_account(founded: Founded, tmp_path: Path) -> None:
    work(Indexer(founded.database, tmp_path / "index.db"))
    with founded.database.write() as connection:
        connection.execute("UPDATE device SET contact = 0")
    found = {path.name: path.stat().st_mode & 0o077 for path in tmp_path.iterdir() if ".db" in path.name}
    assert {"gateway.db", "gateway.db-wal", "index.db"} <= set(found) and set(found.values()) == {0}


def test_few_among_many_are_found_without_reading_all(tmp_path: Path) -> None:
    connection = indexfile.open_index(tmp_path / "index.db")
    rows = [indexfile.Row(1, seq, "fault" if seq == 19_999 else "inference", 1, 1, 1, 0, None) for seq in range(20_000)]
    indexfile.put(connection, rows, [], [], (1, 0))
    steps: list[int] = []
    connection.set_progress_handler(lambda: steps.append(1), 1_000)
    assert [row.seq for row in indexfile.history(connection, 1, 0, 10, "fault")] == [19_999]
    assert indexfile.history(connection, 1, 0, 10, "tamper") == [] and steps == []
    assert [row.seq for row in indexfile.history(connection, 1, 5, 2, "inference")] == [5, 6]
