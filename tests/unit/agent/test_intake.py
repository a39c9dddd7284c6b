"""The loop between source and journal."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeseal.errors import FormatError, Unavailable
from edgeseal.record import decode_body
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


def make(bench: Bench, base: Path) -> tuple[Intake, Engine]:
    def forget(source: str, names: list[str]) -> None:
        bench.journal.execute(lambda c: c.execute("DELETE FROM taken"))

    source = FolderSource(bench.store, base / "in", base / "done", base / "failed", 0, forget)
    engine = Engine()
    return Intake(source, engine, Recorder(bench), bench.journal, poll_ms=5), engine  # type: ignore[arg-type]


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
    assert intake.failure is None and intake.status() == {"settled": 4, "failed": 2, "in_flight": 0}
    faults = [
        decode_body("fault", body)["detail"] for (body,) in bench.rows("SELECT body FROM records WHERE kind='fault'")
    ]
    assert [detail[:15] for detail in faults] == ["b: input_kind: ", "c: body_malform"]
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
