"""What people leave for an agent, and take from it, in hard circumstances."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest

from edgeseal.container import ZipSource
from edgeseal_agent import export, incidents

from .conftest import Bench


def test_a_request_that_is_just_being_written_is_left_alone(bench: Bench, tmp_path: Path) -> None:
    folder = tmp_path / incidents.FOLDER
    folder.mkdir()
    (folder / ".aa.open.new").symlink_to(folder / "renamed a moment ago")
    (folder / "aa.open").symlink_to(folder / "gone")
    incidents.ask(tmp_path, incidents.Request(incidents.new_id(), "open", 5, "the arm hit the fence"))
    assert incidents.take_up(tmp_path, bench.store, bench.journal) == 1


@pytest.mark.parametrize("why", ["\ud800", "", "x" * 513, 7])
def test_a_request_that_is_none_is_dropped(bench: Bench, tmp_path: Path, why: Any) -> None:
    folder = tmp_path / incidents.FOLDER
    folder.mkdir()
    text = {"id": "00" * 16, "state": "open", "before": 5, "why": why}
    (folder / "a.open").write_text(json.dumps(text))
    (folder / "b.open").write_text("[" * 4_000)
    assert incidents.take_up(tmp_path, bench.store, bench.journal) == 0 and not list(folder.iterdir())


def test_a_device_whose_clock_was_never_set_exports_a_zip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: 100.0)  # in January 1970

    def write(writer: Any) -> dict[str, Any]:
        writer._put("a/b", b"evidence" * 1_000)
        return {}

    export._to_zip(tmp_path / "out.zip", write)
    assert (tmp_path / "out.zip").stat().st_size < 1_000
    with (tmp_path / "out.zip").open("rb") as file:
        assert ZipSource(file).read("a/b") == b"evidence" * 1_000
