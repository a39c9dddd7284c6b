"""Text with one thing changed in it, and how it is refused."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from edgeseal.errors import FormatError


def refusal_of(decode: Callable[[bytes], object], data: bytes, old: bytes, new: bytes) -> str:
    """Return the code with which ``decode`` refuses ``data`` once the first ``old`` in it is ``new``."""
    assert old in data
    with pytest.raises(FormatError) as caught:
        decode(data.replace(old, new, 1))
    return caught.value.code
