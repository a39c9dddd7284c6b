"""Where an anchor stands and what to do next: pure, told what was observed, asked for a decision.

``QUEUED → PREPARED → SENT → MINED → CONFIRMED → FINAL``; aside ``BLOCKED_FUNDS`` (waits for money, unsigned) and
``REVERTED`` (mined and failed: halted). All attempts of one nonce differ in fees only, so at most one of them is ever
mined; the others are ``REPLACED``. Nothing here is remembered but what can only be counted: a look that shows a
transaction in a block, or a chain that has gone back, starts the count anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from edgeseal.network import NetworkProfile

BUMP_AFTER_MS: Final = 48_000
"""Unmined for so long, a transaction is replaced by one that pays more."""
SEND_AGAIN_MS: Final = 12_000
"""How often the bytes of an unmined transaction are sent again though the node asked says it has them."""
NOT_TAKEN_MS: Final = 120_000
"""Taken by no node for so long, a transaction is complained of; its bytes are kept and sent on."""
NONCE_LOST_AFTER: Final = 3
"""Observations in a row of "the nonce is used and none of ours is mined" before somebody else is blamed."""
MAX_ATTEMPTS: Final = 10
"""After so many attempts a nonce is used up by an empty transaction, and its anchor waits for another one."""


class State(Enum):
    """Where an anchor stands; the value is what the store holds."""

    QUEUED = "queued"
    BLOCKED_FUNDS = "blocked_funds"
    PREPARED = "prepared"
    SENT = "sent"
    MINED = "mined"
    CONFIRMED = "confirmed"
    FINAL = "final"
    REVERTED = "reverted"


class Do(Enum):
    """What is done now about an anchor that was signed."""

    WAIT = "wait"
    NOTE = "note where it stands"
    CONFIRM = "check what it did; from then on receipts carry it"
    FINISH = "it is final: check it again and keep the evidence"
    UNMINE = "it is in no block any more: clear what came of it, send the same bytes"
    HALT = "it was mined and failed"
    REQUEUE = "its nonce is used by another transaction"


class Push(Enum):
    """What is done now about the lowest nonce that is not mined."""

    WAIT = "wait"
    SEND = "send the newest attempt's bytes again"
    BUMP = "replace it by one that pays more"
    PURGE = "replace it by an empty transaction"


@dataclass(frozen=True, slots=True)
class SendRules:
    """How long to wait. ``by_tag``: final is what the chain's ``finalized`` tag has reached, on every endpoint;
    else what is ``confirmations`` deep. ``replaceable``: a transaction that waits can be outbid.
    """

    confirmations: int
    by_tag: bool
    replaceable: bool

    @classmethod
    def of(cls, profile: NetworkProfile, confirmations: int) -> SendRules:
        """Return the rules of a profile; ``confirmations`` is the configuration's, which can only be stricter.

        A profile without rules: depth decides on a chain the operator runs, the tag on a public one.
        """
        rules = profile.rules
        if rules is None:
            return cls(confirmations, profile.kind == "public", True)
        return cls(max(confirmations, rules.confirmations), rules.finality == "tag", rules.mempool != "none")


@dataclass(frozen=True, slots=True)
class Mined:
    """An attempt found in a block that the chain still has at that height.

    ``moved``: it is not the block noted before. ``contradicted``: an endpoint that has this height says another block
    stands there. ``final``: enough endpoints say that the block is final.
    """

    ok: bool
    number: int
    moved: bool
    contradicted: bool
    final: bool


@dataclass(frozen=True, slots=True)
class Seen:
    """One look at the chain: its newest block number, the account's mined nonces, and what was found of one anchor.

    ``nonce`` is its newest, None where the anchor was brought by somebody else. ``filled``: an empty transaction of
    ours has used that nonce.
    """

    newest: int
    mined_nonces: int
    nonce: int | None
    mined: Mined | None
    filled: bool = False


class SendState:
    """What is remembered of one anchor between looks: how often its nonce was found used by nobody of ours."""

    def __init__(self, rules: SendRules) -> None:
        self._rules = rules
        self._lost = 0

    def decide(self, state: State, seen: Seen) -> tuple[State, Do]:
        """Return where the anchor stands after one look, and what to do."""
        if seen.mined is not None:
            self._lost = 0
            return self._mined(state, seen.mined, seen.newest)
        if state in (State.MINED, State.CONFIRMED, State.REVERTED):
            self._lost = 0
            return (State.QUEUED if seen.nonce is None else State.SENT), Do.UNMINE
        if seen.nonce is None:
            return State.QUEUED, Do.UNMINE
        if seen.mined_nonces <= seen.nonce:
            self._lost = 0
            return state, Do.WAIT
        self._lost += 1
        if seen.filled or self._lost >= NONCE_LOST_AFTER:
            return State.QUEUED, Do.REQUEUE
        return state, Do.WAIT

    def _mined(self, state: State, mined: Mined, newest: int) -> tuple[State, Do]:
        deep = newest - mined.number + 1 >= self._rules.confirmations and not mined.contradicted
        if not mined.ok:
            if state is State.REVERTED:
                return state, Do.WAIT
            return (State.REVERTED, Do.HALT) if deep else (State.MINED, Do.NOTE)
        if deep and mined.final:
            return State.FINAL, Do.FINISH
        if deep:
            return State.CONFIRMED, Do.WAIT if state is State.CONFIRMED and not mined.moved else Do.CONFIRM
        if state is State.CONFIRMED:
            return (State.MINED, Do.UNMINE) if mined.moved and not mined.contradicted else (state, Do.WAIT)
        return (state, Do.WAIT) if state is State.MINED and not mined.moved else (State.MINED, Do.NOTE)


def push(rules: SendRules, attempts: int, waited_ms: float, sent_ms: float, known: bool) -> Push:
    """Return what to do about the lowest unmined nonce.

    Args:
        attempts: how many were signed for it.
        waited_ms: since the newest was signed, or since the start, by a clock that never jumps.
        sent_ms: since its bytes were sent last.
        known: the node asked has it.
    """
    if rules.replaceable and waited_ms >= BUMP_AFTER_MS:
        return Push.PURGE if attempts >= MAX_ATTEMPTS else Push.BUMP
    return Push.SEND if not known or sent_ms >= SEND_AGAIN_MS else Push.WAIT
