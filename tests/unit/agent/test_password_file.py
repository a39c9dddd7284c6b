"""The broker's password comes from a file; one that holds none, or cannot be read, is an error with a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal.errors import UsageError
from edgeseal_agent.mqttlink import _first_line


@pytest.mark.parametrize(("data", "found"), [(b"", ""), (b"s3cret\nmore", "s3cret"), (b"\n", ""), (b"a b", "a b")])
def test_the_first_line_counts(tmp_path: Path, data: bytes, found: str) -> None:
    (tmp_path / "password").write_bytes(data)
    assert _first_line(tmp_path / "password") == found


def test_what_cannot_be_read_is_named_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "password").write_bytes(b"s3cret\xff")
    for path in (tmp_path / "password", tmp_path / "none", tmp_path):
        with pytest.raises(UsageError, match="password_file") as caught:
            _first_line(path)
        assert "s3cret" not in str(caught.value)
