"""Keccak-256 as Ethereum uses it: the hash of blocks, trie nodes and event signatures (not SHA3-256)."""

from __future__ import annotations

from Crypto.Hash import keccak


def keccak256(data: bytes) -> bytes:
    """Return the 32-byte Keccak-256 of ``data``, of any length. Raises nothing."""
    return keccak.new(digest_bits=256, data=data).digest()
