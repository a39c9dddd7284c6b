"""The model registry on chain as an operator uses it: lines, versions, approvals, grants; sent, and read back."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import modelline
from edgeseal.adapters.evm import FoundLog
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.modelline import Proposal
from edgeseal_console.operate.eventscan import every_event
from edgeseal_console.operate.onregistry import OnRegistry
from edgeseal_console.operate.registry import Registry

STATES: Final = ("none", "proposed", "approved", "deployable", "deprecated", "revoked")
"""States of a version, in the order of the registry's enum."""
_MOVES: Final = ("Approved", "MadeDeployable", "Deprecated", "Revoked")


@dataclass(frozen=True, slots=True)
class Version:
    """A version as the registry holds it; times are Unix seconds, 0: not (yet)."""

    line: bytes
    number: int
    artifact: bytes
    publisher: bytes
    parent: int
    state: str
    approvals: int
    evaluated: bool
    needed: int
    needs_evaluation: bool
    wait_s: int
    last_block: int
    approved_at: int
    deployable_at: int
    ended_at: int

    def fields(self) -> dict[str, Any]:
        """Return it for ``--json``."""
        return {
            "line": self.line.hex(), "version": self.number, "artifact": self.artifact.hex(),
            "publisher": self.publisher.hex(), "parent": self.parent or None, "state": self.state,
            "approvals": self.approvals, "approvals_needed": self.needed, "evaluated": self.evaluated,
            "evaluation_needed": self.needs_evaluation, "wait_s": self.wait_s,
            "approved_at": self.approved_at or None, "deployable_at": self.deployable_at or None,
            "ended_at": self.ended_at or None,
        }  # fmt: skip


class Models(OnRegistry):
    """The model registry of a network, for one operator's account."""

    def __init__(self, registry: Registry) -> None:
        """Open the registry. Raises UsageError ``no_model_registry`` where the network profile names none."""
        super().__init__(registry, "ModelRegistry", registry.network.model_registry, "no_model_registry")
        self.tenant = registry.network.tenant_root.kid

    # ---- What is sent --------------------------------------------------------------------------------------------

    def set_policy(self, line: bytes, approvals: int, evaluation: bool, wait_s: int) -> None:
        """Say what versions of a line proposed from now on need."""
        self._as_admin("set the line's policy", "setPolicy", line, (approvals, evaluation, wait_s))

    def register(self, proposal: Proposal, publisher: Pkcs11Signer) -> None:
        """Propose a version under a publisher's signature."""
        deadline = self.deadline()
        message = proposal.message(self.network.chain_id, self.contract.address, deadline)
        self.send_signed(
            f"propose version {proposal.version}", "propose", message, publisher, proposal.as_tuple(), deadline
        )  # fmt: skip

    def approve(self, line: bytes, version: int, evaluation: bytes, approver: Pkcs11Signer) -> None:
        """Add an approver's signature; with an ``evaluation`` (digest) it is the independent evaluation."""
        deadline = self.deadline()
        artifact = self.version(line, version).artifact
        message = modelline.approval_message(
            self.network.chain_id, self.contract.address, self.tenant, line, version, artifact, evaluation, deadline
        )
        self.send_signed(
            f"approve version {version}", "approve", message, approver, self.tenant, line, version, evaluation, deadline
        )  # fmt: skip

    def release(self, line: bytes, version: int) -> None:
        """Make an approved version deployable, once the policy's wait is over."""
        self._as_admin(f"make version {version} deployable", "makeDeployable", line, version)

    def set_current(self, line: bytes, version: int) -> None:
        """Name the version the line stands at."""
        self._as_admin(f"let the line stand at version {version}", "setCurrent", line, version)

    def deprecate(self, line: bytes, version: int, replacement: int) -> None:
        """End a version for new activations; ``replacement`` 0 names none."""
        self._as_admin(f"deprecate version {version}", "deprecate", line, version, replacement)

    def revoke(self, line: bytes, version: int, reason: bytes) -> None:
        """Revoke a version for good; ``reason`` is the digest of the statement that says why, zeros for none."""
        self._as_admin(f"revoke version {version}", "revoke", line, version, reason)

    def grant(self, line: bytes, version: int, audience: bytes, not_before: int, not_after: int) -> None:
        """Let an audience run a version from ``not_before`` until before ``not_after`` (Unix seconds)."""
        self._as_admin(f"grant version {version}", "grant", line, version, audience, not_before, not_after)

    def end_grant(self, artifact: bytes, audience: bytes) -> None:
        """End now what an audience was granted of an artifact."""
        self._as_admin("end the grant", "endGrant", artifact, audience)

    def _as_admin(self, what: str, function: str, *values: object) -> None:
        self.send_as_admin(what, function, self.tenant, *values)

    # ---- What is there -------------------------------------------------------------------------------------------

    def line(self, line: bytes) -> dict[str, Any]:
        """Return a line's policy (None: none was set) and the version it stands at (None: none)."""
        (approvals, evaluation, wait_s), current, _ = self.view("lineOf", self.tenant, line)
        policy = {"approvals": approvals, "evaluation": evaluation, "wait_s": wait_s} if approvals else None
        return {"line": line.hex(), "policy": policy, "current": current or None}

    def version(self, line: bytes, number: int) -> Version:
        """Return a version. Raises Reverted ``UnknownVersion``."""
        found = self.view("versionOf", self.tenant, line, number)
        artifact, publisher, parent, state, approvals, evaluated, policy, last, approved, deployable, ended = found
        needed, evaluation, wait_s = policy
        return Version(
            line, number, bytes(artifact), bytes(publisher), parent, STATES[state], approvals, evaluated, needed,
            evaluation, wait_s, last, approved, deployable, ended,
        )  # fmt: skip

    def place(self, artifact: bytes) -> tuple[bytes, int] | None:
        """Return the line and version that an artifact is, None where the registry does not know it."""
        line, version = self.view("versionOfArtifact", self.tenant, artifact)
        return (bytes(line), int(version)) if version else None

    def is_deployable(self, artifact: bytes, audience: bytes, at: int) -> bool:
        """Tell whether an audience might activate an artifact at ``at``, as the contract says."""
        return bool(self.view("isDeployable", self.tenant, artifact, audience, at))

    def history(self, found: Version) -> list[dict[str, Any]]:
        """Return what happened to a version since it was proposed, oldest first, by the contract's back-pointers."""
        topics = [None, self.tenant, found.line, found.number.to_bytes(32, "big")]
        events: list[dict[str, Any]] = []
        block = found.last_block
        while block:
            logs = self.registry.client.logs([self.contract.address], topics, block, block)
            here = [self._event(name, one) for name, one in self._named(logs, "Proposed", *_MOVES)]
            events = here + events
            before = [int(one["prevBlock"]) for one in here if "prevBlock" in one]
            block = min(before) if before and min(before) < block else 0
        return events

    def grants(self, found: Version) -> list[dict[str, Any]]:
        """Return the grants of a version: audience, ``not_before``, ``not_after``, shortened where one was ended."""
        kept: list[dict[str, Any]] = []
        if not found.deployable_at:
            return kept
        topics = [None, self.tenant, found.artifact]
        logs = every_event(self.registry, self.contract.address, topics)
        for name, one in self._named(logs, "Granted", "GrantEnded"):
            event = self._event(name, one)
            if name == "Granted":
                kept.append(
                    {"audience": event["audience"], "not_before": event["notBefore"], "not_after": event["notAfter"]}
                )
                continue
            for grant in kept:
                if grant["audience"] == event["audience"]:
                    grant["not_after"] = min(grant["not_after"], event["time"])
        return kept

    def _named(self, found: Iterable[FoundLog], *names: str) -> list[tuple[str, FoundLog]]:
        known = {self.contract.contract.event_topic(name): name for name in names}
        return [(known[one.log.topics[0]], one) for one in found if one.log.topics and one.log.topics[0] in known]

    def _event(self, name: str, one: FoundLog) -> dict[str, Any]:
        values = self.contract.contract.decode_event(name, one.log)
        shown: dict[str, Any] = {
            key: value.hex() if isinstance(value, bytes) else value
            for key, value in values.items()
            if key not in ("tenant", "line", "version", "proposal", "policy")
        }
        if "state" in shown:
            shown["state"] = STATES[shown["state"]]
        return {"event": name, "block": one.block_number, **shown}
