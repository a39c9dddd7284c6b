"""One EVM node over JSON-RPC."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from typing import Any, Final

import requests

from edgeseal.adapters.evm.reading import (
    MAX_RPC_TEXT,
    Block,
    BlockHeader,
    Busy,
    FoundLog,
    FoundTransaction,
    Rejected,
    TxReceipt,
    binary,
    integer,
    read_found_log,
    read_header,
    read_proof,
    read_receipt,
    read_rejection,
    read_transaction,
    retry_after,
    shaped,
    to_block,
    to_hex,
    to_state,
)
from edgeseal.errors import InvariantBroken, Unavailable
from edgeseal.evmproof.keccak import keccak256
from edgeseal.network import endpoint_name

TIMEOUT_S: Final = 10.0
MAX_ANSWER: Final = 67_108_864
"""The longest answer read from a node, in bytes: the receipts of a full block are some 10 MB."""
_TOO_MANY_REQUESTS: Final = 429


def _innermost(error: BaseException) -> BaseException:
    """Return what an error of requests is about: it wraps those of the libraries below it, each in the words of all."""
    inner = getattr(error, "reason", None) or next(iter(error.args), None)
    return _innermost(inner) if isinstance(inner, BaseException) else error


class EvmClient:
    """One endpoint. Not thread-safe: each thread its own. Every method may block up to ``timeout_s`` seconds.

    Each raises Unavailable (``rpc_unreachable``, ``rpc_answer``; :class:`Busy` when asked too often) when no sensible
    answer came, and :class:`Rejected` when the node answered with an error.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self.name = endpoint_name(url)
        """What is shown and logged of it."""
        self._timeout_s = timeout_s
        self._session = requests.Session()

    def request(self, method: str, *params: Any) -> Any:
        """Return the ``result`` of one JSON-RPC call, which is asked once and of whatever shape the node made it."""
        try:
            answer = json.loads(self._post(method, params))
        except (requests.RequestException, OSError) as error:
            said = str(_innermost(error)).replace(self.url, self.name)[:MAX_RPC_TEXT]
            raise Unavailable(
                "rpc_unreachable", f"{method} at {self.name}: {said}", "is the node running there?"
            ) from error
        except (ValueError, RecursionError) as error:
            raise Unavailable("rpc_answer", f"{method} at {self.name}: {error!r:.{MAX_RPC_TEXT}}") from error
        if type(answer) is not dict or (answer.get("error") is None and "result" not in answer):
            raise Unavailable("rpc_answer", f"{method} at {self.name}: an answer without result")
        if answer.get("error") is not None:
            raise read_rejection(answer["error"])
        return answer["result"]

    def _post(self, method: str, params: Sequence[Any]) -> bytes:
        """Send one request and return the body of the answer, within the limits of time and size."""
        deadline = time.monotonic() + self._timeout_s
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        found = bytearray()
        with self._session.post(
            self.url, json=body, timeout=self._timeout_s, stream=True, allow_redirects=False
        ) as response:
            if response.status_code == _TOO_MANY_REQUESTS:
                raise Busy(self.name, retry_after(response.headers.get("Retry-After")))
            for part in response.iter_content(65_536):
                found += part
                if len(found) > MAX_ANSWER:
                    raise ValueError(f"an answer of more than {MAX_ANSWER} bytes")
                if time.monotonic() > deadline:
                    raise requests.Timeout(f"no whole answer within {self._timeout_s} s")
            if not found.lstrip().startswith(b"{"):
                response.raise_for_status()  # some nodes put their JSON errors under status 4xx: those are read
        return bytes(found)

    def chain_id(self) -> int:
        """Return the chain id the node says it serves."""
        return integer(self.request("eth_chainId"), "eth_chainId")

    def block_number(self) -> int:
        """Return the height of the newest block the node knows."""
        return integer(self.request("eth_blockNumber"), "eth_blockNumber")

    def code(self, address: bytes, block: Block = "latest") -> bytes:
        """Return the code at a 20-byte address; empty where there is no contract."""
        return binary(self.request("eth_getCode", to_hex(address), to_state(block)), "eth_getCode")

    def code_hash(self, address: bytes, block: Block = "latest") -> bytes:
        """Return Keccak-256 of the code at an address."""
        return keccak256(self.code(address, block))

    def balance(self, address: bytes) -> int:
        """Return the balance in wei."""
        return integer(self.request("eth_getBalance", to_hex(address), "latest"), "eth_getBalance")

    def transaction_count(self, address: bytes, block: Block = "latest") -> int:
        """Return how many transactions of ``address`` are mined: its next nonce, as far as this node knows."""
        return integer(
            self.request("eth_getTransactionCount", to_hex(address), to_state(block)), "eth_getTransactionCount"
        )

    def call(self, to: bytes, data: bytes, block: Block = "latest", sender: bytes | None = None) -> bytes:
        """Return what a call answers at ``block``, changing nothing. Raises :class:`Rejected` on a revert."""
        message = {"to": to_hex(to), "data": to_hex(data)}
        if sender is not None:
            message["from"] = to_hex(sender)
        return binary(self.request("eth_call", message, to_state(block)), "eth_call")

    def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes, block: Block | None = None) -> int:
        """Return the gas a transaction would use on the state of ``block``, or where the node likes to look (some at
        the pending state). Raises :class:`Rejected` on a revert.
        """
        message = {"from": to_hex(sender), "data": to_hex(data)}
        if to is not None:
            message["to"] = to_hex(to)
        where = [] if block is None else [to_state(block)]
        return integer(self.request("eth_estimateGas", message, *where), "eth_estimateGas")

    def header(self, block: Block) -> BlockHeader | None:
        """Return the header of a block by number, hash or tag, or None if the node has none such.

        Raises Unavailable ``rpc_answer`` when the header the node gave does not hash to the hash it gave.
        """
        by_hash = isinstance(block, bytes)
        method = "eth_getBlockByHash" if by_hash else "eth_getBlockByNumber"
        found = self.request(method, to_block(block), False)
        return None if found is None else self._header(found)

    def _header(self, found: dict[str, Any]) -> BlockHeader:
        header = shaped("a block header", read_header, found)
        if keccak256(header.rlp) != header.hash:
            raise Unavailable("rpc_answer", f"{self.name}: the header of block {header.number} has another hash")
        return header

    def receipt(self, tx: bytes) -> TxReceipt | None:
        """Return the receipt of a mined transaction, or None while it is not mined (or no longer, after a reorg)."""
        found = self.request("eth_getTransactionReceipt", to_hex(tx))
        return None if found is None else shaped("a receipt", read_receipt, found)

    def transaction(self, tx: bytes) -> FoundTransaction | None:
        """Return whose a transaction is that the node has, in a block or waiting for one, or None."""
        found = self.request("eth_getTransactionByHash", to_hex(tx))
        return None if found is None else shaped("a transaction", read_transaction, found)

    def block_receipts(self, block: bytes) -> list[TxReceipt]:
        """Return the receipts of every transaction of the block with this hash, in order."""
        found = self.request("eth_getBlockReceipts", to_hex(block))
        if not isinstance(found, list):
            raise Unavailable("rpc_answer", f"{self.name}: no receipts for block {block.hex()}")
        return [shaped("a receipt", read_receipt, item) for item in found]

    def logs(self, addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[FoundLog]:
        """Return the logs of these contracts in blocks ``first`` to ``last``; a None topic matches any."""
        query = {
            "address": [to_hex(address) for address in addresses],
            "topics": [None if topic is None else to_hex(topic) for topic in topics],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        found = self.request("eth_getLogs", query)
        if not isinstance(found, list):
            raise Unavailable("rpc_answer", f"{self.name}: no list of logs")
        return [shaped("a log", read_found_log, item) for item in found]

    def proof(self, address: bytes, slots: Sequence[bytes], block: Block) -> list[bytes]:
        """Return trie nodes that are to prove an account and these 32-byte slots of it (EIP-1186), as the node gave
        them: unchecked, in no order, some of them twice.

        Raises :class:`Rejected` where the node no longer has the state of the block: geth keeps that of 128 blocks.
        """
        found = self.request("eth_getProof", to_hex(address), [to_hex(slot) for slot in slots], to_state(block))
        return shaped("a state proof", read_proof, found)

    def priority_fee(self) -> int:
        """Return the tip the node suggests, in wei a gas; 1 gwei where it knows none."""
        try:
            return integer(self.request("eth_maxPriorityFeePerGas"), "eth_maxPriorityFeePerGas")
        except Rejected:
            return 1_000_000_000

    def send_raw(self, transaction: bytes) -> bytes:
        """Hand a signed transaction to the node and return its hash. Sends once; raises :class:`Rejected` with its
        words.

        A time-out says nothing about whether the transaction is in the pool: look its hash up.
        """
        return binary(self.request("eth_sendRawTransaction", to_hex(transaction)), "eth_sendRawTransaction")


def check_chain(client: EvmClient, chain_id: int) -> None:
    """Check that the endpoint serves the configured chain. Raises InvariantBroken ``chain_id``: never send there."""
    found = client.chain_id()
    if found != chain_id:
        raise InvariantBroken("chain_id", f"{client.name} serves chain {found}, not {chain_id}", "correct the endpoint")
