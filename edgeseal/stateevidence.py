"""Chain state in a bundle: accounts at a block, storage under a root, the entries of a digest chain of commands
(``docs/format.md`` 14.2–14.4). Untrusted until verified against something that is believed.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from edgeseal import cbor, limits, schema
from edgeseal.commandlog import CLASSES, Entry, chain_after
from edgeseal.errors import FormatError
from edgeseal.evmproof import Header, multiproof, verify_header
from edgeseal.evmproof.header import MAX_BLOCK_HEADER
from edgeseal.evmproof.state import Account, verify_accounts, verify_slots

MAX_STATE_CONTRACTS: Final = 16
MAX_STATE_SLOTS: Final = 1_024
UNSEQUENCED: Final = 2**64 - 1
"""The position of a halt, which need not be sequenced."""

_ADDRESS: Final = 20
_NODES: Final = schema.binary(1, multiproof.MAX_STATE_NODE)
_accounts = schema.closed(
    {
        "v": schema.one_of(1),
        "chain": schema.uint,
        "block": schema.digest,
        "header": schema.binary(1, MAX_BLOCK_HEADER),
        "contracts": schema.items(schema.binary(_ADDRESS, _ADDRESS), MAX_STATE_CONTRACTS, 1),
        "nodes": schema.items(_NODES, multiproof.MAX_STATE_NODES, 1),
    }
)
_storage = schema.closed(
    {
        "v": schema.one_of(1),
        "root": schema.digest,
        "slots": schema.items(schema.digest, MAX_STATE_SLOTS, 1),
        "nodes": schema.items(_NODES, multiproof.MAX_STATE_NODES),
    }
)
_entry = schema.row(schema.digest, schema.uint, schema.one_of(*range(len(CLASSES))))
_commands = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "aud": schema.digest,
        "from": schema.digest,
        "entries": schema.items(_entry, limits.MAX_CHUNK_ITEMS, 1),
    }
)


@dataclass(frozen=True, slots=True)
class AccountEvidence:
    """Accounts of contracts (20-byte addresses, rising) in the state after one block, not yet checked."""

    chain: int
    block: bytes
    header: bytes
    contracts: tuple[bytes, ...]
    nodes: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The name of the file in a bundle."""
        return f"chain/accounts/{self.block.hex()}.cbor"

    def encode(self) -> bytes:
        """Return the CBOR of the file."""
        return cbor.encode(
            {
                "v": 1, "chain": self.chain, "block": self.block, "header": self.header,
                "contracts": list(self.contracts), "nodes": list(self.nodes),
            }
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> AccountEvidence:
        """Return the evidence in untrusted bytes. Raises FormatError: CBOR, shape, ``state_order``."""
        fields = _decoded(data, _accounts, "accounts")
        found = cls(
            fields["chain"], fields["block"], fields["header"], tuple(fields["contracts"]), tuple(fields["nodes"])
        )
        _check_rising(found.contracts, "contracts")
        return found

    def verify(self) -> tuple[Header, dict[bytes, Account | None]]:
        """Return the block's header and each contract's account there, None for one proved absent.

        Worth what the block hash is worth. Raises FormatError and VerificationError as
        :func:`edgeseal.evmproof.verify_header` and :func:`edgeseal.evmproof.state.verify_accounts`.
        """
        header = verify_header(self.block, self.header)
        accounts = verify_accounts(header.state_root, self.contracts, self.nodes)
        return header, dict(zip(self.contracts, accounts, strict=True))


@dataclass(frozen=True, slots=True)
class StorageEvidence:
    """Slots (32 bytes each, rising) under one storage root, not yet checked."""

    root: bytes
    slots: tuple[bytes, ...]
    nodes: tuple[bytes, ...]

    def name(self, number: int) -> str:
        """Return the name in a bundle of the ``number``-th file of this root."""
        return f"chain/storage/{self.root.hex()}-{number:020d}.cbor"

    def encode(self) -> bytes:
        """Return the CBOR of the file."""
        return cbor.encode({"v": 1, "root": self.root, "slots": list(self.slots), "nodes": list(self.nodes)})

    @classmethod
    def decode(cls, data: bytes) -> StorageEvidence:
        """Return the evidence in untrusted bytes. Raises FormatError: CBOR, shape, ``state_order``."""
        fields = _decoded(data, _storage, "storage")
        found = cls(fields["root"], tuple(fields["slots"]), tuple(fields["nodes"]))
        _check_rising(found.slots, "slots")
        return found

    def verify(self) -> dict[bytes, int]:
        """Return each slot's value, 0 where nothing is stored. Worth what the root is worth. Raises as
        :func:`edgeseal.evmproof.state.verify_slots`.
        """
        return dict(zip(self.slots, verify_slots(self.root, self.slots, self.nodes), strict=True))


@dataclass(frozen=True, slots=True)
class CommandChain:
    """Entries of an audience's digest chain in CommandLog: (command digest, position, action class), and the chain
    before the first of them. Nothing in it is proved until one of its steps is the chain that CommandLog holds.
    """

    log: bytes
    audience: bytes
    start: bytes
    entries: tuple[tuple[bytes, int, int], ...]

    def name(self, number: int) -> str:
        """Return the name in a bundle of the file that begins at entry ``number``."""
        return f"chain/commands/{self.audience.hex()}-{number:020d}.cbor"

    def encode(self) -> bytes:
        """Return the CBOR of the file."""
        entries = [list(entry) for entry in self.entries]
        return cbor.encode({"v": 1, "log": self.log, "aud": self.audience, "from": self.start, "entries": entries})

    @classmethod
    def decode(cls, data: bytes) -> CommandChain:
        """Return the entries in untrusted bytes. Raises FormatError: CBOR or shape."""
        fields = _decoded(data, _commands, "commands")
        entries = tuple((digest, position, kind) for digest, position, kind in fields["entries"])
        return cls(fields["log"], fields["aud"], fields["from"], entries)

    def steps(self) -> list[bytes]:
        """Return the digest chain after each entry."""
        found, chain = [], self.start
        for entry in self.entries:
            chain = chain_after(chain, [Entry(*entry)])
            found.append(chain)
        return found


NAMES: Final = re.compile(
    r"chain/(?:accounts/[0-9a-f]{64}|storage/[0-9a-f]{64}-[0-9]{20}|commands/[0-9a-f]{64}-[0-9]{20})\.cbor", re.ASCII
)
"""The names of these files in a bundle."""


def _decoded(data: bytes, shape: schema.Check, what: str) -> dict[str, Any]:
    fields = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS)
    shape(fields, what)
    return dict(fields)


def _check_rising(entries: Sequence[bytes], what: str) -> None:
    if any(right <= left for left, right in pairwise(entries)):
        raise FormatError("state_order", f"{what} do not rise")
