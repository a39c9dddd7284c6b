"""Proofs of what the contracts hold after each anchor's block, taken while a node still has that state.

geth and its kin forget the state of a block 128 blocks later. So the state is proved as soon as an anchor's transaction
is in a block, before that is final; what another block replaces is never shown to anybody. What an endpoint does not
give is asked of the next; a block whose state none of them gives once nodes forget it goes without, and its reason is
kept. A contract that is younger than a block is proved not to stand there.
What is asked: the fleet log's head, every key's standing, every audience's chain of logged commands, every package and
who was granted it. Trie nodes that are kept already are not asked for again, so a contract that did not change since
the last anchor costs one call.
"""

from __future__ import annotations

import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice, product
from typing import Final
from urllib.parse import urlsplit

from edgeseal import contractstate
from edgeseal.adapters.evm import BlockHeader, Busy, EvmClient, Rejected
from edgeseal.adapters.evmstate import StateReader
from edgeseal.commandlog import audience_id
from edgeseal.contractstate import Read
from edgeseal.errors import EvidenceError, Unavailable
from edgeseal.network import NetworkProfile
from edgeseal_gateway.store import devices, keysets, orders, statekeep, statelost
from edgeseal_gateway.store.database import Database

KEPT_BY_NODES: Final = 128
"""How many blocks a full node keeps the state of."""
MAX_QUESTIONS: Final = 8_192
"""Keys, audiences, packages and grants asked for at one block; of more, the last are left out and not answered."""
BLOCKS_AT_ONCE: Final = 4
TRIES: Final = 10
"""How often an endpoint that answers otherwise may fail to prove an old block before it counts as having nothing; where
it refuses in words, once is enough."""
MAX_REASON: Final = 200
"""Characters of an endpoint's own words in a reason that is kept."""
PAUSE_S: Final = 0.5
_UNKNOWN: Final = "it does not know the block"
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
        self._refused: dict[bytes, Counter[int]] = {}
        """Old blocks, and how much each endpoint (by index) failed to prove them. A restart asks each of them again."""

    def step(self) -> float:
        """Take the proofs of blocks that wait for them; return the pause.

        Raises Unavailable as the node does, and ``rpc_answer`` where it does not give them yet: the other blocks were
        looked at all the same.
        """
        with self._database.read() as connection:
            waiting = statekeep.waiting(connection, BLOCKS_AT_ONCE)
        self._refused = {block: self._refused.get(block, Counter()) for block, _ in waiting}
        missing: Unavailable | None = None
        try:
            for block, number in waiting:
                missing = self._try(block, number) or missing
            if missing is not None:
                raise missing
        except Unavailable:
            self._turn = (self._turn + 1) % len(self._profile.endpoints)
            self._client = self._connect(self._profile.endpoints[self._turn])
            raise
        return PAUSE_S

    def _try(self, block: bytes, number: int) -> Unavailable | None:
        """Take one block's proofs; return why this endpoint gives none, None where it did or they are given up."""
        weight = TRIES
        try:
            header = self._client.header(block)
            if header is not None:
                self._capture(block, header)
                return None
            why = _UNKNOWN
        except Rejected as error:
            why = error.text
        except EvidenceError as error:
            why, weight = f"a contract holds what ours never write: {error.message}", 1
        except Busy:
            raise
        except Unavailable as error:
            why, weight = error.message, 1
        return self._missing(block, number, why, weight)

    def _capture(self, block: bytes, header: BlockHeader) -> None:
        with self._database.read() as connection:
            questions = list(islice(_questions(connection, self._profile), MAX_QUESTIONS))
        asked: dict[bytes, list[Ask]] = {}
        for contract, ask in questions:
            asked.setdefault(contract, []).append(ask)
        reader = StateReader(self._client, header, self._node)
        evidence = reader.accounts(self._profile.chain_id, asked)
        standing = [contract for contract in asked if reader.stands(contract)]
        for contract in standing:
            reader.ask(contract, _together(asked[contract]))
        slots = {reader.account(contract).storage_root: reader.slots(contract) for contract in standing}
        with self._database.write() as connection:
            statekeep.keep(connection, block, header.number, evidence.encode(), reader.fresh, slots)
        # Durable: the block's proofs. A restart takes those of the next block.

    def _node(self, digest: bytes) -> bytes | None:
        with self._database.read() as connection:
            return statekeep.node(connection, digest)

    def _missing(self, block: bytes, number: int, why: str, weight: int) -> Unavailable | None:
        """Return what is said of a block that this endpoint gives no proof of; None once it goes without: no endpoint
        gave one after nodes had forgotten the block's state, a refusal weighing more than an answer that does not hold.

        Raises Unavailable where the endpoint does not answer at all: that says nothing about the block.
        """
        name, found = urlsplit(self._client.url).hostname or "", self._refused[block]
        why = why.replace(self._client.url, name)  # the rest of the address may hold a secret
        age = self._client.block_number() - number
        if age > KEPT_BY_NODES:
            found[self._turn] += weight
        elif why == _UNKNOWN:
            return None  # replaced, or this endpoint is behind: asked for again at the next step
        if any(found[turn] < TRIES for turn in range(len(self._profile.endpoints))):
            return Unavailable("rpc_answer", f"{name}: no state proof of block {number}: {why}")
        reason = (
            f"no endpoint gave a state proof of block {number}, {age} blocks old, nodes keep the state of "
            f"{KEPT_BY_NODES} (last: {why[:MAX_REASON]})"
        )
        with self._database.write() as connection:
            statelost.give_up(connection, block, number, reason)
        # Durable: that this block has no proofs, and why. A restart does not ask for them again.
        _log.warning("%s; name an archive node in the network profile for what is still to come", reason)
        return None


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
