"""merkle against the recursive definitions of RFC 9162, on trees of every small shape and on mutated proofs."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgeseal import merkle
from edgeseal.errors import VerificationError

LEAVES = [merkle.leaf_hash(number.to_bytes(4, "big")) for number in range(300)]
sizes = st.integers(min_value=1, max_value=len(LEAVES))


def split(count: int) -> int:
    """The largest power of two smaller than ``count``."""
    power = 1
    while power * 2 < count:
        power *= 2
    return power


def mth(leaves: list[bytes]) -> bytes:
    """Merkle tree hash as section 2.1.1 defines it."""
    if not leaves:
        return hashlib.sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    k = split(len(leaves))
    return hashlib.sha256(b"\x01" + mth(leaves[:k]) + mth(leaves[k:])).digest()


def path(index: int, leaves: list[bytes]) -> list[bytes]:
    """Inclusion path as section 2.1.3.1 defines it."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*path(index, leaves[:k]), mth(leaves[k:])]
    return [*path(index - k, leaves[k:]), mth(leaves[:k])]


def subproof(size1: int, leaves: list[bytes], whole: bool) -> list[bytes]:
    """Consistency path as section 2.1.4.1 defines it."""
    if size1 == len(leaves):
        return [] if whole else [mth(leaves)]
    k = split(len(leaves))
    if size1 <= k:
        return [*subproof(size1, leaves[:k], whole), mth(leaves[k:])]
    return [*subproof(size1 - k, leaves[k:], False), mth(leaves[:k])]


@given(st.integers(min_value=0, max_value=len(LEAVES)))
def test_root_is_the_recursive_one(size: int) -> None:
    assert merkle.root(iter(LEAVES[:size])) == mth(LEAVES[:size])


@given(sizes, st.data())
def test_inclusion_paths(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    found = merkle.inclusion_path(LEAVES[:size], index)
    assert found == path(index, LEAVES[:size])
    assert len(found) == merkle.inclusion_path_length(index, size)
    merkle.verify_inclusion(LEAVES[index], index, size, found, mth(LEAVES[:size]))


@given(sizes, st.data())
def test_consistency_paths(size2: int, data: st.DataObject) -> None:
    size1 = data.draw(st.integers(min_value=0, max_value=size2))
    found = merkle.consistency_path(LEAVES[:size2], size1)
    assert found == (subproof(size1, LEAVES[:size2], True) if size1 else [])
    assert len(found) == merkle.consistency_path_length(size1, size2)
    merkle.verify_consistency(size1, size2, mth(LEAVES[:size1]), mth(LEAVES[:size2]), found)


def test_every_proof_of_every_tree_up_to_33_leaves() -> None:
    for size in range(1, 34):
        root = merkle.root(LEAVES[:size])
        for index in range(size):
            found = merkle.inclusion_path(LEAVES[:size], index)
            assert found == path(index, LEAVES[:size])
            merkle.verify_inclusion(LEAVES[index], index, size, found, root)
        for size1 in range(1, size + 1):
            found = merkle.consistency_path(LEAVES[:size], size1)
            assert found == subproof(size1, LEAVES[:size], True)
            merkle.verify_consistency(size1, size, merkle.root(LEAVES[:size1]), root, found)


@given(sizes, st.data())
def test_a_changed_inclusion_proof_never_passes(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(min_value=0, max_value=size - 1))
    proof = merkle.inclusion_path(LEAVES[:size], index)
    root = merkle.root(LEAVES[:size])
    changes = [(LEAVES[index], other, size, proof, root) for other in range(size + 2) if other != index]
    changes += [
        (LEAVES[(index + 1) % 300], index, size, proof, root),
        (LEAVES[index], index, size, proof, LEAVES[0][::-1]),
    ]
    changes += [(LEAVES[index], index, size, proof[:cut], root) for cut in range(len(proof))]
    changes += [
        (LEAVES[index], index, size, [*proof[:at], b"\0" * 32, *proof[at + 1 :]], root) for at in range(len(proof))
    ]
    for change in changes:
        with pytest.raises(VerificationError):
            merkle.verify_inclusion(*change)


@given(sizes, st.data())
def test_a_changed_consistency_proof_never_passes(size2: int, data: st.DataObject) -> None:
    size1 = data.draw(st.integers(min_value=1, max_value=size2))
    proof = merkle.consistency_path(LEAVES[:size2], size1)
    root1, root2 = merkle.root(LEAVES[:size1]), merkle.root(LEAVES[:size2])
    forked = [*LEAVES[:size1], *reversed(LEAVES[size1:size2])]
    changes = [(root1, root2, proof[:cut]) for cut in range(len(proof))] + [(root1, root2, [*proof, root1])]
    changes += [(root1, root2, [*proof[:at], b"\0" * 32, *proof[at + 1 :]]) for at in range(len(proof))]
    changes += [(LEAVES[0][::-1], root2, proof), (root1, LEAVES[0][::-1], proof)]
    if forked != LEAVES[:size2]:
        changes.append((root1, merkle.root(forked), proof))
    for old, new, changed in changes:
        with pytest.raises(VerificationError):
            merkle.verify_consistency(size1, size2, old, new, changed)


@given(st.lists(st.integers(min_value=0, max_value=40), max_size=12))
def test_a_frontier_grown_in_any_steps_is_the_same(steps: list[int]) -> None:
    grown, single, size = merkle.Frontier(), merkle.Frontier(), 0
    for step in steps:
        taken = LEAVES[size : size + step]
        grown.extend(taken)
        for leaf in taken:
            single.append(leaf)
        size += len(taken)
        assert (grown.size, grown.hashes) == (single.size, single.hashes)
        grown = merkle.Frontier(grown.size, grown.hashes)
    assert grown.root() == mth(LEAVES[:size])


@given(sizes, st.data())
def test_stored_nodes_answer_for_every_earlier_size(size: int, data: st.DataObject) -> None:
    store: dict[tuple[int, int], bytes] = {}
    frontier = merkle.Frontier()
    for leaf in LEAVES[:size]:
        for level, index, node in frontier.append(leaf):
            assert (level, index) not in store
            store[level, index] = node

    def get_node(level: int, index: int) -> bytes:
        return store[level, index]

    earlier = data.draw(st.integers(min_value=1, max_value=size))
    index = data.draw(st.integers(min_value=0, max_value=earlier - 1))
    assert merkle.inclusion_path_from(get_node, index, earlier) == merkle.inclusion_path(LEAVES[:earlier], index)
    assert merkle.consistency_path_from(get_node, earlier, size) == merkle.consistency_path(LEAVES[:size], earlier)
    assert merkle.Frontier.from_nodes(get_node, earlier).root() == merkle.root(LEAVES[:earlier])


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70))
def test_added_one_by_one_or_appended_a_log_grows_the_same(leaves: list[bytes]) -> None:
    added, appended = merkle.Frontier(), merkle.Frontier()
    for leaf in leaves:
        added.add(leaf)
        appended.append(leaf)
    assert (added.size, added.hashes, added.root()) == (appended.size, appended.hashes, appended.root())
