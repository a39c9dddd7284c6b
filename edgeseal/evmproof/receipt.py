"""A transaction receipt as the receipts trie holds it: its canonical bytes, and the logs in it.

EIP-2718: a type byte before the list, none for the oldest kind. Receipts without a status (before EIP-658) are refused,
since they do not say whether the transaction succeeded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseal.errors import FormatError, UsageError
from edgeseal.evmproof import rlp
from edgeseal.evmproof.trie import MAX_VALUE_SIZE

MAX_TX_RECEIPT = MAX_VALUE_SIZE
"""The longest receipt, bytes: twice what 2^24 gas (EIP-7825) can log, so nobody can make a proof too large to read."""

MAX_TX_TYPE = 0x7F
MAX_TOPICS = 4
MAX_EXTRA_FIELDS = 4
"""The most fields after the logs in a receipt of a type Ethereum does not define; an OP Stack deposit has 2."""

BLOOM_SIZE = 256
_STANDARD_TYPES = 4
_FIELDS = 4


@dataclass(frozen=True, slots=True)
class Log:
    """One log: the 20-byte address of the contract that emitted it, up to four 32-byte topics, and its data."""

    address: bytes
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True, slots=True)
class Receipt:
    """A decoded receipt: ``tx_type`` is 0 for the untyped kind, ``logs`` are in order of emission."""

    tx_type: int
    succeeded: bool
    cumulative_gas_used: int
    logs: tuple[Log, ...]


def decode_receipt(receipt: bytes) -> Receipt:
    """Return the receipt these untrusted bytes encode.

    Raises FormatError and nothing else: ``tx_receipt_too_large``, ``tx_receipt_type``, any ``rlp_*``,
    ``tx_receipt_shape``, ``tx_receipt_fields``, ``tx_receipt_status``, ``event_shape``, ``event_topics``.
    """
    if len(receipt) > MAX_TX_RECEIPT:
        raise FormatError(
            "tx_receipt_too_large", f"a receipt of {len(receipt)} bytes, at most {MAX_TX_RECEIPT} are allowed"
        )
    tx_type, payload = _split_type(receipt)
    fields = rlp.decode(payload)
    if not isinstance(fields, list):
        raise FormatError("tx_receipt_shape", "a receipt is a list")
    extra = MAX_EXTRA_FIELDS if tx_type > _STANDARD_TYPES else 0
    if not _FIELDS <= len(fields) <= _FIELDS + extra:
        raise FormatError("tx_receipt_fields", f"a receipt of type {tx_type} with {len(fields)} fields")
    for position, field in enumerate(fields[_FIELDS:]):
        rlp.integer(field, 32, f"receipt field {_FIELDS + position}")
    rlp.fixed(fields[2], BLOOM_SIZE, "logsBloom")
    logs = fields[3]
    if not isinstance(logs, list):
        raise FormatError("tx_receipt_shape", "the logs of a receipt are a list")
    return Receipt(
        tx_type=tx_type,
        succeeded=_status(fields[0]),
        cumulative_gas_used=rlp.integer(fields[1], 8, "cumulativeGasUsed"),
        logs=tuple(_log(item) for item in logs),
    )


def encode_receipt(
    *,
    tx_type: int,
    status: int,
    cumulative_gas_used: int,
    logs_bloom: bytes,
    logs: Sequence[Log],
    extra: Sequence[int] = (),
) -> bytes:
    """Return the canonical bytes of a receipt, from the values a node's JSON-RPC answer holds.

    ``extra`` is what follows the logs in receipts of a chain's own types (OP Stack deposit, type 0x7e: depositNonce and
    depositReceiptVersion). That the values were right shows only when the trie of all receipts of the block has the
    root in its header. Raises UsageError ``tx_receipt_fields`` when the values are not those of a receipt.
    """
    if type(tx_type) is not int or not 0 <= tx_type <= MAX_TX_TYPE:
        raise UsageError("tx_receipt_fields", f"no transaction type {tx_type!r}")
    numbers = [status, cumulative_gas_used, *extra]
    if any(type(number) is not int or number < 0 for number in numbers):
        raise UsageError("tx_receipt_fields", "status, gas and extra fields are non-negative integers")
    encoded_logs: list[rlp.Item] = [
        [bytes(log.address), [bytes(t) for t in log.topics], bytes(log.data)] for log in logs
    ]
    head, gas, *tail = [rlp.encode_integer(number) for number in numbers]
    fields: list[rlp.Item] = [head, gas, bytes(logs_bloom), encoded_logs, *tail]
    encoded = (bytes([tx_type]) if tx_type else b"") + rlp.encode(fields)
    try:
        decode_receipt(encoded)
    except FormatError as error:
        raise UsageError("tx_receipt_fields", f"these values make no receipt: {error}") from error
    return encoded


def _split_type(receipt: bytes) -> tuple[int, bytes]:
    """Return the transaction type and the RLP after it; a list at once is type 0."""
    first = receipt[0] if receipt else 0
    if first >= 0xC0:
        return 0, receipt
    if not 1 <= first <= MAX_TX_TYPE:
        raise FormatError("tx_receipt_type", "a receipt begins with a list or with a type from 1 to 127")
    return first, receipt[1:]


def _status(field: rlp.Item) -> bool:
    """Return whether the transaction succeeded."""
    if field not in (b"", b"\x01"):
        raise FormatError("tx_receipt_status", "a receipt's status is 0 or 1")
    return field == b"\x01"


def _log(item: rlp.Item) -> Log:
    """Return one log of a decoded receipt."""
    if not isinstance(item, list) or len(item) != 3:
        raise FormatError("event_shape", "a log is a list of address, topics and data")
    address, topics, data = item
    if not isinstance(topics, list) or len(topics) > MAX_TOPICS:
        raise FormatError("event_topics", f"a log has a list of at most {MAX_TOPICS} topics")
    if not isinstance(data, bytes):
        raise FormatError("event_shape", "the data of a log is a byte string")
    return Log(
        address=rlp.fixed(address, 20, "log address"),
        topics=tuple(rlp.fixed(topic, 32, "log topic") for topic in topics),
        data=data,
    )
