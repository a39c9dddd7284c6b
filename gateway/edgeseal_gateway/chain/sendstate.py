"""What to do next about a transaction that was signed: pure, told what was observed, asked for a decision.

One anchor has one nonce; its attempts differ in fees only, so at most one of them is ever mined.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

BUMP_AFTER_MS: Final = 48_000
"""Unmined for so long, a transaction is replaced by one that pays more."""
NONCE_LOST_AFTER: Final = 3
"""Observations in a row of "the nonce is used and none of ours is mined" before somebody else is blamed."""


class Do(Enum):
    """What the sender does now."""

    SEND_AGAIN = "send the newest attempt's bytes again"
    BUMP = "replace it by one that pays more"
    WAIT = "wait for more blocks"
    FINISH = "it is final: check it and keep the evidence"
    REVERTED = "it was mined and failed"
    NONCE_LOST = "another transaction used the nonce"


@dataclass(frozen=True, slots=True)
class Mined:
    """An attempt found in a block. ``canonical``: the chain still has that block at that height."""

    ok: bool
    number: int
    canonical: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the chain: its newest block number, the account's mined nonce count, what was found of our
    attempts.
    """

    newest: int
    mined_nonces: int
    mined: Mined | None
    now_ms: int


class SendState:
    """What is remembered between looks: how often the nonce was found used by nobody of ours, whether bytes went
    out.
    """

    def __init__(self, nonce: int, confirmations: int) -> None:
        self._nonce = nonce
        self._confirmations = confirmations
        self._lost = 0

    def decide(self, seen: Seen, newest_attempt_ms: int) -> Do:
        """Return what to do, given one look and the time at which the newest attempt was signed."""
        if seen.mined is not None and seen.mined.canonical:
            self._lost = 0
            if not seen.mined.ok:
                return Do.REVERTED
            deep = seen.newest - seen.mined.number + 1 >= self._confirmations
            return Do.FINISH if deep else Do.WAIT
        if seen.mined_nonces > self._nonce:
            self._lost += 1
            return Do.NONCE_LOST if self._lost >= NONCE_LOST_AFTER else Do.WAIT
        self._lost = 0
        return Do.BUMP if seen.now_ms - newest_attempt_ms >= BUMP_AFTER_MS else Do.SEND_AGAIN
