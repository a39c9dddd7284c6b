"""What the chain says: the anchored head, the gateway key in force, and the registries' events (chain/follow.py)."""

from __future__ import annotations

from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, Reverted, check_chain
from edgeseal.errors import InvariantBroken, UsageError
from edgeseal.network import NetworkProfile
from edgeseal_gateway import settling
from edgeseal_gateway.chain.follow import Follower
from edgeseal_gateway.store import devices, guard
from edgeseal_gateway.store.database import Database


def check_endpoint(client: EvmClient, profile: NetworkProfile) -> None:
    """Check that an endpoint serves the profile's chain and contracts.

    Raises InvariantBroken ``chain_id`` or ``contract_code``: nothing is ever sent there. Unavailable.
    """
    check_chain(client, profile.chain_id)
    for name, address, expected in (
        ("FleetLog", profile.fleet_log_contract, profile.fleet_log_code),
        ("IdentityRegistry", profile.identity_registry, profile.registry_code),
        *((name, found.address, found.code) for name, found in profile.further()),
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
        self._judged = 0
        self._fleet = BoundContract(client, Contract("FleetLog"), profile.fleet_log_contract)
        self._follower = Follower(client, profile, database)

    def step(self) -> int:
        """Read the chain's head and the registries' news into the store; return the anchored size.

        The head counts only once the registries are read up to the same moment: after a start nothing is signed before.

        Raises:
            Unavailable: the node, and as :meth:`Follower.look`. UsageError ``log_unknown``: the log is not open on this
            chain, ``gateway_replaced``. InvariantBroken: as :func:`check_endpoint`, and ``chain_contradicts``.
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
        self._follower.look()
        self._judge_new()
        with self._database.read() as connection:
            known = guard.chain_size(connection)
        if known != size:
            with self._database.write() as connection:
                guard.note_chain(connection, size, bytes(root))
            # Durable: the head on chain; a restart looks again before it signs.
        if bytes(kid) != self._kid:
            raise UsageError(
                "gateway_replaced",
                f"the contract takes heads of key {bytes(kid).hex()} only, ours is {self._kid.hex()}",
                "run the gateway that has that key: one that was replaced does not come back",
            )
        return int(size)

    def _judge_new(self) -> None:
        """Judge devices enrolled since the last look: their registration, if there is one, was read just now."""
        with self._database.read() as connection:
            if not devices.enrolled_after(connection, self._judged):
                return
        with self._database.write() as connection:
            self._judged = settling.settle_devices(connection, self._judged)
        # Durable: who is refused as unregistered; a restart judges all of them again.
