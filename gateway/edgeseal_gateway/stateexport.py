"""What a bundle needs of the chain's state, page by page, in the forms it keeps it (``docs/format.md`` 14.2–14.4).

Every function reads in the caller's transaction and returns values ready for CBOR.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from edgeseal import cbor
from edgeseal.commandlog import HALT
from edgeseal.evmproof import keccak256, multiproof
from edgeseal.stateevidence import UNSEQUENCED, CommandChain, StorageEvidence
from edgeseal_gateway.store import registry, statekeep

MAX_PAGE: Final = 32 << 20
"""The longest page, bytes: a storage proof of as many slots and nodes as one file may have."""


def accounts(connection: sqlite3.Connection, start: int, limit: int) -> list[dict[str, Any]]:
    """Return the accounts (14.2) after final anchors' blocks, from block number ``start`` on, rising."""
    return [_decoded(one) for one in statekeep.accounts(connection, start, limit)]


def storage(connection: sqlite3.Connection, root: bytes, start: bytes, limit: int) -> dict[str, Any] | None:
    """Return the slots (14.3) kept under a storage root from ``start`` on, as many as one file holds; None: no more."""
    slots = statekeep.slots(connection, root, start, limit)
    if not slots or root == multiproof.EMPTY_ROOT:
        return None
    keys = [keccak256(slot) for slot in slots]
    nodes = multiproof.build(root, keys, lambda digest: statekeep.node(connection, digest))
    return _decoded(StorageEvidence(root, tuple(slots), tuple(nodes)).encode())


def commands(
    connection: sqlite3.Connection, log: bytes, audience: bytes, start: int, limit: int
) -> dict[str, Any] | None:
    """Return an audience's commands on chain (14.4), as the mirror saw them, from entry ``start`` on; None: no more."""
    rows = [*registry.of(connection, "CommandLogged", audience), *registry.of(connection, "HaltLogged", audience)]
    rows.sort(key=lambda row: (row.number, row.log_index))
    entries = tuple(
        (row.subject, row.fields.get("position", UNSEQUENCED), row.fields.get("class", HALT))
        for row in rows[: start + limit]
    )
    if len(entries) <= start:
        return None
    before = CommandChain(log, audience, bytes(32), entries[:start]).steps()[-1] if start else bytes(32)
    return _decoded(CommandChain(log, audience, before, entries[start:]).encode())


def _decoded(data: bytes) -> dict[str, Any]:
    return dict(cbor.decode(data, max_size=MAX_PAGE, max_items=1 << 18))
