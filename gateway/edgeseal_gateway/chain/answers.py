"""What a node means by its words when it does not take a transaction. Pure: code and text in, one of a few answers out.

The texts are those of geth, Erigon, Nethermind, Besu, Reth, Nitro and anvil, in lower case. What nobody foresaw is
``OTHER``: the transaction is kept and sent again.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Answer(Enum):
    """What a node's answer to ``eth_sendRawTransaction`` means."""

    TAKEN = "the node has it now"
    KNOWN = "the node had it already"
    NONCE_LOW = "its nonce is used in a block"
    NONCE_HIGH = "nonces below it are missing there"
    REPLACEMENT_LOW = "it does not pay enough more than the one it replaces"
    FEE_LOW = "it pays too little for the pool or for the base fee"
    NO_FUNDS = "the account cannot pay for it"
    GAS_LOW = "its gas limit is below what its bytes cost"
    GAS_HIGH = "its gas limit is above what a transaction or block may have"
    WRONG_CHAIN = "the node serves another chain"
    RESERVED = "the account has transactions of another kind in the pool"
    POOL_FULL = "the pool is full"
    BUSY = "the node is asked too often"
    OTHER = "something nobody foresaw"


HAS_IT: Final = frozenset({Answer.TAKEN, Answer.KNOWN, Answer.NONCE_LOW})
"""Answers of a node that has the transaction, or one with its nonce in a block: its hash tells the rest."""
PAYS_TOO_LITTLE: Final = frozenset({Answer.REPLACEMENT_LOW, Answer.FEE_LOW})
PASSES: Final = frozenset({Answer.NONCE_HIGH, Answer.POOL_FULL, Answer.BUSY})
"""Answers that pass by themselves: nobody need be told before they have lasted."""

_LIMITED: Final = -32005
# The order counts: the first text found decides.
_TEXTS: Final[tuple[tuple[Answer, tuple[str, ...]], ...]] = (
    (Answer.KNOWN, ("already known", "already imported", "alreadyknown", "known transaction", "already in mempool")),
    (Answer.NONCE_LOW, ("nonce too low", "nonce is too low", "oldnonce", "nonce_too_low")),
    (
        Answer.NONCE_HIGH,
        ("nonce too high", "nonce gap", "noncegap", "gapped", "nonce too far", "nonce_too_far", "too distant",
         "future transaction tries to replace"),
    ),
    (
        Answer.REPLACEMENT_LOW,
        ("replacement transaction underpriced", "replacement_underpriced", "replacementnotallowed",
         "replacement not allowed", "could not replace"),
    ),
    (
        Answer.FEE_LOW,
        ("underpriced", "fee too low", "feetoolow", "less than block base fee", "max fee per gas less than",
         "gas price below", "gas_price_too_low", "below the current base fee", "gas tip cap", "tip too low"),
    ),
    (Answer.NO_FUNDS, ("insufficient funds", "insufficientfunds", "upfront cost exceeds", "insufficient balance")),
    (Answer.GAS_LOW, ("intrinsic gas", "floor data gas")),
    (
        Answer.GAS_HIGH,
        ("exceeds block gas limit", "gas limit too high", "gas limit is too high", "gaslimitexceeded",
         "gas limit exceeds", "exceeds maximum"),
    ),
    (Answer.WRONG_CHAIN, ("invalid chain id", "wrong chainid", "chain id", "invalid sender", "only replay-protected")),
    (Answer.RESERVED, ("already reserved", "account reserved", "in-flight transaction limit")),
    (Answer.POOL_FULL, ("pool is full", "txpool is full", "pool full", "account limit exceeded")),
    (Answer.BUSY, ("too many requests", "rate limit", "rate exceeded", "limit exceeded")),
)  # fmt: skip


def classify(number: int, text: str) -> Answer:
    """Return what an error of this JSON-RPC code and text means."""
    words = text.lower()
    for answer, texts in _TEXTS:
        if any(one in words for one in texts):
            return answer
    return Answer.BUSY if number == _LIMITED else Answer.OTHER
