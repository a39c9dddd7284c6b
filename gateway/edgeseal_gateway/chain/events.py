"""Which events of the registries are mirrored, and the row each becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from edgeseal.adapters.evm import Contract, FoundLog
from edgeseal_gateway.store.registry import Row, version_of

Event = dict[str, Any]
_Shape = Callable[[Event], tuple[bytes, bytes, dict[str, Any]]]
"""An event's values → (subject, object, what else is kept)."""


def _key(*names: str) -> _Shape:
    return lambda event: (event["kid"], b"", {name: event[name] for name in names})


def _registered(event: Event) -> tuple[bytes, bytes, dict[str, Any]]:
    kept = {name: event[name] for name in ("role", "from", "anchored", "possessed")}
    return event["kid"], bytes([event["role"]]), kept


def _command(*names: str) -> _Shape:
    return lambda event: (event["digest"], event["audience"], {name: event[name] for name in names})


def _scope(event: Event) -> tuple[bytes, bytes, dict[str, Any]]:
    return event["operator"], event["audience"], {"classes": event["classes"]}


def _proposed(event: Event) -> tuple[bytes, bytes, dict[str, Any]]:
    _, _, _, parent, artifact, dataset, training, evaluation = event["proposal"]
    approvals, evaluated, wait = event["policy"]
    kept = {
        "publisher": event["publisher"], "parent": parent, "dataset": dataset, "training": training,
        "evaluation": evaluation, "approvals": approvals, "evaluated": evaluated, "wait": wait,
        "line": event["line"], "version": event["version"],
    }  # fmt: skip
    return version_of(event["line"], event["version"]), artifact, kept


def _version(*names: str) -> _Shape:
    return lambda event: (
        version_of(event["line"], event["version"]), b"", {name: event[name] for name in names}
    )  # fmt: skip


def _policy(event: Event) -> tuple[bytes, bytes, dict[str, Any]]:
    return event["line"], b"", dict(zip(("approvals", "evaluation", "wait"), event["policy"], strict=True))


def _grant(*names: str) -> _Shape:
    return lambda event: (event["artifact"], event["audience"], {name: event[name] for name in names})


MIRRORED: Final[Mapping[str, Mapping[str, _Shape]]] = {
    "IdentityRegistry": {
        "KeyRegistered": _registered,
        "KeySuspended": _key("until", "anchored"),
        "KeyReinstated": _key("from", "anchored"),
        "KeyRevoked": _key("until", "anchored", "reason"),
    },
    "CommandLog": {
        "CommandLogged": _command("operator", "position", "class"),
        "HaltLogged": _command("operator"),
        "ScopeChanged": _scope,
    },
    "ModelRegistry": {
        "PolicySet": _policy,
        "Proposed": _proposed,
        "Approved": _version("approver", "evaluation", "state"),
        "MadeDeployable": _version(),
        "Deprecated": _version("replacement"),
        "Revoked": _version("reason"),
        "CurrentSet": lambda event: (event["line"], b"", {"version": event["version"]}),
        "Granted": _grant("notBefore", "notAfter"),
        "GrantEnded": _grant("time"),
    },
}
"""Contract → event → the row it becomes. Events that are not here are of no consequence to the gateway."""


class Reader:
    """Turns the logs of one contract into rows."""

    def __init__(self, name: str) -> None:
        self._contract = Contract(name)
        self._shapes = {self._contract.event_topic(event): (event, shape) for event, shape in MIRRORED[name].items()}

    def read(self, entry: FoundLog, time: int) -> Row | None:
        """Return the row of a log in a block of that time, None for an event that is not mirrored.

        Raises Unavailable ``rpc_answer`` if the bytes are not such an event's.
        """
        name, shape = self._shapes.get(entry.log.topics[0], ("", None)) if entry.log.topics else ("", None)
        if shape is None:
            return None
        subject, object_, kept = shape(self._contract.decode_event(name, entry.log))
        return Row(entry.block_number, entry.log_index, entry.block_hash, time, name, subject, object_, kept)
