"""Devices as the gateway knows them: who is enrolled, how far each log has come (``docs/format.md`` 5, 8.3).

Every function works in the caller's transaction. The sequencer enrols and ends devices; ingest moves their sizes on.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from typing import Final

from edgeseal.cose import PublicKey
from edgeseal.head import Seen
from edgeseal.merkle import Frontier
from edgeseal.statements.enrolment import Enrolment
from edgeseal_gateway.store.database import LARGEST

ACTIVE: Final = "active"
FROZEN: Final = "frozen"
REVOKED: Final = "revoked"
CLOSED: Final = "closed"
UNREGISTERED: Final = "unregistered"
"""Enrolled, and its key is not in the registry on chain, where that is asked for."""


@dataclass(slots=True)
class Device:
    """One enrolled device and the state of its log. ``bytes`` is what its segments take in the store."""

    id: int
    log: bytes
    key: PublicKey
    name: str
    assurance: str
    groups: tuple[str, ...]
    cadence_s: int
    genesis: bytes
    enrolled: int
    state: str
    size: int
    root: bytes
    frontier: Frontier
    bytes: int
    seen: Seen | None
    contact: int
    mismatches: int = field(default=0, compare=False)

    @property
    def audiences(self) -> list[str]:
        """The subjects of commands meant for it: its log and its groups."""
        return [self.log.hex(), *(f"group:{name}" for name in self.groups)]


_COLUMNS: Final = (
    "SELECT id, log, x, y, kid, name, assurance, groups, cadence, genesis, enrolled, state, size, root, frontier,"
    " bytes, seen_log, seen_size, seen_root, contact FROM device "
)


def _device(row: tuple) -> Device:  # type: ignore[type-arg]
    hashes = [row[14][at : at + 32] for at in range(0, len(row[14]), 32)]
    seen = None if row[16] is None else Seen(row[16], row[17], row[18])
    return Device(
        row[0], row[1], PublicKey(row[2], row[3], row[4]), row[5], row[6], tuple(json.loads(row[7])), row[8], row[9],
        row[10], row[11], row[12], row[13], Frontier(row[12], hashes), row[15], seen, row[19],
    )  # fmt: skip


def find(connection: sqlite3.Connection, log: bytes) -> Device | None:
    """Return the device with this log id, if it is enrolled."""
    row = connection.execute(_COLUMNS + "WHERE log = ?", (log,)).fetchone()
    return None if row is None else _device(row)


def find_kid(connection: sqlite3.Connection, kid: bytes) -> Device | None:
    """Return the device with this key, if it is enrolled."""
    row = connection.execute(_COLUMNS + "WHERE kid = ?", (kid,)).fetchone()
    return None if row is None else _device(row)


def every(connection: sqlite3.Connection) -> list[Device]:
    """Return all enrolled devices in order of enrolment."""
    return [_device(row) for row in connection.execute(_COLUMNS + "ORDER BY id")]


def with_audience(connection: sqlite3.Connection, sub: str) -> list[Device]:
    """Return the devices a command with subject ``sub`` is for."""
    if not sub.startswith("group:"):
        found = find(connection, bytes.fromhex(sub))
        return [] if found is None else [found]
    return [device for device in every(connection) if sub in device.audiences]


def enrol(connection: sqlite3.Connection, enrolment: Enrolment, pos: int) -> None:
    """Add the device whose enrolment stands at ``pos``: from now on its segments are taken, unless its key has
    ended.
    """
    key = enrolment.key
    connection.execute(
        "INSERT INTO device (log, kid, x, y, name, assurance, groups, cadence, genesis, enrolled, state, size, root,"
        " frontier, bytes, contact) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0, ?, ?, 0, 0)",
        (enrolment.log, key.kid, key.x, key.y, enrolment.name, enrolment.assurance, json.dumps(enrolment.groups),
         min(enrolment.cadence_s, LARGEST), enrolment.genesis, pos, ACTIVE, Frontier().root(), b""),
    )  # fmt: skip
    connection.execute(
        "UPDATE device SET state = 'revoked' WHERE kid = ? AND kid IN (SELECT kid FROM revoked)", (key.kid,)
    )


def advance(connection: sqlite3.Connection, device: Device) -> None:
    """Keep how far the device's log has come: size, root, frontier, what it has seen, last contact."""
    seen = device.seen
    connection.execute(
        "UPDATE device SET size = ?, root = ?, frontier = ?, bytes = ?, seen_log = ?, seen_size = ?, seen_root = ?,"
        " contact = ?, state = CASE WHEN state = 'active' THEN ? ELSE state END WHERE id = ?",
        (device.size, device.root, b"".join(device.frontier.hashes), device.bytes, seen and seen.log,
         seen and min(seen.size, LARGEST), seen and seen.root, device.contact, device.state, device.id),
    )  # fmt: skip


def set_state(connection: sqlite3.Connection, log: bytes, state: str) -> None:
    """Freeze, revoke or close a device's log; a revoked one stays revoked."""
    connection.execute("UPDATE device SET state = ? WHERE log = ? AND state <> 'revoked'", (state, log))


def set_registered(connection: sqlite3.Connection, kid: bytes, known: bool) -> None:
    """Note whether the registry on chain knows an active device's key."""
    was, now = (UNREGISTERED, ACTIVE) if known else (ACTIVE, UNREGISTERED)
    connection.execute("UPDATE device SET state = ? WHERE kid = ? AND state = ?", (now, kid, was))


def enrolled_after(connection: sqlite3.Connection, number: int) -> list[tuple[int, bytes]]:
    """Return (number, kid) of the devices enrolled after the one with this number."""
    return list(connection.execute("SELECT id, kid FROM device WHERE id > ? ORDER BY id", (number,)))


def states(connection: sqlite3.Connection) -> dict[bytes, str]:
    """Return log id → state of the devices that are not simply active."""
    return dict(connection.execute("SELECT log, state FROM device WHERE state <> 'active'"))


def largest_seen(connection: sqlite3.Connection, fleet_log: bytes) -> tuple[int, bytes] | None:
    """Return (size, device log) of the largest fleet head that a device, not revoked, says in a signed head it has
    seen.
    """
    row = connection.execute(
        "SELECT seen_size, log FROM device WHERE seen_log = ? AND state <> 'revoked' ORDER BY seen_size DESC LIMIT 1",
        (fleet_log,),
    ).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


MAX_APPLICANTS: Final = 1_000


def note_applicant(connection: sqlite3.Connection, log: bytes, key: PublicKey, size: int, at_ms: int) -> None:
    """Remember that a device that is not enrolled asked; of more than MAX_APPLICANTS the longest silent is
    forgotten.
    """
    connection.execute(
        "INSERT INTO applicant VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET size = excluded.size, at = excluded.at",
        (log, key.x, key.y, min(size, LARGEST), at_ms),
    )
    connection.execute(
        "DELETE FROM applicant WHERE log IN (SELECT log FROM applicant ORDER BY at DESC LIMIT -1 OFFSET ?)",
        (MAX_APPLICANTS,),
    )


def applicants(connection: sqlite3.Connection) -> list[tuple[bytes, bytes, bytes, int, int]]:
    """Return (log, x, y, size, last asked ms) of devices that asked and are not enrolled."""
    return list(connection.execute("SELECT log, x, y, size, at FROM applicant ORDER BY at DESC"))


def forget_applicant(connection: sqlite3.Connection, log: bytes) -> None:
    """Drop an applicant, because it has been enrolled."""
    connection.execute("DELETE FROM applicant WHERE log = ?", (log,))
