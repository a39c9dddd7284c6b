"""Where our contracts keep what a verifier asks for, and what is read there (``contracts/src``; Solidity's layout).

A reader takes ``read``: storage slot (32 bytes) → value, 0 where nothing is stored. It is the same code for whoever
proves the slots (it finds out which ones are needed) and for whoever checks them. The layout is that of the bytecode in
``edgeseal/contracts``, which a trusted code hash names; tests compare it with what the contracts themselves answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import VerificationError
from edgeseal.evmproof.keccak import keccak256

Read = Callable[[bytes], int]
"""Storage slot → its value in one contract at one block. Raises what it likes where it knows none."""

ROLES: Final = ("device", "operator", "gateway", "publisher", "approver", "auditor")
"""The registry's roles, in the order of its enumeration."""
STATUSES: Final = ("none", "active", "suspended", "revoked")
MAX_ITEMS: Final = 16
"""The most earlier intervals of a key, and grants of an audience, that the contracts keep."""

_FLEET_LOGS: Final = 1
_KEYS: Final = 1
_EARLIER: Final = 2
_CHAINS: Final = 0
_VERSIONS: Final = 1
_PLACES: Final = 2
_GRANTS: Final = 4
_OPEN: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class LogHead:
    """What FleetLog holds of a log: anchored size (0: none) and root (32 bytes)."""

    size: int
    root: bytes


@dataclass(frozen=True, slots=True)
class KeyState:
    """What IdentityRegistry holds of a key in one fleet log.

    ``intervals`` are positions [from, until), in the order they were made, ``until`` None while open; the last is the
    one in force. ``last_block`` is the block of the newest event about it, as the contract counts blocks.
    """

    role: str
    status: str
    last_block: int
    intervals: tuple[tuple[int, int | None], ...]


@dataclass(frozen=True, slots=True)
class ChainTip:
    """What CommandLog holds of an audience: digest chain (32 bytes; zeros: nothing logged) and number of entries."""

    head: bytes
    entries: int


@dataclass(frozen=True, slots=True)
class VersionState:
    """What ModelRegistry holds of the version an artifact is; times in Unix seconds, ``ended_at`` None while it lasts.

    ``deployable_at`` is None while it was never made deployable: not proposed, not approved, or not released.
    """

    line: bytes
    version: int
    deployable_at: int | None
    ended_at: int | None


def log_head(read: Read, log: bytes) -> LogHead:
    """Return the anchored head of fleet log ``log`` (32 bytes)."""
    place = _mapped(_FLEET_LOGS, log)
    return LogHead(_field(read(_plus(place, 1)), 0, 64), _bytes(read(place)))


def key_state(read: Read, log: bytes, kid: bytes) -> KeyState | None:
    """Return what the registry holds of a key for a fleet log, None if it was never registered there.

    Raises VerificationError ``state_value`` for what the contract never writes.
    """
    packed = read(_mapped(_KEYS, log, kid))
    start, until, last_block = _field(packed, 0, 64), _field(packed, 64, 64), _field(packed, 128, 48)
    role, status = _field(packed, 176, 8), _field(packed, 184, 8)
    if role >= len(ROLES) or status >= len(STATUSES):
        raise VerificationError("state_value", f"a key of role {role} and status {status}")
    if status == 0:
        return None
    earlier = [
        (_field(word, 0, 64), _until(_field(word, 64, 64))) for word in _array(read, _mapped(_EARLIER, log, kid))
    ]
    return KeyState(ROLES[role], STATUSES[status], last_block, (*earlier, (start, _until(until))))


def command_tip(read: Read, log: bytes, audience: bytes) -> ChainTip:
    """Return what CommandLog holds of an audience (:func:`edgeseal.commandlog.audience_id`) of a fleet log."""
    place = _mapped(_CHAINS, log, audience)
    return ChainTip(_bytes(read(place)), _field(read(_plus(place, 1)), 0, 64))


def version_state(read: Read, tenant: bytes, artifact: bytes) -> VersionState | None:
    """Return what ModelRegistry holds of the version that a package is, None if it is none of the tenant."""
    place = _mapped(_PLACES, tenant, artifact)
    line, version = _bytes(read(place)), _field(read(_plus(place, 1)), 0, 64)
    if version == 0:
        return None
    times = read(_plus(_mapped(_VERSIONS, tenant, line, version.to_bytes(32, "big")), 4))
    return VersionState(line, version, _field(times, 88, 40) or None, _field(times, 128, 40) or None)


def grants(read: Read, tenant: bytes, artifact: bytes, audience: bytes) -> list[tuple[int, int]]:
    """Return the times [not-before, not-after), Unix seconds, in which an audience may activate an artifact.

    Raises VerificationError ``state_value`` for more than the contract keeps.
    """
    words = _array(read, _mapped(_GRANTS, tenant, artifact, audience))
    return [(_field(word, 0, 40), _field(word, 40, 40)) for word in words]


def _array(read: Read, place: bytes) -> list[int]:
    """Return the words of a dynamic array whose elements take a slot each."""
    length = read(place)
    if length > MAX_ITEMS:
        raise VerificationError("state_value", f"an array of {length}, the contract keeps {MAX_ITEMS}")
    first = keccak256(place)
    return [read(_plus(first, number)) for number in range(length)]


def _mapped(slot: int, *keys: bytes) -> bytes:
    """Return the slot of an entry of a mapping (of mappings) at ``slot``."""
    place = slot.to_bytes(32, "big")
    for key in keys:
        place = keccak256(key + place)
    return place


def _plus(place: bytes, number: int) -> bytes:
    return ((int.from_bytes(place, "big") + number) % 2**256).to_bytes(32, "big")


def _field(word: int, at: int, bits: int) -> int:
    return word >> at & ((1 << bits) - 1)


def _bytes(word: int) -> bytes:
    return word.to_bytes(32, "big")


def _until(until: int) -> int | None:
    return None if until == _OPEN else until
