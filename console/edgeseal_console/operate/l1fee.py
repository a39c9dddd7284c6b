"""What a rollup charges for putting a transaction's bytes on its parent chain, asked of its own oracle."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from edgeseal.adapters.evm import EvmClient, Rejected
from edgeseal.chainrules import ChainRules
from edgeseal.errors import UsageError
from edgeseal.evmproof.keccak import keccak256

_GET_L1_FEE: Final = keccak256(b"getL1Fee(bytes)")[:4]
_L1_COMPONENT: Final = keccak256(b"gasEstimateL1Component(address,bool,bytes)")[:4]
_ENVELOPE: Final = 120
"""Bytes of a type-2 transaction besides its call data: fees, nonce, address, signature."""


def l1_fee(client: EvmClient, rules: ChainRules, to: bytes, data: bytes) -> int:
    """Return the wei that a transaction with this call data pays for the parent chain, now; 0 where there is no such
    fee.

    Raises UsageError ``l1_fee_oracle`` when the oracle does not answer as its form says; Unavailable.
    """
    if rules.l1_fee == "none" or rules.l1_fee_oracle is None:
        return 0
    if rules.l1_fee == "opstack":
        call = _GET_L1_FEE + _word(32) + _bytes(stand_in(len(data) + _ENVELOPE))
        (fee,) = _ask(client, rules.l1_fee_oracle, call, 1)
        return fee
    call = _L1_COMPONENT + bytes(12) + to + _word(0) + _word(96) + _bytes(data)
    gas, base_fee, _ = _ask(client, rules.l1_fee_oracle, call, 3)
    return gas * base_fee


def stand_in(size: int) -> bytes:
    """Return ``size`` bytes that compress as badly as hashes and signatures do, the same each time."""
    return b"".join(sha256(number.to_bytes(8, "big")).digest() for number in range(-(-size // 32)))[:size]


def _ask(client: EvmClient, oracle: bytes, call: bytes, words: int) -> tuple[int, ...]:
    try:
        answer = client.call(oracle, call)
    except Rejected as error:
        raise UsageError("l1_fee_oracle", f"0x{oracle.hex()}: {error.text}", "correct l1_fee in the profile") from error
    if len(answer) != 32 * words:
        raise UsageError(
            "l1_fee_oracle", f"0x{oracle.hex()} answers {len(answer)} bytes, not {32 * words}",
            "correct chain.l1_fee and l1_fee_oracle in the network profile",
        )  # fmt: skip
    return tuple(int.from_bytes(answer[32 * i : 32 * i + 32], "big") for i in range(words))


def _word(number: int) -> bytes:
    return number.to_bytes(32, "big")


def _bytes(data: bytes) -> bytes:
    return _word(len(data)) + data + bytes(-len(data) % 32)
