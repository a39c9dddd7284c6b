"""What a transaction costs for its data on the parent chain, beside its gas, as the chain's own oracle says."""

from __future__ import annotations

from typing import Final

from edgeseal.adapters.evm import EvmClient
from edgeseal.chainrules import ChainRules
from edgeseal.evmproof.keccak import keccak256

SIGNATURE_BYTES: Final = 110
"""What a signed transaction has besides its call data, at most: fees, nonce, address, signature."""
_GET_L1_FEE: Final = keccak256(b"getL1Fee(bytes)")[:4]


def data_fee(client: EvmClient, rules: ChainRules | None, data: bytes) -> int:
    """Return the fee in wei for a transaction with this call data: 0 where the chain has none, or counts it in the gas
    it estimates (Arbitrum). Raises as the client does.
    """
    if rules is None or rules.l1_fee != "opstack" or rules.l1_fee_oracle is None:
        return 0
    stood_for = data + b"\xff" * SIGNATURE_BYTES
    padded = stood_for + bytes(-len(stood_for) % 32)
    call = _GET_L1_FEE + (32).to_bytes(32, "big") + len(stood_for).to_bytes(32, "big") + padded
    return int.from_bytes(client.call(rules.l1_fee_oracle, call)[:32], "big")
