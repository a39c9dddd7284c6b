"""One EVM node over JSON-RPC: the only importer of web3 and its relatives.

:class:`EvmClient` asks; it never fills in a nonce, a fee or a chain id and never sends twice: who owns an account
decides that. :class:`Account` signs. :class:`Contract` encodes calls and decodes answers, errors and events by a
committed ABI. Nothing here retries: a call either answers or raises, and the caller knows what a second try would mean.
"""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, Final, TypeVar

import requests
from eth_account import Account as _EthAccount
from eth_account.signers.local import LocalAccount
from web3 import Web3

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal.evmproof.header import HEADER_FIELDS, encode_header
from edgeseal.evmproof.keccak import keccak256
from edgeseal.evmproof.receipt import Log, encode_receipt

# py_ecc, which web3 imports, raises Python's recursion limit to 100,000. There, deeply nested JSON from any stranger
# ends the process with a segmentation fault, in place of a RecursionError.
sys.setrecursionlimit(1_000)

TIMEOUT_S: Final = 10.0
MAX_ANSWER: Final = 67_108_864
"""The longest answer read from a node, in bytes: the receipts of a full block are some 10 MB."""
MAX_RPC_TEXT: Final = 400
"""How much of a node's own words is repeated in an error."""

Block = int | bytes | str
"""A block as number, hash (32 bytes) or tag (``latest``, ``safe``, ``finalized``, ``pending``)."""

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_KEY = re.compile(r"(0x)?[0-9a-fA-F]{64}")


class Reverted(EdgesealError):
    """The contract refused: ``name`` and ``values`` are its custom error, or the node's words where it gave none."""

    def __init__(self, name: str, values: tuple[Any, ...], data: bytes) -> None:
        shown = ", ".join(f"0x{v.hex()}" if isinstance(v, bytes) else str(v) for v in values)
        super().__init__("reverted", f"the contract refused: {name}({shown})")
        self.name = name
        self.values = values
        self.data = data


class Rejected(EdgesealError):
    """The node answered with an error: ``number`` is its JSON-RPC code. Not a matter of the line: it did answer."""

    def __init__(self, number: int, text: str, data: bytes) -> None:
        super().__init__("rpc_rejected", f"the node refused ({number}): {text[:MAX_RPC_TEXT]}")
        self.number = number
        self.text = text
        self.data = data


@dataclass(frozen=True, slots=True)
class BlockHeader:
    """A header as the node gave it: number, hash, parent hash, Unix time in seconds, base fee in wei, and its RLP.

    ``hash`` equals Keccak-256 of ``rlp``: checked when it was read.
    """

    number: int
    hash: bytes
    parent: bytes
    timestamp: int
    base_fee: int
    rlp: bytes


@dataclass(frozen=True, slots=True)
class TxReceipt:
    """A transaction's receipt: whether it succeeded, where it stands, what it used (gas, wei a gas), its logs."""

    tx: bytes
    ok: bool
    block_hash: bytes
    block_number: int
    index: int
    gas_used: int
    gas_price: int
    contract: bytes | None
    logs: tuple[Log, ...]
    encoded: bytes


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log of ``eth_getLogs`` with its place: block, transaction, and index in the block."""

    log: Log
    block_number: int
    block_hash: bytes
    tx: bytes
    log_index: int


class EvmClient:
    """One endpoint. Not thread-safe: each thread its own. Every method may block up to ``timeout_s`` seconds.

    Each raises Unavailable (``rpc_unreachable``, ``rpc_answer``) when no sensible answer came, and :class:`Rejected`
    when the node answered with an error.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S) -> None:
        self.url = url
        self._timeout_s = timeout_s
        self._session = requests.Session()

    def request(self, method: str, *params: Any) -> Any:
        """Return the ``result`` of one JSON-RPC call, which is asked once and of whatever shape the node made it."""
        try:
            answer = json.loads(self._post(method, params))
        except (requests.RequestException, OSError) as error:
            raise Unavailable(
                "rpc_unreachable", f"{method} at {self.url}: {error!r:.{MAX_RPC_TEXT}}", "is the node running there?"
            ) from error
        except (ValueError, RecursionError) as error:
            raise Unavailable("rpc_answer", f"{method} at {self.url}: {error!r:.{MAX_RPC_TEXT}}") from error
        if type(answer) is not dict or (answer.get("error") is None and "result" not in answer):
            raise Unavailable("rpc_answer", f"{method} at {self.url}: an answer without result")
        if answer.get("error") is not None:
            raise _rejected(answer["error"])
        return answer["result"]

    def _post(self, method: str, params: Sequence[Any]) -> bytes:
        """Send one request and return the body of the answer, within the limits of time and size."""
        deadline = time.monotonic() + self._timeout_s
        body: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        found = bytearray()
        with self._session.post(
            self.url, json=body, timeout=self._timeout_s, stream=True, allow_redirects=False
        ) as response:
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
        return _integer(self.request("eth_chainId"), "eth_chainId")

    def block_number(self) -> int:
        """Return the height of the newest block the node knows."""
        return _integer(self.request("eth_blockNumber"), "eth_blockNumber")

    def code(self, address: bytes, block: Block = "latest") -> bytes:
        """Return the code at a 20-byte address; empty where there is no contract."""
        return _binary(self.request("eth_getCode", _hex(address), _block(block)), "eth_getCode")

    def code_hash(self, address: bytes, block: Block = "latest") -> bytes:
        """Return Keccak-256 of the code at an address."""
        return keccak256(self.code(address, block))

    def balance(self, address: bytes) -> int:
        """Return the balance in wei."""
        return _integer(self.request("eth_getBalance", _hex(address), "latest"), "eth_getBalance")

    def transaction_count(self, address: bytes, block: Block = "latest") -> int:
        """Return how many transactions of ``address`` are mined: its next nonce, as far as this node knows."""
        return _integer(
            self.request("eth_getTransactionCount", _hex(address), _block(block)), "eth_getTransactionCount"
        )

    def call(self, to: bytes, data: bytes, block: Block = "latest", sender: bytes | None = None) -> bytes:
        """Return what a call answers at ``block``, changing nothing. Raises :class:`Rejected` on a revert."""
        message = {"to": _hex(to), "data": _hex(data)}
        if sender is not None:
            message["from"] = _hex(sender)
        return _binary(self.request("eth_call", message, _block(block)), "eth_call")

    def estimate_gas(self, sender: bytes, to: bytes | None, data: bytes) -> int:
        """Return the gas a transaction would use now. Raises :class:`Rejected` on a revert."""
        message = {"from": _hex(sender), "data": _hex(data)}
        if to is not None:
            message["to"] = _hex(to)
        return _integer(self.request("eth_estimateGas", message), "eth_estimateGas")

    def header(self, block: Block) -> BlockHeader | None:
        """Return the header of a block by number, hash or tag, or None if the node has none such.

        Raises Unavailable ``rpc_answer`` when the header the node gave does not hash to the hash it gave.
        """
        by_hash = isinstance(block, bytes)
        method = "eth_getBlockByHash" if by_hash else "eth_getBlockByNumber"
        found = self.request(method, _block(block), False)
        return None if found is None else self._header(found)

    def _header(self, found: dict[str, Any]) -> BlockHeader:
        header = _shaped("a block header", self._read_header, found)
        if keccak256(header.rlp) != header.hash:
            raise Unavailable("rpc_answer", f"{self.url}: the header of block {header.number} has another hash")
        return header

    @staticmethod
    def _read_header(found: dict[str, Any]) -> BlockHeader:
        fields: list[bytes | int] = []
        for place, name in enumerate(HEADER_FIELDS):
            if name not in found:
                break
            fields.append(_binary(found[name], name) if place not in _NUMERIC else _integer(found[name], name))
        return BlockHeader(
            _integer(found["number"], "number"),
            _binary(found["hash"], "hash"),
            _binary(found["parentHash"], "parentHash"),
            _integer(found["timestamp"], "timestamp"),
            _integer(found.get("baseFeePerGas", "0x0"), "baseFeePerGas"),
            encode_header(fields),
        )

    def receipt(self, tx: bytes) -> TxReceipt | None:
        """Return the receipt of a mined transaction, or None while it is not mined (or no longer, after a reorg)."""
        found = self.request("eth_getTransactionReceipt", _hex(tx))
        return None if found is None else _shaped("a receipt", _receipt, found)

    def block_receipts(self, block: bytes) -> list[TxReceipt]:
        """Return the receipts of every transaction of the block with this hash, in order."""
        found = self.request("eth_getBlockReceipts", _hex(block))
        if not isinstance(found, list):
            raise Unavailable("rpc_answer", f"{self.url}: no receipts for block {block.hex()}")
        return [_shaped("a receipt", _receipt, item) for item in found]

    def logs(self, addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[FoundLog]:
        """Return the logs of these contracts in blocks ``first`` to ``last``; a None topic matches any."""
        query = {
            "address": [_hex(address) for address in addresses],
            "topics": [None if topic is None else _hex(topic) for topic in topics],
            "fromBlock": hex(first),
            "toBlock": hex(last),
        }
        found = self.request("eth_getLogs", query)
        if not isinstance(found, list):
            raise Unavailable("rpc_answer", f"{self.url}: no list of logs")
        return [_shaped("a log", _found_log, item) for item in found]

    def priority_fee(self) -> int:
        """Return the tip the node suggests, in wei a gas; 1 gwei where it knows none."""
        try:
            return _integer(self.request("eth_maxPriorityFeePerGas"), "eth_maxPriorityFeePerGas")
        except Rejected:
            return 1_000_000_000

    def send_raw(self, transaction: bytes) -> bytes:
        """Hand a signed transaction to the node and return its hash. Sends once; raises :class:`Rejected` with its
        words.

        A time-out says nothing about whether the transaction is in the pool: look its hash up.
        """
        return _binary(self.request("eth_sendRawTransaction", _hex(transaction)), "eth_sendRawTransaction")


@dataclass(frozen=True, slots=True)
class Transaction:
    """A type-2 transaction, complete: nothing in it comes from a node's defaults. Fees in wei a gas."""

    chain_id: int
    nonce: int
    to: bytes | None
    data: bytes
    gas: int
    max_fee: int
    max_priority_fee: int
    value: int = 0


@dataclass(frozen=True, slots=True)
class SignedTransaction:
    """The raw bytes to send, their hash, and the nonce they use: store these before sending."""

    raw: bytes
    hash: bytes
    nonce: int


class Account:
    """A secp256k1 account of this process. The key stays inside; signing is deterministic."""

    def __init__(self, key: bytes) -> None:
        self._account: LocalAccount = _EthAccount.from_key(key)
        self.address = bytes.fromhex(self._account.address[2:])

    @classmethod
    def from_file(cls, path: Path) -> Account:
        """Return the account whose private key, 64 hex digits, is in ``path``. Raises UsageError ``account_key``."""
        try:
            text = path.read_text("ascii").strip()
        except (OSError, UnicodeError) as error:
            raise UsageError("account_key", f"cannot read the account key {path}: {error}") from error
        if _KEY.fullmatch(text) is None:
            raise UsageError("account_key", f"{path} does not hold a private key of 64 hex digits")
        return cls(bytes.fromhex(text.removeprefix("0x")))

    def sign(self, transaction: Transaction) -> SignedTransaction:
        """Return ``transaction`` signed; the same input gives the same bytes."""
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": transaction.chain_id,
            "nonce": transaction.nonce,
            "data": _hex(transaction.data),
            "gas": transaction.gas,
            "maxFeePerGas": transaction.max_fee,
            "maxPriorityFeePerGas": transaction.max_priority_fee,
            "value": transaction.value,
        }
        if transaction.to is not None:
            fields["to"] = Web3.to_checksum_address(transaction.to)
        signed = self._account.sign_transaction(fields)
        return SignedTransaction(bytes(signed.raw_transaction), bytes(signed.hash), transaction.nonce)


class Contract:
    """The committed ABI of one of our contracts (``edgeseal/contracts/<name>.json``): encodes and decodes, asks
    nothing.
    """

    def __init__(self, name: str) -> None:
        artifact = json.loads((files("edgeseal.contracts") / f"{name}.json").read_text("utf-8"))
        self.name = name
        self.bytecode: bytes = bytes.fromhex(artifact["bytecode"].removeprefix("0x"))
        self.runtime: bytes = bytes.fromhex(artifact["runtime"].removeprefix("0x"))
        self.immutables: dict[str, list[int]] = artifact["immutables"]
        self._web3 = Web3()
        self._abi: list[dict[str, Any]] = artifact["abi"]
        self._errors = {keccak256(_signature(item).encode())[:4]: item for item in self._abi if item["type"] == "error"}

    def encode(self, function: str, *values: Any) -> bytes:
        """Return the call data of ``function`` with these values; an address is 20 bytes or 0x and 40 digits."""
        (item,) = [i for i in self._abi if i["type"] == "function" and i["name"] == function]
        types = [_type(i) for i in item["inputs"]]
        return keccak256(_signature(item).encode())[:4] + bytes(self._web3.codec.encode(types, values))

    def decode_result(self, function: str, data: bytes) -> tuple[Any, ...]:
        """Return what ``function`` answered. Raises Unavailable ``rpc_answer`` if the bytes are no such answer."""
        (item,) = [i for i in self._abi if i["type"] == "function" and i["name"] == function]
        return self._decode([_type(output) for output in item["outputs"]], data)

    def decode_error(self, data: bytes) -> Reverted:
        """Return the custom error in revert data; of an unknown one the name is its selector."""
        item = self._errors.get(data[:4])
        if item is None:
            return Reverted("0x" + data[:4].hex() if data else "without a reason", (), data)
        return Reverted(item["name"], self._decode([_type(i) for i in item["inputs"]], data[4:]), data)

    def _decode(self, types: list[str], data: bytes) -> tuple[Any, ...]:
        try:
            return tuple(self._web3.codec.decode(types, data))
        except Exception as error:  # eth_abi raises several unrelated types on bytes a node made up
            raise Unavailable("rpc_answer", f"not the answer of {self.name}: {error!r:.{MAX_RPC_TEXT}}") from error

    def event_topic(self, event: str) -> bytes:
        """Return topic 0 of ``event``."""
        (item,) = [i for i in self._abi if i["type"] == "event" and i["name"] == event]
        return keccak256(_signature(item).encode())

    def decode_event(self, event: str, log: Log) -> dict[str, Any]:
        """Return the values of a log that has the topic of ``event``. Raises Unavailable ``rpc_answer``."""
        (item,) = [i for i in self._abi if i["type"] == "event" and i["name"] == event]
        indexed = [i for i in item["inputs"] if i["indexed"]]
        plain = [i for i in item["inputs"] if not i["indexed"]]
        if len(log.topics) != len(indexed) + 1 or log.topics[0] != self.event_topic(event):
            raise Unavailable("rpc_answer", f"not a log of {event}")
        values = self._decode([_type(i) for i in plain], log.data)
        found = {i["name"]: value for i, value in zip(plain, values, strict=True)}
        for entry, topic in zip(indexed, log.topics[1:], strict=True):
            (found[entry["name"]],) = self._decode([_type(entry)], topic)
        return found


class BoundContract:
    """A contract at an address, asked through one client."""

    def __init__(self, client: EvmClient, contract: Contract, address: bytes) -> None:
        self.client = client
        self.contract = contract
        self.address = address

    def call(self, function: str, *values: Any, block: Block = "latest") -> Any:
        """Return what a view answers at ``block``: the value, or the tuple of several.

        Raises:
            Reverted: the contract refused. Unavailable: no answer, or no contract at the address.
        """
        data = self.contract.encode(function, *values)
        try:
            answer = self.client.call(self.address, data, block)
        except Rejected as error:
            if error.data or "revert" in error.text.lower():
                raise self.contract.decode_error(error.data) from error
            raise
        found = self.contract.decode_result(function, answer)
        return found[0] if len(found) == 1 else found


_NUMERIC: Final = frozenset(
    HEADER_FIELDS.index(name)
    for name in (
        "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas",
    )
)  # fmt: skip


def _type(item: dict[str, Any]) -> str:
    kind: str = item["type"]
    return kind if not kind.startswith("tuple") else f"({','.join(map(_type, item['components']))}){kind[5:]}"


def _signature(item: dict[str, Any]) -> str:
    return f"{item['name']}({','.join(_type(i) for i in item['inputs'])})"


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


def _block(block: Block) -> str:
    if isinstance(block, bytes):
        return _hex(block)
    return hex(block) if isinstance(block, int) else block


def _integer(value: Any, what: str) -> int:
    if type(value) is str and _QUANTITY.fullmatch(value):
        return int(value, 16)
    if type(value) is int and value >= 0:
        return value
    raise Unavailable("rpc_answer", f"{what}: {value!r:.80} is no number")


def _binary(value: Any, what: str) -> bytes:
    try:
        return bytes.fromhex(value.removeprefix("0x"))
    except (AttributeError, ValueError):
        raise Unavailable("rpc_answer", f"{what}: {value!r:.80} is no hex string") from None


def _error_data(value: Any) -> bytes:
    if isinstance(value, dict):
        value = value.get("data")
    if isinstance(value, str) and re.fullmatch(r"0x([0-9a-fA-F]{2})*", value):
        return bytes.fromhex(value[2:])
    return b""


def _log(item: dict[str, Any]) -> Log:
    return Log(
        _binary(item["address"], "address"),
        tuple(_binary(topic, "topic") for topic in item["topics"]),
        _binary(item["data"], "data"),
    )


def _found_log(item: dict[str, Any]) -> FoundLog:
    return FoundLog(
        _log(item),
        _integer(item["blockNumber"], "blockNumber"),
        _binary(item["blockHash"], "blockHash"),
        _binary(item["transactionHash"], "transactionHash"),
        _integer(item["logIndex"], "logIndex"),
    )


def _receipt(found: dict[str, Any]) -> TxReceipt:
    logs = tuple(_log(item) for item in found["logs"])
    status, kind = _integer(found["status"], "status"), _integer(found.get("type", "0x0"), "type")
    extra = [_integer(found[name], name) for name in ("depositNonce", "depositReceiptVersion") if name in found]
    encoded = encode_receipt(
        tx_type=kind,
        status=status,
        cumulative_gas_used=_integer(found["cumulativeGasUsed"], "cumulativeGasUsed"),
        logs_bloom=_binary(found["logsBloom"], "logsBloom"),
        logs=logs,
        extra=extra,
    )
    contract = found.get("contractAddress")
    return TxReceipt(
        _binary(found["transactionHash"], "transactionHash"),
        status == 1,
        _binary(found["blockHash"], "blockHash"),
        _integer(found["blockNumber"], "blockNumber"),
        _integer(found["transactionIndex"], "transactionIndex"),
        _integer(found["gasUsed"], "gasUsed"),
        _integer(found.get("effectiveGasPrice", "0x0"), "effectiveGasPrice"),
        None if contract is None else _binary(contract, "contractAddress"),
        logs,
        encoded,
    )


_Read = TypeVar("_Read")


def _shaped(what: str, read: Callable[[Any], _Read], found: Any) -> _Read:
    """Return what ``read`` makes of a node's answer; Unavailable ``rpc_answer`` where it does not have the shape."""
    try:
        return read(found)
    except Unavailable:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, EdgesealError) as error:
        raise Unavailable("rpc_answer", f"{what} that cannot be read: {error!r:.{MAX_RPC_TEXT}}") from error


def _rejected(failure: Any) -> Rejected:
    """Return the error a node answered with, as far as it can be read."""
    if not isinstance(failure, dict):
        return Rejected(0, str(failure), b"")
    number = failure.get("code", 0)
    text, data = str(failure.get("message", "")), _error_data(failure.get("data"))
    return Rejected(number if type(number) is int else 0, text, data)


def check_chain(client: EvmClient, chain_id: int) -> None:
    """Check that the endpoint serves the configured chain. Raises InvariantBroken ``chain_id``: never send there."""
    found = client.chain_id()
    if found != chain_id:
        raise InvariantBroken("chain_id", f"{client.url} serves chain {found}, not {chain_id}", "correct the endpoint")
