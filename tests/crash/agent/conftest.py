"""Benches and rigs of the agent's other tests."""

from tests.integration.agent.conftest import gateway
from tests.unit.agent.conftest import bench, make_bench

__all__ = ["bench", "gateway", "make_bench"]
