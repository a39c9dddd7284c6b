"""What the API's JSON answers say: read from the store, nothing decided here."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any

from edgeseal import cbor, cose, limits, record, segment
from edgeseal.errors import EvidenceError
from edgeseal.network import NetworkProfile
from edgeseal.statements.command import Command
from edgeseal_gateway import enforcement, export, intake
from edgeseal_gateway.chain.sendstate import SendRules
from edgeseal_gateway.figures import Figures
from edgeseal_gateway.store import (
    anchors,
    counts,
    devicelog,
    devices,
    fleetlog,
    guard,
    indexfile,
    keysets,
    orders,
    refusals,
    registry,
    statelost,
)
from edgeseal_gateway.store.devices import Device


def network(connection: sqlite3.Connection, profile: NetworkProfile, kid: bytes) -> dict[str, Any]:
    """Return the network profile, the gateway's kid, and how far the log and the keysets are."""
    keyset, _ = keysets.newest(connection, profile.fleet_log)
    return {
        "chain_id": profile.chain_id, "kind": profile.kind,
        "fleet_log_contract": "0x" + profile.fleet_log_contract.hex(),
        "identity_registry": "0x" + profile.identity_registry.hex(), "endpoints": list(profile.endpoints),
        "tenant_root": {"x": profile.tenant_root.x.hex(), "y": profile.tenant_root.y.hex()},
        "nonce": profile.nonce.hex(), "fleet_log": profile.fleet_log.hex(), "gateway_kid": kid.hex(),
        "size": fleetlog.size(connection), "keyset": keyset.version,
    }  # fmt: skip


def status(connection: sqlite3.Connection, profile: NetworkProfile, kid: bytes) -> dict[str, Any]:
    """Return counters and the state of log, anchors and refusals."""
    head = fleetlog.newest_head(connection, profile.fleet_log)
    final, current = anchors.newest_final(connection), anchors.open_anchor(connection)
    flying, states = anchors.in_flight(connection), counts.anchor_states(connection)
    wanted, block = anchors.newest_wanted(connection), guard.blocked(connection, profile.fleet_log)
    everybody = devices.every(connection)
    return {
        "fleet_log": profile.fleet_log.hex(), "gateway_kid": kid.hex(), "size": fleetlog.size(connection),
        "head": None if head is None else {"size": head.head.size, "root": head.head.root.hex()},
        "devices": {state: sum(one.state == state for one in everybody) for state in _STATES},
        "records": sum(one.size for one in everybody), "bytes": sum(one.bytes for one in everybody),
        "anchor": {
            "final": None if final is None else export.anchor_summary(connection, profile, final),
            "sent": None if current is None else current.size, "wanted": None if wanted is None else wanted.size,
            "chain_size": guard.chain_size(connection),
            "final_by": "tag" if SendRules.of(profile, 1).by_tag else "confirmations",
            "in_flight": [
                {"size": one.size, "state": one.state, "finality": anchors.finality(connection, one.size),
                 "number": one.number, "tx": None if one.tx is None else one.tx.hex(), "since": one.since_ms}
                for one in flying
            ],
            "states": states,
        },
        "signing_blocked": None if block is None else {
            "code": block.code, "message": block.message, "remedy": block.remedy
        },
        "registries": registries(connection),
        "state_proofs": statelost.summary(connection),
        "refusals": refusals.totals(connection),
        "newest_refusals": [
            {"log": log.hex(), "code": code, "n": n, "at": at, "detail": detail,
             "remedy": enforcement.REMEDIES.get(code)}
            for log, code, n, at, detail in refusals.newest(connection, 20)
        ],
    }  # fmt: skip


def account(figures: Figures) -> dict[str, Any]:
    """Return how account, endpoints and lease stand, as the stages last measured them. Amounts in wei."""
    chain, lease = figures.chain, figures.lease
    found: dict[str, Any] = {"lease": {"held": lease.held, "token": lease.token}}
    if chain is None:
        return found
    state = chain.state
    return found | {
        "account": {
            "address": "0x" + chain.address.hex(), "nonce": chain.nonce, "balance_wei": chain.balance,
            "funds": None if state is None else state.funds.value, "days": None if state is None else state.days,
            "words": None if state is None else state.words, "spent_hour_wei": chain.spent_hour,
            "spent_day_wei": chain.spent_day, "limit_hour_wei": chain.limit_hour, "limit_day_wei": chain.limit_day,
        },
        "fees": {
            "base_fee_wei": chain.base_fee, "tip_wei": chain.tip, "max_fee_wei": chain.max_fee, "bumps": chain.bumps,
            "sent": chain.sent, "reorgs": chain.reorgs,
        },
        "rpc": [{"endpoint": o.name, "up": o.up, "height": o.height, "errors": o.errors} for o in chain.rpc],
    }  # fmt: skip


_STATES = (devices.ACTIVE, devices.FROZEN, devices.REVOKED, devices.CLOSED, devices.UNREGISTERED)


def registries(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return how far the registries on chain are mirrored, what is enforced, and the newest emergency halts."""
    tip = registry.tip(connection)
    return {
        "block": None if tip is None else {"number": tip.number, "hash": tip.hash.hex(), "time": tip.time},
        "events": registry.counts(connection), "enforced": enforcement.enforced(connection),
        "halts": [
            {
                "audience": row.object.hex(), "digest": row.subject.hex(), "operator": row.fields["operator"].hex(),
                "block": row.number,
            }
            for row in registry.newest(connection, "HaltLogged", 20)
        ],
    }  # fmt: skip


def device(connection: sqlite3.Connection, index: sqlite3.Connection, one: Device) -> dict[str, Any]:
    """Return one device as the API shows it."""
    leaf = devicelog.newest_statement(connection, one.log, fleetlog.size(connection))
    model = indexfile.model(index, one.id)
    return {
        "log": one.log.hex(), "kid": one.key.kid.hex(), "x": one.key.x.hex(), "y": one.key.y.hex(), "name": one.name,
        "assurance": one.assurance, "groups": list(one.groups), "cadence": one.cadence_s, "state": one.state,
        "size": one.size, "root": one.root.hex(), "enrolled": one.enrolled,
        "head_pos": None if leaf is None else leaf.pos, "anchored_size": _anchored_size(connection, one),
        "model": None if model is None else {
            "package": model.package.hex(), "file": model.file.hex(), "name": model.name, "version": model.version
        },
        "last_record_t": indexfile.last_t(index, one.id), "last_contact": one.contact or None,
        "refusals": refusals.of_log(connection, one.log),
    }  # fmt: skip


def _anchored_size(connection: sqlite3.Connection, one: Device) -> int:
    """Return how many of the device's records are under a final anchor."""
    final = anchors.newest_final(connection)
    leaf = None if final is None else devicelog.newest_statement(connection, one.log, final.size)
    row = None if leaf is None else devicelog.head_by_digest(connection, one.id, leaf.digest)
    return 0 if row is None else row.size


def device_list(connection: sqlite3.Connection, index: sqlite3.Connection) -> dict[str, Any]:
    """Return every device, and who asked without being enrolled."""
    return {
        "devices": [device(connection, index, one) for one in devices.every(connection)],
        "applicants": [
            {"log": log.hex(), "key": {"x": x.hex(), "y": y.hex()}, "size": size, "last": at}
            for log, x, y, size, at in devices.applicants(connection)
        ],
    }


def history(
    connection: sqlite3.Connection, index: sqlite3.Connection, one: Device, start: int, limit: int, kind: str | None
) -> dict[str, Any]:
    """Return indexed records with their bodies decoded."""
    rows = indexfile.history(index, one.id, start, limit, kind)
    found = []
    for row, item, leaf in _with_items(connection, one, rows):
        found.append(
            {
                "seq": row.seq, "kind": row.kind, "t": row.t, "boot": row.boot, "mono": row.mono, "form": item[0],
                "leaf": leaf.hex(), "flag": row.flag, "body": _body(row.kind, item),
            }
        )  # fmt: skip
    following = rows[-1].seq + 1 if len(rows) == limit else None
    return {"records": found, "next": following, "indexed": indexfile.indexed_size(index, one.id)}


def _with_items(
    connection: sqlite3.Connection, one: Device, rows: list[indexfile.Row]
) -> Iterator[tuple[indexfile.Row, list[Any], bytes]]:
    """Yield each row with its item and leaf; rows that follow each other are read in one go."""
    at = 0
    while at < len(rows):
        end = at + 1
        while end < len(rows) and rows[end].seq == rows[end - 1].seq + 1:
            end += 1
        start, stop = rows[at].seq, rows[end - 1].seq + 1
        items = devicelog.items(connection, one.id, start, stop)
        leaves = devicelog.leaves(connection, one.id, start, stop)
        for row, (_, item), leaf in zip(rows[at:end], items, leaves, strict=True):
            yield row, item, leaf
        at = end


def _body(kind: str, item: list[Any]) -> Any:
    if item[0] != segment.WHOLE:
        return None
    try:
        return readable(record.decode_body(kind, item[2]))
    except EvidenceError:
        return None


def readable(value: Any) -> Any:
    """Return decoded CBOR as JSON can hold it: byte strings become lower-case hex."""
    if type(value) is bytes:
        return value.hex()
    if type(value) is dict:
        return {str(key): readable(entry) for key, entry in value.items()}
    return [readable(entry) for entry in value] if type(value) is list else value


def statement(connection: sqlite3.Connection, profile: NetworkProfile, digest: bytes) -> dict[str, Any] | None:
    """Return where a statement stands, with its best receipt; None when nobody knows it."""
    leaf = fleetlog.by_digest(connection, digest)
    if leaf is None:
        waiting = orders.pending_by_digest(connection, digest)
        if waiting is None:
            return None
        typ, sub, data = waiting
        return {
            "digest": digest.hex(), "typ": typ, "sub": sub, "state": intake.QUEUED, "pos": None,
            "statement": data.hex(), "receipt": None, "size": None, "anchor": None, "finality": anchors.PENDING,
        }  # fmt: skip
    anchor = anchors.covering(connection, leaf.pos + 1)
    head = None if anchor is None else fleetlog.head_at(connection, profile.fleet_log, anchor.size)
    head = head or fleetlog.newest_head(connection, profile.fleet_log, leaf.pos + 1)
    return {
        "digest": digest.hex(), "typ": leaf.typ, "sub": leaf.sub, "state": intake.SEQUENCED, "pos": leaf.pos,
        "statement": leaf.statement.hex(),
        "receipt": None if head is None else fleetlog.receipt(connection, head, leaf.pos).hex(),
        "size": None if head is None else head.head.size,
        "anchor": None if anchor is None else export.anchor_summary(connection, profile, anchor),
        "finality": anchors.finality(connection, leaf.pos + 1),
    }  # fmt: skip


def commands(
    connection: sqlite3.Connection, index: sqlite3.Connection, sub: str | None, start: int, limit: int
) -> dict[str, Any]:
    """Return commands from position ``start`` on, with what each device did about them."""
    if sub is None:
        leaves = fleetlog.of_type(connection, Command.NAME, start, limit)
    else:
        leaves = fleetlog.of_subject(connection, sub, Command.NAME, start)[:limit]
    logs = {one.id: one.log for one in devices.every(connection)}
    found = []
    for leaf in leaves:
        done = {one.dev: one for one in indexfile.results(index, leaf.digest)}
        sent = [one.id for one in devices.with_audience(connection, leaf.sub)]
        found.append(
            _command(connection, leaf)
            | {
                "results": [
                    {
                        "log": logs[dev].hex(), "state": done[dev].state if dev in done else "sent",
                        "reason": done[dev].reason if dev in done else None,
                        "seq": done[dev].seq if dev in done else None,
                    }
                    for dev in dict.fromkeys([*sent, *done])
                ]
            }
        )  # fmt: skip
    return {"commands": found, "next": leaves[-1].pos + 1 if len(leaves) == limit else None}


def _command(connection: sqlite3.Connection, leaf: fleetlog.Leaf) -> dict[str, Any]:
    signed = cose.decode(leaf.statement, limit=limits.MAX_COMMAND)
    assert signed.payload is not None
    content = Command.from_payload(signed.payload)
    opening = orders.opening(connection, leaf.digest)
    return {
        "digest": leaf.digest.hex(), "id": content.id.hex(), "sub": leaf.sub, "action": content.action,
        "pos": leaf.pos, "exp": content.expires_size, "signer": signed.kid.hex(),
        "logged": _logged(connection, leaf.digest),
        "args": None if opening is None else opening.args.hex(),
        "arguments": None if opening is None else readable(cbor.decode(opening.args, max_size=limits.MAX_ARGS)),
    }  # fmt: skip


def _logged(connection: sqlite3.Connection, digest: bytes) -> dict[str, Any] | None:
    """Return where the mirror saw a command logged on chain, None where it did not."""
    for row in registry.about(connection, digest):
        if row.event == "CommandLogged":
            return {"block": row.number, "hash": row.block.hex(), "operator": row.fields["operator"].hex()}
    return None


def keyset_list(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return every keyset of the log."""
    return {
        "keysets": [
            {
                "version": keyset.version, "pos": leaf.pos, "digest": leaf.digest.hex(),
                "statement": leaf.statement.hex(),
            }
            for keyset, leaf in keysets.every(connection)
        ]
    }  # fmt: skip


def keyset_version(connection: sqlite3.Connection, log: bytes) -> int:
    """Return the newest keyset's version."""
    keyset, _ = keysets.newest(connection, log)
    return keyset.version


def revoked(connection: sqlite3.Connection) -> dict[str, Any]:
    """Return every key that ended."""
    found = []
    for kid, role, until, source in orders.revoked(connection):
        leaf = fleetlog.last_of_subject(connection, kid.hex(), "revocation")
        found.append(
            {
                "kid": kid.hex(), "role": role, "until": until, "source": source,
                "pos": None if leaf is None else leaf.pos,
            }
        )  # fmt: skip
    return {"keys": found}
