"""The gateway's key changes on chain: registered, the log switched to it, the old one revoked, in this order.

The log is switched before the old key is revoked: from then on the contract takes no head of the old key above the
anchored size, whatever happens to this process. What is done already is read from the chain, so a stopped run is run
again as it was.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeseal.cose import PublicKey
from edgeseal.errors import UsageError
from edgeseal.possession import Proof
from edgeseal_console.operate.eventscan import every_event
from edgeseal_console.operate.registry import OPEN, Registry


@dataclass(frozen=True, slots=True)
class Switched:
    """The old key; the anchored size at which the log switched; the position from which the old key is void."""

    old: bytes
    since: int
    until: int


def switch(
    registry: Registry, new: PublicKey, reason: str, *, proof: Proof | None = None, until: int | None = None
) -> Switched:  # fmt: skip
    """Put ``new`` in the place of the log's gateway key; ``until`` None makes the old one void where the log switched.

    Raises:
        UsageError: ``gateway_key_first``: the log never had another key, or the node does not show which; and what
        :meth:`Registry.register` raises. Reverted, Unavailable.
    """
    log = registry.network.fleet_log
    current, since, _ = registry.log.call("gatewayOf", log)
    current = bytes(current)
    registry.register(new, "gateway", bytes(32), proof=proof)
    # Durable on chain: the new key's registration. A second try finds it.
    if current != new.kid:
        old = current
        registry.set_gateway_key(new)
        # Durable on chain: the old key's heads are refused above the anchored size. A second try finds the new key in
        # force and goes on with the revocation of the key it replaced.
        since = registry.anchored_size() if registry.transactor.dry_run else registry.log.call("gatewayOf", log)[1]
    else:
        old = _replaced(registry, new.kid)
    known = registry.entry(old)
    if known is not None and known.status == "revoked" and until is None:
        return Switched(old, int(since), OPEN if known.until is None else known.until)
    position = int(since) if until is None else until
    if known is None:
        return Switched(old, int(since), position)  # a key nobody registered cannot be revoked, and never counted
    return Switched(old, int(since), registry.revoke(old, position, reason))


def _replaced(registry: Registry, kid: bytes) -> bytes:
    """Return the key that ``kid`` replaced, from the log's own event. Raises UsageError ``gateway_key_first``."""
    contract = registry.log.contract
    topics = [contract.event_topic("GatewayKeyChanged"), registry.network.fleet_log]
    found = None
    for one in every_event(registry, registry.log.address, topics):
        event = contract.decode_event("GatewayKeyChanged", one.log)
        found = bytes(event["oldKid"]) if bytes(event["newKid"]) == kid else found
    if found is None:
        raise UsageError(
            "gateway_key_first", f"{kid.hex()} is the log's gateway key, and no event shows one before it",
            "give the new key, not the present one",
        )  # fmt: skip
    return found
