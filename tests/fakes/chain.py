"""A chain in memory, for tests of who sends to it: blocks with true hashes and receipts, a fleet log, reorganisations.

The fleet log in it decides as FleetLog does, but for the signature: sizes, consistency, the gateway's key. That the
contract itself decides so is shown elsewhere, on anvil.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

from eth_account import Account as EthAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from hexbytes import HexBytes
from web3 import Web3

from edgeseal import merkle
from edgeseal.adapters.evm import BlockHeader, Contract, TxReceipt
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError
from edgeseal.evmproof import build_receipt_proof, encode_header, encode_receipt
from edgeseal.evmproof.keccak import keccak256
from edgeseal.evmproof.receipt import Log
from edgeseal.network import NetworkProfile

GWEI = 10**9
EMPTY_ROOT = keccak256(b"\x80")
ANCHOR_GAS, EMPTY_GAS, REVERTED_GAS = 80_000, 21_000, 30_000
_ABI = Contract("FleetLog")
_CODEC = Web3().codec
_ANCHOR_TYPES = ["bytes32", "uint64", "bytes32", "uint64", "bytes32", *["bytes32"] * 4, "bytes32[]"]


class Revert(Exception):
    """The contract refuses, with this revert data."""


def refusal(signature: str, *words: int) -> Revert:
    """Return a revert with a custom error."""
    return Revert(keccak256(signature.encode())[:4] + b"".join(word.to_bytes(32, "big") for word in words))


@dataclass(frozen=True)
class Tx:
    """A signed transaction, read from its bytes."""

    raw: bytes
    hash: bytes
    sender: bytes
    chain_id: int
    nonce: int
    to: bytes
    data: bytes
    gas: int
    max_fee: int
    tip: int
    value: int

    @classmethod
    def read(cls, raw: bytes) -> Tx:
        found: dict[str, Any] = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
        return cls(
            raw, keccak256(raw), bytes.fromhex(EthAccount.recover_transaction(raw)[2:]), found["chainId"],
            found["nonce"], bytes(found["to"]), bytes(found["data"]), found["gas"], found["maxFeePerGas"],
            found["maxPriorityFeePerGas"], found["value"],
        )  # fmt: skip

    @property
    def cost(self) -> int:
        return self.gas * self.max_fee + self.value


@dataclass
class State:
    """What holds after a block."""

    nonces: dict[bytes, int] = field(default_factory=dict)
    balances: dict[bytes, int] = field(default_factory=dict)
    size: int = 0
    root: bytes = bytes(32)
    last_event: int = 0

    def copy(self) -> State:
        return dataclasses.replace(self, nonces=dict(self.nonces), balances=dict(self.balances))


@dataclass
class Block:
    """A block, what holds after it, and its transactions with their receipts."""

    header: BlockHeader
    state: State
    txs: list[Tx]
    receipts: list[TxReceipt]


class FakeChain:
    """One history, which can be taken back. ``counting``: what the contract adds to a block's number (Arbitrum)."""

    def __init__(self, profile: NetworkProfile, gateway: PublicKey, counting: int = 0) -> None:
        self.profile, self.gateway, self.counting = profile, gateway, counting
        self.base_fee = GWEI
        self.refuses: Revert | None = None
        self.breaks: set[bytes] = set()
        """Hashes of transactions that fail when they are mined, though they would do."""
        self.silent: set[bytes] = set()
        """Hashes of transactions that succeed without an event."""
        self._forks = 0
        self.blocks: list[Block] = []
        self._add([], State())
        opened = Log(
            profile.fleet_log_contract,
            (_ABI.event_topic("Opened"), profile.fleet_log, profile.tenant_root.kid),
            gateway.kid + profile.nonce + gateway.x + gateway.y,
        )
        state = State(last_event=1 + counting)
        self._add([], state, [self._receipt(bytes(32), True, 100_000, 1, [opened], 0, 100_000)])

    @property
    def height(self) -> int:
        return len(self.blocks) - 1

    @property
    def state(self) -> State:
        return self.blocks[-1].state

    def fund(self, address: bytes, wei: int) -> None:
        """Set a balance, as of the newest block."""
        self.state.balances[address] = wei

    def mine(self, txs: list[Tx]) -> list[Tx]:
        """Make a block of those of ``txs`` that can go into it; return these."""
        state, used = self.state.copy(), 0
        took: list[Tx] = []
        receipts: list[TxReceipt] = []
        for tx in sorted(txs, key=lambda tx: tx.nonce):
            price = min(tx.max_fee, self.base_fee + tx.tip)
            if state.nonces.get(tx.sender, 0) != tx.nonce or price < self.base_fee:
                continue
            try:
                if tx.hash in self.breaks:
                    raise Revert(b"")
                after, logs = self.run(state.copy(), tx.to, tx.data, self.height + 1)
                state, gas, ok = after, ANCHOR_GAS if tx.data else EMPTY_GAS, True
            except Revert:
                logs, gas, ok = [], REVERTED_GAS, False
            used += gas
            state.nonces[tx.sender] = tx.nonce + 1
            state.balances[tx.sender] = state.balances.get(tx.sender, 0) - gas * price
            logs = [] if tx.hash in self.silent else logs
            receipts.append(self._receipt(tx.hash, ok, gas, price, logs, len(took), used))
            took.append(tx)
        self._add(took, state, receipts)
        return took

    def reorg(self, depth: int, instead: int = 0) -> list[Tx]:
        """Take ``depth`` blocks back and put ``instead`` empty ones in their place; return their transactions."""
        gone = self.blocks[-depth:]
        assert len(self.blocks) - depth >= 2, "the log stays open"
        del self.blocks[-depth:]
        self._forks += 1
        for _ in range(instead):
            self.mine([])
        return [tx for block in gone for tx in block.txs]

    def run(self, state: State, to: bytes, data: bytes, number: int) -> tuple[State, list[Log]]:
        """Return what holds after a call, and its logs. Raises Revert."""
        if to != self.profile.fleet_log_contract or not data:
            return state, []
        if self.refuses is not None:
            raise self.refuses
        log, size, root, _, _, x, y, _, _, path = _CODEC.decode(_ANCHOR_TYPES, data[4:])
        kid = PublicKey.of(x, y).kid
        if kid != self.gateway.kid:
            raise refusal("WrongKey(bytes32,bytes32)", *(int.from_bytes(k, "big") for k in (self.gateway.kid, kid)))
        if size <= state.size:
            raise refusal("StaleSize(uint64,uint64)", size, state.size)
        length = merkle.consistency_path_length(state.size, size) if state.size else 0
        if len(path) != length:
            raise refusal("WrongProofLength(uint256,uint256)", length, len(path))
        try:
            if state.size:
                merkle.verify_consistency(state.size, size, state.root, root, path)
        except EvidenceError:
            raise refusal("OldRootMismatch(bytes32,bytes32)", int.from_bytes(state.root, "big"), 0) from None
        words = [size.to_bytes(32, "big"), root, kid, state.last_event.to_bytes(32, "big")]
        event = Log(to, (_ABI.event_topic("Anchored"), log), b"".join(words))
        return dataclasses.replace(state, size=size, root=root, last_event=number + self.counting), [event]

    def _receipt(
        self, tx: bytes, ok: bool, gas: int, price: int, logs: list[Log], index: int, cumulative: int
    ) -> TxReceipt:
        encoded = encode_receipt(
            tx_type=2, status=int(ok), cumulative_gas_used=cumulative, logs_bloom=bytes(256), logs=logs
        )
        return TxReceipt(tx, ok, b"", len(self.blocks), index, gas, price, None, tuple(logs), encoded)

    def _add(self, txs: list[Tx], state: State, receipts: list[TxReceipt] | None = None) -> None:
        receipts = receipts or []
        root = build_receipt_proof([one.encoded for one in receipts], 0).receipts_root if receipts else EMPTY_ROOT
        parent = self.blocks[-1].header.hash if self.blocks else bytes(32)
        number, time = len(self.blocks), 1_000 + 12 * len(self.blocks)
        extra = self._forks.to_bytes(4, "big")
        rlp = encode_header(
            [parent, bytes(32), bytes(20), bytes(32), bytes(32), root, bytes(256), 0, number, 30_000_000, 0, time,
             extra, bytes(32), bytes(8), self.base_fee]
        )  # fmt: skip
        header = BlockHeader(number, keccak256(rlp), parent, time, self.base_fee, rlp)
        placed = [dataclasses.replace(one, block_hash=header.hash) for one in receipts]
        self.blocks.append(Block(header, state, txs, placed))
