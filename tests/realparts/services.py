"""Fixtures: a real broker and a real chain, each on a port of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import Broker, Chain


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A running mosquitto of the test's own, which it may kill and start again."""
    part = Broker()
    try:
        yield part.start()
    finally:
        part.close()


@pytest.fixture(scope="session")
def shared_broker() -> Iterator[Broker]:
    """A running mosquitto that tests share, each under client names of its own."""
    with Broker() as part:
        yield part


@pytest.fixture
def chain(tmp_path: Path) -> Iterator[Chain]:
    """A running anvil of the test's own, one block for each transaction."""
    with Chain(tmp_path) as part:
        yield part


@pytest.fixture(scope="session")
def shared_chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    """A running anvil that tests share."""
    with Chain(tmp_path_factory.mktemp("chain")) as part:
        yield part
