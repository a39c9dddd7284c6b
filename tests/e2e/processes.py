"""Finds every process that a program started, however deep: they all carry a mark in their environment."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import pytest

MARK = "EDGESEAL_TEST_MARK"
LEAVE_TIMEOUT_S = 60.0


def marked() -> tuple[str, dict[str, str]]:
    """Return a fresh mark, and this process's environment with it."""
    mark = uuid.uuid4().hex
    return mark, {**os.environ, MARK: mark}


def alive(mark: str) -> list[str]:
    """Return the command lines of the running processes that carry ``mark``; the dead not yet reaped do not count."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                words = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                found.append(f"{place.name} {words.strip()}")
        except OSError:
            continue  # gone meanwhile, or another user's
    return found


def running(*words: str) -> int:
    """Return how many processes have all of ``words`` among their arguments."""
    count = 0
    for place in Path("/proc").glob("[0-9]*"):
        try:
            count += {word.encode() for word in words} <= set((place / "cmdline").read_bytes().split(b"\0"))
        except OSError:
            continue  # gone meanwhile
    return count


def assert_none_left(mark: str) -> None:
    """Wait until no process carries ``mark``; fail naming those that stay."""
    deadline = time.monotonic() + LEAVE_TIMEOUT_S
    while left := alive(mark):
        if time.monotonic() > deadline:
            pytest.fail("left behind: " + "; ".join(left))
        time.sleep(0.1)


def wait_for(what: str, ready: Callable[[], bool], *, seconds: float = 240.0) -> None:
    """Wait until ``ready()``; fail saying ``what`` did not happen."""
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not after {seconds:.0f} s")
        time.sleep(0.1)
