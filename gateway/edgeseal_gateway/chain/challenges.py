"""Challenges on chain: whoever holds a head we signed asks that it be shown part of what is anchored; here we show it.

A challenge that nobody answers by its deadline marks the log in default, for good. So each is found in the contract's
events and answered with a consistency proof, through the same journal, nonces and budget as anchors. An answer carries
no anchor: one that has to be outbid is outbid by an empty transaction, and as the challenge then still stands, it is
answered anew. Anyone with a receipt can challenge, and each answer costs us gas: they are answered one in
:data:`PACE_S`, the earliest deadline first, so that a flood of them cannot spend what anchors need.
"""

from __future__ import annotations

from typing import Final

from edgeseal.adapters.evm import BoundContract
from edgeseal.errors import UsageError
from edgeseal_gateway.chain.drive import Driver
from edgeseal_gateway.chain.means import Look, Means
from edgeseal_gateway.chain.prepare import Preparer
from edgeseal_gateway.store import attempts, fleetlog
from edgeseal_gateway.store.database import get_meta, put_meta

SPAN: Final = 5_000
"""Blocks asked for in one step."""
LOOK_BACK: Final = 64
"""Blocks read again each time, in case they were replaced."""
PACE_S: Final = 600.0
"""Seconds between two answers."""
MAX_WAITING: Final = 10_000
"""Challenges remembered: with so many, none further is read before some are settled."""
MAX_LOOKED: Final = 64
"""Challenges whose state is asked for in one step, the oldest first."""
_CURSOR: Final = "challenge_block"
_KEEP: Final = 1_000
"""Blocks after which it is worth noting that everything up to there is settled."""
OPEN, DEFAULTED = 1, 3
"""``ChallengeState`` of the contract: what can be answered, the latter late."""


class Challenges:
    """Finds and answers them. What it remembers can be read again: a restart begins at the noted block."""

    def __init__(self, means: Means, preparer: Preparer, driver: Driver, *, pace_s: float = PACE_S) -> None:
        self._means = means
        self._preparer = preparer
        self._driver = driver
        self._pace_s = pace_s
        self._next: int | None = None
        self._waiting: dict[tuple[int, bytes], int] = {}
        self._answered_s = float("-inf")

    def carry_out(self, look: Look) -> None:
        """Read on in the events, and answer one challenge if it is time. Raises Unavailable."""
        self._read(look)
        means = self._means
        with means.database.read() as connection:
            busy = bool(attempts.unmined(connection, look.mined_nonces))
        if busy or not self._waiting or means.monotonic() < self._answered_s + self._pace_s:
            return
        fleet = BoundContract(look.client, means.contract, means.profile.fleet_log_contract)
        due = []
        for size, root in list(self._waiting)[:MAX_LOOKED]:
            state, deadline = fleet.call("challengeOf", means.profile.fleet_log, size, root)
            if state in (OPEN, DEFAULTED):
                due.append((int(deadline), size, root))
            else:
                del self._waiting[size, root]
        for _, size, root in sorted(due):
            if size <= look.anchored and self._answer(size, root, look):
                self._answered_s = means.monotonic()
                return

    def _answer(self, size: int, root: bytes, look: Look) -> bool:
        """Sign, keep and send the answer to one challenge; return whether it was."""
        means = self._means
        with means.database.read() as connection:
            if fleetlog.size(connection) < look.anchored:
                return False  # a store that was set back: the leaves come back first, or never
            ours = fleetlog.root_at(connection, size)
            path = fleetlog.consistency_path(connection, size, look.anchored)
        if ours != root:
            means.say(
                UsageError(
                    "challenge_contradicts",
                    f"a challenged head of size {size} under our key has root {root.hex()}, our log has {ours.hex()}",
                    "somebody else signs with this key, or this store is not the log's: stop and investigate",
                )
            )
            return False
        data = means.contract.encode("answer", means.profile.fleet_log, size, root, path)
        made = self._preparer.call(data, look)
        if made is None:
            return False
        self._driver.begin(made)
        return True

    def _read(self, look: Look) -> None:
        """Take the challenges of the next span of blocks in, and note how far all are settled."""
        means, newest = self._means, look.tip.number
        if len(self._waiting) >= MAX_WAITING:
            return
        if self._next is None:
            with means.database.read() as connection:
                kept = get_meta(connection, _CURSOR)
            self._next = means.profile.first_block if kept is None else int.from_bytes(kept, "big")
        first = max(means.profile.first_block, self._next - LOOK_BACK)
        last = min(newest, first + SPAN - 1)
        topics = [means.contract.event_topic("Challenged"), means.profile.fleet_log]
        for one in look.client.logs([means.profile.fleet_log_contract], topics, first, last):
            event = means.contract.decode_event("Challenged", one.log)
            self._waiting.setdefault((int(event["size"]), bytes(event["root"])), one.block_number)
        self._next = last + 1
        self._note(min([last, *self._waiting.values()]))

    def _note(self, settled: int) -> None:
        with self._means.database.read() as connection:
            kept = get_meta(connection, _CURSOR)
        if settled - (0 if kept is None else int.from_bytes(kept, "big")) >= _KEEP:
            with self._means.database.write() as connection:
                put_meta(connection, _CURSOR, settled.to_bytes(8, "big"))
            # Durable: no challenge below waits for an answer. A restart reads on from there.
