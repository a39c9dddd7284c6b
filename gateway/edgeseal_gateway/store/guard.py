"""Whether the gateway may sign: never while somebody has seen more of the fleet log than it holds.

A gateway that was set back (a restored backup) would otherwise sign a second history over positions already given
out. Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal_gateway.store import devices, fleetlog
from edgeseal_gateway.store.database import get_meta, put_meta

_CHECKED: Final = "chain_checked"
_CHAIN_SIZE: Final = "chain_size"
_REMEDY: Final = (
    "this store was set back: stop, and bring back the newest store or replica; if none is left, open a successor log"
)


def forget_chain(connection: sqlite3.Connection) -> None:
    """Require a fresh look at the chain before the next signature: called once at start."""
    put_meta(connection, _CHECKED, b"")


def note_chain(connection: sqlite3.Connection, size: int, root: bytes) -> None:
    """Note the head that the chain holds now.

    Raises InvariantBroken ``chain_contradicts`` when it is another history than ours.
    """
    if 0 < size <= fleetlog.size(connection) and fleetlog.root_at(connection, size) != root:
        raise InvariantBroken(
            "chain_contradicts", f"the chain holds another root for size {size} than this store", _REMEDY
        )
    put_meta(connection, _CHAIN_SIZE, size.to_bytes(8, "big"))
    put_meta(connection, _CHECKED, b"yes")


def chain_size(connection: sqlite3.Connection) -> int | None:
    """Return the anchored size the chain was last seen with, None before the first look after start."""
    size = get_meta(connection, _CHAIN_SIZE)
    return int.from_bytes(size, "big") if size is not None and get_meta(connection, _CHECKED) else None


def blocked(connection: sqlite3.Connection, log: bytes) -> EdgesealError | None:
    """Return why nothing may be signed now, or None: ``chain_unknown``, ``behind_chain`` or ``behind_device``."""
    size, anchored = fleetlog.size(connection), chain_size(connection)
    if anchored is None:
        return Unavailable("chain_unknown", "the chain has not answered since start; nothing is signed before it has")
    if anchored > size:
        return InvariantBroken("behind_chain", f"the chain holds size {anchored}, this store only {size}", _REMEDY)
    seen = devices.largest_seen(connection, log)
    if seen is not None and seen[0] > size:
        text = f"device log {seen[1].hex()} says it has seen size {seen[0]}, this store holds {size}"
        return InvariantBroken("behind_device", text, _REMEDY + "; if the device lies, revoke its key in the registry")
    return None
