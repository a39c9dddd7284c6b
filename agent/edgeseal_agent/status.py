"""``edgeseal-agent status``: what the store holds, and what a running agent last said of itself."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, Final

from edgeseal import cbor
from edgeseal.head import SignedDeviceHead
from edgeseal.model import parse_package
from edgeseal.record import decode_body
from edgeseal_agent import outbox, statusfile
from edgeseal_agent.config import Config
from edgeseal_agent.degraded import Ledger
from edgeseal_agent.identity import Identity, is_running, open_store
from edgeseal_agent.journal import CLOSED
from edgeseal_agent.packages import Packages

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
        "model_name": None if model is None else _model_name(config, model),
        **report,
        "disk": {
            "store": store.bytes_on_disk(),
            "quota": config.storage.quota_mb * 1_048_576,
            "free": free.f_bavail * free.f_frsize,
        },
        "tls_key": None if config.mqtt is None else config.mqtt.shown_key(),
        "unrecorded": Ledger(config.state_dir).tally.count,
        "daemon": _last_words(config),
    }


def _model_name(config: Config, digest: bytes) -> str | None:
    """Return name and version of a package by what its own files say, which its digest covers; None: it is not here."""
    files = Packages(config.model.packages_dir).find(digest)
    if files is None:
        return None
    manifest = parse_package(files).manifest
    return f"{manifest.name} {manifest.version}"


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
        "closed": _end(connection),
    }


def _end(connection: sqlite3.Connection) -> dict[str, Any] | None:
    """Return why the log has ended and the log (hex) that goes on, None while it goes on itself."""
    last = connection.execute("SELECT kind, body FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    if last is None or last[0] != CLOSED:
        return None
    body = decode_body(CLOSED, last[1])
    return {"reason": body["reason"], "next": None if body["next"] is None else body["next"].hex()}


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
        words: dict[str, Any] = json.loads((config.state_dir / statusfile.NAME).read_text())
    except (OSError, ValueError):
        words = {}
    return {**words, "running": is_running(config.state_dir)}


def as_text(report: dict[str, Any]) -> str:
    """Return a status for people: a line a fact. What is nothing to look at (no incident, no refusal) has no line."""
    daemon, disk = report["daemon"], report["disk"]
    uplink = daemon.get("uplink") or {}
    lines = [
        f"device      {report['name']}, epoch {report['epoch']}, start {report['boot']}",
        f"log         {report['log']}",
        f"key         {report['kid']}",
        f"agent       {'running, ' + _link(uplink) if daemon['running'] else 'not running'}",
        f"tls key     {report['tls_key'] or 'none: no broker is configured'}",
        f"records     {report['records']}, {_share(report['unsealed'], 'under a signed head')}",
        f"head        {_head_text(report['head'])}",
        f"receipts    {_share(report['unsent'], 'received by the gateway', report['records'])}",
        f"final       {report['final']} of {report['records']} records, by an anchor that the chain makes final",
        f"receipt     {_receipt_text(report['receipt'])}",
        f"fleet seen  {_fleet_text(report)}",
        f"model       {_model_text(report)}",
        f"inputs      {report['inputs_kept']} kept for export",
        f"disk        {disk['store'] // 1024} KiB of {disk['quota'] // 1_048_576} MiB, "
        f"{disk['free'] // 1_048_576} MiB free",
        *_worth_a_look(report, uplink, (daemon["running"] and daemon.get("intake")) or {}),
    ]
    return "\n".join(lines)


def _worth_a_look(report: dict[str, Any], uplink: dict[str, Any], intake: dict[str, Any]) -> Iterator[str]:
    """Yield the lines that are there only when there is something to say."""
    if (end := report["closed"]) is not None:
        yield f"closed      {'for good' if end['next'] is None else 'log ' + end['next'] + ' goes on'}: {end['reason']}"
    if intake.get("waits"):
        yield "inputs      wait where they are: storage.quota_mb is near, and bodies have to go first"
    if report["unrecorded"]:
        yield f"unrecorded  {report['unrecorded']} inferences that a gap record has still to tell"
    if report["bodies_gone"]:
        yield f"thinned     {report['bodies_gone']} records are kept without their bodies"
    for found in report["incidents"]:
        end = "on" if found["to"] is None else f"to {found['to']}"
        yield f"incident    {found['id']}: records from {found['from']} {end} are held"
    if uplink.get("last_refusal"):
        yield "refused     {code}: {detail}".format(**uplink["last_refusal"])
    if report["commands"]["unfinished"]:
        yield f"commands    {report['commands']['unfinished']} under way"
    if report["commands"]["refused"]:
        counts = ", ".join(f"{reason} {count}" for reason, count in report["commands"]["refused"].items())
        yield f"commands    refused: {counts}"


def _link(uplink: dict[str, Any]) -> str:
    return "connected" if uplink.get("connected") else uplink.get("trouble") or "not connected"


def _share(missing: int, what: str, total: int | None = None) -> str:
    if total is not None:
        return f"{total - missing} of {total} records {what}" + (f", {missing} wait" if missing else "")
    return f"{missing} not yet {what}" if missing else f"all {what}"


def _head_text(head: dict[str, Any] | None) -> str:
    if head is None:
        return "none yet"
    return f"size {head['size']}, signed {_when(head['t'])} by this device's clock, root {head['root']}"


def _when(milliseconds: int) -> str:
    """Return a time of the device's clock (ms since 1970) in UTC; the number itself where no calendar holds it."""
    try:
        return datetime.fromtimestamp(milliseconds // 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    except (OverflowError, OSError, ValueError):
        return f"at {milliseconds} ms"


def _receipt_text(receipt: dict[str, Any] | None) -> str:
    if receipt is None:
        return "none yet: nothing shows that anybody else has this history"
    return "{state}, for size {size}, at position {position} of the fleet log".format(**receipt)


def _fleet_text(report: dict[str, Any]) -> str:
    size = report["seen"].get("size")
    return f"{'nothing' if size is None else f'{size} statements'}, keyset {report['keyset']}"


def _model_text(report: dict[str, Any]) -> str:
    if report["model"] is None:
        return "none active"
    return f"{report['model_name'] or 'its package is not here'}, package {report['model']}"
