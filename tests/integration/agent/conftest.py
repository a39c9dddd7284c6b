"""Fixtures: one device on the shared broker's certificate authority, with a broker and a gateway of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import Broker
from tests.agentrig import MODEL, AgentRig, Gateway

PACKAGE = f"model: {{package: {MODEL / 'package'}}}"


@pytest.fixture
def gateway(broker: Broker) -> Iterator[Gateway]:
    with Gateway(broker) as running:
        yield running


@pytest.fixture
def rig(tmp_path: Path, gateway: Gateway, broker: Broker) -> Iterator[AgentRig]:
    """An enrolled device with the digits model configured; not started."""
    made = AgentRig.enrolled(tmp_path / "device", gateway, broker, extra=[PACKAGE])
    yield made
    made.close()
