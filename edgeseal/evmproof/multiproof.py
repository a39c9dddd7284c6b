"""What many keys hold in one trie, and that other keys hold nothing: one proof, each node in it once.

A proof is the list of nodes that the keys need, in the order in which walking to key after key first comes to them. So
one set of keys under one root has one proof.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from edgeseal.errors import FormatError, VerificationError
from edgeseal.evmproof import rlp, trie
from edgeseal.evmproof.keccak import keccak256

EMPTY_ROOT = keccak256(rlp.encode(b""))
"""The root of a trie without any key: its proofs have no node."""

MAX_STATE_NODES = 16_384
"""The most nodes in one proof of many keys."""

MAX_STATE_NODE = 1_024
"""The longest node, bytes; a full branch has 532, an account's leaf less."""


def verify(root: bytes, keys: Sequence[bytes], nodes: Sequence[bytes]) -> list[bytes | None]:
    """Return what each key holds in the trie with this 32-byte root, None where it is proved to hold nothing.

    ``keys`` are those of the trie itself (hashes, for accounts and storage), all of one length. Everything may be
    hostile; the answer is worth what ``root`` is worth. Raises FormatError ``trie_too_many_nodes``,
    ``trie_node_too_large`` and what :func:`edgeseal.evmproof.trie.parse_node` raises; VerificationError
    ``trie_node_hash``, ``trie_node_missing``, ``trie_node_extra``. Nothing else.
    """
    if len(nodes) > MAX_STATE_NODES:
        raise FormatError("trie_too_many_nodes", f"{len(nodes)} proof nodes, at most {MAX_STATE_NODES} are allowed")
    pool = _Pool(nodes)
    found = [None if root == EMPTY_ROOT else trie.lookup(root, key, pool.open) for key in keys]
    pool.close()
    return found


def build(root: bytes, keys: Sequence[bytes], fetch: Callable[[bytes], bytes | None]) -> list[bytes]:
    """Return the proof of what ``keys`` hold: :func:`verify` accepts it. ``fetch`` gives a node's bytes by their hash.

    Raises VerificationError ``trie_node_missing`` where ``fetch`` has none, and what :func:`verify` raises.
    """
    nodes: dict[bytes, bytes] = {}

    def open_node(digest: bytes) -> list[rlp.Item]:
        """Return a node's items, and keep the node for the proof: in the order in which they are first needed."""
        encoded = nodes.get(digest) or fetch(digest)
        if encoded is None:
            raise VerificationError("trie_node_missing", f"no node {digest.hex()}")
        nodes[digest] = _measured(encoded)
        return trie.parse_node(encoded)

    if root != EMPTY_ROOT:
        for key in keys:
            trie.lookup(root, key, open_node)
    return list(nodes.values())


class _Pool:
    """The nodes of a proof, each taken when a walk first comes to it, and kept for the walks after."""

    def __init__(self, nodes: Sequence[bytes]) -> None:
        self._nodes = nodes
        self._read: dict[bytes, list[rlp.Item]] = {}

    def open(self, digest: bytes) -> list[rlp.Item]:
        """Return the node with this hash: one that was read before, or the next of the proof."""
        known = self._read.get(digest)
        if known is not None:
            return known
        taken = len(self._read)
        if taken == len(self._nodes):
            raise VerificationError("trie_node_missing", f"the proof stops after {taken} nodes, before its end")
        encoded = _measured(self._nodes[taken])
        if keccak256(encoded) != digest:
            raise VerificationError("trie_node_hash", f"node {taken} is not the one its parent or the root names")
        self._read[digest] = trie.parse_node(encoded)
        return self._read[digest]

    def close(self) -> None:
        """Refuse nodes that no walk came to."""
        extra = len(self._nodes) - len(self._read)
        if extra:
            raise VerificationError("trie_node_extra", f"{extra} nodes that no key needs")


def _measured(node: bytes) -> bytes:
    if len(node) > MAX_STATE_NODE:
        raise FormatError("trie_node_too_large", f"a node of {len(node)} bytes, at most {MAX_STATE_NODE}")
    return node
