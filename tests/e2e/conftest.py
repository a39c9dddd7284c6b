"""Fixtures: one whole fleet that tests share, each with devices of its own."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgeseal_console.demo.fleet import Fleet
from edgeseal_console.demo.parts import CHECKOUT


@contextmanager
def running(folder: Path) -> Iterator[Fleet]:
    """Broker, chain, operator and running gateway, without a device."""
    with Fleet(folder / "work", print, show=print) as made:
        made.start_parts()
        made.make_operator()
        made.make_gateway()
        made.start_gateway()
        yield made


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet for all. Who stops or kills a part starts it again."""
    with running(tmp_path_factory.mktemp("fleet")) as made:
        yield made


@pytest.fixture(scope="module")
def fleet_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A fleet of its own, for what leaves a history behind that verdicts tell of."""
    with running(tmp_path_factory.mktemp("fleet-apart")) as made:
        yield made


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The held-out images of the digits, no two with the same bytes."""
    folder = tmp_path_factory.mktemp("held-out")
    with zipfile.ZipFile(CHECKOUT / "models" / "digits" / "held-out.zip") as archive:
        archive.extractall(folder)
    return list({path.read_bytes(): path for path in sorted(folder.glob("*.png"))}.values())
