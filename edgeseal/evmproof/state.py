"""Accounts under a state root and storage slots under an account's root, as EIP-1186 proofs show them.

Both tries hold a key under its Keccak-256. An account is the RLP of nonce, balance, storage root and code hash; a slot
holds the RLP of its value without leading zeros, and nothing at all while its value is zero. (anvil keeps zeros in its
tries: they say the same.)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseal.errors import FormatError
from edgeseal.evmproof import multiproof, rlp
from edgeseal.evmproof.keccak import keccak256

_FIELDS = 4
_NONCE_SIZE, _WORD = 8, 32


@dataclass(frozen=True, slots=True)
class Account:
    """What the state says of an account that a proof needs: roots and hashes of 32 bytes."""

    storage_root: bytes
    code_hash: bytes


def verify_accounts(state_root: bytes, addresses: Sequence[bytes], nodes: Sequence[bytes]) -> list[Account | None]:
    """Return the accounts at these 20-byte addresses, None for one that the state is proved not to have.

    Everything may be hostile; the answer is worth what ``state_root`` is worth: take it from the header of a block
    whose hash is believed. Raises what :func:`edgeseal.evmproof.multiproof.verify` raises, FormatError ``rlp_*`` and
    ``state_account``. Nothing else.
    """
    keys = [keccak256(address) for address in addresses]
    found = multiproof.verify(state_root, keys, nodes)
    return [None if encoded is None else _account(encoded) for encoded in found]


def verify_slots(storage_root: bytes, slots: Sequence[bytes], nodes: Sequence[bytes]) -> list[int]:
    """Return the values of these 32-byte slots, 0 for one that is proved to hold nothing, or zero.

    The answer is worth what ``storage_root`` is worth: take it from a proved account. Raises what
    :func:`edgeseal.evmproof.multiproof.verify` raises, FormatError ``rlp_*``. Nothing else.
    """
    found = multiproof.verify(storage_root, [keccak256(slot) for slot in slots], nodes)
    return [0 if encoded is None else _value(encoded) for encoded in found]


def _account(encoded: bytes) -> Account:
    fields = rlp.decode(encoded)
    if not isinstance(fields, list) or len(fields) != _FIELDS:
        raise FormatError("state_account", "an account is a list of 4")
    rlp.integer(fields[0], _NONCE_SIZE, "nonce")
    rlp.integer(fields[1], _WORD, "balance")
    return Account(rlp.fixed(fields[2], _WORD, "storage root"), rlp.fixed(fields[3], _WORD, "code hash"))


def _value(encoded: bytes) -> int:
    return rlp.integer(rlp.decode(encoded), _WORD, "a slot's value")
