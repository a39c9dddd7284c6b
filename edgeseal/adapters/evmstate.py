"""Contracts' state at one block, read from a node as proofs, believed as far as they hold (format.md 14.2, 14.3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Final, Protocol, TypeVar

from edgeseal.adapters.evm import BlockHeader
from edgeseal.contractstate import Read
from edgeseal.errors import EvidenceError, Unavailable, VerificationError
from edgeseal.evmproof import decode_header, keccak256, multiproof
from edgeseal.evmproof.multiproof import EMPTY_ROOT
from edgeseal.evmproof.state import Account, verify_accounts, verify_slots
from edgeseal.stateevidence import MAX_STATE_SLOTS, AccountEvidence, StorageEvidence

SLOTS_AT_ONCE: Final = 128
"""Slots asked for in one call."""
_T = TypeVar("_T")


class Prover(Protocol):
    """What is asked of a node; :class:`edgeseal.adapters.evm.EvmClient` is one."""

    def proof(self, address: bytes, slots: Sequence[bytes], block: bytes) -> list[bytes]:
        """Return trie nodes for an account and slots of it at the block with this hash."""


class StateReader:
    """One block's state. Every value was proved under the header's state root. Not thread-safe; may block."""

    def __init__(
        self, client: Prover, header: BlockHeader, kept: Callable[[bytes], bytes | None] = lambda digest: None
    ) -> None:
        """Read through ``client``; ``kept`` gives trie nodes that are at hand, by hash. Nothing is asked yet."""
        self._client = client
        self._header = header
        self._kept = kept
        self._accounts: dict[bytes, Account | None] = {}
        self._values: dict[bytes, dict[bytes, int]] = {}
        self.fresh: dict[bytes, bytes] = {}
        """Nodes that the node at the other end gave, by their hash."""

    def accounts(self, chain: int, contracts: Iterable[bytes]) -> AccountEvidence:
        """Return the proof of these contracts' accounts, or that there are none yet.

        Raises Unavailable ``rpc_answer`` for nodes that prove nothing of the kind, and as the client does.
        """
        chosen = tuple(sorted(set(contracts)))
        for contract in chosen:
            self._take(self._client.proof(contract, [], self._header.hash))
        root = decode_header(self._header.rlp).state_root
        nodes = self._proved(root, chosen)
        self._accounts.update(zip(chosen, verify_accounts(root, chosen, nodes), strict=True))
        return AccountEvidence(chain, self._header.hash, self._header.rlp, chosen, tuple(nodes))

    def stands(self, contract: bytes) -> bool:
        """Tell whether there is an account at an address that :meth:`accounts` read: a contract may be younger."""
        return self._accounts[contract] is not None

    def account(self, contract: bytes) -> Account:
        """Return a contract's account that :meth:`accounts` read. Raises Unavailable ``rpc_answer``: there is none."""
        account = self._accounts[contract]
        if account is None:
            raise Unavailable("rpc_answer", f"no contract stands at 0x{contract.hex()}")
        return account

    def ask(self, contract: bytes, question: Callable[[Read], _T]) -> _T:
        """Return the answer of a question about a contract's storage, after reading and proving every slot it takes.

        Raises as :meth:`accounts`, and what the question raises.
        """
        values = self._values.setdefault(contract, {})
        missing: dict[bytes, None] = {}

        def read(slot: bytes) -> int:
            """Return what is known of a slot; of an unknown one 0, and the question is asked again once it was read."""
            if slot not in values:
                missing[slot] = None
            return values.get(slot, 0)

        while True:
            answer = question(read)
            if not missing:
                return answer
            wanted = list(missing)
            missing.clear()
            for start in range(0, len(wanted), SLOTS_AT_ONCE):
                self._read(contract, sorted(wanted[start : start + SLOTS_AT_ONCE]))

    def slots(self, contract: bytes) -> list[bytes]:
        """Return the slots of a contract that were read so far, rising."""
        return sorted(self._values.get(contract, ()))

    def storage(self, contract: bytes) -> list[StorageEvidence]:
        """Return the proof of every slot of a contract that was read so far."""
        root, slots = self.account(contract).storage_root, self.slots(contract)
        if root == EMPTY_ROOT:
            return []
        parts = [slots[start : start + MAX_STATE_SLOTS] for start in range(0, len(slots), MAX_STATE_SLOTS)]
        return [StorageEvidence(root, tuple(part), tuple(self._proved(root, part))) for part in parts]

    def _read(self, contract: bytes, slots: list[bytes]) -> None:
        root = self.account(contract).storage_root
        try:
            nodes = self._built(root, slots)
        except VerificationError:
            self._take(self._client.proof(contract, slots, self._header.hash))
            nodes = self._proved(root, slots)
        self._values[contract].update(zip(slots, verify_slots(root, slots, nodes), strict=True))

    def _take(self, nodes: Iterable[bytes]) -> None:
        self.fresh.update((keccak256(node), node) for node in nodes)

    def _proved(self, root: bytes, keys: Sequence[bytes]) -> list[bytes]:
        try:
            return self._built(root, keys)
        except EvidenceError as error:
            raise Unavailable("rpc_answer", f"the node's state proof does not hold: {error.message}") from error

    def _built(self, root: bytes, keys: Sequence[bytes]) -> list[bytes]:
        return multiproof.build(
            root, [keccak256(key) for key in keys], lambda digest: self.fresh.get(digest) or self._kept(digest)
        )
