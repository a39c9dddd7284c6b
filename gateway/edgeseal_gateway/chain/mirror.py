"""What the chain says: the anchored head, the gateway key in force, keys revoked in the registry."""

from __future__ import annotations

from typing import Any, Final

from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, Reverted, check_chain
from edgeseal.errors import InvariantBroken, UsageError
from edgeseal.network import NetworkProfile
from edgeseal_gateway.chain import history
from edgeseal_gateway.store import guard, orders
from edgeseal_gateway.store.database import Database, get_meta, put_meta

ROLES: Final = ("device", "operator", "gateway", "publisher", "approver", "auditor")
"""Roles in the order of the registry's enumeration."""
SPAN: Final = 5_000
"""Blocks asked for in one look at the registry's events."""
LOOK_BACK: Final = 64
"""Blocks read again each time, in case they were replaced."""
_BLOCK: Final = "mirror_block"
_ENDED: Final = ("KeyRevoked", "KeySuspended")
_BACK: Final = "KeyReinstated"


def check_endpoint(client: EvmClient, profile: NetworkProfile) -> None:
    """Check that an endpoint serves the profile's chain and contracts.

    Raises InvariantBroken ``chain_id`` or ``contract_code``: nothing is ever sent there. Unavailable.
    """
    check_chain(client, profile.chain_id)
    for name, address, expected in (
        ("FleetLog", profile.fleet_log_contract, profile.fleet_log_code),
        ("IdentityRegistry", profile.identity_registry, profile.registry_code),
    ):
        if client.code_hash(address) != expected:
            raise InvariantBroken(
                "contract_code",
                f"the code at 0x{address.hex()} is not the {name} of the network profile",
                "correct endpoints or addresses in the network profile; never send to an unknown contract",
            )


class Mirror:
    """Reads one chain through one endpoint. Not thread-safe."""

    def __init__(self, client: EvmClient, profile: NetworkProfile, database: Database, kid: bytes) -> None:
        self._client = client
        self._profile = profile
        self._database = database
        self._kid = kid
        self._checked = False
        self._fleet = BoundContract(client, Contract("FleetLog"), profile.fleet_log_contract)
        self._registry = BoundContract(client, Contract("IdentityRegistry"), profile.identity_registry)

    def step(self) -> int:
        """Read the chain's head and the registry's news into the store; return the anchored size.

        Raises:
            Unavailable: the node. UsageError ``log_unknown``: the log is not open on this chain, ``gateway_replaced``.
            InvariantBroken: as :func:`check_endpoint`, and ``chain_contradicts``.
        """
        if not self._checked:
            check_endpoint(self._client, self._profile)
            self._checked = True
        log = self._profile.fleet_log
        try:
            size, root = self._fleet.call("head", log)
            kid, _, _ = self._fleet.call("gatewayOf", log)
        except Reverted as error:
            raise UsageError(
                "log_unknown", f"the fleet log is not open on this chain: {error.message}", "edgeseal chain open"
            ) from error
        newest = self._client.block_number()
        with self._database.read() as connection:
            known, kept = guard.chain_size(connection), get_meta(connection, _BLOCK)
        if known != size or kept != newest.to_bytes(8, "big"):
            self._store(size, bytes(root), self._changes(kept, newest), newest)
        if bytes(kid) != self._kid:
            raise UsageError(
                "gateway_replaced",
                f"the contract takes heads of key {bytes(kid).hex()} only, ours is {self._kid.hex()}",
                "run the gateway that has that key: one that was replaced does not come back",
            )
        return int(size)

    def _store(self, size: int, root: bytes, changes: list[tuple[bytes, str, int | None]], newest: int) -> None:
        with self._database.write() as connection:
            guard.note_chain(connection, size, root)
            for kid, role, until in changes:
                if until is None:
                    orders.reinstate(connection, kid)
                else:
                    orders.set_revoked(connection, kid, role, until, "registry")
            put_meta(connection, _BLOCK, newest.to_bytes(8, "big"))
        # Durable: what the registry said up to that block; a restart reads on from there, a little of it twice.

    def _changes(self, kept: bytes | None, newest: int) -> list[tuple[bytes, str, int | None]]:
        """Return (kid, role, until) of keys that ended since the last look, until None for those that came back."""
        if kept is None:
            first = history.opened_block(self._fleet, self._profile.fleet_log)
        else:
            first = max(0, int.from_bytes(kept, "big") - LOOK_BACK)
        contract, found = self._registry.contract, []
        names = {contract.event_topic(name): name for name in (*_ENDED, _BACK)}
        while first <= newest:
            last = min(newest, first + SPAN - 1)
            for entry in self._client.logs(
                [self._profile.identity_registry], [None, self._profile.fleet_log], first, last
            ):
                name = names.get(entry.log.topics[0]) if entry.log.topics else None
                if name is not None:
                    found.append(self._change(name, contract.decode_event(name, entry.log)))
            first = last + 1
        return found

    def _change(self, name: str, event: dict[str, Any]) -> tuple[bytes, str, int | None]:
        kid = bytes(event["kid"])
        role = ROLES[self._registry.call("keyOf", self._profile.fleet_log, kid)[0]]
        return kid, role, None if name == _BACK else int(event["until"])
