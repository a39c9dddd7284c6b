"""What the mirror's rows mean for the store: keys that ended, devices that are unregistered; settled where rows change.

Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import asdict
from typing import Final

from edgeseal import cbor
from edgeseal.network import NetworkProfile
from edgeseal_gateway import enforcement, standing
from edgeseal_gateway.enforcement import POLICY_KEY, Policy, check_policy
from edgeseal_gateway.store import devices, fleetlog, orders, registry
from edgeseal_gateway.store.database import get_meta, put_meta

_DEVICES: Final = "enforce_devices"


def keep_policy(connection: sqlite3.Connection, policy: Policy, profile: NetworkProfile) -> None:
    """Make ``policy`` the one by which every stage decides from now on. Raises as :func:`check_policy`."""
    check_policy(policy, profile)
    put_meta(connection, POLICY_KEY, cbor.encode(asdict(policy)))
    settle(connection, ())


def settle(connection: sqlite3.Connection, kids: Iterable[bytes]) -> None:
    """Bring keys that ended and the states of devices up to the mirror's rows about ``kids`` (other subjects do no
    harm); of every device where it has just become a matter whether its key is registered.
    """
    now = enforcement.enforced(connection)["devices"]
    before = get_meta(connection, _DEVICES) == b"yes"
    for kid in kids:
        if len(kid) == 32:
            _settle_key(connection, kid, now)
    if now != before:
        put_meta(connection, _DEVICES, b"yes" if now else b"")
        settle_devices(connection, 0)


def settle_devices(connection: sqlite3.Connection, after: int) -> int:
    """Judge devices enrolled after the one with this number by whether their keys are registered; return the number
    of the newest.
    """
    needed = get_meta(connection, _DEVICES) == b"yes"
    for number, kid in devices.enrolled_after(connection, after):
        known = not needed or standing.key(registry.about(connection, kid)) is not None
        devices.set_registered(connection, kid, known)
        after = number
    return after


def _settle_key(connection: sqlite3.Connection, kid: bytes, needed: bool) -> None:
    key = standing.key(registry.about(connection, kid))
    if key is not None and key.until != standing.OPEN:
        devices.set_registered(connection, kid, True)
        orders.end_by_registry(connection, kid, key.role, key.until)
        return
    if key is not None and key.reinstated:
        orders.reinstate(connection, kid)
    else:
        statement = fleetlog.last_of_subject(connection, kid.hex(), "revocation")
        orders.take_back(connection, kid, None if statement is None else statement.statement)
    devices.set_registered(connection, kid, key is not None or not needed)
