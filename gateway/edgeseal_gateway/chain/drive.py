"""Sending: the lowest nonce that is not mined is pushed until it is; those above it are kept alive.

Only bytes that the journal holds are sent, to every endpoint, as often as needed: what a node says about bytes it knows
already is no error, and what became of them is asked by hash (track.py).
"""

from __future__ import annotations

from typing import Final

from edgeseal.errors import Unavailable, UsageError
from edgeseal_gateway.chain.answers import HAS_IT, PASSES, PAYS_TOO_LITTLE, Answer
from edgeseal_gateway.chain.means import Look, Means
from edgeseal_gateway.chain.prepare import Preparer
from edgeseal_gateway.chain.sendstate import NOT_TAKEN_MS, Push, push
from edgeseal_gateway.store import anchors, attempts
from edgeseal_gateway.store.attempts import Attempt

_NEVER: Final = float("-inf")


class Driver:
    """Sends what was prepared. What it remembers is times: a restart sends everything again at once."""

    def __init__(self, means: Means, preparer: Preparer) -> None:
        self._means = means
        self._preparer = preparer
        self._since: dict[int, float] = {}
        self._sent: dict[bytes, float] = {}
        self._said: dict[bytes, tuple[Answer, str]] = {}
        self._urged: set[int] = set()

    def drive(self, look: Look) -> None:
        """Push the lowest unmined nonce and send those above it again when it is time. Raises Unavailable."""
        with self._means.database.read() as connection:
            slots = attempts.unmined(connection, look.mined_nonces)
            mined = anchors.on_chain(connection, {one.size for slot in slots for one in slot})
        self._forget({slot[0].nonce for slot in slots}, {one.hash for slot in slots for one in slot})
        if slots and slots[0][0].nonce > look.mined_nonces:
            filling = self._preparer.filling(look.mined_nonces, look)
            slots = slots if filling is None else [[filling], *slots]
        for slot in slots:
            if mined.intersection(one.size for one in slot):
                continue  # another endpoint showed it in a block: the one asked now is behind
            self._push(slot, look, slot is slots[0] and slot[0].nonce == look.mined_nonces)

    def begin(self, attempt: Attempt) -> None:
        """Send a transaction that was just kept."""
        self._since[attempt.nonce] = self._means.monotonic()
        self._send(attempt)
        self._complain(attempt, 0)

    def _push(self, slot: list[Attempt], look: Look, is_lowest: bool) -> None:
        newest, now = slot[-1], self._means.monotonic()
        waited_ms = int(1000 * (now - self._since.setdefault(newest.nonce, now)))
        sent_ms = 1000 * (now - self._sent.get(newest.hash, _NEVER))
        known = look.client.transaction(newest.hash) is not None
        pressing_ms = waited_ms if is_lowest else 0  # one above it cannot be mined first, whatever it pays
        do, outbid = push(self._means.rules, len(slot), pressing_ms, sent_ms, known), False
        if do in (Push.BUMP, Push.PURGE):
            self._urged.discard(newest.nonce)
            outbid = self._outbid(newest, look, do is Push.PURGE)
        elif do is Push.SEND and not self._send(newest) and is_lowest and newest.nonce not in self._urged:
            self._urged.add(newest.nonce)  # once, at once; from then on by the clock
            outbid = self._outbid(newest, look, False)
        if not outbid:
            self._complain(newest, waited_ms)

    def _outbid(self, newest: Attempt, look: Look, purge: bool) -> bool:
        made = self._preparer.empty(newest, look) if purge else self._preparer.replacement(newest, look)
        if made is None:
            self._send(newest)  # it stays the best there is: a node that dropped it gets it again
        else:
            self._means.counters.bumps += 1
            self.begin(made)
        return made is not None

    def _send(self, attempt: Attempt) -> bool:
        """Hand the bytes to every endpoint; return False if all that answer ask for more."""
        self._sent[attempt.hash] = self._means.monotonic()
        self._means.counters.sent += 1
        said = self._means.endpoints.broadcast(attempt.raw)
        good = [one for one in said if one[0] in HAS_IT]
        poor = [one for one in said if one[0] in PAYS_TOO_LITTLE]
        self._said[attempt.hash] = (good or poor or said)[0]
        if good and attempt.taken_ms is None:
            self._note_taken(attempt)
        return bool(good) or not poor

    def _note_taken(self, attempt: Attempt) -> None:
        with self._means.database.write() as connection:
            attempts.taken(connection, attempt.hash, self._means.now_ms())
            anchor = anchors.find(connection, attempt.size)
            if anchor is not None and anchor.state == anchors.PREPARED:
                anchors.move(connection, attempt.size, (anchors.PREPARED,), anchors.SENT)
        # Durable: that a node has it, for status; a restart sends the same bytes again whatever stands here.

    def _complain(self, newest: Attempt, waited_ms: int) -> None:
        answer, text = self._said.get(newest.hash, (Answer.TAKEN, ""))
        if answer is Answer.NO_FUNDS:
            self._means.say(UsageError("funds", f"the node says: {text}", "send the account funds"))
        elif answer not in HAS_IT | PASSES:
            self._means.say(UsageError("anchor_refused", f"the node refuses the transaction ({answer.value}): {text}"))
        elif answer in PASSES and waited_ms >= NOT_TAKEN_MS:
            self._means.say(
                Unavailable("not_in_mempool", f"no node has taken the transaction for {waited_ms // 1000} s: {text}")
            )

    def _forget(self, nonces: set[int], hashes: set[bytes]) -> None:
        self._since = {nonce: at for nonce, at in self._since.items() if nonce in nonces}
        self._sent = {tx: at for tx, at in self._sent.items() if tx in hashes}
        self._said = {tx: said for tx, said in self._said.items() if tx in hashes}
        self._urged &= nonces
