"""What a start does with an active model whose files are not in their place any more."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeseal.adapters.packagedir import read_package, write_package
from edgeseal.model import package_digest
from edgeseal.record import decode_body
from edgeseal_agent.activation import Activation
from edgeseal_agent.configmodel import ModelConfig
from edgeseal_agent.inference import Engine
from tests.models.digits import DIGITS, with_manifest

from .conftest import Bench

PACKAGE = DIGITS / "package"
DIGEST = package_digest(read_package(PACKAGE))
Start = Callable[..., Engine]


@pytest.fixture
def start(bench: Bench, tmp_path: Path) -> Start:
    """A start with the configured model, and settings of ``model``; returns what then runs."""

    def make(**changes: Any) -> Engine:
        fields: dict[str, Any] = {
            "package": PACKAGE, "packages_dir": tmp_path / "packages", "max_package_mb": 1, "runtime": None,
            "resolver": "auto", "delegate": None, "threads": 1, "rehash_s": 100,
        }  # fmt: skip
        engine = Engine()
        config = ModelConfig(**{**fields, **changes})
        Activation(bench.store, bench.journal, engine, config, lambda _: b"").start_up()
        return engine

    return make


def running(engine: Engine) -> bytes | None:
    return None if engine.package is None else engine.package.digest


def said(bench: Bench) -> list[tuple[str, str | None]]:
    """Kind and reason of the records about the model."""
    rows = bench.rows("SELECT kind, body FROM records WHERE kind LIKE 'model.%' OR kind = 'tamper' ORDER BY seq")
    return [(kind, decode_body(kind, body).get("reason")) for kind, body in rows]


def swap(tmp_path: Path) -> Path:
    (model,) = (tmp_path / "packages" / DIGEST.hex()).rglob("*.tflite")
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    return model


ACTIVATED = ("model.activated", None)
TAMPER = ("tamper", None)
CHANGED = ("model.rejected", "package_mismatch")


def test_files_changed_meanwhile_are_on_record_and_put_right(bench: Bench, start: Start, tmp_path: Path) -> None:
    assert running(start()) == DIGEST
    swap(tmp_path)
    assert running(start()) == DIGEST, "from the configured package, which has the digest"
    assert said(bench) == [ACTIVATED, TAMPER]
    assert running(start(package=None)) == DIGEST
    assert said(bench) == [ACTIVATED, TAMPER], "they are right again"


@pytest.mark.parametrize("changes", [{"package": None}, {"on_tamper": "stop"}])
def test_changed_files_never_run(bench: Bench, start: Start, tmp_path: Path, changes: dict[str, Any]) -> None:
    start()
    swap(tmp_path)
    assert running(start(**changes)) is None
    assert said(bench) == [ACTIVATED, TAMPER, CHANGED]


def test_the_safe_model_takes_their_place(bench: Bench, start: Start, tmp_path: Path) -> None:
    files = with_manifest('"1.0.0"', '"1.0.1"')
    write_package(files, tmp_path / "safe")
    start()
    swap(tmp_path)
    engine = start(on_tamper="safe-model", safe_package=tmp_path / "safe", package=None)
    assert running(engine) == package_digest(files) != DIGEST
    assert said(bench) == [ACTIVATED, TAMPER, CHANGED, ACTIVATED]


def test_a_package_that_is_gone_is_no_tampering(bench: Bench, start: Start, tmp_path: Path) -> None:
    start()
    shutil.rmtree(tmp_path / "packages" / DIGEST.hex())
    assert running(start(package=None)) is None
    assert running(start()) == DIGEST
    assert said(bench) == [ACTIVATED, ("model.rejected", "package_unavailable")]
