"""``edgeseal-agent decommission``: the log ends for good, the gateway has all of it, and the key is destroyed.

In this order: whatever fails before the last step leaves a key, and a second call goes on. What stays on the disk is
evidence: the store, and a note of what was done. What a token's destruction is worth is the token's affair: SoftHSM
unlinks files, which a forensic lab may read again.
"""

from __future__ import annotations

import json
import threading
import time
from contextlib import closing as closed_after
from typing import Any, Final

from edgeseal.errors import Unavailable, UsageError
from edgeseal_agent import closing, identity
from edgeseal_agent.config import Config
from edgeseal_agent.store import Store

NOTE_NAME: Final = "decommissioned.json"
SCHEMA: Final = "edgeseal-decommissioned/1"


def decommission(
    config: Config, reason: str, patience_s: float, make_link: closing.MakeLink = closing.connect
) -> dict[str, Any]:
    """End the log, wait for a receipt over all of it, destroy the key, and return what ``decommissioned.json`` says.

    Raises:
        UsageError: ``reason_invalid``; ``closed_otherwise`` for a log that was rotated; ``no_uplink``; the token's.
        Unavailable: ``receipt_missing``: the gateway did not confirm in time; the log is closed, the key is there, and
            the same call goes on. Token or disk. InvariantBroken: the store.
    """
    if not 0 < len(reason.encode()) <= 512:
        raise UsageError("reason_invalid", "a reason has 1 to 512 bytes", "say in one sentence why")
    note = config.state_dir / NOTE_NAME
    store = identity.open_store(config)
    with identity.exclusive(config.state_dir):
        if note.exists():
            found: dict[str, Any] = json.loads(note.read_text())
            return found
        if config.mqtt is None and make_link is closing.connect:
            raise UsageError(  # before anything ends: a log that was closed records nothing any more
                "no_uplink",
                "without mqtt no gateway can say that it has the whole log",
                "set mqtt in the configuration",
            )
        end = closing.ending(store)
        last = {"reason": reason, "next": None} if end is None or end["next"] is not None else _plain(end)
        closing.close_log(config, store, [("closed", last)])
        # Durable: the log has ended. The key signs nothing any more but this last head again.
        if not closing.send_rest(config, store, patience_s, threading.Event(), make_link):
            raise Unavailable(
                "receipt_missing",
                f"no receipt covers the whole log after {patience_s:.0f} s; the key is kept",
                "call decommission again when the gateway can be reached",
            )
        report = _report(store, str(last["reason"]))
        identity.destroy_key(config.key)
        # Durable, as far as the token is: the key is gone. A restart finds no key, and no unsigned head either.
        identity.write_file(note, json.dumps(report, indent=2).encode() + b"\n", 0o644)
        return report


def _plain(end: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in end.items() if name != "s"}


def _report(store: Store, reason: str) -> dict[str, Any]:
    known, (size, root, head) = identity.Identity.of(store.meta()), closing.last_head(store)
    with closed_after(store.reader()) as connection:
        position, receipt = connection.execute("SELECT pos, receipt FROM receipts WHERE size = ?", (size,)).fetchone()
    return {
        "schema": SCHEMA, "name": known.name, "epoch": known.epoch, "log": known.log.hex(), "kid": known.key.kid.hex(),
        "reason": reason, "size": size, "root": root.hex(), "head": head.hex(), "position": position,
        "receipt": receipt.hex(), "destroyed": int(time.time()),
    }  # fmt: skip
