"""Fixtures: a gateway on real parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import Broker, Chain
from tests.gatewaystore import Founded
from tests.integration.gateway.rig import Rig


@pytest.fixture(scope="module")
def rig(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A founded gateway, running, that the tests of a module share: each with devices of its own."""
    folder = tmp_path_factory.mktemp("gateway")
    with Broker() as broker, Chain(folder) as chain:
        made = Rig(folder, broker, chain)
        try:
            made.start()
            yield made
        finally:
            made.close()


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    """A store with keyset 1 and its snapshot, nobody enrolled."""
    return Founded(tmp_path)
