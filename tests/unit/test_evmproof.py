"""Chain proofs on blocks built here: every receipt of blocks of many sizes, every limit, the builder's refusals."""

from __future__ import annotations

import pytest

from edgeseal.errors import EvidenceError, UsageError
from edgeseal.evmproof import (
    HEADER_FIELDS,
    Log,
    build_receipt_proof,
    decode_header,
    decode_receipt,
    encode_header,
    encode_receipt,
    keccak256,
    rlp,
    trie,
    verify_header,
    verify_log,
)
from edgeseal.evmproof.header import MAX_BLOCK_HEADER
from edgeseal.evmproof.receipt import MAX_TX_RECEIPT

CONTRACT = bytes(range(20))
EMPTY_TRIE = bytes.fromhex("56e81f171bcc55a6ff8345e692c0f86e5b48e01b996cadc001622fb5e363b421")


def receipt(number: int, status: int = 1, data: bytes = b"") -> bytes:
    log = Log(CONTRACT, (keccak256(b"topic"),), data or number.to_bytes(4, "big"))
    return encode_receipt(
        tx_type=number % 5, status=status, cumulative_gas_used=21_000 * (number + 1), logs_bloom=bytes(256), logs=[log]
    )


def header(receipts_root: bytes, **changes: bytes | int) -> bytes:
    values: dict[str, bytes | int] = {name: bytes(32) for name in HEADER_FIELDS}
    values |= {"miner": bytes(20), "receiptsRoot": receipts_root, "logsBloom": bytes(256), "nonce": bytes(8)}
    values |= {"difficulty": 0, "number": 77, "gasLimit": 30_000_000, "gasUsed": 21_000, "timestamp": 1_764_155_000}
    values |= {"extraData": b"", "baseFeePerGas": 7, "blobGasUsed": 0, "excessBlobGas": 0}
    values |= changes
    return encode_header([values[name] for name in HEADER_FIELDS])


def refused(code: str, call: object, *arguments: object) -> None:
    with pytest.raises(EvidenceError) as caught:
        call(*arguments)  # type: ignore[operator]
    assert caught.value.code == code


@pytest.mark.parametrize("count", [1, 2, 3, 16, 17, 127, 128, 129, 200, 300])
def test_every_receipt_of_a_block_is_proved(count: int) -> None:
    receipts = [receipt(number) for number in range(count)]
    root = build_receipt_proof(receipts, 0).receipts_root
    block = header(root)
    for index in {0, 1, 2, 15, 16, 17, 126, 127, 128, 129, 255, 256, count // 2, count - 1} & set(range(count)):
        proof = build_receipt_proof(receipts, index)
        assert proof.receipts_root == root
        found = verify_log(keccak256(block), block, receipts[index], index, proof.nodes, CONTRACT, 0)
        assert found.log.data == index.to_bytes(4, "big")
        assert (found.header.number, found.header.timestamp) == (77, 1_764_155_000)
        wrong = (index + 1) % count
        if wrong != index:
            with pytest.raises(EvidenceError):
                verify_log(keccak256(block), block, receipts[index], wrong, proof.nodes, CONTRACT, 0)


def test_a_header_without_receipts_proves_nothing() -> None:
    block = header(EMPTY_TRIE)
    encoded = rlp.encode(b"")
    assert keccak256(encoded) == EMPTY_TRIE
    refused("trie_node_shape", verify_log, keccak256(block), block, receipt(0), 0, [encoded], CONTRACT, 0)


def test_the_largest_receipt_is_read_and_a_larger_one_is_not() -> None:
    frame = len(receipt(0, data=b"d" * 100_000)) - 100_000
    for size, fits in ((MAX_TX_RECEIPT - frame - 8, True), (MAX_TX_RECEIPT, False)):
        log: rlp.Item = [CONTRACT, [keccak256(b"topic")], b"d" * size]
        item = rlp.encode([b"\x01", b"\x05", bytes(256), [log]])
        assert (len(item) <= MAX_TX_RECEIPT) is fits
        node = rlp.encode([b"\x20\x80", item])
        block = header(keccak256(node))
        arguments = (keccak256(block), block, item, 0, [node], CONTRACT, 0)
        if fits:
            assert len(verify_log(*arguments).log.data) == size
            continue
        refused("tx_receipt_too_large", verify_log, *arguments)
        refused("tx_receipt_too_large", decode_receipt, item)
        refused("trie_node_too_large", trie.verify_inclusion, keccak256(node), b"\x80", item, [node])


def test_limits_of_rlp() -> None:
    refused("rlp_too_large", rlp.decode, bytes(rlp.MAX_RLP_SIZE + 1))
    most: list[rlp.Item] = [b"\x01"] * (rlp.MAX_RLP_ITEMS - 1)
    assert rlp.decode(rlp.encode(most)) == most
    refused("rlp_too_many_items", rlp.decode, rlp.encode([*most, b"\x01"]))


def test_header_limits_and_identity() -> None:
    block = header(EMPTY_TRIE, extraData=b"x" * 1000)
    assert verify_header(keccak256(block), block) == decode_header(block)
    refused("block_too_large", decode_header, bytes(MAX_BLOCK_HEADER + 1))
    refused("block_too_large", verify_header, keccak256(block), bytes(MAX_BLOCK_HEADER + 1))
    refused("block_hash_mismatch", verify_header, keccak256(block)[:31], block)


def test_the_builder_refuses_what_no_block_holds() -> None:
    receipts = [receipt(0), receipt(1)]
    for index in (2, -1, True):
        with pytest.raises(UsageError, match="tx_index"):
            build_receipt_proof(receipts, index)
    with pytest.raises(UsageError, match="tx_count"):
        build_receipt_proof([b"r"] * 65_537, 0)
    with pytest.raises(UsageError, match="trie_entry"):
        build_receipt_proof([b""], 0)
    with pytest.raises(UsageError, match="trie_entry"):
        trie.build_proof({b"a": b"1", b"ab": b"2"}, b"a")
    with pytest.raises(UsageError, match="trie_key"):
        trie.build_proof({b"a": b"1"}, b"b")


@pytest.mark.parametrize(
    "change",
    [
        {"tx_type": 128},
        {"tx_type": -1},
        {"status": 2},
        {"status": -1},
        {"cumulative_gas_used": 1 << 64},
        {"logs_bloom": bytes(255)},
        {"logs": [Log(bytes(19), (), b"")]},
        {"logs": [Log(bytes(20), (bytes(32),) * 5, b"")]},
        {"extra": (1,)},
    ],
    ids=str,
)
def test_encode_receipt_refuses_values_of_no_receipt(change: dict[str, object]) -> None:
    good: dict[str, object] = {
        "tx_type": 2,
        "status": 1,
        "cumulative_gas_used": 21_000,
        "logs_bloom": bytes(256),
        "logs": [],
    }
    assert decode_receipt(encode_receipt(**good)).succeeded  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="tx_receipt_fields"):
        encode_receipt(**(good | change))  # type: ignore[arg-type]


def test_encode_header_refuses_values_of_no_header() -> None:
    for fields in ([], [b""] * 15, [1] * 21):
        with pytest.raises(UsageError, match="block_fields"):
            encode_header(fields)


def test_a_reverted_transaction_proves_no_log() -> None:
    receipts = [receipt(0, status=0)]
    proof = build_receipt_proof(receipts, 0)
    block = header(proof.receipts_root)
    refused("tx_failed", verify_log, keccak256(block), block, receipts[0], 0, proof.nodes, CONTRACT, 0)
