"""What happened to keys in the identity registry, from its own events."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from edgeseal.adapters.evm import FoundLog
from edgeseal.possession import ROLES
from edgeseal_console.operate.eventscan import every_event
from edgeseal_console.operate.registry import REASONS, Registry

_EVENTS: Final = (
    "KeyRegistered", "KeySuspended", "KeyReinstated", "KeyRevoked", "RotationProposed", "RotationVetoed", "KeyRotated",
)  # fmt: skip


def of_key(registry: Registry, kid: bytes) -> list[dict[str, Any]]:
    """Return the events of one key, oldest first, each with ``event``, ``block`` and the values it carries.

    By the back-pointers of the contract; where they do not lead to its registration (a chain whose NUMBER counts
    another chain's blocks), by looking through all blocks since the log was opened. Raises Unavailable.
    """
    entry = registry.entry(kid)
    if entry is None:
        return []
    found: list[dict[str, Any]] = []
    block = entry.last_block
    while block:
        logs = registry.client.logs([registry.contract.address], [None, registry.network.fleet_log, kid], block, block)
        here = [_event(registry, one) for one in _known(registry, logs)]
        found = here + found
        before = [int(one["prevBlock"]) for one in here if "prevBlock" in one]
        block = min(before) if before and min(before) < block else 0
    if not found or found[0]["event"] != "KeyRegistered":
        found = [_event(registry, one) for one in _everything(registry, [None, registry.network.fleet_log, kid])]
    return found


def registered(registry: Registry) -> list[dict[str, Any]]:
    """Return a row for every key ever registered in the log: kid, role, status, from, until, whether possession of it
    was proved. Raises Unavailable.
    """
    topic = registry.contract.contract.event_topic("KeyRegistered")
    rows = []
    for one in _everything(registry, [topic, registry.network.fleet_log]):
        event = _event(registry, one)
        entry = registry.entry(bytes.fromhex(event["kid"]))
        if entry is not None:
            rows.append(
                {
                    "kid": event["kid"], "role": entry.role, "status": entry.status, "from": entry.start,
                    "until": entry.until, "possessed": event["possessed"],
                }
            )  # fmt: skip
    return rows


def coordinates(registry: Registry, old: bytes, new: bytes) -> tuple[bytes, bytes] | None:
    """Return x and y of the key that is to take the place of ``old``, from the proposal on chain."""
    topics = [registry.contract.contract.event_topic("RotationProposed"), registry.network.fleet_log, old, new]
    found = None
    for one in _everything(registry, topics):
        event = _event(registry, one)
        found = bytes.fromhex(event["x"]), bytes.fromhex(event["y"])
    return found


def _everything(registry: Registry, topics: Sequence[bytes | None]) -> list[FoundLog]:
    return _known(registry, every_event(registry, registry.contract.address, topics))


def _known(registry: Registry, found: Iterable[FoundLog]) -> list[FoundLog]:
    topics = {registry.contract.contract.event_topic(name) for name in _EVENTS}
    return [one for one in found if one.log.topics and one.log.topics[0] in topics]


def _event(registry: Registry, one: FoundLog) -> dict[str, Any]:
    contract = registry.contract.contract
    name = next(name for name in _EVENTS if contract.event_topic(name) == one.log.topics[0])
    values = contract.decode_event(name, one.log)
    shown: dict[str, Any] = {
        key: bytes(value).hex() if isinstance(value, bytes) else value for key, value in values.items()
    }
    if "role" in shown:
        shown["role"] = ROLES[shown["role"]]
    if "reason" in shown:
        shown["reason"] = REASONS[shown["reason"]]
    return {"event": name, "block": one.block_number, **shown}
