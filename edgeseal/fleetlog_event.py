"""The event by which FleetLog says that a head was anchored, read from a log of the chain (docs/format.md 14.1)."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseal.errors import FormatError, VerificationError
from edgeseal.evmproof import Log, keccak256

ANCHORED_SIGNATURE = "Anchored(bytes32,uint64,bytes32,bytes32,uint64)"
ANCHORED_TOPIC = keccak256(ANCHORED_SIGNATURE.encode("ascii"))
"""The first topic of the event: Keccak-256 of its signature."""

_WORD = 32
_UINT64 = 8


@dataclass(frozen=True, slots=True)
class Anchored:
    """A head the contract took: fleet log id, size in leaves, root, the gateway key's thumbprint (32 bytes each).

    ``previous_block`` is the number of the block with this log's event before this one, as the contract counts blocks.
    """

    log_id: bytes
    size: int
    root: bytes
    kid: bytes
    previous_block: int


def decode_anchored(log: Log) -> Anchored:
    """Return the event in a log, which the caller has proved to come from the FleetLog contract.

    Raises VerificationError ``event_other`` when the log is another event, FormatError ``event_topics``,
    ``event_data_size`` or ``event_integer`` when it is none that Solidity writes for this one; nothing else.
    """
    if log.topics[:1] != (ANCHORED_TOPIC,):
        raise VerificationError("event_other", "the log is not an Anchored event")
    if len(log.topics) != 2:
        raise FormatError("event_topics", f"an Anchored event with {len(log.topics)} topics, not 2")
    if len(log.data) != 4 * _WORD:
        raise FormatError("event_data_size", f"an Anchored event with {len(log.data)} bytes of data, not {4 * _WORD}")
    size, root, kid, previous = (log.data[start : start + _WORD] for start in range(0, 4 * _WORD, _WORD))
    return Anchored(
        log_id=log.topics[1],
        size=_uint64(size, "size"),
        root=root,
        kid=kid,
        previous_block=_uint64(previous, "prevBlock"),
    )


def _uint64(word: bytes, what: str) -> int:
    """Return the integer in an ABI word declared as uint64."""
    if any(word[:-_UINT64]):
        raise FormatError("event_integer", f"{what} exceeds 64 bits")
    return int.from_bytes(word, "big")
