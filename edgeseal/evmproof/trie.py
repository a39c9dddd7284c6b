"""Ethereum's Merkle-Patricia trie: prove that a key holds a value under a root, and check such a proof.

Yellow paper, appendix D. A node is named by the Keccak-256 of its RLP, or embedded in its parent when that RLP is
shorter than 32 bytes. A proof is the list of nodes from the root down that are not embedded, in order and nothing else,
so one proof has one form. No key may be a prefix of another, which holds for receipts, accounts and storage: a branch
never carries a value of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from edgeseal.errors import FormatError, UsageError, VerificationError
from edgeseal.evmproof import rlp
from edgeseal.evmproof.keccak import keccak256

MAX_KEY_SIZE = 32
"""The longest key, bytes: the hash of an address or of a storage slot."""

MAX_PROOF_NODES = 2 * MAX_KEY_SIZE + 1
"""The most nodes in a proof: one for each half byte of the longest key, and the leaf."""

MAX_VALUE_SIZE = 4 * 1024 * 1024
"""The longest value, bytes; receipts are the largest values there are."""

MAX_NODE_SIZE = MAX_VALUE_SIZE + 128
"""The longest node, bytes: a leaf with the longest value and key."""

HASH_SIZE = 32
_BRANCH = 17
_PAIR = 2

_Entries = Sequence[tuple[bytes, bytes]]
"""(path of half bytes, value), sorted, all different and sharing the half bytes already consumed."""


def verify_inclusion(root: bytes, key: bytes, value: bytes, nodes: Sequence[bytes]) -> None:
    """Return None when ``nodes`` prove that ``key`` holds exactly ``value`` in the trie with this 32-byte root.

    Everything may be hostile; the answer is worth what ``root`` is worth. Raises FormatError: ``trie_key_size``,
    ``trie_too_many_nodes``, ``trie_node_too_large`` (the limits above), ``trie_no_nodes``, any ``rlp_*``,
    ``trie_node_shape``, ``trie_path_encoding``, ``trie_path_empty``, ``trie_child_shape``, ``trie_child_embedded``,
    ``trie_branch_value``; VerificationError: ``trie_node_hash``, ``trie_key_absent``, ``trie_node_missing``,
    ``trie_node_extra``, ``trie_value``. Nothing else.
    """
    if not 0 < len(key) <= MAX_KEY_SIZE:
        raise FormatError("trie_key_size", f"a key of {len(key)} bytes, 1 to {MAX_KEY_SIZE} are allowed")
    if len(nodes) > MAX_PROOF_NODES:
        raise FormatError("trie_too_many_nodes", f"{len(nodes)} proof nodes, at most {MAX_PROOF_NODES} are allowed")
    if not nodes:
        raise FormatError("trie_no_nodes", "a proof without nodes proves nothing")
    walk = _Walk(nodes)
    path = _half_bytes(key)
    node = walk.open(root)
    while len(node) == _BRANCH or not _is_leaf(node):
        child, path = _step(node, path)
        node = walk.follow(child)
    if _leaf_path(node) != path:
        raise VerificationError("trie_key_absent", "the proof ends at another key")
    walk.close()
    if node[1] != value:
        raise VerificationError("trie_value", "the key holds another value")


def lookup(root: bytes, key: bytes, open_node: Callable[[bytes], list[rlp.Item]]) -> bytes | None:
    """Return what ``key`` holds in the trie with this root, None where the trie shows that it holds nothing.

    ``open_node`` gives the node with a hash, as :func:`parse_node` reads it, after comparing the hash; what it raises
    passes through. The root is of a trie that is not empty, and all its keys are as long as this one. Raises what
    :func:`verify_inclusion` raises for nodes and paths, nothing else.
    """
    if not 0 < len(key) <= MAX_KEY_SIZE:
        raise FormatError("trie_key_size", f"a key of {len(key)} bytes, 1 to {MAX_KEY_SIZE} are allowed")
    path, node = _half_bytes(key), open_node(root)
    while True:
        if len(node) == _PAIR:
            shared = _path_of(node[0])
            if _is_leaf(node):
                return node[1] if shared == path and isinstance(node[1], bytes) else None
            if not path.startswith(shared):
                return None
            child, path = node[1], path[len(shared) :]
        else:
            child, path = (node[path[0]], path[1:]) if path else (b"", path)
        if child == b"":
            return None
        node = _checked_node(child) if isinstance(child, list) else open_node(child)


def parse_node(encoded: bytes) -> list[rlp.Item]:
    """Return an untrusted node after checking all that does not depend on a key. Raises FormatError ``rlp_*``,
    ``trie_*``.
    """
    return _checked_node(rlp.decode(encoded))


def build_proof(entries: Mapping[bytes, bytes], key: bytes) -> tuple[bytes, list[bytes]]:
    """Return the root of the trie of these entries and the proof nodes, root first, for one of its keys.

    Costs a hash for each node of the whole trie. Raises UsageError ``trie_key`` when the key is not among the entries,
    ``trie_entry`` for an empty or over-long key or value or a key that is a prefix of another.
    """
    if key not in entries:
        raise UsageError("trie_key", "no such key among the entries")
    for name, value in entries.items():
        if not 0 < len(name) <= MAX_KEY_SIZE or not 0 < len(value) <= MAX_VALUE_SIZE:
            raise UsageError("trie_entry", f"a key of {len(name)} bytes with a value of {len(value)}")
    ordered = sorted((_half_bytes(name), value) for name, value in entries.items())
    for (left, _), (right, _) in pairwise(ordered):
        if right.startswith(left):
            raise UsageError("trie_entry", "one key is a prefix of another")
    node, below = _subtrie(ordered, 0, _half_bytes(key))
    encoded = rlp.encode(node)
    return keccak256(encoded), [encoded, *below]


class _Walk:
    """The proof nodes, taken one after the other as the path asks for them."""

    def __init__(self, nodes: Sequence[bytes]) -> None:
        self._nodes = nodes
        self._taken = 0

    def open(self, digest: bytes) -> list[rlp.Item]:
        """Return the next node, which must have this hash."""
        if self._taken == len(self._nodes):
            raise VerificationError("trie_node_missing", f"the proof stops after {self._taken} nodes, before its leaf")
        encoded = self._nodes[self._taken]
        if len(encoded) > MAX_NODE_SIZE:
            raise FormatError("trie_node_too_large", f"a node of {len(encoded)} bytes, at most {MAX_NODE_SIZE}")
        if keccak256(encoded) != digest:
            raise VerificationError("trie_node_hash", f"node {self._taken} is not the one its parent or the root names")
        self._taken += 1
        return _checked_node(rlp.decode(encoded))

    def follow(self, child: rlp.Item) -> list[rlp.Item]:
        """Return the node a reference stands for: the embedded one, or the next in the proof."""
        if isinstance(child, list):
            return _checked_node(child)
        return self.open(child)

    def close(self) -> None:
        """Refuse nodes that the path did not ask for."""
        extra = len(self._nodes) - self._taken
        if extra:
            raise VerificationError("trie_node_extra", f"{extra} nodes after the leaf")


def _checked_node(item: rlp.Item) -> list[rlp.Item]:
    """Return a decoded node after checking all that does not depend on the key."""
    if not isinstance(item, list) or len(item) not in (_PAIR, _BRANCH):
        raise FormatError("trie_node_shape", "a node is a list of 2 or 17")
    if len(item) == _BRANCH:
        for child in item[:-1]:
            if child != b"":
                _check_child(child)
        if item[-1] != b"":
            raise FormatError("trie_branch_value", "a branch carries a value, so one key is a prefix of another")
    elif _is_leaf(item):
        _leaf_path(item)
        if not isinstance(item[1], bytes) or not item[1]:
            raise FormatError("trie_node_shape", "a leaf holds a non-empty byte string")
    else:
        if not _path_of(item[0]):
            raise FormatError("trie_path_empty", "an extension extends by at least one half byte")
        _check_child(item[1])
    return item


def _check_child(child: rlp.Item) -> None:
    """Refuse a reference that is neither a hash nor a node short enough to be embedded."""
    if isinstance(child, list):
        if len(rlp.encode(child)) >= HASH_SIZE:
            raise FormatError("trie_child_embedded", "a node of 32 bytes or more is embedded, not named by its hash")
    elif len(child) != HASH_SIZE:
        raise FormatError("trie_child_shape", f"a reference of {len(child)} bytes, not {HASH_SIZE}")


def _step(node: list[rlp.Item], path: bytes) -> tuple[rlp.Item, bytes]:
    """Return the child the path leads to, and the rest of the path."""
    if len(node) == _PAIR:
        shared = _path_of(node[0])
        if not path.startswith(shared):
            raise VerificationError("trie_key_absent", "the key leaves the trie at an extension")
        return node[1], path[len(shared) :]
    if not path:
        raise VerificationError("trie_key_absent", "the key ends at a branch")
    child = node[path[0]]
    if child == b"":
        raise VerificationError("trie_key_absent", "the key leaves the trie at a branch")
    return child, path[1:]


def _is_leaf(node: list[rlp.Item]) -> bool:
    """Say whether a node of two items is a leaf (hex-prefix flag 2) rather than an extension."""
    encoded = node[0]
    return len(node) == _PAIR and isinstance(encoded, bytes) and encoded[:1] >= b"\x20"


def _leaf_path(node: list[rlp.Item]) -> bytes:
    """Return the half bytes a leaf adds to the path."""
    return _path_of(node[0])


def _path_of(encoded: rlp.Item) -> bytes:
    """Return the half bytes of a hex-prefix encoded path (yellow paper, appendix C)."""
    if not isinstance(encoded, bytes) or not encoded:
        raise FormatError("trie_path_encoding", "a node's path is a non-empty byte string")
    flag = encoded[0] >> 4
    if flag > 3 or (flag & 1 == 0 and encoded[0] & 0x0F) or len(encoded) > MAX_KEY_SIZE + 1:
        raise FormatError("trie_path_encoding", "a node's path does not begin with 00, 1x, 20 or 3x, or is too long")
    return _half_bytes(encoded)[2 - (flag & 1) :]


def _encoded_path(path: bytes, leaf: bool) -> bytes:
    """Return the hex-prefix encoding of half bytes."""
    flag = 2 if leaf else 0
    padded = bytes([flag + 1]) + path if len(path) % 2 else bytes([flag, 0]) + path
    return bytes(high << 4 | low for high, low in zip(padded[::2], padded[1::2], strict=True))


def _half_bytes(data: bytes) -> bytes:
    """Return each half byte of ``data``, high one first, as one byte."""
    return bytes(half for byte in data for half in (byte >> 4, byte & 0x0F))


def _subtrie(entries: _Entries, depth: int, wanted: bytes | None) -> tuple[list[rlp.Item], list[bytes]]:
    """Return the node over these entries and the proof nodes below it on the way to ``wanted`` (None: elsewhere)."""
    first, value = entries[0]
    if len(entries) == 1:
        return [_encoded_path(first[depth:], leaf=True), value], []
    last = entries[-1][0]
    fork = depth
    while first[fork] == last[fork]:
        fork += 1
    if fork > depth:
        child, below = _reference(*_subtrie(entries, fork, wanted), wanted)
        return [_encoded_path(first[depth:fork], leaf=False), child], below
    return _branch(entries, depth, wanted)


def _branch(entries: _Entries, depth: int, wanted: bytes | None) -> tuple[list[rlp.Item], list[bytes]]:
    """Return the branch where these entries part, and the proof nodes below it on the way to ``wanted``."""
    node: list[rlp.Item] = [b""] * _BRANCH
    below: list[bytes] = []
    start = 0
    while start < len(entries):
        half = entries[start][0][depth]
        stop = start + 1
        while stop < len(entries) and entries[stop][0][depth] == half:
            stop += 1
        inside = wanted if wanted is not None and wanted[depth] == half else None
        node[half], nodes = _reference(*_subtrie(entries[start:stop], depth + 1, inside), inside)
        below += nodes
        start = stop
    return node, below


def _reference(node: list[rlp.Item], below: list[bytes], wanted: bytes | None) -> tuple[rlp.Item, list[bytes]]:
    """Return how a parent names this node, and the proof nodes from this one down (none when off the wanted way)."""
    encoded = rlp.encode(node)
    if len(encoded) < HASH_SIZE:
        return node, below
    return keccak256(encoded), [] if wanted is None else [encoded, *below]
