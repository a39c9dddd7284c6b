"""What a bundle needs, page by page, in the forms the bundle keeps it (``docs/format.md`` section 14).

Every function reads in the caller's transaction and returns values ready for CBOR. A page ends at ``limit`` elements or
MAX_PAGE bytes, whichever comes first, and always holds at least one element if there is one.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Final, TypeVar

from edgeseal import cbor
from edgeseal.errors import UsageError
from edgeseal.merkle import inclusion_path_from
from edgeseal.network import NetworkProfile
from edgeseal_gateway.store import anchors, devicelog, devices, fleetlog, keysets, refusals, statekeep, subjects
from edgeseal_gateway.store.devices import Device

MAX_LIMIT: Final = 4_096
MAX_PAGE: Final = 8 << 20
MAX_SUBJECTS: Final = 1_024
_Element = TypeVar("_Element")


def _page(found: Iterable[_Element], weight: Callable[[_Element], int]) -> list[_Element]:
    page: list[_Element] = []
    total = 0
    for element in found:
        total += weight(element)
        if page and total > MAX_PAGE:
            break
        page.append(element)
    return page


def statements(connection: sqlite3.Connection, start: int, limit: int, below: int | None) -> list[list[Any]]:
    """Return ``[position, statement]`` from position ``start`` on."""
    leaves = _page(fleetlog.leaves(connection, start, limit, below), lambda leaf: len(leaf.statement))
    return [[leaf.pos, leaf.statement] for leaf in leaves]


def receipts(connection: sqlite3.Connection, log: bytes, start: int, limit: int, size: int) -> list[bytes]:
    """Return receipts for positions from ``start`` on under the signed head of ``size``. Raises UsageError
    ``no_head``.
    """
    head = _head(connection, log, size)
    stop = min(start + limit, size)
    return [fleetlog.receipt(connection, head, pos) for pos in range(start, stop)]


def _head(connection: sqlite3.Connection, log: bytes, size: int) -> fleetlog.StoredHead:
    head = fleetlog.head_at(connection, log, size)
    if head is None:
        raise UsageError("no_head", f"there is no signed fleet head of size {size}", "see /v1/export/fleet-heads")
    return head


def fleet_heads(
    connection: sqlite3.Connection, log: bytes, start: int, limit: int, sizes: Sequence[int] | None
) -> list[bytes]:
    """Return signed fleet heads of size ``start`` or more, or just those of ``sizes``."""
    if sizes is not None:
        return [_head(connection, log, size).signed for size in sizes]
    return [head.signed for head in fleetlog.heads(connection, log, start, limit)]


def consistency(connection: sqlite3.Connection, sizes: Sequence[int]) -> list[list[Any]]:
    """Return ``[size-1, size-2, path]`` between neighbours of ``sizes``, which must rise and lie within the log."""
    if any(not 0 < one < two for one, two in pairwise(sizes)):
        raise UsageError("sizes", "sizes must rise")
    if sizes and sizes[-1] > fleetlog.size(connection):
        raise UsageError("sizes", f"the fleet log has {fleetlog.size(connection)} leaves")
    pairs = pairwise(sizes)
    return [[one, two, fleetlog.consistency_path(connection, one, two)] for one, two in pairs]


def snapshots(
    connection: sqlite3.Connection, pos: int, subs: Sequence[str], start: int, limit: int
) -> list[dict[str, Any]]:
    """Return the proofs of what the snapshot at ``pos`` says of ``subs``, or of all its subjects from ``start`` on."""
    tree = subjects.tree_at(connection, pos)
    if tree is None:
        raise UsageError("no_snapshot", f"no snapshot stands at position {pos}", "see /v1/export/index")
    if len(subs) > MAX_SUBJECTS:
        raise UsageError("sizes", f"at most {MAX_SUBJECTS} subjects at once")
    wanted = subs or [entry.sub for entry in tree.entries[start : start + limit]]
    return [tree.prove(sub, pos).as_map() for sub in wanted]


def records(connection: sqlite3.Connection, device: Device, start: int, limit: int) -> dict[str, Any]:
    """Return records of a device from ``start`` on, in the form of a bundle's ``records/`` file."""
    stop = min(device.size, start + limit)
    found = devicelog.items(connection, device.id, start, stop)
    page = _page(found, lambda entry: sum(len(part) for part in entry[1][1:]) + 16)
    return {"v": 1, "log": device.log, "from": start, "items": [item for _, item in page]}


def heads(connection: sqlite3.Connection, device: Device, start: int, limit: int) -> list[bytes]:
    """Return a device's heads of size ``start`` or more."""
    return [row.head for row in devicelog.heads(connection, device.id, start, limit)]


def anchor_evidence(connection: sqlite3.Connection, start: int, limit: int) -> list[dict[str, Any]]:
    """Return the anchor evidence (14.1) of anchored sizes from ``start`` on."""
    found = anchors.final_from(connection, start, min(limit, 64))
    return [cbor.decode(one.evidence, max_size=MAX_PAGE) for one in found if one.evidence is not None]


def keys(connection: sqlite3.Connection, profile: NetworkProfile) -> list[dict[int, Any]]:
    """Return every key anybody signed with, as COSE_Keys: tenant root, keysets' members, devices."""
    found = {profile.tenant_root.kid: profile.tenant_root}
    for keyset, _ in keysets.every(connection):
        found |= {member.key.kid: member.key for member in keyset.members}
    found |= {device.key.kid: device.key for device in devices.every(connection)}
    return [{1: 2, -1: 1, -2: key.x, -3: key.y} for _, key in sorted(found.items())]


def evidence(connection: sqlite3.Connection, start: int, limit: int) -> list[dict[str, Any]]:
    """Return refused bytes that were kept, with log and reason code."""
    page = _page(refusals.evidence(connection, start, limit), lambda row: len(row[3]))
    return [{"id": one, "log": log, "code": code, "bytes": data} for one, log, code, data in page]


def index(connection: sqlite3.Connection, profile: NetworkProfile) -> dict[str, Any]:
    """Return the table of contents: devices, anchors, snapshots, the newest signed size."""
    head = fleetlog.newest_head(connection, profile.fleet_log)
    finals = anchors.final_from(connection, 0, 1 << 31)
    anchored = finals[-1].size if finals else 0
    return {
        "fleet_log": profile.fleet_log.hex(),
        "size": 0 if head is None else head.head.size,
        "devices": [
            {
                "log": device.log.hex(), "kid": device.key.kid.hex(), "size": device.size,
                "heads": devicelog.head_count(connection, device.id),
            }
            for device in devices.every(connection)
        ],
        "anchors": [
            anchor_summary(connection, profile, one) | {"state": statekeep.standing(connection, one.block or b"")}
            for one in finals
        ],
        "logged": [audience.hex() for audience in statekeep.logged_audiences(connection)],
        "snapshots": [
            {"pos": pos, "size": pos + 1, "anchored": any(one.size == pos + 1 for one in finals) and pos < anchored}
            for pos in subjects.snapshots(connection)
        ],
    }  # fmt: skip


def anchor_summary(connection: sqlite3.Connection, profile: NetworkProfile, one: anchors.Anchor) -> dict[str, Any]:
    """Return a final anchor as the API shows it."""
    assert one.block is not None and one.tx is not None
    return {
        "size": one.size, "root": fleetlog.root_at(connection, one.size).hex(), "chain": profile.chain_id,
        "contract": "0x" + profile.fleet_log_contract.hex(), "block": one.block.hex(), "number": one.number,
        "tx": one.tx.hex(), "log_index": one.log_index,
    }  # fmt: skip


def proof(connection: sqlite3.Connection, profile: NetworkProfile, device: Device, seq: int) -> dict[str, Any]:
    """Return everything that leads from one record to a signed fleet head, and to an anchor if there is one.

    Raises UsageError ``not_sequenced`` when the record is under no head of the fleet log (yet).
    """
    covering = devicelog.covering(connection, device.id, seq)
    if covering is None:
        raise UsageError("not_sequenced", f"record {seq} is not in the fleet log", "ask again in a moment")
    row, pos = covering
    ((_, item),) = devicelog.items(connection, device.id, seq, seq + 1)
    (leaf,) = devicelog.leaves(connection, device.id, seq, seq + 1)
    anchor = anchors.covering(connection, pos + 1)
    head = None if anchor is None else fleetlog.head_at(connection, profile.fleet_log, anchor.size)
    if head is None:
        anchor, head = None, fleetlog.newest_head(connection, profile.fleet_log, pos + 1)
    if head is None:
        raise UsageError("not_sequenced", f"record {seq} is not under a signed fleet head yet", "ask again in a moment")
    path = inclusion_path_from(devicelog.reader(connection, device.id), seq, row.size)
    return {
        "item": cbor.encode(item).hex(), "leaf": leaf.hex(), "seq": seq, "head": row.head.hex(), "size": row.size,
        "root": row.root.hex(), "path": [node.hex() for node in path], "pos": pos,
        "receipt": fleetlog.receipt(connection, head, pos).hex(), "fleet_size": head.head.size,
        "anchor": None if anchor is None else anchor_summary(connection, profile, anchor),
    }  # fmt: skip
