"""``edgeseal-agent run``: one process on one store, from its lock to its end, whatever the recorder meets meanwhile.

What a run is made of stands in :mod:`edgeseal_agent.parts`; it is started, watched and left by the modules of those
names.
"""

from __future__ import annotations

import logging
import math
import signal
import sqlite3
import sys
import threading
from typing import Final

from edgeseal.adapters import allocator
from edgeseal.errors import EdgesealError
from edgeseal_agent import closing, identity, leaving, starting, watching
from edgeseal_agent.config import Config
from edgeseal_agent.degraded import DEGRADE, Ledger, Unrecorded, is_recorders
from edgeseal_agent.disk import DiskGuard
from edgeseal_agent.notify import Notifier
from edgeseal_agent.parts import Options, Parts
from edgeseal_agent.store import Store, store_error

logger = logging.getLogger(__name__)

SWITCH_S: Final = 0.0001
"""Seconds one thread may hold the interpreter while another waits: short, so that the journal never delays a model."""


def run(config: Config, options: Options) -> int:
    """Run until SIGTERM or SIGINT, or with ``once`` until the source is worked through; return the exit code, 0.

    Raises:
        UsageError: ``state_missing``, ``store_lost``, ``already_running``, and what the configuration asks for and
            cannot be had. A log that ended is only sent to its end.
        Unavailable: disk or token. InvariantBroken: the store, or a defect of ours. What was acknowledged is durable.
    """
    logging.basicConfig(format="edgeseal-agent: %(message)s", level=logging.INFO)
    sys.setswitchinterval(SWITCH_S)
    allocator.share_one_heap()
    stopping = _leave_on_signal()
    store = identity.open_store(config)
    with identity.exclusive(config.state_dir):
        if closing.ending(store) is not None:
            return _send_rest(config, store, stopping)
        ledger = Ledger(config.state_dir)
        unrecorded: Unrecorded | None = None
        while not stopping.is_set():
            try:
                _run_recorded(config, options, store, stopping, ledger)
                return 0
            except EdgesealError as error:
                if config.storage.on_failure != DEGRADE or options.once or not is_recorders(error):
                    raise
                logger.error("nothing can be recorded, the model goes on: %s", error)
                unrecorded = unrecorded or Unrecorded(config, ledger)
                unrecorded.carry_on(error, stopping)
    return 0


def _leave_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.set())
    return stopping


def _run_recorded(
    config: Config, options: Options, store: Store, stopping: threading.Event, ledger: Ledger
) -> None:  # fmt: skip
    """Run with everything recorded, until asked to leave. Raises what ended a part, in words of ours."""
    try:
        DiskGuard(store, config.storage).check()
        parts = Parts(config, options, store, stopping, ledger)
        try:
            starting.start(parts)
            watching.watch(parts)
        finally:
            leaving.leave(parts)
    except sqlite3.Error as error:
        raise store_error(error) from error


def _send_rest(config: Config, store: Store, stopping: threading.Event) -> int:
    """Bring a log that ended to the gateway, as far as it lets us before somebody asks to leave; return 0."""
    notifier = Notifier()
    notifier.send("READY=1", "STATUS=this log was closed")
    logger.info("this log was closed: nothing is recorded, what has no receipt is sent")
    whole = closing.send_rest(config, store, math.inf, stopping, tick=lambda: notifier.send("WATCHDOG=1"))
    logger.info("%s", "a receipt covers all of it" if whole else "left before a receipt covered all of it")
    return 0
