"""A follower steps back, hurries when somebody waits, and steps back again; nothing happens where it may not."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import pytest

from edgeseal_agent.background import Follower


def in_a_thread(act: Callable[[], list[int]]) -> list[int]:
    found: list[list[int]] = []
    thread = threading.Thread(target=lambda: found.append(act()))
    thread.start()
    thread.join()
    return found[0]


def test_it_steps_back_hurries_and_steps_back_again() -> None:
    def act() -> list[int]:
        follower, policies = Follower(), []
        for step in (follower.begin, follower.hurry, follower.hurry, follower.step_back):
            step()
            policies.append(os.sched_getscheduler(0))
        return policies

    assert in_a_thread(act) == [os.SCHED_BATCH, os.SCHED_OTHER, os.SCHED_OTHER, os.SCHED_BATCH]


def test_others_can_hurry_it() -> None:
    follower, begun, hurried, policies = Follower(), threading.Event(), threading.Event(), list[int]()

    def act() -> None:
        follower.begin()
        begun.set()
        hurried.wait(60)
        policies.append(os.sched_getscheduler(0))

    thread = threading.Thread(target=act)
    thread.start()
    assert begun.wait(60)
    follower.hurry()
    hurried.set()
    thread.join()
    assert policies == [os.SCHED_OTHER]


def test_a_kernel_that_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setscheduler", refuse)

    def act() -> list[int]:
        follower = Follower()
        follower.begin()
        follower.hurry()
        return [os.sched_getscheduler(0)]

    assert in_a_thread(act) == [os.SCHED_OTHER]


def test_before_it_began_there_is_nothing_to_change() -> None:
    follower = Follower()
    follower.hurry()
    follower.step_back()
    assert in_a_thread(lambda: [os.sched_getscheduler(0)]) == [os.SCHED_OTHER]
