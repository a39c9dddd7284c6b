"""RFC 9162 Merkle trees over SHA-256: hashes, roots, proof paths, their verification, and growing logs.

Everything here works on 32-byte hashes and plain integers. Proofs are verified with the algorithms of RFC 9162 sections
2.1.3.2 and 2.1.4.2 and with one rule more: a path has exactly the length that its sizes and index imply, so that one
proof has one form. A node is addressed by (level, index): it covers the leaves ``index << level`` up to ``(index + 1)
<< level``.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence

from edgeseal.errors import UsageError, VerificationError

HASH_SIZE = 32
MAX_SIZE = (1 << 63) - 1
"""The largest tree size any proof may name (docs/format.md, limits)."""

EMPTY_ROOT = hashlib.sha256(b"").digest()
"""The root of a log without leaves (RFC 9162 section 2.1.1)."""

GetNode = Callable[[int, int], bytes]
"""(level, index) -> the hash of that complete subtree, as a store keeps it."""

_BLOCK = 4096
_sha256 = hashlib.sha256


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 || entry), 32 bytes. ``entry`` may have any length and be untrusted. Raises nothing."""
    return _sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 || left || right), 32 bytes, for two 32-byte children (lengths are not checked here)."""
    return _sha256(b"\x01" + left + right).digest()


def root(leaf_hashes: Iterable[bytes]) -> bytes:
    """Return the Merkle tree hash of leaves given as 32-byte leaf hashes, in order.

    Of no leaves it is SHA-256 of the empty string. An iterator is consumed in blocks: memory stays constant however
    many leaves there are. Raises UsageError ``merkle_hash`` when an element is not 32 bytes.
    """
    frontier = Frontier()
    block: list[bytes] = []
    for leaf in leaf_hashes:
        block.append(leaf)
        if len(block) == _BLOCK:
            frontier.extend(block)
            block.clear()
    frontier.extend(block)
    return frontier.root()


class Frontier:
    """What a log keeps to grow: the roots of the complete subtrees along its right edge, largest first.

    ``size`` is the number of leaves, ``hashes`` holds one 32-byte hash for each one-bit of ``size``. Not thread-safe.
    """

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        """Take up a state read from ``hashes``; UsageError ``merkle_frontier`` when the two cannot belong together."""
        if type(size) is not int or not 0 <= size <= MAX_SIZE or len(hashes) != size.bit_count():
            raise UsageError("merkle_frontier", "a frontier has one hash for each one-bit of its size")
        self._size = size
        self._hashes = [_own_hash(item) for item in hashes]

    @property
    def size(self) -> int:
        """The number of leaves appended so far."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The state to persist beside ``size``: subtree roots of 32 bytes, largest subtree first."""
        return tuple(self._hashes)

    @classmethod
    def from_nodes(cls, get_node: GetNode, size: int) -> Frontier:
        """Return the frontier of the first ``size`` leaves, read from at most 63 stored nodes.

        Raises UsageError as the constructor does, and whatever ``get_node`` raises.
        """
        _check_own_size(size)
        return cls(size, [get_node(level, index) for level, index in _complete_subtrees(0, size)])

    def append(self, leaf: bytes) -> list[tuple[int, int, bytes]]:
        """Add one leaf hash; return the nodes this completes, as (level, index, hash), the leaf itself first.

        A store that keeps them can answer ``inclusion_path_from`` and ``consistency_path_from`` for every size up to
        here. Raises UsageError ``merkle_hash`` when the leaf is not 32 bytes.
        """
        node = _own_hash(leaf)
        index = self._size
        nodes = [(0, index, node)]
        hashes = self._hashes
        level = 0
        while index & 1:
            node = _sha256(b"\x01" + hashes.pop() + node).digest()
            level += 1
            index >>= 1
            nodes.append((level, index, node))
        hashes.append(node)
        self._size += 1
        return nodes

    def add(self, leaf: bytes) -> None:
        """Add one leaf hash, for a log that keeps no nodes; same errors as ``append``."""
        self._push(0, _own_hash(leaf))

    def extend(self, leaves: Sequence[bytes]) -> None:
        """Add many leaf hashes, in order, several times faster than one by one; same errors as ``append``."""
        _check_own_hashes(leaves)
        taken, total = 0, len(leaves)
        while taken < total:
            level = (total - taken).bit_length() - 1
            if self._size:
                level = min(level, (self._size & -self._size).bit_length() - 1)
            self._push(level, _complete_root(leaves[taken : taken + (1 << level)]))
            taken += 1 << level

    def root(self) -> bytes:
        """Return the 32-byte root of everything appended so far; of nothing, SHA-256 of the empty string."""
        if not self._hashes:
            return EMPTY_ROOT
        node = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            node = _sha256(b"\x01" + left + node).digest()
        return node

    def _push(self, level: int, node: bytes) -> None:
        """Append a complete subtree of ``1 << level`` leaves; ``size`` must be a multiple of that."""
        index = self._size >> level
        self._size += 1 << level
        while index & 1:
            node = _sha256(b"\x01" + self._hashes.pop() + node).digest()
            index >>= 1
        self._hashes.append(node)


def inclusion_path(leaf_hashes: Sequence[bytes], index: int) -> list[bytes]:
    """Return the inclusion path of leaf ``index`` in the tree of all these leaf hashes, lowest sibling first.

    Costs a hash per leaf; a log that stores its nodes uses ``inclusion_path_from``. Raises UsageError
    ``merkle_index`` when there is no such leaf, ``merkle_hash`` when an element is not 32 bytes.
    """
    return inclusion_path_from(_node_reader(leaf_hashes), index, len(leaf_hashes))


def consistency_path(leaf_hashes: Sequence[bytes], size1: int) -> list[bytes]:
    """Return the consistency path from the tree of the first ``size1`` leaves to the tree of all of them.

    Empty when ``size1`` is 0 or the whole size. Raises UsageError ``merkle_size`` when ``size1`` is larger or negative,
    ``merkle_hash`` when an element is not 32 bytes.
    """
    return consistency_path_from(_node_reader(leaf_hashes), size1, len(leaf_hashes))


def inclusion_path_from(get_node: GetNode, index: int, size: int) -> list[bytes]:
    """Return the inclusion path of leaf ``index`` in the first ``size`` leaves, reading O(log^2 size) stored nodes.

    ``get_node`` must know every node completed within ``size``. Raises UsageError ``merkle_index`` when the leaf is
    not among them, and whatever ``get_node`` raises.
    """
    _check_own_size(size)
    if type(index) is not int or not 0 <= index < size:
        raise UsageError("merkle_index", f"no leaf {index} in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        split = start + _split(end - start)
        if index < split:
            path.append(_range_root(get_node, split, end))
            end = split
        else:
            path.append(_range_root(get_node, start, split))
            start = split
    path.reverse()
    return path


def consistency_path_from(get_node: GetNode, size1: int, size2: int) -> list[bytes]:
    """Return the consistency path between the first ``size1`` and the first ``size2`` leaves from stored nodes.

    Empty when ``size1`` is 0 or equals ``size2``. Raises UsageError ``merkle_size`` when ``size1 > size2`` or either is
    negative, and whatever ``get_node`` raises.
    """
    _check_own_size(size1)
    _check_own_size(size2)
    if size1 > size2:
        raise UsageError("merkle_size", f"no consistency from {size1} back to {size2}")
    if size1 in (0, size2):
        return []
    path: list[bytes] = []
    start, end = 0, size2
    while size1 != end:
        split = start + _split(end - start)
        if size1 <= split:
            path.append(_range_root(get_node, split, end))
            end = split
        else:
            path.append(_range_root(get_node, start, split))
            start = split
    if start:
        path.append(_range_root(get_node, start, end))
    path.reverse()
    return path


def inclusion_path_length(index: int, size: int) -> int:
    """Return how many hashes the inclusion path of leaf ``index`` in a tree of ``size`` has (``0 <= index < size``)."""
    inner = (index ^ (size - 1)).bit_length()
    return inner + (index >> inner).bit_count()


def consistency_path_length(size1: int, size2: int) -> int:
    """Return how many hashes the consistency path from ``size1`` to ``size2`` has (``0 <= size1 <= size2``)."""
    if size1 in (0, size2):
        return 0
    shift = (size1 & -size1).bit_length() - 1
    first = (size1 - 1) >> shift
    return inclusion_path_length(first, ((size2 - 1) >> shift) + 1) + (1 if first else 0)


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> None:
    """Return None when ``path`` proves that leaf hash ``leaf`` stands at ``index`` in the tree of ``size`` with
    ``root``.

    All five may come from untrusted evidence; what the answer is worth depends on where ``root`` and ``size`` come
    from. Raises VerificationError and nothing else: ``path_type``, ``path_size``, ``path_index``, ``path_length``,
    ``path_root`` (RFC 9162 section 2.1.3.2).
    """
    _check_hashes(root)
    if root_from_inclusion(leaf, index, size, path) != root:
        raise VerificationError("path_root", f"the path of leaf {index} does not lead to the root of size {size}")


def root_from_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """Return the root that ``path`` leads to from leaf hash ``leaf`` at ``index`` in a tree of ``size``.

    All arguments are untrusted: the caller compares the root with one it trusts, or checks a signature over it. Raises
    VerificationError and nothing else: ``path_type``, ``path_size``, ``path_index``, ``path_length``.
    """
    _check_sizes(index, size)
    _check_hashes(leaf)
    if index >= size:
        raise VerificationError("path_index", f"leaf {index} is not in a tree of {size}")
    _check_path(path, inclusion_path_length(index, size))
    inner = (index ^ (size - 1)).bit_length()
    return _fold_left(_fold(leaf, path[:inner], index), path[inner:])


def verify_consistency(size1: int, size2: int, root1: bytes, root2: bytes, path: Sequence[bytes]) -> None:
    """Return None when ``path`` proves that the tree (size1, root1) is a prefix of the tree (size2, root2).

    From size 0 the path is empty and ``root1`` must be the empty root; between equal sizes it is empty and the roots
    must be equal. All five may be untrusted. Raises VerificationError and nothing else: ``path_type``, ``path_size``,
    ``path_length``, ``path_old_root``, ``path_root`` (RFC 9162 section 2.1.4.2).
    """
    _check_sizes(size1, size2)
    _check_hashes(root1, root2)
    if size1 > size2:
        raise VerificationError("path_size", f"the later size {size2} is smaller than {size1}")
    _check_path(path, consistency_path_length(size1, size2))
    if size1 == 0 and root1 != EMPTY_ROOT:
        raise VerificationError("path_old_root", "the root of size 0 is not the empty root")
    if size1 == size2 and root1 != root2:
        raise VerificationError("path_root", f"two roots for the same size {size1}")
    if 0 < size1 < size2:
        _check_two_roots(size1, size2, root1, root2, path)


def _check_two_roots(size1: int, size2: int, root1: bytes, root2: bytes, path: Sequence[bytes]) -> None:
    """Fold one path into both roots, for ``0 < size1 < size2`` and a path of the right length.

    The last complete subtree of the old tree is the seed: the old root itself when that tree is complete, else the
    path's first hash. Siblings to its left belong to both trees, those to its right only to the new one.
    """
    shift = (size1 & -size1).bit_length() - 1
    first, last = (size1 - 1) >> shift, (size2 - 1) >> shift
    seed, rest = (path[0], path[1:]) if first else (root1, path)
    inner = (first ^ last).bit_length()
    both = [sibling for level, sibling in enumerate(rest[:inner]) if first >> level & 1]
    if _fold_left(_fold_left(seed, both), rest[inner:]) != root1:
        raise VerificationError("path_old_root", f"the path does not lead to the root of size {size1}")
    if _fold_left(_fold(seed, rest[:inner], first), rest[inner:]) != root2:
        raise VerificationError("path_root", f"the path does not lead to the root of size {size2}")


def _fold(node: bytes, siblings: Iterable[bytes], index: int) -> bytes:
    """Hash ``node`` upwards; bit i of ``index`` says whether sibling i stands to its left."""
    for sibling in siblings:
        node = node_hash(sibling, node) if index & 1 else node_hash(node, sibling)
        index >>= 1
    return node


def _fold_left(node: bytes, siblings: Iterable[bytes]) -> bytes:
    """Hash ``node`` upwards with every sibling to its left."""
    for sibling in siblings:
        node = node_hash(sibling, node)
    return node


def _split(count: int) -> int:
    """Return the largest power of two smaller than ``count`` (``count > 1``)."""
    return 1 << (count - 1).bit_length() - 1


def _complete_subtrees(start: int, end: int) -> Iterable[tuple[int, int]]:
    """Yield (level, index) of the complete subtrees that make up leaves ``start`` up to ``end``, left to right.

    ``start`` must be a multiple of the largest power of two that fits, as it is wherever RFC 9162 splits a tree.
    """
    count = end - start
    for level in reversed(range(count.bit_length())):
        if count >> level & 1:
            yield level, start >> level
            start += 1 << level


def _range_root(get_node: GetNode, start: int, end: int) -> bytes:
    """Return the root over leaves ``start`` up to ``end`` from stored nodes."""
    nodes = [_own_hash(get_node(level, index)) for level, index in _complete_subtrees(start, end)]
    return _fold_left(nodes[-1], reversed(nodes[:-1]))


def _node_reader(leaf_hashes: Sequence[bytes]) -> GetNode:
    """Return a ``get_node`` that computes each node from the leaves it covers."""
    _check_own_hashes(leaf_hashes)

    def get_node(level: int, index: int) -> bytes:
        return _complete_root(leaf_hashes[index << level : (index + 1) << level])

    return get_node


def _complete_root(leaves: Sequence[bytes]) -> bytes:
    """Return the root over a power of two of leaf hashes, level by level."""
    while len(leaves) > 1:
        pair = iter(leaves)
        leaves = [_sha256(b"\x01" + left + right).digest() for left, right in zip(pair, pair, strict=True)]
    return leaves[0]


def _own_hash(value: bytes) -> bytes:
    if type(value) is not bytes or len(value) != HASH_SIZE:
        raise UsageError("merkle_hash", "a Merkle tree is built of 32-byte hashes only")
    return value


def _check_own_hashes(values: Sequence[bytes]) -> None:
    if values and ({*map(type, values)} != {bytes} or {*map(len, values)} != {HASH_SIZE}):
        for value in values:
            _own_hash(value)


def _check_own_size(size: int) -> None:
    if type(size) is not int or not 0 <= size <= MAX_SIZE:
        raise UsageError("merkle_size", f"a tree size lies between 0 and {MAX_SIZE}")


def _check_sizes(*values: int) -> None:
    for value in values:
        if type(value) is not int:
            raise VerificationError("path_type", "sizes and indexes are integers")
        if not 0 <= value <= MAX_SIZE:
            raise VerificationError("path_size", f"sizes and indexes lie between 0 and {MAX_SIZE}")


def _check_hashes(*values: bytes) -> None:
    for value in values:
        if type(value) is not bytes or len(value) != HASH_SIZE:
            raise VerificationError("path_type", "leaf hashes, roots and path entries are 32 bytes each")


def _check_path(path: Sequence[bytes], length: int) -> None:
    if type(path) not in (list, tuple):
        raise VerificationError("path_type", "a proof path is a list of hashes")
    if len(path) != length:
        raise VerificationError("path_length", f"the path has {len(path)} hashes where {length} are implied")
    _check_hashes(*path)
