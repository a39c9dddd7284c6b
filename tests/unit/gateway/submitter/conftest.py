"""Fixtures: a sender on endpoints in memory."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.submitter import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    """One endpoint, three confirmations, finality by the tag; an anchor of size 2 is wanted."""
    return Rig(tmp_path)
