"""Fixtures: a founded store."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.gatewaystore import Founded


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    """A store with keyset 1 and its snapshot, nobody enrolled."""
    return Founded(tmp_path)
