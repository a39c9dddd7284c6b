"""Fixtures: one whole fleet that tests share, each with devices of its own."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseal_console.demo.fleet import Fleet
from edgeseal_console.demo.parts import CHECKOUT


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Broker, chain, operator and running gateway, without a device. Who stops or kills a part starts it again."""
    with Fleet(tmp_path_factory.mktemp("fleet") / "work", print, show=print) as made:
        made.start_parts()
        made.make_operator()
        made.make_gateway()
        made.start_gateway()
        yield made


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The held-out images of the digits, no two with the same bytes."""
    folder = tmp_path_factory.mktemp("held-out")
    with zipfile.ZipFile(CHECKOUT / "models" / "digits" / "held-out.zip") as archive:
        archive.extractall(folder)
    return list({path.read_bytes(): path for path in sorted(folder.glob("*.png"))}.values())
