"""``edgeseal-agent status``: what the store holds, and what a running agent last said of itself."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from typing import Any, Final

from edgeseal import cbor
from edgeseal.head import SignedDeviceHead
from edgeseal_agent import outbox
from edgeseal_agent.config import Config
from edgeseal_agent.daemon import STATUS_NAME
from edgeseal_agent.degraded import Ledger
from edgeseal_agent.identity import Identity, is_running, open_store

_FINALITY: Final = {outbox.PENDING: "pending", outbox.CONFIRMED: "confirmed", outbox.FINAL: "final"}


def status(config: Config) -> dict[str, Any]:
    """Return the status as a JSON object; bytes in lower-case hex, sizes in records, disk in bytes.

    Raises UsageError ``state_missing``, ``schema_unknown``; InvariantBroken ``store_damaged``.
    """
    store = open_store(config)
    facts = store.meta()
    known = Identity.of(facts)
    with closing(store.reader()) as connection:
        connection.execute("BEGIN")
        report = _from_store(connection)
    model = facts.get("model")
    free = os.statvfs(config.state_dir)
    return {
        "name": known.name,
        "log": known.log.hex(),
        "kid": known.key.kid.hex(),
        "epoch": known.epoch,
        "boot": facts["boot"],
        "model": None if model is None else model.hex(),
        **report,
        "disk": {
            "store": store.bytes_on_disk(),
            "quota": config.storage.quota_mb * 1_048_576,
            "free": free.f_bavail * free.f_frsize,
        },
        "unrecorded": Ledger(config.state_dir).tally.count,
        "daemon": _last_words(config),
    }


def _from_store(connection: sqlite3.Connection) -> dict[str, Any]:
    records, seen, anchored = connection.execute("SELECT size, seen, anchored FROM log").fetchone()
    signed = connection.execute(
        "SELECT size, signed FROM heads WHERE signed IS NOT NULL ORDER BY size DESC LIMIT 1"
    ).fetchone()
    (unsigned,) = connection.execute("SELECT count(*) FROM heads WHERE signed IS NULL").fetchone()
    receipt = connection.execute(
        "SELECT size, pos, fleet_size, finality FROM receipts ORDER BY size DESC LIMIT 1"
    ).fetchone()  # fmt: skip
    (keyset,) = connection.execute("SELECT max(version) FROM keysets").fetchone()
    (inputs,) = connection.execute("SELECT count(*) FROM inputs").fetchone()
    refused = connection.execute("SELECT reason, count(*) FROM refusals GROUP BY reason").fetchall()
    held = connection.execute("SELECT id, start, stop FROM incidents ORDER BY start").fetchall()
    (gone,) = connection.execute("SELECT coalesce(sum(stop - start), 0) FROM stripped WHERE done").fetchone()
    (open_commands,) = connection.execute("SELECT count(*) FROM commands WHERE NOT done").fetchone()
    acknowledged = outbox.acknowledged(connection)
    anchor = cbor.decode(anchored, max_size=1024)
    return {
        "records": records,
        "size": 0 if signed is None else signed[0],
        "unsealed": records - (0 if signed is None else signed[0]),
        "heads_unsigned": unsigned,
        "head": None if signed is None else _head(signed[1]),
        "acknowledged": acknowledged,
        "unsent": records - acknowledged,
        "final": outbox.final(connection),
        "receipt": None if receipt is None else _receipt(receipt),
        "seen": _place(cbor.decode(seen, max_size=1024)),
        "anchored": None if anchor is None else {**_place(anchor[:3]), "chain": anchor[3], "block": anchor[4].hex()},
        "keyset": keyset,
        "inputs_kept": inputs,
        "bodies_gone": gone,
        "incidents": [{"id": identity.hex(), "from": start, "to": stop} for identity, start, stop in held],
        "commands": {"unfinished": open_commands, "refused": dict(refused)},
    }


def _head(signed: bytes) -> dict[str, Any]:
    head = SignedDeviceHead.decode(signed).head
    return {"size": head.size, "root": head.root.hex(), "t": head.clock.t}


def _receipt(row: tuple[int, int, int, int]) -> dict[str, Any]:
    size, position, fleet_size, finality = row
    return {"size": size, "position": position, "fleet_size": fleet_size, "state": _FINALITY[finality]}


def _place(row: list[Any] | None) -> dict[str, Any]:
    return {} if row is None else {"log": row[0].hex(), "size": row[1], "root": row[2].hex()}


def _last_words(config: Config) -> dict[str, Any]:
    """Return the file a running agent rewrites every second; ``running`` is found out from the lock, not believed."""
    try:
        words: dict[str, Any] = json.loads((config.state_dir / STATUS_NAME).read_text())
    except (OSError, ValueError):
        words = {}
    return {**words, "running": is_running(config.state_dir)}


def as_text(report: dict[str, Any]) -> str:
    """Return a status for people: a line a fact."""
    daemon, receipt, disk = report["daemon"], report["receipt"], report["disk"]
    uplink = daemon.get("uplink") or {}
    link = "connected" if uplink.get("connected") else uplink.get("trouble") or "not connected"
    lines = [
        f"device      {report['name']}, epoch {report['epoch']}",
        f"log         {report['log']}",
        f"agent       {'running, ' + link if daemon['running'] else 'stopped'}",
        f"records     {report['records']}, {report['unsealed']} not yet under a signed head",
        f"head        size {report['size']}",
        f"unrecorded  {report['unrecorded']} inferences that a gap record has still to tell",
        f"unsent      {report['unsent']} records have no receipt",
        f"final       {report['final']} records are under a receipt that the chain makes final",
        "receipt     none yet"
        if receipt is None
        else "receipt     {state}, size {size} at position {position}".format(**receipt),
        f"fleet seen  {report['seen'].get('size', 'nothing')}, keyset {report['keyset']}",
        f"model       {report['model'] or 'none active'}",
        f"disk        {disk['store'] // 1024} KiB of {disk['quota'] // 1_048_576} MiB, "
        f"{disk['free'] // 1_048_576} MiB free",
    ]
    if report["bodies_gone"]:
        lines.append(f"thinned     {report['bodies_gone']} records are kept without their bodies")
    for found in report["incidents"]:
        end = "on" if found["to"] is None else f"to {found['to']}"
        lines.append(f"incident    {found['id']}: records from {found['from']} {end} are held")
    if uplink.get("last_refusal"):
        lines.append("refused     {code}: {detail}".format(**uplink["last_refusal"]))
    if report["commands"]["refused"]:
        counts = ", ".join(f"{reason} {count}" for reason, count in report["commands"]["refused"].items())
        lines.append(f"commands    refused: {counts}")
    return "\n".join(lines)
