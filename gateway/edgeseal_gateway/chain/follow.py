"""Following the registries' events up to the chain's newest block, on a chain that may take blocks back.

Order of one look: which of the blocks kept is still the chain's; read everything above it; then, in one transaction,
drop what stood above it and put in what was read. So the store never holds half of what it knew: as long as the node
does not answer for all of a range, what was known before stays known. Blocks that are final are never taken back.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgeseal.adapters.evm import BlockHeader, BoundContract, Contract, EvmClient, FoundLog, Rejected
from edgeseal.errors import Unavailable
from edgeseal.network import NetworkProfile
from edgeseal_gateway import settling
from edgeseal_gateway.chain import tenanthistory
from edgeseal_gateway.chain.events import Reader
from edgeseal_gateway.store import registry
from edgeseal_gateway.store.database import LARGEST, Database, get_meta, put_meta
from edgeseal_gateway.store.registry import Block, Row

SPAN: Final = 5_000
"""Blocks asked for in one question for events."""
DEPTH: Final = 64
"""Blocks that may still be replaced where the chain has no ``finalized`` of its own, or more if the profile says so."""
OVERLAP: Final = 16
"""Blocks looked through again each time: a node behind a balancer may give a block's header before its events."""
TRIES: Final = 3
"""How often a range is read again at once because the chain moved under it."""
_FINAL: Final = "mirror_final"
_CONTRACTS: Final = "mirror_contracts"


@dataclass(frozen=True, slots=True)
class _Source:
    """One contract, and the value its events carry in their first topic: our fleet log, or our tenant."""

    address: bytes
    topic: bytes
    reader: Reader
    is_timed: bool = False
    """Whether the times of its events' blocks count."""


class Follower:
    """Keeps the mirror's rows. Not thread-safe; the only one that writes them."""

    def __init__(self, client: EvmClient, profile: NetworkProfile, database: Database) -> None:
        self._client = client
        self._profile = profile
        self._database = database
        tenant, log = profile.tenant_root.kid, profile.fleet_log
        self._sources = [_Source(profile.identity_registry, log, Reader("IdentityRegistry"))]
        if profile.command_log is not None:
            self._sources.append(_Source(profile.command_log.address, log, Reader("CommandLog")))
        if profile.model_registry is not None:
            self._sources.append(_Source(profile.model_registry.address, tenant, Reader("ModelRegistry"), True))

    def look(self) -> Block:
        """Bring the rows up to the chain's newest block; return the block they stand at now.

        A node that is behind what was read already is waited for: nothing is dropped because of it.

        Raises:
            Unavailable: the node; ``rpc_moved``: blocks were replaced while they were read;
                ``rpc_finality``: the node's chain is not the one whose final blocks were read.
        """
        newest = self._header("latest")
        with self._database.read() as connection:
            kept = registry.blocks(connection)
            final = int.from_bytes(get_meta(connection, _FINAL) or b"", "big")
            known = get_meta(connection, _CONTRACTS)
        if kept and known != self._contracts:  # the profile names another contract: its events are older than our rows
            if newest.number < kept[0].number:
                raise Unavailable("rpc_answer", f"the node is at block {newest.number}, read was {kept[0].number}")
            return self._catch_up(self._start() - 1, kept, newest, max(final, self._final(newest)))
        if kept and (kept[0].number, kept[0].hash) == (newest.number, newest.hash):
            return kept[0]
        base = self._agreed(kept, newest, final)
        if kept and base == kept[0].number >= newest.number:
            return kept[0]
        if base >= newest.number:
            raise Unavailable("rpc_answer", f"the node is at block {newest.number}, the tenant begins at {base + 1}")
        return self._catch_up(base, kept, newest, max(final, self._final(newest)))

    def _catch_up(self, base: int, kept: list[Block], newest: BlockHeader, final: int) -> Block:
        """Read the blocks above ``base``, range by range, each stored whole."""
        old = kept[0].number if kept else 0
        stand = Block(newest.number, newest.hash, newest.timestamp)
        first = base + 1
        again = max(0, first - OVERLAP) if kept else first
        while first <= newest.number:
            last = min(newest.number, max(first + SPAN - 1, old))  # what is dropped is read again in the same go
            rows, blocks = self._read(again, last, final)
            self._store(first - 1, rows, blocks, min(final, last))
            stand, first, again = blocks[-1], last + 1, last + 1
        return stand

    def _store(self, above: int, rows: list[Row], blocks: list[Block], final: int) -> None:
        with self._database.write() as connection:
            touched = registry.roll_back(connection, above)
            registry.add(connection, rows)
            registry.note_blocks(connection, blocks, final)
            put_meta(connection, _FINAL, final.to_bytes(8, "big"))
            put_meta(connection, _CONTRACTS, self._contracts)
            settling.settle(connection, touched | {row.subject for row in rows})
        # Durable: everything the registries said up to the last of these blocks; a restart reads on from there.

    def _agreed(self, kept: list[Block], newest: BlockHeader, final: int) -> int:
        """Return the highest block up to which what is kept is the node's chain too.

        Where the node is at a lower height, on the same chain as far as it goes, that is all of what is kept: it is
        behind, and catches up.
        """
        reached = [one for one in kept if one.number <= newest.number]
        for one in reached:
            if self._hash_at(one.number, newest) == one.hash:
                return kept[0].number if one is reached[0] else one.number
            if one.number <= final:
                raise Unavailable(
                    "rpc_finality",
                    f"block {one.number} was final as {one.hash.hex()[:16]}…, this node has another one there",
                    "ask a second endpoint which is right; correct the endpoints of the network profile",
                )
        return kept[0].number if kept and not reached else self._start() - 1

    def _start(self) -> int:
        """Return the block below which there is nothing of the tenant."""
        identities = BoundContract(self._client, Contract("IdentityRegistry"), self._profile.identity_registry)
        return tenanthistory.opened_block(identities, self._profile.tenant_root.kid) or self._profile.first_block

    @property
    def _contracts(self) -> bytes:
        return b"".join(source.address for source in self._sources)

    def _read(self, first: int, last: int, final: int) -> tuple[list[Row], list[Block]]:
        """Return the rows of a range, and blocks to recognise it by, the last one last."""
        for _ in range(TRIES):
            end = self._header(last)
            found = list(self._logs(first, last))
            headers = self._headers(found, first, last, final)
            if self._header(last).hash == end.hash and all(
                headers[entry.block_number].hash == entry.block_hash
                for _, entry in found
                if entry.block_number in headers
            ):
                return self._rows(found, headers), self._blocks(headers, end)
        raise Unavailable("rpc_moved", f"the chain took blocks {first} to {last} back while they were read")

    def _logs(self, first: int, last: int) -> Iterator[tuple[_Source, FoundLog]]:
        for source in self._sources:
            for start in range(first, last + 1, SPAN):
                for entry in self._range(source, start, min(last, start + SPAN - 1)):
                    yield source, entry

    def _range(self, source: _Source, start: int, stop: int) -> list[FoundLog]:
        """Ask for one range; a node that finds it too long gets half of it at a time."""
        try:
            found = self._client.logs([source.address], [None, source.topic], start, stop)
        except Rejected:
            if start == stop:
                raise
            half = (start + stop) // 2
            return self._range(source, start, half) + self._range(source, half + 1, stop)
        for entry in found:
            asked = start <= entry.block_number <= stop and entry.log.address == source.address
            if not asked or entry.log_index > LARGEST:
                raise Unavailable("rpc_answer", f"a log of block {entry.block_number}, asked for {start} to {stop}")
        return [entry for entry in found if entry.log.topics[1:2] == (source.topic,)]

    def _headers(
        self, found: list[tuple[_Source, FoundLog]], first: int, last: int, final: int
    ) -> dict[int, BlockHeader]:
        """Return the headers that are needed: of blocks that may be replaced, and of those whose time counts."""
        numbers = {entry.block_number for source, entry in found if entry.block_number > final or source.is_timed}
        if first <= final <= last:
            numbers.add(final)
        return {number: self._header(number) for number in sorted(numbers)}

    def _rows(self, found: list[tuple[_Source, FoundLog]], headers: dict[int, BlockHeader]) -> list[Row]:
        rows = []
        for source, entry in found:
            header = headers.get(entry.block_number)
            row = source.reader.read(entry, 0 if header is None else header.timestamp)
            if row is not None:
                rows.append(row)
        return sorted(rows, key=lambda row: (row.number, row.log_index))

    @staticmethod
    def _blocks(headers: dict[int, BlockHeader], end: BlockHeader) -> list[Block]:
        every = {**headers, end.number: end}
        return [Block(number, every[number].hash, every[number].timestamp) for number in sorted(every)]

    def _final(self, newest: BlockHeader) -> int:
        """Return the number of the newest block that nothing will replace any more."""
        rules = self._profile.rules
        if rules is not None and rules.finality == "tag":
            try:
                found = self._client.header("finalized")
            except Rejected:  # a node without the tag: depth must do
                found = None
            if found is not None:
                return found.number
        deep = DEPTH if rules is None else max(DEPTH, rules.confirmations)
        return max(0, newest.number - deep)

    def _hash_at(self, number: int, newest: BlockHeader) -> bytes | None:
        if number == newest.number:
            return newest.hash
        found = self._client.header(number)
        return None if found is None else found.hash

    def _header(self, block: int | str) -> BlockHeader:
        found = self._client.header(block)
        if found is None:
            raise Unavailable("rpc_answer", f"the node has no block {block}")
        if max(found.number, found.timestamp) > LARGEST or (type(block) is int and found.number != block):
            raise Unavailable("rpc_answer", f"a header with number {found.number}, asked for {block}")
        return found
