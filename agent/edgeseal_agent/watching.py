"""The loop of a running agent: heartbeats, housekeeping, the status file, the watchdog, and a look at every part."""

from __future__ import annotations

import sqlite3
import time
from contextlib import suppress
from typing import Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal_agent import incidents, retention, statusfile
from edgeseal_agent.parts import Parts

RETAIN_EVERY_S: Final = 3_600.0
RING_EVERY_S: Final = 10.0


def watch(parts: Parts) -> None:
    """Return when asked to leave or when a run of one pass is over; raise what ended a part."""
    config, every_s = parts.config, statusfile.EVERY_S
    next_beat = next_retention = time.monotonic()
    pause_s = 0.1 if parts.options.once else min(every_s, parts.notifier.watchdog_s or every_s)
    while not parts.stopping.wait(pause_s):
        now = time.monotonic()
        raise_failures(parts)
        if now >= next_beat:
            next_beat = now + config.seal.heartbeat_s
            parts.journal.submit("heartbeat", _heartbeat(parts))
        if now >= next_retention:
            next_retention = now + (RING_EVERY_S if config.storage.ring_records else RETAIN_EVERY_S)
            parts.journal.execute(lambda connection: _retain(parts, connection))
        _keep_house(parts)
        statusfile.write(parts, running=True)
        parts.notifier.send("WATCHDOG=1")
        if parts.options.once and _is_idle(parts):
            break
    raise_failures(parts)


def _keep_house(parts: Parts) -> None:
    """Take up what people ask for, and make room; a journal that has stopped is named by the next look at parts."""
    with suppress(Unavailable):
        parts.model_watch.look(time.monotonic())
        parts.lock_watch.look(time.monotonic())
        if parts.intake is not None:
            parts.intake.tidy()
        incidents.take_up(parts.config.state_dir, parts.store, parts.journal)
        parts.incident_rule.step()
        _make_room(parts)


def _make_room(parts: Parts) -> None:
    """Let bodies go. Where none is left to take, inputs go on until the guard stops the agent and says why."""
    while (done := parts.thinning.step()) == "stripped":
        continue
    hopeless = done is None and parts.guard.wants_thinning() and not parts.thinning.expects()
    parts.guard.makes_room = parts.guard.thins and not hopeless
    if parts.intake is not None:
        (parts.intake.unbounded.set if hopeless else parts.intake.unbounded.clear)()


def _is_idle(parts: Parts) -> bool:
    return parts.loaded.is_set() and (parts.intake is None or parts.intake.idle.is_set())


def _heartbeat(parts: Parts) -> dict[str, int]:
    acknowledged = parts.uplink.status()["acknowledged"] if parts.uplink is not None else 0
    size = parts.journal.size
    return {
        "up": int(time.monotonic() - parts.started_s), "records": size, "free": parts.guard.free_bytes(),
        "unsent": max(0, size - acknowledged),
    }  # fmt: skip


def _retain(parts: Parts, connection: sqlite3.Connection) -> int:
    storage = parts.config.storage
    gone = retention.delete_beyond_ring(connection, storage.ring_records)
    return gone + retention.delete_old_inputs(connection, parts.believed_ms(), storage.retention_days)


def raise_failures(parts: Parts) -> None:
    """Raise what ended a part for good. A token that is away or a broker that is down ends nothing."""
    every = (parts.journal, parts.uplink, parts.commands, parts.intake)
    found = [part.failure for part in every if part is not None and part.failure is not None]
    if parts.model_failure is not None:
        found.append(parts.model_failure)
    if parts.sealer.failure is not None and not isinstance(parts.sealer.failure, Unavailable):
        found.append(parts.sealer.failure)
    for failure in found:
        if isinstance(failure, EdgesealError):
            raise failure
        raise InvariantBroken("agent_defect", f"{type(failure).__name__}: {failure}") from failure
