"""A block header: its canonical bytes, its hash, and the few fields a proof needs.

Every fork adds fields at the end (base fee, withdrawals root, blob gas used and excess, beacon root, requests hash are
those until Osaka) and chains of their own add others there. What follows the first 15 is kept as opaque byte strings,
at most ``MAX_BLOCK_HEADER_FIELDS`` in all: the block hash covers them, nothing here depends on them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edgeseal.errors import FormatError, UsageError, VerificationError
from edgeseal.evmproof import rlp
from edgeseal.evmproof.keccak import keccak256

MAX_BLOCK_HEADER = 16 * 1024
"""The longest header, bytes; clique and its kin list their signers in the extra data."""

HEADER_FIELDS = (
    "parentHash",
    "sha3Uncles",
    "miner",
    "stateRoot",
    "transactionsRoot",
    "receiptsRoot",
    "logsBloom",
    "difficulty",
    "number",
    "gasLimit",
    "gasUsed",
    "timestamp",
    "extraData",
    "mixHash",
    "nonce",
    "baseFeePerGas",
    "withdrawalsRoot",
    "blobGasUsed",
    "excessBlobGas",
    "parentBeaconBlockRoot",
    "requestsHash",
)
"""The fields in order of encoding, by the names JSON-RPC gives them; the first 15 are in every header."""

MIN_BLOCK_HEADER_FIELDS = 15
MAX_BLOCK_HEADER_FIELDS = 32
"""The most fields a header may have; Osaka has 21."""

_SIZES = {0: 32, 1: 32, 2: 20, 3: 32, 4: 32, 5: 32, 6: 256, 13: 32, 14: 8}
_INTEGERS = {7: 32, 8: 8, 9: 8, 10: 8, 11: 8}
_PARENT, _STATE_ROOT, _RECEIPTS_ROOT, _NUMBER, _TIMESTAMP = 0, 3, 5, 8, 11


@dataclass(frozen=True, slots=True)
class Header:
    """What a proof uses of a block header whose bytes hash to ``block_hash``.

    Hashes and roots are 32 bytes; ``timestamp`` is in whole seconds since 1970 as the block's producer set it.
    """

    block_hash: bytes
    parent_hash: bytes
    number: int
    timestamp: int
    state_root: bytes
    receipts_root: bytes


def verify_header(block_hash: bytes, header: bytes) -> Header:
    """Return the header, whose bytes may be hostile, after checking that Keccak-256 of them is ``block_hash``.

    What the answer is worth depends on where ``block_hash`` comes from. Raises FormatError ``block_too_large`` and
    what ``decode_header`` raises, VerificationError ``block_hash_mismatch``; nothing else.
    """
    if len(header) > MAX_BLOCK_HEADER:
        raise FormatError(
            "block_too_large", f"a block header of {len(header)} bytes, at most {MAX_BLOCK_HEADER} are allowed"
        )
    if keccak256(header) != block_hash:
        raise VerificationError("block_hash_mismatch", "the block header does not have the block hash it is given for")
    return decode_header(header)


def decode_header(header: bytes) -> Header:
    """Return the header these untrusted bytes encode, under the hash they have.

    Raises FormatError and nothing else: ``block_too_large``, any ``rlp_*``, ``block_shape`` (not a list),
    ``block_fields`` (fewer than 15 or more than ``MAX_BLOCK_HEADER_FIELDS``).
    """
    if len(header) > MAX_BLOCK_HEADER:
        raise FormatError(
            "block_too_large", f"a block header of {len(header)} bytes, at most {MAX_BLOCK_HEADER} are allowed"
        )
    fields = rlp.decode(header)
    if not isinstance(fields, list):
        raise FormatError("block_shape", "a block header is a list")
    if not MIN_BLOCK_HEADER_FIELDS <= len(fields) <= MAX_BLOCK_HEADER_FIELDS:
        raise FormatError(
            "block_fields", f"{len(fields)} fields, not {MIN_BLOCK_HEADER_FIELDS} to {MAX_BLOCK_HEADER_FIELDS}"
        )
    for position, field in enumerate(fields):
        _check_field(position, field)
    return Header(
        block_hash=keccak256(header),
        parent_hash=rlp.fixed(fields[_PARENT], 32, "parentHash"),
        number=rlp.integer(fields[_NUMBER], 8, "number"),
        timestamp=rlp.integer(fields[_TIMESTAMP], 8, "timestamp"),
        state_root=rlp.fixed(fields[_STATE_ROOT], 32, "stateRoot"),
        receipts_root=rlp.fixed(fields[_RECEIPTS_ROOT], 32, "receiptsRoot"),
    )


def encode_header(fields: Sequence[bytes | int]) -> bytes:
    """Return the canonical bytes of a header, given its fields in the order of ``HEADER_FIELDS``, more at the end.

    Integers are encoded shortest, byte strings as they are. The caller compares ``keccak256`` of the result with the
    hash the node reported: nothing else shows that no field was left out. Raises UsageError ``block_fields`` when the
    values are not those of a header.
    """
    items: list[rlp.Item] = [rlp.encode_integer(field) if isinstance(field, int) else bytes(field) for field in fields]
    encoded = rlp.encode(items)
    try:
        decode_header(encoded)
    except FormatError as error:
        raise UsageError("block_fields", f"these values make no block header: {error}") from error
    return encoded


def _check_field(position: int, field: rlp.Item) -> None:
    """Refuse a field of the wrong type or size; of those after the first 15 only a list is refused."""
    what = HEADER_FIELDS[position] if position < len(HEADER_FIELDS) else f"field {position}"
    if position in _SIZES:
        rlp.fixed(field, _SIZES[position], what)
    elif position in _INTEGERS:
        rlp.integer(field, _INTEGERS[position], what)
    elif not isinstance(field, bytes):
        raise FormatError("rlp_not_bytes", f"{what} is a list, not bytes")
