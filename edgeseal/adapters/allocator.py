"""The C library's allocator (glibc's ``mallopt``), set for a process that runs for long.

Neither function changes what a program does, only what memory it keeps. Both are without effect where the C library is
not glibc. To be called before threads are started.
"""

from __future__ import annotations

import ctypes
from typing import Final

_TRIM_THRESHOLD: Final = -1
_MMAP_THRESHOLD: Final = -3
_ARENA_MAX: Final = -8
"""The parameters' numbers in malloc.h."""


def share_one_heap() -> None:
    """Let all threads allocate from one heap: in one of its own each would keep what it once freed."""
    _set(_ARENA_MAX, 1)


def keep_freed(block: int, total: int) -> None:
    """Keep freed memory for the next allocation instead of giving it back to the system page by page.

    ``block``: the bytes from which on a single allocation still comes from the system and goes back there. ``total``:
    how many freed bytes at the end of the heap are kept.
    """
    _set(_MMAP_THRESHOLD, block)
    _set(_TRIM_THRESHOLD, total)


def _set(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)
