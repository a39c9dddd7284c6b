"""Proofs of what the contracts hold after each anchor's block, taken while a node still has that state.

geth and its kin forget the state of a block 128 blocks later. So the state is proved as soon as an anchor's transaction
is in a block, before that is final, and tried again until then; what another block replaces is never shown to anybody.
What is asked: the fleet log's head, every key's standing, every audience's chain of logged commands, every package and
who was granted it. Trie nodes that are kept already are not asked for again, so a contract that did not change since
the last anchor costs one call.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, product
from typing import Final

from edgeseal import contractstate
from edgeseal.adapters.evm import EvmClient, Rejected
from edgeseal.adapters.evmstate import StateReader
from edgeseal.commandlog import audience_id
from edgeseal.contractstate import Read
from edgeseal.errors import Unavailable, VerificationError
from edgeseal.network import NetworkProfile
from edgeseal_gateway.store import devices, keysets, orders, statekeep
from edgeseal_gateway.store.database import Database

KEPT_BY_NODES: Final = 128
"""How many blocks a full node keeps the state of."""
MAX_QUESTIONS: Final = 8_192
"""Keys, audiences, packages and grants asked for at one block; of more, the last are left out and not answered."""
BLOCKS_AT_ONCE: Final = 4
PAUSE_S: Final = 0.5
_log = logging.getLogger("edgeseal.gateway")
Ask = Callable[[Read], object]
"""What is read in one contract's storage."""


class StateProofs:
    """Takes the proofs, through one endpoint until it fails. One in the whole gateway; not thread-safe."""

    def __init__(
        self, profile: NetworkProfile, database: Database, connect: Callable[[str], EvmClient] = EvmClient
    ) -> None:
        """Read through the profile's endpoints; nothing is asked yet."""
        self._profile = profile
        self._database = database
        self._connect = connect
        self._turn = 0
        self._client = connect(profile.endpoints[0])

    def step(self) -> float:
        """Take the proofs of blocks that wait for them; return the pause. Raises Unavailable as the node does."""
        with self._database.read() as connection:
            waiting = statekeep.waiting(connection, BLOCKS_AT_ONCE)
        try:
            for block, _ in waiting:
                self._capture(block)
        except Unavailable:
            self._turn += 1
            self._client = self._connect(self._profile.endpoints[self._turn % len(self._profile.endpoints)])
            raise
        return PAUSE_S

    def _capture(self, block: bytes) -> None:
        header = self._client.header(block)
        if header is None:
            return  # replaced, or not known to this endpoint: asked for again at the next step
        with self._database.read() as connection:
            questions = list(islice(_questions(connection, self._profile), MAX_QUESTIONS))
        asked: dict[bytes, list[Ask]] = {}
        for contract, ask in questions:
            asked.setdefault(contract, []).append(ask)
        reader = StateReader(self._client, header, self._node)
        try:
            evidence = reader.accounts(self._profile.chain_id, asked)
            for contract, asks in asked.items():
                reader.ask(contract, _together(asks))
        except Rejected as error:
            self._refused(block, header.number, error)
            return
        except VerificationError as error:
            raise Unavailable("rpc_answer", f"a contract holds what ours never write: {error.message}") from error
        slots = {reader.account(contract).storage_root: reader.slots(contract) for contract in asked}
        with self._database.write() as connection:
            statekeep.keep(connection, block, header.number, evidence.encode(), reader.fresh, slots)
        # Durable: the block's proofs. A restart takes those of the next block.

    def _node(self, digest: bytes) -> bytes | None:
        with self._database.read() as connection:
            return statekeep.node(connection, digest)

    def _refused(self, block: bytes, number: int, error: Rejected) -> None:
        """Try again while a full node would have the state; then the block goes without."""
        age = self._client.block_number() - number
        if age <= KEPT_BY_NODES:
            raise Unavailable("rpc_answer", f"no state proof of block {number}: {error.text}") from error
        with self._database.write() as connection:
            statekeep.give_up(connection, block, number)
        # Durable: that this block has no proofs. A restart does not ask for them again.
        _log.warning(
            "no state proof of block %d, %d blocks old: nodes keep the state of %d (%s); use an archive node",
            number, age, KEPT_BY_NODES, error.text,
        )  # fmt: skip


def _questions(connection: sqlite3.Connection, profile: NetworkProfile) -> Iterator[tuple[bytes, Ask]]:
    """Yield (contract, what is read there), the most needed first."""
    log, tenant = profile.fleet_log, profile.tenant_root.kid
    known = devices.every(connection)
    members = [member.key.kid for keyset, _ in keysets.every(connection) for member in keyset.members]
    yield profile.fleet_log_contract, partial(contractstate.log_head, log=log)
    for kid in dict.fromkeys([*members, *(device.key.kid for device in known)]):
        yield profile.identity_registry, partial(contractstate.key_state, log=log, kid=kid)
    groups = dict.fromkeys(group for device in known for group in device.groups)
    names: list[bytes | str] = [*groups, *(device.log for device in known)]
    audiences = [audience_id(name) for name in names]
    if profile.command_log is not None:
        for audience in audiences:
            yield profile.command_log.address, partial(contractstate.command_tip, log=log, audience=audience)
    if profile.model_registry is not None:
        packages = [digest for digest, *_ in orders.packages(connection)]
        for package in packages:
            yield profile.model_registry.address, partial(contractstate.version_state, tenant=tenant, artifact=package)
        for audience, package in product(audiences, packages):
            grants = partial(contractstate.grants, tenant=tenant, artifact=package, audience=audience)
            yield profile.model_registry.address, grants


def _together(asks: list[Ask]) -> Ask:
    return lambda read: [ask(read) for ask in asks]
