"""An anchor as the contract wants it, and as the chain proves it (``docs/format.md`` 7.2, 14.1)."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from edgeseal import cose
from edgeseal.adapters.evm import Contract, EvmClient, TxReceipt
from edgeseal.bundle import AnchorEvidence
from edgeseal.errors import EdgesealError, EvidenceError, InvariantBroken, Unavailable, VerificationError
from edgeseal.evmproof import Log, build_receipt_proof, verify_header, verify_log
from edgeseal.fleetlog_event import ANCHORED_TOPIC, Anchored, decode_anchored
from edgeseal_gateway.store import fleetlog


@dataclass(frozen=True, slots=True)
class Meant:
    """What an anchor is meant to put on the chain: log id, size, root, the kid that signed it."""

    log: bytes
    size: int
    root: bytes
    kid: bytes

    def is_said_by(self, event: Anchored) -> bool:
        """Tell whether an ``Anchored`` event says just this."""
        return (event.log_id, event.size, event.root, event.kid) == (self.log, self.size, self.root, self.kid)


def meant(head: fleetlog.StoredHead) -> Meant:
    """Return what anchoring this signed head means."""
    return Meant(head.head.log, head.head.size, head.head.root, head.kid)


def call_data(
    connection: sqlite3.Connection, contract: Contract, head: fleetlog.StoredHead, key: cose.PublicKey, anchored: int
) -> bytes:
    """Return the call that anchors a signed head, with the proof from the size that is anchored now."""
    if head.signature is None or head.kid != key.kid:
        raise InvariantBroken("gateway_key", f"the head of size {head.head.size} is not signed by this gateway's key")
    tree, signature = head.head, head.signature
    path = fleetlog.consistency_path(connection, anchored, tree.size) if anchored else []
    return contract.encode(
        "anchor", tree.log, tree.size, tree.root, tree.prev[0], tree.prev[1], key.x, key.y, signature[:32],
        signature[32:], path,
    )  # fmt: skip


def find_event(receipt: TxReceipt, contract: bytes, wanted: Meant) -> int | None:
    """Return the index within the receipt of the event that says what was meant, None if there is none."""
    for index, log in enumerate(receipt.logs):
        if log.address == contract and log.topics[:1] == (ANCHORED_TOPIC,):
            try:
                if wanted.is_said_by(decode_anchored(log)):
                    return index
            except EvidenceError:
                continue
    return None


def is_older(log: Log, size: int) -> bool:
    """Tell whether a log is the event of an anchor smaller than ``size``: what came before it is smaller still."""
    try:
        return decode_anchored(log).size < size
    except EvidenceError:
        return False


def evidence(
    client: EvmClient, chain_id: int, contract: bytes, receipt: TxReceipt, wanted: Meant
) -> tuple[int, bytes] | None:
    """Return the event's index in the receipt, and the anchor evidence (14.1) in CBOR, checked as a stranger would;
    None where the transaction, proved to stand in its block, did something else than was meant.

    Raises Unavailable ``rpc_answer``: the node's answers do not prove its receipt (yet): ask again, or another node.
    """
    header = client.header(receipt.block_hash)
    if header is None:
        raise Unavailable("rpc_answer", f"the node has no block {receipt.block_hash.hex()}")
    receipts = client.block_receipts(receipt.block_hash)
    index = find_event(receipt, contract, wanted)
    try:
        proof = build_receipt_proof([one.encoded for one in receipts], receipt.index)
        root = verify_header(receipt.block_hash, header.rlp).receipts_root
        if proof.receipts_root != root or receipts[receipt.index].encoded != receipt.encoded:
            raise VerificationError("trie_value", "the block's receipts are not these")
        if index is None:
            return None
        proved = (receipt.block_hash, header.rlp, receipt.encoded, receipt.index, list(proof.nodes), contract, index)
        verify_log(*proved)
    except EdgesealError as error:
        raise Unavailable("rpc_answer", f"the node's block does not prove its receipt: {error}") from error
    made = AnchorEvidence(
        chain_id, contract, receipt.block_hash, header.rlp, receipt.encoded, receipt.index, proof.nodes, index
    )
    return index, made.encode()
