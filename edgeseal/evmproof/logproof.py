"""That a contract emitted a log in a block of known hash: the proof, made from a block and checked without a node.

The chain of hashes runs block hash → header → receipts root → trie → receipt → log. A stranger who knows the block
hash, from wherever he trusts it, needs nothing else (docs/format.md, evidence bundle, ``chain/``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseal.errors import FormatError, UsageError, VerificationError
from edgeseal.evmproof import rlp, trie
from edgeseal.evmproof.header import Header, verify_header
from edgeseal.evmproof.receipt import MAX_TX_RECEIPT, Log, decode_receipt

MAX_BLOCK_RECEIPTS = 1 << 16
"""The most receipts, and so transactions, in a block that a proof is made for or checked in."""


@dataclass(frozen=True, slots=True)
class ProvedLog:
    """A log, and the block header it was proved to be under."""

    log: Log
    header: Header


@dataclass(frozen=True, slots=True)
class ReceiptProof:
    """The receipts root of a block (32 bytes) and the trie nodes, root first, that lead to one of its receipts."""

    receipts_root: bytes
    nodes: tuple[bytes, ...]


def verify_log(
    block_hash: bytes,
    header: bytes,
    receipt: bytes,
    index: int,
    proof_nodes: Sequence[bytes],
    contract_address: bytes,
    log_index: int,
) -> ProvedLog:
    """Return the log that ``contract_address`` emitted, proved under ``block_hash``, with the block's header.

    The caller supplies trust: that the block of this hash is on the chain meant, and final, and that the contract at
    this 20-byte address is the one meant. ``index`` is the transaction's place in its block, ``log_index`` the log's
    place *within its receipt* (JSON-RPC counts logs through the block). All else may be hostile. Steps:

    (1) the header has the block hash; (2) the receipt stands at ``index`` under the header's receipts root;
    (3) the transaction succeeded; (4) the receipt holds that log; (5) the contract emitted it.

    Raises FormatError or VerificationError and nothing else: what ``header.verify_header``, ``trie.verify_inclusion``
    and ``receipt.decode_receipt`` raise, ``tx_index``, ``tx_receipt_too_large``, ``tx_failed``, ``event_index``,
    ``event_address``.
    """
    # (1)
    block = verify_header(block_hash, header)
    # (2)
    key = _receipt_key(index)
    if len(receipt) > MAX_TX_RECEIPT:
        raise FormatError(
            "tx_receipt_too_large", f"a receipt of {len(receipt)} bytes, at most {MAX_TX_RECEIPT} are allowed"
        )
    trie.verify_inclusion(block.receipts_root, key, receipt, proof_nodes)
    decoded = decode_receipt(receipt)
    # (3)
    if not decoded.succeeded:
        raise VerificationError("tx_failed", f"transaction {index} of block {block.number} was reverted")
    # (4)
    if type(log_index) is not int or not 0 <= log_index < len(decoded.logs):
        raise VerificationError("event_index", f"the receipt has {len(decoded.logs)} logs, none numbered {log_index!r}")
    log = decoded.logs[log_index]
    # (5)
    if log.address != contract_address:
        raise VerificationError("event_address", f"log {log_index} was emitted by another contract")
    return ProvedLog(log=log, header=block)


def build_receipt_proof(receipts: Sequence[bytes], index: int) -> ReceiptProof:
    """Return the receipts root of a block, given all its receipts' bytes in order, and the proof for receipt ``index``.

    The caller compares the root with the header's: that alone shows that the receipts are complete and right. Raises
    UsageError ``tx_index`` when there is no such receipt, ``tx_count`` for more than ``MAX_BLOCK_RECEIPTS``,
    ``trie_entry`` for an empty or over-long one.
    """
    if len(receipts) > MAX_BLOCK_RECEIPTS:
        raise UsageError("tx_count", f"{len(receipts)} receipts in a block, at most {MAX_BLOCK_RECEIPTS}")
    if type(index) is not int or not 0 <= index < len(receipts):
        raise UsageError("tx_index", f"no receipt {index!r} among {len(receipts)}")
    entries = {_receipt_key(position): bytes(receipt) for position, receipt in enumerate(receipts)}
    root, nodes = trie.build_proof(entries, _receipt_key(index))
    return ReceiptProof(receipts_root=root, nodes=tuple(nodes))


def _receipt_key(index: int) -> bytes:
    """Return the key of a receipt in its trie: the RLP of its index."""
    if type(index) is not int or not 0 <= index < MAX_BLOCK_RECEIPTS:
        raise FormatError("tx_index", f"no receipt {index!r}: 0 to {MAX_BLOCK_RECEIPTS - 1} are possible")
    return rlp.encode(rlp.encode_integer(index))
