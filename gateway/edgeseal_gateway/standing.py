"""What mirrored events add up to: keys, scopes, model versions, grants. Pure; the rules are the contracts' own."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Final

from edgeseal_gateway.store.registry import Row

OPEN: Final = (1 << 64) - 1
"""``until`` of a key that has not ended."""
ROLES: Final = ("device", "operator", "gateway", "publisher", "approver", "auditor")
"""Roles in the order of the registry's enumeration."""
STATES: Final = ("none", "proposed", "approved", "deployable", "deprecated", "revoked")
"""States of a model version in the order of the registry's enumeration."""


@dataclass(slots=True)
class Key:
    """A key as the IdentityRegistry has it: role, ``active suspended revoked``, and the intervals of its validity."""

    role: str
    status: str
    start: int
    until: int
    reinstated: bool = False
    earlier: list[tuple[int, int]] = field(default_factory=list)

    def counts_at(self, position: int) -> bool:
        """Tell whether a signature at this fleet position counts: ``IIdentityRegistry.isValidAt``."""
        if position >= self.until or position >= self.start:
            return position < self.until
        valid = False
        for start, until in self.earlier:
            valid = position < until and (valid or position >= start)
        return valid


def key(rows: Sequence[Row]) -> Key | None:
    """Return how the key that these rows, in order, are about stands; None where the registry does not know it."""
    found: Key | None = None
    for row in rows:
        if row.event == "KeyRegistered":
            found = Key(ROLES[row.fields["role"]], "active", row.fields["from"], OPEN)
        elif found is None:
            continue
        elif row.event == "KeySuspended":
            found.status, found.until = "suspended", row.fields["until"]
        elif row.event == "KeyReinstated":
            found.earlier.append((found.start, found.until))
            found.status, found.start, found.until, found.reinstated = "active", row.fields["from"], OPEN, True
        elif row.event == "KeyRevoked":
            found.status, found.until = "revoked", row.fields["until"]
    return found


def classes(rows: Sequence[Row], audience: bytes) -> int:
    """Return the bitmap of action classes that an operator's rows give it for an audience (zero counts for all)."""
    newest: dict[bytes, int] = {}
    for row in rows:
        if row.event == "ScopeChanged":
            newest[row.object] = row.fields["classes"]
    return newest.get(audience, 0) | newest.get(bytes(32), 0)


@dataclass(slots=True)
class Version:
    """A version of a model line. Times are block times in Unix seconds, 0: not (yet)."""

    line: bytes
    number: int
    state: str
    policy: tuple[int, bool, int]
    approvers: list[bytes]
    deployable_at: int = 0
    ended_at: int = 0

    def deployable_at_time(self, time: int) -> bool:
        """Tell whether new activations were allowed at ``time``."""
        return 0 < self.deployable_at <= time and (self.ended_at == 0 or time < self.ended_at)


def version(rows: Sequence[Row]) -> Version | None:
    """Return how the model version that these rows, in order, are about stands; None for one nobody proposed."""
    found: Version | None = None
    for row in rows:
        kept = row.fields
        if row.event == "Proposed":
            policy = (kept["approvals"], kept["evaluated"], kept["wait"])
            found = Version(kept["line"], kept["version"], "proposed", policy, [])
        elif found is None:
            continue
        elif row.event == "Approved":
            found.approvers.append(kept["approver"])
            found.state = STATES[kept["state"]]
        elif row.event == "MadeDeployable":
            found.state, found.deployable_at = "deployable", row.time
        elif row.event in ("Deprecated", "Revoked"):
            found.state, found.ended_at = row.event.lower(), found.ended_at or row.time
    return found


def granted(rows: Sequence[Row], audiences: Collection[bytes], time: int) -> bool:
    """Tell whether a grant among an artifact's rows covers one of these audiences at ``time``: from ``notBefore``
    until before ``notAfter``.
    """
    grants: list[list[int]] = []
    owner: list[bytes] = []
    for row in rows:
        if row.event == "Granted":
            grants.append([row.fields["notBefore"], row.fields["notAfter"]])
            owner.append(row.object)
        elif row.event == "GrantEnded":
            for grant, audience in zip(grants, owner, strict=True):
                if audience == row.object and grant[1] > row.fields["time"]:
                    grant[1] = row.fields["time"]
    return any(
        audience in audiences and start <= time < end
        for (start, end), audience in zip(grants, owner, strict=True)
    )  # fmt: skip
