"""Chain proofs under random blocks and random damage: only the right proof passes, only named errors come out."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseal.errors import EvidenceError, FormatError
from edgeseal.evmproof import (
    Log,
    build_receipt_proof,
    decode_header,
    decode_receipt,
    encode_receipt,
    keccak256,
    rlp,
    trie,
    verify_log,
)

CONTRACT = b"\x11" * 20
FIELDS = {0: 32, 1: 32, 2: 20, 3: 32, 4: 32, 6: 256, 13: 32, 14: 8}

items = st.recursive(st.binary(max_size=70), lambda inner: st.lists(inner, max_size=6), max_leaves=30)
logs = st.builds(
    Log,
    address=st.just(CONTRACT),
    topics=st.lists(st.binary(min_size=32, max_size=32), max_size=4).map(tuple),
    data=st.binary(max_size=100),
)
receipts = st.builds(
    encode_receipt,
    tx_type=st.integers(0, 4),
    status=st.just(1),
    cumulative_gas_used=st.integers(0, 2**63),
    logs_bloom=st.just(bytes(256)),
    logs=st.lists(logs, min_size=1, max_size=3),
)


@dataclass(frozen=True)
class Evidence:
    """The arguments of verify_log, and at which indexes of the block the same receipt stands."""

    block_hash: bytes
    header: bytes
    receipt: bytes
    index: int
    nodes: tuple[bytes, ...]
    alike: frozenset[int]

    def check(self) -> Log:
        return verify_log(self.block_hash, self.header, self.receipt, self.index, self.nodes, CONTRACT, log_index=0).log


@st.composite
def evidence(draw: st.DrawFn) -> Evidence:
    """A block of up to 140 receipts, most of them alike, and the proof for one."""
    some = draw(st.lists(receipts, min_size=1, max_size=4))
    count = draw(st.integers(1, 140))
    block = [some[n % len(some)] for n in range(count)]
    index = draw(st.integers(0, count - 1))
    proof = build_receipt_proof(block, index)
    fields: list[rlp.Item] = [bytes(FIELDS.get(place, 0)) for place in range(21)]
    fields[5] = proof.receipts_root
    header = rlp.encode(fields)
    alike = frozenset(place for place, receipt in enumerate(block) if receipt == block[index])
    return Evidence(keccak256(header), header, block[index], index, proof.nodes, alike)


@given(evidence())
def test_the_right_proof_passes(good: Evidence) -> None:
    assert good.check() == decode_receipt(good.receipt).logs[0]


@given(evidence(), st.data())
def test_any_flipped_bit_is_refused(good: Evidence, data: st.DataObject) -> None:
    which = data.draw(st.sampled_from(["block_hash", "header", "receipt", "node"]))
    place = data.draw(st.integers(0, len(good.nodes) - 1))
    old = good.nodes[place] if which == "node" else getattr(good, which)
    bit = data.draw(st.integers(0, len(old) * 8 - 1))
    new = bytearray(old)
    new[bit // 8] ^= 1 << bit % 8
    if which == "node":
        bad = replace(good, nodes=(*good.nodes[:place], bytes(new), *good.nodes[place + 1 :]))
    else:
        changed: dict[str, Any] = {which: bytes(new)}
        bad = replace(good, **changed)
    with pytest.raises(EvidenceError):
        bad.check()


@given(evidence(), st.data())
def test_a_missing_doubled_or_foreign_node_is_refused(good: Evidence, data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(good.nodes)))
    foreign = data.draw(st.sampled_from(good.nodes) | st.binary(max_size=600))
    longer = replace(good, nodes=(*good.nodes[:place], foreign, *good.nodes[place:]))
    shorter = replace(good, nodes=(*good.nodes[:place], *good.nodes[place + 1 :]))
    for bad in (longer, shorter):
        if bad.nodes != good.nodes:
            with pytest.raises(EvidenceError):
                bad.check()


@given(evidence(), st.integers(-5, 70_000))
def test_another_index_is_refused(good: Evidence, index: int) -> None:
    if index not in good.alike:  # where the same receipt stands, the same nodes may well prove it
        with pytest.raises(EvidenceError):
            replace(good, index=index).check()


@given(items)
def test_rlp_has_one_form(item: rlp.Item) -> None:
    encoded = rlp.encode(item)
    assert rlp.decode(encoded) == item


@given(st.binary(max_size=200))
def test_whatever_rlp_accepts_is_canonical(data: bytes) -> None:
    try:
        item = rlp.decode(data)
    except FormatError:
        return
    assert rlp.encode(item) == data


@given(st.binary(max_size=400) | items.map(rlp.encode))
def test_decoders_raise_only_named_errors(data: bytes) -> None:
    for decode in (decode_header, decode_receipt):
        try:
            decode(data)
        except FormatError as error:
            assert error.code


@given(st.dictionaries(st.binary(min_size=3, max_size=3), st.binary(min_size=1, max_size=40), min_size=1), st.data())
def test_any_trie_proves_each_of_its_keys_and_no_other(entries: dict[bytes, bytes], data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(sorted(entries)))
    root, nodes = trie.build_proof(entries, key)
    trie.verify_inclusion(root, key, entries[key], nodes)
    other = data.draw(st.binary(min_size=1, max_size=4))
    if other != key:
        with pytest.raises(EvidenceError):
            trie.verify_inclusion(root, other, entries[key], nodes)
    with pytest.raises(EvidenceError):
        trie.verify_inclusion(root, key, entries[key] + b"\x00", nodes)


@given(st.binary(min_size=1, max_size=32), st.binary(max_size=40), items)
def test_nodes_of_any_shape_raise_only_named_errors(key: bytes, value: bytes, node: rlp.Item) -> None:
    encoded = rlp.encode(node)
    try:
        trie.verify_inclusion(keccak256(encoded), key, value, [encoded])
    except EvidenceError as error:
        assert error.code
