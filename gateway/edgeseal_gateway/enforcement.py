"""What the gateway refuses because of what the registries on chain say: keys, operators' scopes, models.

It judges by the mirror's rows as they stand. A device's records are kept by the device when its key is refused; an
operator's command is refused before it gets a place in the fleet log. The verifier judges again, from evidence.

Each of the three is enforced ``always``, ``never`` or, as a rule, ``auto``: as soon as the registry holds anything of
the kind for this tenant (a device's key, an operator's, a model line), because whoever keeps a register means it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import cbor, commandlog
from edgeseal.errors import TrustError, Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal.statements.command import MODEL_ACTIVATE, Command
from edgeseal_gateway import standing
from edgeseal_gateway.store import devices, guard, orders, registry
from edgeseal_gateway.store.database import get_meta
from edgeseal_gateway.store.devices import Device

AUTO, ALWAYS, NEVER = "auto", "always", "never"
DEVICE, OPERATOR = b"\x00", b"\x01"
"""Roles as the registry's rows carry them."""
REMEDIES: Final[Mapping[str, str]] = {
    "key_revoked": "the key ended for good: enrol the device or name the operator with a new key",
    "key_suspended": "find out why it was suspended; then `edgeseal identity reinstate`, or revoke it",
    "not_registered": "register the key on chain: `edgeseal identity register`; nothing is lost meanwhile",
    "before_validity": "the key counts from a later fleet position on: wait, or register it from an earlier one",
    "scope_missing": "the tenant's admin gives it with `edgeseal command scope`",
    "model_not_approved": "see what it lacks: `edgeseal model show`; then register, approve, release, grant",
    "model_revoked": "what was deprecated or revoked does not come back: activate another version",
    "model_not_granted": "`edgeseal model grant` to this device or group, for a time that includes now",
}
"""Reason code → what a person does about it."""
POLICY_KEY: Final = "enforce"
"""Under which the policy is kept in the store."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What is enforced: each ``auto``, ``always`` or ``never``."""

    devices: str = AUTO
    operators: str = AUTO
    models: str = AUTO


def check_policy(policy: Policy, profile: NetworkProfile) -> None:
    """Check that what is always to be enforced has a contract to go by.

    Raises UsageError ``config_invalid``: the network profile names none.
    """
    if policy.models == ALWAYS and profile.model_registry is None:
        raise UsageError(
            "config_invalid", "enforce.models is always, and the network profile names no model registry",
            "name model_registry in the network profile, or set enforce.models to auto",
        )  # fmt: skip


def policy(connection: sqlite3.Connection) -> Policy:
    """Return the policy in force; all ``auto`` where none was kept."""
    kept = get_meta(connection, POLICY_KEY)
    return Policy() if kept is None else Policy(**cbor.decode(kept, max_size=1_024))


def enforced(connection: sqlite3.Connection) -> dict[str, bool]:
    """Return for devices, operators, scopes and models whether each is enforced now."""
    chosen = policy(connection)
    return {
        "devices": _is(chosen.devices, registry.holds(connection, "KeyRegistered", DEVICE)),
        "operators": _is(chosen.operators, registry.holds(connection, "KeyRegistered", OPERATOR)),
        "scopes": chosen.operators != NEVER and registry.holds(connection, "ScopeChanged"),
        "models": _is(chosen.models, registry.holds(connection, "PolicySet")),
    }


def _is(choice: str, in_use: bool) -> bool:
    return choice == ALWAYS or (choice == AUTO and in_use)


# ---- Keys --------------------------------------------------------------------------------------------------------


def refusal(connection: sqlite3.Connection, device: Device) -> tuple[str, str] | None:
    """Return (code, detail) why nothing is taken from this device now, or None."""
    if device.state == devices.FROZEN:
        return "log_frozen", "this log is frozen"
    if device.state == devices.UNREGISTERED:
        return "not_registered", "the registry on chain does not know this device's key"
    if device.state != devices.REVOKED:
        return None
    key = standing.key(registry.about(connection, device.key.kid))
    if key is not None and key.status == "suspended":
        return "key_suspended", f"this device's key is suspended from fleet position {key.until} on"
    return "key_revoked", "this log is revoked"


# ---- Commands ----------------------------------------------------------------------------------------------------


def check_operator(
    connection: sqlite3.Connection, profile: NetworkProfile, kid: bytes, content: object, position: int
) -> None:
    """Check that an operator's key counts on chain at a fleet position and, for a command, has the scope there.

    Raises TrustError ``key_revoked``, ``key_suspended``, ``not_registered``, ``before_validity``, ``scope_missing``;
    Unavailable ``registry_unread``.
    """
    rows = registry.about(connection, kid)
    key = standing.key(rows)
    if key is not None and key.status == "suspended":
        raise _refused("key_suspended", f"operator key {kid.hex()} is suspended from position {key.until} on")
    if orders.is_revoked(connection, kid):
        raise _refused("key_revoked", f"operator key {kid.hex()} was revoked")
    now = enforced(connection)
    if now["operators"] and key is None:
        raise _refused("not_registered", f"the registry on chain does not know operator key {kid.hex()}")
    if now["operators"] and key is not None and not key.counts_at(position):
        raise _refused("before_validity", f"operator key {kid.hex()} counts from position {key.start} on")
    if isinstance(content, Command) and profile.command_log is not None and policy(connection).operators != NEVER:
        _require_read(connection)
        if now["scopes"]:
            _check_scope(rows, kid, content)


def _check_scope(rows: list[registry.Row], kid: bytes, content: Command) -> None:
    wanted = commandlog.class_of(content.action)
    if standing.classes(rows, commandlog.audience_id(content.audience)) & 1 << wanted == 0:
        raise _refused(
            "scope_missing",
            f"operator {kid.hex()} has no scope {commandlog.CLASSES[wanted]!r} for {content.sub} on chain",
        )


# ---- Models ------------------------------------------------------------------------------------------------------


def check_activation(
    connection: sqlite3.Connection, profile: NetworkProfile, content: Command, args: Mapping[str, Any], now_s: int
) -> None:
    """Check that a command to activate a model names one that its audience may activate now.

    A device may by a grant to itself or to one of its groups; a group by a grant to the group.

    Raises TrustError ``model_not_approved``, ``model_revoked``, ``model_not_granted``;
    Unavailable ``registry_unread``.
    """
    if content.action != MODEL_ACTIVATE or profile.model_registry is None:
        return
    if policy(connection).models != NEVER:
        _require_read(connection)
    if not enforced(connection)["models"]:
        return
    audiences = [commandlog.audience_id(content.audience)]
    if isinstance(content.audience, bytes):
        found = devices.find(connection, content.audience)
        audiences = audiences if found is None else _audiences(found)
    _require(model_refusal(connection, args["model"], audiences, now_s))


def may_fetch(connection: sqlite3.Connection, device: Device, package: bytes, now_s: int) -> tuple[str, str] | None:
    """Return (code, detail) why a device may not fetch a package now, or None: one that was revoked since it was
    commanded is not handed out any more.
    """
    if not enforced(connection)["models"]:
        return None
    return model_refusal(connection, package, _audiences(device), now_s)


def model_refusal(
    connection: sqlite3.Connection, artifact: bytes, audiences: list[bytes], now_s: int
) -> tuple[str, str] | None:
    """Return (code, detail) why an audience may not activate this package now, or None.

    Now is the newest block's time or the clock's, whichever is later: a quiet chain keeps no expired grant alive.
    """
    proposed = registry.of(connection, "Proposed", artifact)
    tip = registry.tip(connection)
    at = max(now_s, 0 if tip is None else tip.time)
    if not proposed:
        return "model_not_approved", f"the model registry does not know package {artifact.hex()}"
    kept = proposed[0].fields
    found = standing.version(registry.about(connection, registry.version_of(kept["line"], kept["version"])))
    assert found is not None
    if found.state in ("deprecated", "revoked"):
        return "model_revoked", f"package {artifact.hex()} is {found.state} in the model registry"
    if not found.deployable_at_time(at):
        return "model_not_approved", f"package {artifact.hex()} is {found.state} in the model registry"
    if not standing.granted(registry.about(connection, artifact), audiences, at):
        return "model_not_granted", f"no grant of package {artifact.hex()} covers this audience at time {at}"
    return None


def _audiences(device: Device) -> list[bytes]:
    return [device.log, *(commandlog.audience_id(group) for group in device.groups)]


def _require(found: tuple[str, str] | None) -> None:
    if found is not None:
        raise _refused(*found)


def _require_read(connection: sqlite3.Connection) -> None:
    if registry.tip(connection) is None or guard.chain_size(connection) is None:
        raise Unavailable(
            "registry_unread", "the registries on chain were not read since start", "try again in a moment"
        )


def _refused(code: str, message: str) -> TrustError:
    return TrustError(code, message, REMEDIES[code])
