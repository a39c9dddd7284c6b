"""An endpoint of a chain in memory, as strict as geth about what its pool takes, and as faulty as a test wants it.

It answers exactly what the sender asks of an endpoint. Faults: silent, behind, on another chain or fork, forgetful,
lying about receipts; each is a knob.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from edgeseal.adapters.evm import BlockHeader, Contract, EvmClient, FoundLog, FoundTransaction, Rejected, TxReceipt
from edgeseal.adapters.evm.reading import Block as Where
from tests.fakes.chain import ANCHOR_GAS, EMPTY_GAS, Block, FakeChain, Revert, Tx

GETH_BUMP_PERCENT = 110
MAX_TX_GAS = 16_777_216
_ABI = Contract("FleetLog")


def say(text: str, number: int = -32000, data: bytes = b"") -> Rejected:
    return Rejected(number, text, data)


class FakeNode(EvmClient):
    """One endpoint with a pool of its own."""

    def __init__(self, name: str, chain: FakeChain, final_depth: int = 5) -> None:
        super().__init__(f"http://{name}.example")
        self.chain = chain
        self.pool: dict[bytes, dict[int, Tx]] = {}
        self.asked: Counter[str] = Counter()
        self.sent: list[bytes] = []
        # Faults.
        self.down: Exception | None = None
        self.fails: dict[str, Exception] = {}
        self.on_send: Callable[[str], None] | None = None
        self.lag = 0
        self.id = chain.profile.chain_id
        self.wrong_code = False
        self.final_depth = final_depth
        self.final_lie: int | None = None
        self.knows_final = True
        self.size_lie: int | None = None
        self.count_lie: int | None = None
        self.receipt_lies: dict[bytes, TxReceipt | None] = {}
        self.forgets_state = False
        self.swallows = False
        self.full = False
        self.reserved = False
        self.anvil = False
        self.suggested_tip = 10**9
        self.l1_fee = 0

    def _ask(self, method: str) -> None:
        self.asked[method] += 1
        if self.down is not None:
            raise self.down
        if method in self.fails:
            raise self.fails[method]

    @property
    def _seen(self) -> list[Block]:
        return self.chain.blocks[: len(self.chain.blocks) - self.lag]

    def _block(self, where: Where) -> Block | None:
        blocks = self._seen
        if isinstance(where, bytes):
            return next((one for one in blocks if one.header.hash == where), None)
        if where == "finalized":
            number = self.final_lie if self.final_lie is not None else max(0, len(blocks) - 1 - self.final_depth)
            return blocks[number] if number < len(blocks) else None
        if isinstance(where, str):
            return blocks[-1]
        return blocks[where] if where < len(blocks) else None

    def chain_id(self) -> int:
        self._ask("chain_id")
        return self.id

    def block_number(self) -> int:
        self._ask("block_number")
        return len(self._seen) - 1

    def code_hash(self, address: bytes, block: Where = "latest") -> bytes:
        self._ask("code_hash")
        profile = self.chain.profile
        known = {profile.fleet_log_contract: profile.fleet_log_code, profile.identity_registry: profile.registry_code}
        return b"\xee" * 32 if self.wrong_code else known[address]

    def balance(self, address: bytes) -> int:
        self._ask("balance")
        return self._seen[-1].state.balances.get(address, 0)

    def transaction_count(self, address: bytes, block: Where = "latest") -> int:
        self._ask(f"transaction_count {block!r}")
        return self._seen[-1].state.nonces.get(address, 0) if self.count_lie is None else self.count_lie

    def header(self, block: Where) -> BlockHeader | None:
        self._ask("header")
        if block == "finalized" and not self.knows_final:
            raise say("finalized block not found", -39001)
        found = self._block(block)
        return None if found is None else found.header

    def priority_fee(self) -> int:
        self._ask("priority_fee")
        return self.suggested_tip

    def call(self, to: bytes, data: bytes, block: Where = "latest", sender: bytes | None = None) -> bytes:
        self._ask(f"call {block!r}" if isinstance(block, str) else "call at a block")
        found = self._block(block)
        rules = self.chain.profile.rules
        if rules is not None and to == rules.l1_fee_oracle:
            return self.l1_fee.to_bytes(32, "big")
        if found is None or (self.forgets_state and isinstance(block, bytes)):
            raise say("missing trie node")
        state = found.state
        if data[:4] == _ABI.encode("head", bytes(32))[:4]:
            size = state.size if self.size_lie is None else self.size_lie
            return size.to_bytes(32, "big") + state.root
        if data[:4] == _ABI.encode("gatewayOf", bytes(32))[:4]:
            return self.chain.gateway.kid + bytes(32) + state.last_event.to_bytes(32, "big")
        self._run(found, to, data)
        return b""

    def _run(self, block: Block, to: bytes, data: bytes) -> None:
        try:
            self.chain.run(block.state.copy(), to, data, block.header.number + 1)
        except Revert as error:
            raise say("execution reverted", 3, error.args[0]) from None

    def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes, block: Where | None = None) -> int:
        self._ask("estimate_gas")
        assert to is not None
        self._run(self._seen[-1], to, data)
        return ANCHOR_GAS if data else EMPTY_GAS

    def receipt(self, tx: bytes) -> TxReceipt | None:
        self._ask("receipt")
        if tx in self.receipt_lies:
            return self.receipt_lies[tx]
        return next((one for block in self._seen for one in block.receipts if one.tx == tx), None)

    def block_receipts(self, block: bytes) -> list[TxReceipt]:
        self._ask("block_receipts")
        found = self._block(block)
        return [] if found is None else list(found.receipts)

    def transaction(self, tx: bytes) -> FoundTransaction | None:
        self._ask("transaction")
        mined = [one for block in self._seen for one in block.txs]
        waiting = [one for pool in self.pool.values() for one in pool.values()]
        found = next((one for one in (*mined, *waiting) if one.hash == tx), None)
        return None if found is None else FoundTransaction(found.sender, found.nonce)

    def logs(self, addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[FoundLog]:
        self._ask(f"logs {first}-{last}")
        return [
            FoundLog(log, block.header.number, block.header.hash, receipt.tx, index)
            for block in self._seen[first : last + 1]
            for receipt in block.receipts
            for index, log in enumerate(receipt.logs)
            if log.address in addresses
            and all(want is None or got == want for want, got in zip(topics, log.topics, strict=False))
        ]

    def send_raw(self, transaction: bytes) -> bytes:
        self._ask("send_raw")
        self.sent.append(transaction)
        if self.on_send is not None:
            self.on_send("before")
        tx = Tx.read(transaction)
        if not self.swallows:
            self._admit(tx)
            self.pool.setdefault(tx.sender, {})[tx.nonce] = tx
        if self.on_send is not None:
            self.on_send("after")
        return tx.hash

    def _admit(self, tx: Tx) -> None:
        """Refuse as geth's pool does (core/txpool), in its words."""
        state, pool = self._seen[-1].state, self.pool.get(tx.sender, {})
        old = pool.get(tx.nonce)
        if old is not None and old.hash == tx.hash:
            raise say("transaction already imported" if self.anvil else "already known")
        if tx.chain_id != self.id:
            raise say(f"invalid chain id for signer: have {tx.chain_id} want {self.id}")
        if self.reserved:
            raise say("address already reserved")
        if self.full:
            raise say("txpool is full")
        tokens = sum(4 if byte else 1 for byte in tx.data)
        if tx.gas > MAX_TX_GAS:
            raise say(f"transaction gas limit too high (cap: {MAX_TX_GAS}, tx: {tx.gas})")
        if tx.gas < 21_000 + 4 * tokens:
            raise say(f"intrinsic gas too low: gas {tx.gas}, minimum needed {21_000 + 4 * tokens}")
        if tx.tip > tx.max_fee:
            raise say("max priority fee per gas higher than max fee per gas")
        if self.anvil and tx.max_fee < self.chain.base_fee:
            raise say("max fee per gas less than block base fee")
        if tx.tip < 1:
            raise say(f"transaction underpriced: gas tip cap {tx.tip}, minimum needed 1")
        if tx.nonce < state.nonces.get(tx.sender, 0):
            raise say(f"nonce too low: next nonce {state.nonces[tx.sender]}, tx nonce {tx.nonce}")
        others = sum(one.cost for one in pool.values() if one.nonce != tx.nonce)
        held = state.balances.get(tx.sender, 0)
        if held < others + tx.cost:
            raise say(f"insufficient funds for gas * price + value: balance {held}, tx cost {tx.cost}")
        if old is not None and not outbids(old, tx):
            raise say("replacement transaction underpriced")

    def drop(self) -> None:
        """Forget everything that waits."""
        self.pool.clear()


def outbids(old: Tx, new: Tx) -> bool:
    """Tell whether geth lets ``new`` replace ``old``: both fees higher, and by a tenth (legacypool/list.go, Add)."""
    if new.max_fee <= old.max_fee or new.tip <= old.tip:
        return False
    return new.max_fee >= old.max_fee * GETH_BUMP_PERCENT // 100 and new.tip >= old.tip * GETH_BUMP_PERCENT // 100


def mine(chain: FakeChain, *nodes: FakeNode, blocks: int = 1) -> list[Tx]:
    """Make blocks from what the pools of these nodes hold; return what was mined."""
    found: list[Tx] = []
    for _ in range(blocks):
        chosen: dict[tuple[bytes, int], Tx] = {}
        for node in nodes:
            for pool in node.pool.values():
                for tx in pool.values():
                    chosen.setdefault((tx.sender, tx.nonce), tx)
        found += chain.mine(list(chosen.values()))
        for node in nodes:
            for sender, pool in node.pool.items():
                used = chain.state.nonces.get(sender, 0)
                node.pool[sender] = {nonce: tx for nonce, tx in pool.items() if nonce >= used}
    return found
