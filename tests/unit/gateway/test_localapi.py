"""The command line's way to a running gateway: what is wrong with its token is an error with a name."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal.errors import UsageError
from edgeseal_gateway.localapi import _token


def test_the_first_token_counts_and_one_that_is_none_is_named(tmp_path: Path) -> None:
    path = tmp_path / "tokens"
    path.write_text("a-token-of-some-length\nanother\n")
    assert _token(path) == "a-token-of-some-length"
    for data in (b"", b" \n", b"t\xc3\xb6ken"):
        path.write_bytes(data)
        with pytest.raises(UsageError, match="token_file"):
            _token(path)
    with pytest.raises(UsageError, match="token_file"):
        _token(tmp_path / "none")
