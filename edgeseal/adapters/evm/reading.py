"""What a node answers, read strictly: whatever does not have the shape is Unavailable ``rpc_answer``. Asks nothing."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from edgeseal.errors import EdgesealError, Unavailable
from edgeseal.evmproof.header import HEADER_FIELDS, encode_header
from edgeseal.evmproof.receipt import Log, encode_receipt

MAX_RPC_TEXT: Final = 400
"""How much of a node's own words is repeated in an error."""

Block = int | bytes | str
"""A block as number, hash (32 bytes) or tag (``latest``, ``safe``, ``finalized``, ``pending``)."""

MAX_RETRY_AFTER_S: Final = 3_600.0
_SECONDS = re.compile(r"[0-9]{1,9}")
_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")


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


class Busy(Unavailable):
    """The node asks to be left alone (HTTP 429) for ``retry_after_s`` seconds, 0 where it does not say how long."""

    def __init__(self, name: str, retry_after_s: float) -> None:
        super().__init__("rpc_busy", f"{name} is asked too often; it says to wait {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


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
class FoundTransaction:
    """A transaction that a node has, in a block or waiting for one: the 20-byte account it is from, and its nonce."""

    sender: bytes
    nonce: int


@dataclass(frozen=True, slots=True)
class FoundLog:
    """A log of ``eth_getLogs`` with its place: block, transaction, and index in the block."""

    log: Log
    block_number: int
    block_hash: bytes
    tx: bytes
    log_index: int


NUMERIC: Final = frozenset(
    HEADER_FIELDS.index(name)
    for name in (
        "difficulty", "number", "gasLimit", "gasUsed", "timestamp", "baseFeePerGas", "blobGasUsed", "excessBlobGas",
    )
)  # fmt: skip


def to_hex(data: bytes) -> str:
    """Return bytes as JSON-RPC writes them."""
    return "0x" + data.hex()


def to_block(block: Block) -> str:
    """Return a block as a parameter of ``eth_getBlockBy…``."""
    if isinstance(block, bytes):
        return to_hex(block)
    return hex(block) if isinstance(block, int) else block


def to_state(block: Block) -> str | dict[str, str]:
    """Return a block as a parameter of calls on its state: by hash (EIP-1898) or else as :func:`to_block`."""
    return {"blockHash": to_hex(block)} if isinstance(block, bytes) else to_block(block)


def retry_after(value: str | None) -> float:
    """Return the seconds of a ``Retry-After`` header, 0.0 where it is missing or a date; an hour at most."""
    return min(float(value), MAX_RETRY_AFTER_S) if value is not None and _SECONDS.fullmatch(value.strip()) else 0.0


def integer(value: Any, what: str) -> int:
    """Return the number in a node's quantity, of at most 256 bits."""
    if type(value) is str and _QUANTITY.fullmatch(value):
        return int(value, 16)
    if type(value) is int and value >= 0:
        return value
    raise Unavailable("rpc_answer", f"{what}: {value!r:.80} is no number")


def binary(value: Any, what: str) -> bytes:
    """Return the bytes in a node's hex string."""
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


def read_log(item: dict[str, Any]) -> Log:
    """Return one log of a receipt."""
    return Log(
        binary(item["address"], "address"),
        tuple(binary(topic, "topic") for topic in item["topics"]),
        binary(item["data"], "data"),
    )


def read_transaction(found: dict[str, Any]) -> FoundTransaction:
    """Return whose a transaction is."""
    return FoundTransaction(binary(found["from"], "from"), integer(found["nonce"], "nonce"))


def read_found_log(item: dict[str, Any]) -> FoundLog:
    """Return one log of ``eth_getLogs``."""
    return FoundLog(
        read_log(item),
        integer(item["blockNumber"], "blockNumber"),
        binary(item["blockHash"], "blockHash"),
        binary(item["transactionHash"], "transactionHash"),
        integer(item["logIndex"], "logIndex"),
    )


def read_header(found: dict[str, Any]) -> BlockHeader:
    """Return the header in a block, its RLP made from its fields: the caller compares the hash."""
    fields: list[bytes | int] = []
    for place, name in enumerate(HEADER_FIELDS):
        if name not in found:
            break
        fields.append(binary(found[name], name) if place not in NUMERIC else integer(found[name], name))
    return BlockHeader(
        integer(found["number"], "number"),
        binary(found["hash"], "hash"),
        binary(found["parentHash"], "parentHash"),
        integer(found["timestamp"], "timestamp"),
        integer(found.get("baseFeePerGas", "0x0"), "baseFeePerGas"),
        encode_header(fields),
    )


def read_receipt(found: dict[str, Any]) -> TxReceipt:
    """Return one transaction's receipt, and its canonical bytes."""
    logs = tuple(read_log(item) for item in found["logs"])
    status, kind = integer(found["status"], "status"), integer(found.get("type", "0x0"), "type")
    extra = [integer(found[name], name) for name in ("depositNonce", "depositReceiptVersion") if name in found]
    encoded = encode_receipt(
        tx_type=kind,
        status=status,
        cumulative_gas_used=integer(found["cumulativeGasUsed"], "cumulativeGasUsed"),
        logs_bloom=binary(found["logsBloom"], "logsBloom"),
        logs=logs,
        extra=extra,
    )
    contract = found.get("contractAddress")
    return TxReceipt(
        binary(found["transactionHash"], "transactionHash"),
        status == 1,
        binary(found["blockHash"], "blockHash"),
        integer(found["blockNumber"], "blockNumber"),
        integer(found["transactionIndex"], "transactionIndex"),
        integer(found["gasUsed"], "gasUsed"),
        integer(found.get("effectiveGasPrice", "0x0"), "effectiveGasPrice"),
        None if contract is None else binary(contract, "contractAddress"),
        logs,
        encoded,
    )


_Read = TypeVar("_Read")


def read_proof(found: dict[str, Any]) -> list[bytes]:
    """Return the trie nodes in an answer of ``eth_getProof``."""
    storage = [node for entry in found["storageProof"] for node in entry["proof"]]
    return [binary(node, "a trie node") for node in (*found["accountProof"], *storage)]


def shaped(what: str, read: Callable[[Any], _Read], found: Any) -> _Read:
    """Return what ``read`` makes of a node's answer; Unavailable ``rpc_answer`` where it does not have the shape."""
    try:
        return read(found)
    except Unavailable:
        raise
    except (LookupError, TypeError, AttributeError, ValueError, OverflowError, EdgesealError) as error:
        raise Unavailable("rpc_answer", f"{what} that cannot be read: {error!r:.{MAX_RPC_TEXT}}") from error


def read_rejection(failure: Any) -> Rejected:
    """Return the error a node answered with, as far as it can be read."""
    if not isinstance(failure, dict):
        return Rejected(0, str(failure), b"")
    number = failure.get("code", 0)
    text, data = str(failure.get("message", "")), _error_data(failure.get("data"))
    return Rejected(number if type(number) is int else 0, text, data)
