"""The start of an agent, in the order that lets the boot record be sealed before anything heavy is loaded: sealer, boot
record, what is missing before this log or went unrecorded, attestation, uplink; then, beside all of it, the model.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from typing import Any

from edgeseal_agent import feeding
from edgeseal_agent.activation import Activation, ping
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.commands import Commands
from edgeseal_agent.degraded import DEGRADE
from edgeseal_agent.disk import MB
from edgeseal_agent.mqttlink import make_link
from edgeseal_agent.parts import Parts, build_name
from edgeseal_agent.predecessor import LOST
from edgeseal_agent.uplink import Uplink

logger = logging.getLogger(__name__)


def start(parts: Parts) -> None:
    """Start everything and say that the agent is ready. Raises what a part raises; the caller leaves then."""
    parts.sealer.start(parts.journal)
    parts.journal.append("boot", _boot_fields(parts))
    _tell_lost(parts)
    parts.ledger.tell(parts.store, parts.journal)
    if parts.config.storage.on_failure == DEGRADE:
        parts.ledger.make_room()
    if parts.attests is not None:
        parts.attests.start()
    _start_uplink(parts)
    parts.loading = threading.Thread(target=feeding.load, args=(parts,), name="model", daemon=True)
    parts.loading.start()
    known, begun = parts.identity, parts.begun
    clean = "" if begun.clean else ", the run before did not end cleanly"
    logger.info("%s, log %s: %d records, start %d%s", known.name, known.log.hex(), begun.size, begun.boot, clean)
    parts.notifier.send("READY=1", f"STATUS=log {known.log.hex()}, {parts.journal.size} records")


def _boot_fields(parts: Parts) -> dict[str, Any]:
    reason = "init" if parts.begun.size == 2 else "start"
    return {"reason": reason, "clean": parts.begun.clean, "build": build_name(), "config": parts.config.digest}


def _tell_lost(parts: Parts) -> None:
    """Record, once and first of all, what is missing before this log."""
    text = parts.store.meta().get(LOST)
    if text is not None:

        def forget(connection: sqlite3.Connection, seq: int) -> None:
            connection.execute("DELETE FROM meta WHERE key = ?", (LOST,))

        parts.journal.append("gap", {"what": "predecessor", "count": 0, "detail": text[:400]}, forget)
        # Durable: the gap, and that it is told; one transaction.


def _start_uplink(parts: Parts) -> None:
    config, known = parts.config, parts.identity
    beliefs = Beliefs(parts.store, parts.journal, known)
    parts.uplink = Uplink(
        parts.store, parts.journal, beliefs, known, config.uplink, config.model.max_package_mb * MB
    )  # fmt: skip
    parts.activation = Activation(parts.store, parts.journal, parts.engine, config.model, parts.uplink.fetch)
    parts.commands = Commands(
        parts.store,
        parts.journal,
        beliefs,
        groups=config.groups,
        first_position=known.first_fleet_size,
        secret=parts.secret,
        actions={"ping": ping, "model.activate": parts.activation.obey},
        wait_sealed=parts.sealer.wait_for,
        ask=parts.uplink.ask,
        wall_ms=parts.clock.wall_ms,
    )
    if config.mqtt is None:
        return
    parts.link = make_link(config.mqtt, known.log, parts.uplink)
    parts.uplink.start(parts.link, parts.commands)
    parts.link.start()
