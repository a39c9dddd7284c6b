"""What a person asks the sender for by hand: use a nonce up, give an anchor up, go on after a stranger's transaction.

Each was put into the store by a command (``store/operations.py``), is carried out here, between two looks, and stays in
the store with what came of it.
"""

from __future__ import annotations

from typing import Final

from edgeseal.errors import InvariantBroken
from edgeseal_gateway.chain.drive import Driver
from edgeseal_gateway.chain.means import Look, Means
from edgeseal_gateway.chain.prepare import Preparer
from edgeseal_gateway.store import anchors, attempts, operations
from edgeseal_gateway.store.operations import Operation

RESUME: Final = "resume"
MINE: Final = (operations.CANCEL, operations.ABANDON, RESUME)
_GIVEN_UP: Final = (anchors.QUEUED, anchors.BLOCKED_FUNDS, anchors.PREPARED, anchors.SENT, anchors.REVERTED)


class Manual:
    """Carries out the operations that concern the sender; leaves the others alone."""

    def __init__(self, means: Means, preparer: Preparer, driver: Driver) -> None:
        self._means = means
        self._preparer = preparer
        self._driver = driver

    def carry_out(self, look: Look) -> None:
        """Do what waits, the oldest first. Raises Unavailable: the rest waits."""
        with self._means.database.read() as connection:
            asked = [one for one in operations.asked(connection) if one.what in MINE]
        for one in asked:
            self._finish(one, self._do(one, look))

    def _do(self, one: Operation, look: Look) -> tuple[str, str] | None:
        if one.what == RESUME:
            return self._resume(look)
        if one.target is None:
            return operations.REFUSED, "it names nothing"
        return self._cancel(one.target, look) if one.what == operations.CANCEL else self._abandon(one.target, look)

    def _finish(self, one: Operation, came: tuple[str, str] | None) -> None:
        if came is not None:
            with self._means.database.write() as connection:
                operations.finish(connection, one.id, *came, self._means.now_ms())
            # Durable: what came of it. A crash before this does it once more, which changes nothing further.

    def _cancel(self, nonce: int, look: Look) -> tuple[str, str] | None:
        """Outbid what waits under a nonce with an empty transaction; None: it cannot be paid for now."""
        with self._means.database.read() as connection:
            slot = attempts.of_nonce(connection, nonce)
        if nonce < look.mined_nonces or not slot:
            return operations.REFUSED, f"nonce {nonce} is not waiting: the account has used {look.mined_nonces} nonces"
        if slot[-1].size == 0:
            return operations.DONE, "an empty transaction waits under this nonce already"
        made = self._preparer.empty(slot[-1], look)
        if made is None:
            return None
        self._driver.begin(made)
        return operations.DONE, f"an empty transaction was sent, 0x{made.hash.hex()}; either may be mined"

    def _abandon(self, size: int, look: Look) -> tuple[str, str] | None:
        with self._means.database.read() as connection:
            anchor = anchors.find(connection, size)
            ours = attempts.of_anchor(connection, size)
        if anchor is None or anchor.state not in _GIVEN_UP:
            return operations.REFUSED, "no such anchor waits" if anchor is None else f"it is {anchor.state}"
        outcome = "given up"
        if anchor.state in (anchors.PREPARED, anchors.SENT) and ours and ours[-1].nonce >= look.mined_nonces:
            came = self._cancel(ours[-1].nonce, look)
            if came is None:
                return None
            outcome = f"given up; {came[1]}"
        with self._means.database.write() as connection:
            anchors.drop(connection, size)
        # Durable: it is not followed any more. Should the chain take it after all, it is found there and taken over.
        return operations.DONE, outcome

    def _resume(self, look: Look) -> tuple[str, str]:
        with self._means.database.write() as connection:
            attempts.not_below(connection, look.mined_nonces)
            attempts.note_foreign(connection, None)
            following = attempts.next_nonce(connection)
        # Durable: the nonces used by others are accepted as used.
        if following is None:
            raise InvariantBroken("anchor_state", "no next nonce after one was set")
        return operations.DONE, f"goes on with nonce {following}"
