"""The loop between source and journal."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import FormatError, Unavailable
from edgeseal.record import decode_body
from edgeseal_agent.disk import INPUT_COST
from edgeseal_agent.foldersource import FolderSource
from edgeseal_agent.intake import Intake

from .conftest import Bench
from .loop import wait


class Engine:
    """Runs no model: what an input holds says what becomes of it."""

    def __init__(self) -> None:
        self.ready = threading.Event()

    def run(self, raw: tuple[bytes, ...], submit: Callable[[Any], Any]) -> Any:
        if raw[0] == b"no input":
            raise FormatError("input_kind", "neither .npy nor PNG nor JPEG")
        return submit(raw[0])


class Recorder:
    """Makes records of what the engine hands over."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench

    def submit(self, raw: bytes, also: Any) -> Any:
        name = "NOT A NAME" if raw == b"no record" else "input"
        return self._bench.journal.submit("state", {"name": name, "pub": {"raw": raw}}, also)


def make(bench: Bench, base: Path, room: Callable[[int], int] = lambda pending: 1 << 20) -> tuple[Intake, Engine]:
    def forget(source: str, notes: list[tuple[str, bytes]]) -> None:
        bench.journal.execute(lambda c: c.execute("DELETE FROM taken"))

    source = FolderSource(bench.store, base / "in", base / "done", base / "failed", 0, forget)
    engine = Engine()
    made = Intake(source, engine, Recorder(bench), bench.journal, poll_ms=5, room=room)  # type: ignore[arg-type]
    return made, engine


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_each_input_ends_in_a_record_or_in_a_fault(bench: Bench, tmp_path: Path) -> None:
    intake, engine = make(bench, tmp_path)
    for name, data in (("a", b"good"), ("b", b"no input"), ("c", b"no record"), ("d", b"good too")):
        (tmp_path / "in" / name).write_bytes(data)
    intake.start()
    assert names(tmp_path / "in") == ["a", "b", "c", "d"]  # no model yet: they wait
    engine.ready.set()
    wait(lambda: intake.idle.is_set() and intake.settled == 4)
    intake.stop()
    assert (names(tmp_path / "done"), names(tmp_path / "failed")) == (["a", "d"], ["b", "c"])
    assert intake.failure is None and intake.status() == {
        "settled": 4, "failed": 2, "in_flight": 0, "waits": False,
    }  # fmt: skip
    faults = [
        decode_body("fault", body)["detail"] for (body,) in bench.rows("SELECT body FROM records WHERE kind='fault'")
    ]
    assert [detail[:15] for detail in faults] == ["b: input_kind: ", "c: body_malform"]
    intake.tidy()
    wait(lambda: bench.rows("SELECT count(*) FROM taken") == [(0,)])  # the notes go some time after the files


def test_a_dead_journal_ends_it_and_says_why(bench: Bench, tmp_path: Path) -> None:
    intake, engine = make(bench, tmp_path)
    engine.ready.set()
    (tmp_path / "in" / "a").write_bytes(b"good")
    bench.close()
    intake.start()
    wait(lambda: intake.failure is not None)
    intake.stop()
    assert isinstance(intake.failure, Unavailable) and intake.failure.code == "journal_stopped"
    assert names(tmp_path / "in") == ["a"]
    bench.open()


def test_inputs_wait_while_there_is_no_room(bench: Bench, tmp_path: Path) -> None:
    """They stay in the source; those on their way are counted against what room there is."""
    left, asked = [3 * INPUT_COST], []

    def room(pending: int) -> int:
        asked.append(pending)
        granted, left[0] = left[0], 0
        return granted

    intake, engine = make(bench, tmp_path, room)
    engine.ready.set()
    for name in "abcde":
        (tmp_path / "in" / name).write_bytes(b"good")
    intake.start()
    wait(lambda: intake.waits and intake.settled == 3)
    assert names(tmp_path / "in") == ["d", "e"] and not intake.idle.is_set()
    left[0] = INPUT_COST
    wait(lambda: intake.settled == 4)
    wait(lambda: intake.waits)
    intake.unbounded.set()  # nothing can be thinned: they go on, and the guard decides
    wait(lambda: intake.settled == 5)
    intake.stop()
    assert intake.failure is None and set(asked) <= {0, INPUT_COST, 2 * INPUT_COST, 3 * INPUT_COST}


def test_one_that_waits_for_room_lets_the_agent_leave(bench: Bench, tmp_path: Path) -> None:
    intake, engine = make(bench, tmp_path, lambda pending: 0)
    engine.ready.set()
    (tmp_path / "in" / "a").write_bytes(b"good")
    intake.start()
    wait(lambda: intake.waits)
    intake.stop()
    assert intake.settled == 0 and names(tmp_path / "in") == ["a"] and intake.failure is None


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (OSError(30, "Read-only file system", "in"), "source_failed"),
        (sqlite3.OperationalError("disk full"), "disk_full"),
    ],
)
def test_what_ends_it_has_a_remedy(bench: Bench, tmp_path: Path, error: Exception, code: str) -> None:
    def room(pending: int) -> int:
        raise error

    intake, engine = make(bench, tmp_path, room)
    engine.ready.set()
    (tmp_path / "in" / "a").write_bytes(b"good")
    intake.start()
    wait(lambda: intake.failure is not None)
    intake.stop()
    assert isinstance(intake.failure, Unavailable) and intake.failure.code == code and intake.failure.remedy
