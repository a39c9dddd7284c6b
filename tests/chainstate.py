"""Our contracts on the hand-made chain of ``tests.world``: storage as Solidity lays it out, tries over it, proofs.

The places are written down here a second time, from the contracts' source; ``edgeseal.contractstate`` says the same.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from edgeseal import contractstate
from edgeseal.bundlewriter import Writer
from edgeseal.commandlog import audience_id
from edgeseal.evmproof import keccak256, multiproof, rlp, trie
from edgeseal.stateevidence import AccountEvidence, CommandChain, StorageEvidence

if TYPE_CHECKING:
    from tests.world import World

COMMAND_LOG: Final = b"\xc2" * 20
MODELS: Final = b"\xc3" * 20
OPEN: Final = 2**64 - 1
ACTIVE, SUSPENDED, REVOKED = 1, 2, 3
Slots = dict[bytes, int]


@dataclass
class Trie:
    """A trie: its root, and all its nodes by hash."""

    root: bytes
    nodes: dict[bytes, bytes]

    @classmethod
    def of(cls, entries: dict[bytes, bytes]) -> Trie:
        nodes: dict[bytes, bytes] = {}
        root = multiproof.EMPTY_ROOT
        for key in entries:
            root, path = trie.build_proof(entries, key)
            nodes.update({keccak256(node): node for node in path})
        return cls(root, nodes)

    def prove(self, keys: Iterable[bytes]) -> tuple[bytes, ...]:
        return tuple(multiproof.build(self.root, [keccak256(key) for key in keys], self.nodes.get))


def place(slot: int, *keys: bytes) -> int:
    """The slot of an entry of nested mappings."""
    at = slot.to_bytes(32, "big")
    for key in keys:
        at = keccak256(key.rjust(32, b"\0") + at)
    return int.from_bytes(at, "big")


def word(at: int) -> bytes:
    return (at % 2**256).to_bytes(32, "big")


@dataclass
class After:
    """The contracts after one block."""

    header: bytes
    state: Trie
    storage: dict[bytes, Trie]
    slots: dict[bytes, Slots]


@dataclass
class Contracts:
    """Five contracts' storage now, and after each block so far. ``code`` is the hash of everybody's code."""

    world: World
    addresses: tuple[bytes, ...]
    code: bytes
    slots: dict[bytes, Slots] = field(default_factory=dict)
    blocks: dict[bytes, After] = field(default_factory=dict)
    logged: dict[bytes, list[tuple[bytes, int, int]]] = field(default_factory=dict)
    _open: tuple[Trie, dict[bytes, Trie]] | None = None

    @property
    def registry(self) -> bytes:
        return self.addresses[1]

    def put(self, contract: bytes, at: int, value: int) -> None:
        self.slots.setdefault(contract, {})[word(at)] = value

    # What transactions do

    def key(self, kid: bytes, role: int = 0, *intervals: tuple[int, int], status: int = ACTIVE) -> None:
        """Have a key in the registry; the last interval is the one in force."""
        *earlier, (start, until) = intervals or ((0, OPEN),)
        packed = start | until << 64 | 7 << 128 | role << 176 | status << 184
        self.put(self.registry, place(1, self.world.log, kid), packed)
        array = place(2, self.world.log, kid)
        self.put(self.registry, array, len(earlier))
        first = int.from_bytes(keccak256(word(array)), "big")
        for number, (begin, end) in enumerate(earlier):
            self.put(self.registry, first + number, begin | end << 64)

    def log_command(self, audience: bytes | str, digest: bytes, position: int, kind: int = 1) -> None:
        """Append to the digest chain of an audience."""
        key = audience_id(audience)
        entries = self.logged.setdefault(key, [])
        entries.append((digest, position, kind))
        chain = CommandChain(self.world.log, key, bytes(32), tuple(entries)).steps()[-1]
        at = place(0, self.world.log, key)
        self.put(COMMAND_LOG, at, int.from_bytes(chain, "big"))
        self.put(COMMAND_LOG, at + 1, len(entries) | (position + 1) << 64 | 7 << 128)

    def model(self, package: bytes, deployable: int, ended: int = 0) -> None:
        """Have a version that was made deployable, and ended, at these times."""
        tenant, line = self.world.root.kid, b"\x71" * 32
        at = place(2, tenant, package)
        self.put(MODELS, at, int.from_bytes(line, "big"))
        self.put(MODELS, at + 1, 3)
        times = 7 | (deployable - 1) << 48 | deployable << 88 | ended << 128
        self.put(MODELS, place(1, tenant, line, b"\x03") + 4, times)

    def grant(self, package: bytes, audience: bytes | str, *spans: tuple[int, int]) -> None:
        """Grant a package to an audience for some times."""
        array = place(4, self.world.root.kid, package, audience_id(audience))
        self.put(MODELS, array, len(spans))
        first = int.from_bytes(keccak256(word(array)), "big")
        for number, (begin, end) in enumerate(spans):
            self.put(MODELS, first + number, begin | end << 40)

    # What a block holds

    def state_root(self, size: int, root: bytes) -> bytes:
        """Anchor a head in FleetLog's storage and return the state root after that block."""
        at = place(1, self.world.log)
        self.put(self.addresses[0], at, int.from_bytes(root, "big"))
        self.put(self.addresses[0], at + 1, size | 9 << 128 | 1 << 216)
        storage = {
            address: Trie.of({keccak256(k): rlp.encode(rlp.encode_integer(v)) for k, v in self._of(address) if v})
            for address in self.addresses
        }
        accounts = {
            keccak256(address): rlp.encode([b"\1", b"", storage[address].root, self.code]) for address in self.addresses
        }
        accounts[keccak256(b"\xdd" * 20)] = rlp.encode([b"\5", b"\7", multiproof.EMPTY_ROOT, keccak256(b"")])
        self._open = (Trie.of(accounts), storage)
        return self._open[0].root

    def _of(self, address: bytes) -> list[tuple[bytes, int]]:
        return list(self.slots.get(address, {}).items())

    def mined(self, block: bytes, header: bytes) -> None:
        """Keep what the block just made holds."""
        assert self._open is not None
        state, storage = self._open
        self.blocks[block] = After(header, state, storage, {a: dict(s) for a, s in self.slots.items()})

    # Evidence

    def accounts(self, block: bytes, addresses: Iterable[bytes] | None = None) -> AccountEvidence:
        after, chain = self.blocks[block], 31337
        chosen = tuple(sorted(self.addresses if addresses is None else addresses))
        return AccountEvidence(chain, block, after.header, chosen, after.state.prove(chosen))

    def storage(self, block: bytes, address: bytes, slots: Iterable[bytes]) -> StorageEvidence:
        found = self.blocks[block].storage[address]
        chosen = tuple(sorted(set(slots)))
        return StorageEvidence(found.root, chosen, found.prove(chosen))

    def asked(self, block: bytes, address: bytes) -> set[bytes]:
        """The slots of a contract that a verifier of this world would ask for."""
        world, slots, found = self.world, self.blocks[block].slots.get(address, {}), set[bytes]()

        def read(slot: bytes) -> int:
            found.add(slot)
            return slots.get(slot, 0)

        audiences: list[bytes | str] = [*(device.log for device in world.devices), "all"]
        if address == self.addresses[0]:
            contractstate.log_head(read, world.log)
        elif address == self.registry:
            for key in (*(device.key for device in world.devices), world.operator, world.gateway):
                contractstate.key_state(read, world.log, key.kid)
        elif address == COMMAND_LOG:
            for audience in audiences:
                contractstate.command_tip(read, world.log, audience_id(audience))
        else:
            from tests.world import MODEL

            contractstate.version_state(read, world.root.kid, MODEL)
            for audience in audiences:
                contractstate.grants(read, world.root.kid, MODEL, audience_id(audience))
        return found

    def files(self, blocks: Iterable[bytes] | None = None) -> dict[str, bytes]:
        """The files of a bundle that prove everything asked for after these blocks (all)."""
        files: dict[str, bytes] = {}
        writer = Writer(files.__setitem__)
        for block in self.blocks if blocks is None else blocks:
            writer.accounts(self.accounts(block))
            for address in self.addresses:
                if self.blocks[block].storage[address].root != multiproof.EMPTY_ROOT:
                    writer.storage(self.storage(block, address, self.asked(block, address)), 0)
        for audience, entries in self.logged.items():
            writer.commands(CommandChain(self.world.log, audience, bytes(32), tuple(entries)), 0)
        return files
