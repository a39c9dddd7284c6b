"""RFC 9162 trees: the published example of RFC 6962, and each way a path can be wrong."""

from __future__ import annotations

from typing import Any

from tests.vectors.cases import Cases, bad, good
from tests.vectors.encoding import ZEROS, consistency, hashed, inclusion, leaf_hash, root, token
from tests.vectors.parts.receipts import PUBLISHED_LEAVES

# The roots of the first 1 to 8 leaves, as the reference implementations of RFC 6962 publish them.
PUBLISHED_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
LEAVES = [leaf_hash(token(f"leaf {n}")) for n in range(13)]


def included(index: int, size: int, leaves: list[bytes] = LEAVES, **changes: Any) -> dict[str, Any]:
    taken = leaves[:size]
    return {
        "leaf": taken[index], "index": index, "size": size, "path": inclusion(index, taken), "root": root(taken),
    } | changes  # fmt: skip


def consistent(size1: int, size2: int, leaves: list[bytes] = LEAVES, **changes: Any) -> dict[str, Any]:
    path = consistency(size1, leaves[:size2]) if size1 else []
    return {
        "size1": size1, "size2": size2, "root1": root(leaves[:size1]), "root2": root(leaves[:size2]), "path": path,
    } | changes  # fmt: skip


def cases() -> Cases:
    """Every case of this part."""
    for size, published in enumerate(PUBLISHED_ROOTS, 1):
        leaves = PUBLISHED_LEAVES[:size]
        assert root(leaves).hex() == published
        yield good(f"root-{size}", f"{size} leaves of RFC 6962", "merkle-root", {"leaves": leaves}, root=root(leaves))
    yield good("root-0", "no leaf", "merkle-root", {"leaves": []}, root=hashed())
    for index, size in ((0, 1), (0, 8), (5, 8), (2, 3), (1, 5)):
        given = included(index, size, PUBLISHED_LEAVES)
        yield good(f"published-inclusion-{index}-{size}", "a path of RFC 6962", "inclusion", given)
    for old, new in ((1, 1), (1, 8), (6, 8), (2, 5)):
        given = consistent(old, new, PUBLISHED_LEAVES)
        yield good(f"published-consistency-{old}-{new}", "a path of RFC 6962", "consistency", given)
    for index in (0, 6, 11, 12):
        yield good(f"inclusion-{index}-13", "a tree that is not full", "inclusion", included(index, 13))
    for old in (0, 1, 4, 7, 8, 12, 13):
        yield good(f"consistency-{old}-13", "to a tree that is not full", "consistency", consistent(old, 13))
    yield from inclusions()
    yield from consistencies()


def inclusions() -> Cases:
    base = included(6, 13)
    path = base["path"]
    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "index": ("path_root", "another index", base | {"index": 7}),
        "index-size": ("path_index", "the size for an index", base | {"index": 13}),
        "index-empty": ("path_index", "a leaf of an empty tree", base | {"index": 0, "size": 0, "path": []}),
        "size-shorter-path": ("path_length", "a size that needs fewer hashes", base | {"size": 8}),
        "size-longer-path": ("path_length", "a size that needs more hashes", base | {"size": 17}),
        "leaf": ("path_root", "another leaf", base | {"leaf": LEAVES[7]}),
        "root": ("path_root", "another root", base | {"root": root(LEAVES[:12])}),
        "path-hash": ("path_root", "another hash", base | {"path": [ZEROS, *path[1:]]}),
        "path-order": ("path_root", "hashes exchanged", base | {"path": path[::-1]}),
        "path-short": ("path_length", "a hash missing", base | {"path": path[:-1]}),
        "path-long": ("path_length", "a hash too many", base | {"path": [*path, ZEROS]}),
        "path-none": ("path_length", "no path", base | {"path": []}),
        "hash-31": ("path_type", "a hash of 31 bytes", base | {"path": [path[0][:31], *path[1:]]}),
        "leaf-31": ("path_type", "a leaf of 31 bytes", base | {"leaf": LEAVES[6][:31]}),
        "size-2-63": ("path_size", "a size above the limit", base | {"size": 2**63}),
        "index-negative": ("path_size", "a negative index", base | {"index": -1}),
    }
    for name, (code, description, given) in defects.items():
        yield bad(f"inclusion-{name}", code, description, "inclusion", given)


def consistencies() -> Cases:
    base = consistent(7, 13)
    path = base["path"]
    forked = root([*LEAVES[:6], token("another seventh leaf")])
    defects: dict[str, tuple[str, str, dict[str, Any]]] = {
        "old-root": ("path_old_root", "a forked old root", base | {"root1": forked}),
        "new-root": ("path_root", "another new root", base | {"root2": root(LEAVES[:12])}),
        "falling": ("path_size", "sizes exchanged", base | {"size1": 13, "size2": 7}),
        "path-short": ("path_length", "a hash missing", base | {"path": path[:-1]}),
        "path-long": ("path_length", "a hash too many", base | {"path": [*path, ZEROS]}),
        "path-hash": ("path_old_root", "another first hash", base | {"path": [ZEROS, *path[1:]]}),
        "path-none": ("path_length", "no path", base | {"path": []}),
        "equal-with-path": ("path_length", "a path between equal sizes", consistent(7, 7) | {"path": [ZEROS]}),
        "equal-forked": ("path_root", "two roots of one size", consistent(7, 7) | {"root2": forked}),
        "from-0-with-root": ("path_old_root", "a root of size 0", consistent(0, 13) | {"root1": forked}),
        "from-0-with-path": ("path_length", "a path from size 0", consistent(0, 13) | {"path": path}),
        "root-31": ("path_type", "a root of 31 bytes", base | {"root1": forked[:31]}),
    }
    for name, (code, description, given) in defects.items():
        yield bad(f"consistency-{name}", code, description, "consistency", given)
