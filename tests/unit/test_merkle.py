"""merkle: published RFC 6962 values, and what each refusal of a proof is called."""

from __future__ import annotations

import hashlib

import pytest

from edgeseal import merkle
from edgeseal.errors import UsageError, VerificationError

# The eight leaves and the roots of their prefixes that Certificate Transparency implementations test against.
ENTRIES = [
    bytes.fromhex(text)
    for text in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    bytes.fromhex(text)
    for text in (
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    )
]
LEAVES = [merkle.leaf_hash(entry) for entry in ENTRIES]
INCLUSION_5_OF_8 = [
    bytes.fromhex(text)
    for text in (
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    )
]
CONSISTENCY_6_TO_8 = [
    bytes.fromhex(text)
    for text in (
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    )
]


@pytest.mark.parametrize("size", range(9))
def test_published_roots(size: int) -> None:
    assert merkle.root(LEAVES[:size]) == ROOTS[size]


def test_published_paths() -> None:
    assert merkle.inclusion_path(LEAVES, 5) == INCLUSION_5_OF_8
    merkle.verify_inclusion(LEAVES[5], 5, 8, INCLUSION_5_OF_8, ROOTS[8])
    assert merkle.consistency_path(LEAVES, 6) == CONSISTENCY_6_TO_8
    merkle.verify_consistency(6, 8, ROOTS[6], ROOTS[8], CONSISTENCY_6_TO_8)


def test_empty_root_is_the_hash_of_nothing() -> None:
    assert merkle.root([]) == hashlib.sha256(b"").digest() == merkle.Frontier().root()


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("path_type", {"leaf": LEAVES[5][:31]}),
        ("path_type", {"leaf": bytearray(LEAVES[5])}),
        ("path_type", {"root": ROOTS[8] + b"\0"}),
        ("path_type", {"index": True}),
        ("path_type", {"size": 8.0}),
        ("path_type", {"path": None}),
        ("path_type", {"path": [*INCLUSION_5_OF_8[:2], b"short"]}),
        ("path_size", {"index": -1}),
        ("path_size", {"size": 1 << 63}),
        ("path_index", {"index": 8}),
        ("path_index", {"index": 0, "size": 0}),
        ("path_length", {"path": INCLUSION_5_OF_8[:2]}),
        ("path_length", {"path": [*INCLUSION_5_OF_8, ROOTS[1]]}),
        ("path_length", {"size": 16}),
        ("path_root", {"index": 4}),
        ("path_root", {"leaf": LEAVES[4]}),
        ("path_root", {"root": ROOTS[7]}),
        ("path_root", {"path": INCLUSION_5_OF_8[::-1]}),
    ],
)
def test_inclusion_refusals(code: str, change: dict[str, object]) -> None:
    given: dict[str, object] = {"leaf": LEAVES[5], "index": 5, "size": 8, "path": INCLUSION_5_OF_8, "root": ROOTS[8]}
    with pytest.raises(VerificationError) as refusal:
        merkle.verify_inclusion(**(given | change))  # type: ignore[arg-type]
    assert refusal.value.code == code


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("path_type", {"size1": False}),
        ("path_type", {"root1": b""}),
        ("path_type", {"path": CONSISTENCY_6_TO_8[0]}),
        ("path_size", {"size1": 9}),
        ("path_size", {"size1": -6}),
        ("path_length", {"path": []}),
        ("path_length", {"size1": 4}),
        ("path_length", {"size1": 0, "root1": ROOTS[0]}),
        ("path_length", {"size1": 8}),
        ("path_old_root", {"size1": 0, "path": []}),
        ("path_root", {"size1": 8, "path": []}),
        ("path_old_root", {"root1": ROOTS[5]}),
        ("path_root", {"root2": ROOTS[7]}),
        ("path_old_root", {"path": CONSISTENCY_6_TO_8[::-1]}),
        ("path_root", {"path": [CONSISTENCY_6_TO_8[0], ROOTS[1], CONSISTENCY_6_TO_8[2]]}),
    ],
)
def test_consistency_refusals(code: str, change: dict[str, object]) -> None:
    given: dict[str, object] = {
        "size1": 6,
        "size2": 8,
        "root1": ROOTS[6],
        "root2": ROOTS[8],
        "path": CONSISTENCY_6_TO_8,
    }
    with pytest.raises(VerificationError) as refusal:
        merkle.verify_consistency(**(given | change))  # type: ignore[arg-type]
    assert refusal.value.code == code


def test_a_path_is_refused_where_no_leaf_is() -> None:
    with pytest.raises(UsageError, match="merkle_index"):
        merkle.inclusion_path(LEAVES, 8)
    with pytest.raises(UsageError, match="merkle_index"):
        merkle.inclusion_path([], 0)
    with pytest.raises(UsageError, match="merkle_size"):
        merkle.consistency_path(LEAVES, 9)


def test_trees_are_built_of_hashes_only() -> None:
    for broken in (b"short", "text", bytearray(32), None):
        with pytest.raises(UsageError, match="merkle_hash"):
            merkle.root([LEAVES[0], broken])  # type: ignore[list-item]
        with pytest.raises(UsageError, match="merkle_hash"):
            merkle.Frontier().append(broken)  # type: ignore[arg-type]


def test_a_frontier_state_must_fit_its_size() -> None:
    with pytest.raises(UsageError, match="merkle_frontier"):
        merkle.Frontier(3, [LEAVES[0]])
    with pytest.raises(UsageError, match="merkle_frontier"):
        merkle.Frontier(-1)


def test_store_errors_pass_through_path_generation() -> None:
    def lost(level: int, index: int) -> bytes:
        raise KeyError((level, index))

    with pytest.raises(KeyError):
        merkle.inclusion_path_from(lost, 1, 2)


def test_paths_at_a_million_leaves_read_few_nodes() -> None:
    reads: list[tuple[int, int]] = []

    def get_node(level: int, index: int) -> bytes:
        reads.append((level, index))
        return LEAVES[0]

    size = 1_000_003
    path = merkle.inclusion_path_from(get_node, 777_777, size)
    assert len(path) == merkle.inclusion_path_length(777_777, size)
    merkle.consistency_path_from(get_node, 777_777, size)
    assert len(reads) < 100
