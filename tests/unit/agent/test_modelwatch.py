"""A swapped model file is seen, recorded once, and ends the run where the configuration says so."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from edgeseal.adapters.packagedir import read_package
from edgeseal.errors import UsageError
from edgeseal.model import package_digest
from edgeseal.record import decode_body
from edgeseal_agent.configmodel import ModelConfig
from edgeseal_agent.modelwatch import ModelWatch
from edgeseal_console.demo.parts import CHECKOUT

from .conftest import Bench

PACKAGE = CHECKOUT / "models" / "digits" / "package"
DIGEST = package_digest(read_package(PACKAGE))


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    return shutil.copytree(PACKAGE, tmp_path / "packages" / DIGEST.hex())


def watching(bench: Bench, folder: Path, **changes: Any) -> ModelWatch:
    fields: dict[str, Any] = {
        "package": None, "packages_dir": folder.parent, "max_package_mb": 1, "runtime": None, "resolver": "auto",
        "delegate": None, "threads": 1, "rehash_s": 100,
    }  # fmt: skip
    return ModelWatch(ModelConfig(**{**fields, **changes}), bench.journal, lambda: DIGEST)


def tampers(bench: Bench) -> list[str]:
    rows = bench.rows("SELECT body FROM records WHERE kind = 'tamper' ORDER BY seq")
    return [decode_body("tamper", body)["detail"] for (body,) in rows]


def the_model(folder: Path) -> Path:
    return next(folder.rglob("*.tflite"))


def test_files_as_they_should_be_say_nothing(bench: Bench, installed: Path) -> None:
    watch = watching(bench, installed)
    for now in (0.0, 1.0, 200.0, 400.0):
        watch.look(now)
    ModelWatch(watch._config, bench.journal, lambda: None).look(0.0)
    assert tampers(bench) == []


def test_a_swap_is_recorded_once(bench: Bench, installed: Path) -> None:
    watch = watching(bench, installed)
    watch.look(0.0)
    model = the_model(installed)
    intact = model.read_bytes()
    model.write_bytes(intact[:-1] + bytes([intact[-1] ^ 1]))
    for now in (1.0, 2.0, 300.0):
        watch.look(now)
    (detail,) = tampers(bench)
    assert detail.startswith(DIGEST.hex()) and "now hash to" in detail
    model.write_bytes(intact)
    watch.look(301.0)
    model.unlink()
    watch.look(302.0)
    shutil.rmtree(installed)
    watch.look(303.0)
    assert len(tampers(bench)) == 3, "gone file, gone folder; whole again in between"


def test_a_swap_behind_the_times_is_found_by_the_clock(bench: Bench, installed: Path) -> None:
    """Same size, same times, written in place: what only hashing finds."""
    watch = watching(bench, installed)
    watch.look(0.0)
    marks = watch._seen
    model = the_model(installed)
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert marks is not None
    watch._marks = lambda digest: marks[1]  # type: ignore[method-assign]
    watch.look(50.0)
    assert tampers(bench) == []
    watch.look(101.0)
    watch.look(202.0)
    assert len(tampers(bench)) == 1
    assert os.path.exists(model)


def test_stop_ends_the_run_once_it_is_on_record(bench: Bench, installed: Path) -> None:
    watch = watching(bench, installed, on_tamper="stop")
    watch.look(0.0)
    (installed / "more.txt").write_text("not of this package")
    with pytest.raises(UsageError, match="model_tampered"):
        watch.look(1.0)
    assert len(tampers(bench)) == 1


def test_a_flag_stands_while_the_files_are_not_those_activated(bench: Bench, installed: Path) -> None:
    watch = watching(bench, installed)
    watch.look(0.0)
    before = watch.flagged
    more = installed / "more.txt"
    more.write_text("not of this package")
    watch.look(1.0)
    during = watch.flagged
    more.unlink()
    watch.look(2.0)
    assert (before, during, watch.flagged) == (False, True, False)


@pytest.mark.parametrize("reason", [None, "it does not load"])
def test_the_safe_model_takes_over_or_the_run_ends(bench: Bench, installed: Path, reason: str | None) -> None:
    watch = watching(bench, installed, on_tamper="safe-model")
    watch._fall_back = lambda: reason
    watch.look(0.0)
    (installed / "more.txt").write_text("not of this package")
    if reason is None:
        watch.look(1.0)
        assert not watch.flagged
    else:
        with pytest.raises(UsageError, match=f"model_tampered.*{reason}"):
            watch.look(1.0)
    assert len(tampers(bench)) == 1
