"""The submitter in a process of its own, on a real chain, ended by SIGKILL at each of its steps; then a new one."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

from edgeseal_console.demo.parts import Chain
from edgeseal_gateway.store import anchors
from edgeseal_gateway.store.database import Database
from tests.crash.gateway.test_sender_crash import Anchored
from tests.integration.gateway.rig import until


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Killed(Database):
    """A store that ends the process at its n-th write: before or after the COMMIT."""

    at, after, count = 0, False, 0

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        self.count += 1
        with super().write() as connection:
            yield connection
            if self.count == self.at and not self.after:
                die()
        if self.count == self.at and self.after:
            die()


def in_child(work: Callable[[], None]) -> bool:
    """Run this in a process of its own; return whether it was killed, False if it came to its end."""
    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            work()
            os._exit(0)
        os._exit(1)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, "the child failed in a way nobody planned"
    return os.WIFSIGNALED(status)


def carry(anchored: Anchored, at: int, after: bool) -> None:
    """Carry the anchor until it is final or the process ends."""
    anchored.restart(confirmations=3)
    store = Killed(anchored.path)
    store.at, store.after = at, after
    anchored.sender._means.database = store

    def is_final() -> bool:
        anchored.sender.step()
        if anchored.ask(anchors.find, 2) is not None and anchored.network.anchored() == 2:
            anchored.chain.call("anvil_mine")
        return bool(anchored.finals())

    until(is_final, "the anchor is final")


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
def test_killed_at_each_write_one_after_another(tmp_path: Path, shared_chain: Chain, after: bool) -> None:
    """Process after process, each killed at a later write, then one that lives: one anchor, one nonce."""
    anchored = Anchored(tmp_path, shared_chain)
    at = 1
    while in_child(partial(carry, anchored, at, after)):
        at += 1
    assert at >= (2 if after else 4), "it was killed at several steps"
    assert anchored.ask(anchors.find, 2) is not None
    anchored.restart()
    anchored.work()
    anchored.audit()
    assert anchored.finals() == [2] and anchored.wire.transaction_count(anchored.account.address) == 1
