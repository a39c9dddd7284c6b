"""The timelock of a TenantAdmin: what the tenant's admin may only do after a wait, in front of everybody.

A proposer's account schedules a call through the AccessManager, anybody carries it out when the wait is over, a
proposer may cancel it till then. What waits is read from the timelock's own events: nothing has to be kept here.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from edgeseal.adapters.evm import BoundContract, Contract, Reverted
from edgeseal.errors import UsageError
from edgeseal_console.operate.contracterrors import advised
from edgeseal_console.operate.eventscan import every_event
from edgeseal_console.operate.handover import part_of
from edgeseal_console.operate.registry import Registry
from edgeseal_console.operate.transactions import Preview

_CANCELLED, _DONE = 0, 1
_TARGETS: Final = ("IdentityRegistry", "FleetLog", "CommandLog", "ModelRegistry")


@dataclass(frozen=True, slots=True)
class Operation:
    """One call in the timelock: to ``target`` (20 bytes), with a salt that makes it one of its own.

    ``ready_at``: from when it may be carried out, Unix seconds; 1: it was; 0: cancelled, or not scheduled yet.
    """

    id: bytes
    target: bytes
    data: bytes
    salt: bytes
    ready_at: int

    def state(self, now: int) -> str:
        """Return ``cancelled``, ``done``, ``waits`` or ``ready`` at a time in Unix seconds."""
        if self.ready_at in (_CANCELLED, _DONE):
            return "done" if self.ready_at == _DONE else "cancelled"
        return "waits" if now < self.ready_at else "ready"

    def fields(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {"id": self.id.hex(), "ready_at": self.ready_at or None, "call": call_words(self.data)}


def opened(registry: Registry) -> Timelock:
    """Return the timelock over the tenant.

    Raises UsageError ``no_tenant_admin``, ``not_handed_over``: the tenant's admin is an account, which acts by itself.
    Unavailable.
    """
    address, manager = part_of(registry, "timelock"), registry.manager()
    if manager is None:
        raise UsageError(
            "not_handed_over", "the tenant's admin is not the TenantAdmin of the network profile: nothing has to wait",
            "leave --schedule out, or first: edgeseal chain hand-over",
        )  # fmt: skip
    return Timelock(registry, address, manager)


class Timelock:
    """A timelock, for one operator's account. In a dry run of ``registry`` it sends nothing.

    What sends raises Reverted with the contract's own error, UsageError ``funds``, ``fee_ceiling``, and Unavailable.
    """

    def __init__(self, registry: Registry, address: bytes, manager: bytes) -> None:
        self.registry = registry
        self.address = address
        self._manager = manager
        self._contract = BoundContract(registry.client, Contract("TimelockController"), address)

    def schedule(self, preview: Preview) -> Operation:
        """Schedule a call that was looked at, with the timelock's own wait; one that waits already is left as it is.

        Raises UsageError ``not_timelocked``: it does not go through the tenant's manager.
        """
        if preview.to != self._manager:
            raise UsageError("not_timelocked", f"any account may {preview.what}", "leave --schedule out")
        for one in self.every():
            if (one.target, one.data) == (preview.to, preview.data) and one.ready_at > _DONE:
                return one
        salt, wait = secrets.token_bytes(32), self._contract.call("getMinDelay")
        words = (preview.to, 0, preview.data, bytes(32), salt)
        self._send(f"schedule: {preview.what}", "schedule", *words, wait, stands_alone=False)
        # Durable on chain: the operation. A second try finds it waiting.
        made = bytes(self._contract.call("hashOperation", *words))
        return self._found(made, preview.to, preview.data, salt)

    def every(self) -> Iterator[Operation]:
        """Yield every operation of one call that was ever scheduled, oldest first."""
        salts: dict[bytes, bytes] = {}
        calls: list[dict[str, Any]] = []
        for name, event in self._events():
            if name == "CallSalt":
                salts[bytes(event["id"])] = bytes(event["salt"])
            elif event["index"] == 0 and event["value"] == 0 and not any(event["predecessor"]):
                calls.append(event)
        for event in calls:
            made, target = bytes(event["id"]), bytes.fromhex(event["target"][2:])
            yield self._found(made, target, bytes(event["data"]), salts.get(made, bytes(32)))

    def find(self, wanted: bytes) -> Operation:
        """Return an operation by its id. Raises UsageError ``operation_unknown``."""
        found = next((one for one in self.every() if one.id == wanted and one.ready_at != _CANCELLED), None)
        if found is None:
            raise UsageError(
                "operation_unknown", f"no operation {wanted.hex()} of ours is in the timelock",
                "see: edgeseal chain scheduled",
            )  # fmt: skip
        return found

    def execute(self, operation: Operation) -> None:
        """Carry an operation out. Nothing is sent where it was; Reverted says what the contracts refuse.

        Raises UsageError ``operation_waits``.
        """
        now = self.registry.time()
        state = operation.state(now)
        if state == "done":
            return
        if state == "waits":
            raise UsageError("operation_waits", f"the timelock waits {operation.ready_at - now} more seconds")
        words = (operation.target, 0, operation.data, bytes(32), operation.salt)
        try:
            self._send(f"carry out {operation.id.hex()[:16]}…", "execute", *words)
        except Reverted as error:
            raise _named(error) from error
        # Durable on chain: what the operation does. A second try finds it done.

    def cancel(self, operation: Operation) -> None:
        """Take an operation back before it is carried out."""
        self._send(f"cancel {operation.id.hex()[:16]}…", "cancel", operation.id)

    def _send(self, what: str, function: str, *values: object, stands_alone: bool = True) -> None:
        contract = self._contract.contract
        data = contract.encode(function, *values)
        self.registry.transactor.attempt(what, contract, self.address, data, stands_alone=stands_alone)

    def _found(self, made: bytes, target: bytes, data: bytes, salt: bytes) -> Operation:
        return Operation(made, target, data, salt, int(self._contract.call("getTimestamp", made)))

    def _events(self) -> Iterator[tuple[str, dict[str, Any]]]:
        contract = self._contract.contract
        names = {contract.event_topic(name): name for name in ("CallScheduled", "CallSalt")}
        for one in every_event(self.registry, self.address, []):
            name = names.get(one.log.topics[0]) if one.log.topics else None
            if name is not None:
                yield name, contract.decode_event(name, one.log)


def call_words(data: bytes) -> str:
    """Return what a call through the AccessManager does, for people: contract's function and its values."""
    through = Contract("AccessManager").decode_call(data)
    if through is None or through[0] != "execute":
        return f"0x{data[:4].hex()}…"
    inner = bytes(through[1]["data"])
    for name in _TARGETS:
        found = Contract(name).decode_call(inner)
        if found is not None:
            return f"{found[0]}({', '.join(f'{key} {_shown(value)}' for key, value in found[1].items())})"
    return f"0x{inner[:4].hex()}… of {through[1]['target']}"


def _shown(value: object) -> str:
    return value.hex() if isinstance(value, bytes) else str(value)


def _named(error: Reverted) -> Reverted:
    """Return a refusal by the contract it comes from: the timelock hands on what those behind it say."""
    for name in _TARGETS if error.name.startswith("0x") else ():
        found = Contract(name).decode_error(error.data)
        if not found.name.startswith("0x"):
            return advised(found)
    return error
