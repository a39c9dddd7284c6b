"""The gateway's transactions, from its own account, one unconfirmed at a time, until each is final (docs/submitter.md).

One step is: look at the chain, follow what is in flight (track.py, finish.py), do what a person asked (manual.py), send
what is not mined (drive.py), begin the next anchor (prepare.py), and answer who challenges a head (challenges.py).
Every step may be the last: what counts is in the store, and a restart goes on with the same code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from edgeseal.adapters.evm import EvmClient
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal_gateway.chain.challenges import Challenges
from edgeseal_gateway.chain.drive import Driver
from edgeseal_gateway.chain.finish import Finisher
from edgeseal_gateway.chain.manual import Manual
from edgeseal_gateway.chain.means import Look, Means, Settings
from edgeseal_gateway.chain.prepare import Preparer
from edgeseal_gateway.chain.track import Tracker
from edgeseal_gateway.store import anchors, attempts, fleetlog
from edgeseal_gateway.store.anchors import Anchor

_FOREIGN: Final = (
    "find out who else has the key of this account; `edgeseal-gateway anchor resume` goes on with the nonces it names"
)


@dataclass(frozen=True, slots=True)
class Figures:
    """What metrics and status read: in flight, not final, what happened since the start, and the chain when last seen.

    ``oldest_ms``: wall time since which the oldest anchor that is not final was looked at, None where there is none.
    Amounts in wei.
    """

    waiting: int
    unfinal: int
    oldest_ms: int | None
    next_nonce: int | None
    mined_nonces: int | None
    height: int | None
    base_fee: int | None
    bumps: int
    reorgs: int
    sent: int


class Sender:
    """Carries wanted anchors to the chain. One in the whole gateway; not thread-safe but for ``figures``."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._tracker = Tracker(means)
        self._finisher = Finisher(means)
        self._preparer = Preparer(means)
        self._driver = Driver(means, self._preparer)
        self._manual = Manual(means, self._preparer, self._driver)
        self._look: Look | None = None
        self._challenges: Challenges | None = None

    @property
    def blocked(self) -> EdgesealError | None:
        """Why no anchor goes out, None when nothing stood in the way in the last step."""
        return self._means.trouble

    def answer_challenges(self) -> None:
        """From now on answer challenges on chain as well."""
        self._challenges = Challenges(self._means, self._preparer, self._driver)

    def use(self, settings: Settings) -> None:
        """Go on under other limits, from the next signature on."""
        self._means.settings = settings

    def step(self) -> bool:
        """Move on what is in flight, and begin the next anchor. Return whether one became confirmed or final, or was
        taken back: whoever was told of anchors is to be told anew.

        Raises Unavailable, and InvariantBroken: ``lease_lost``, or no endpoint serves this chain and these contracts.
        """
        return self._each(self._step)

    def follow(self) -> bool:
        """Follow what was sent and nothing else: nothing is signed or sent. Return and raise as :meth:`step`.

        For a gateway that stops, or that may not sign because the chain's word on who may is not known.
        """
        return self._each(lambda client: self._follow_all(self._see(client)))

    def _each(self, act: Callable[[EvmClient], bool]) -> bool:
        means = self._means
        means.trouble = None
        if not means.lease.held():
            means.say(Unavailable("lease_not_held", "this gateway does not hold the store's lease; it signs nothing"))
            return False
        return means.endpoints.each(act)

    def _see(self, client: EvmClient) -> Look:
        look = Look.take(self._means, client)
        if self._look is not None and look.tip.number < self._look.tip.number and client is self._look.client:
            self._tracker.forget()
        self._look = look
        return look

    def _follow_all(self, look: Look) -> bool:
        with self._means.database.read() as connection:
            flying = anchors.in_flight(connection)
        changed = False
        for one in flying:
            changed |= self._follow(one, look)
        return changed

    def _step(self, client: EvmClient) -> bool:
        look = self._see(client)
        changed = self._follow_all(look)
        self._manual.carry_out(look)
        self._driver.drive(look)
        self._finisher.reconcile(look)
        self._begin(look)
        if self._challenges is not None and self._means.trouble is None:
            self._challenges.carry_out(look)
        return changed

    def _follow(self, anchor: Anchor, look: Look) -> bool:
        return self._finisher.carry_out(anchor, self._tracker.judge(anchor, look), look)

    def _begin(self, look: Look) -> None:
        """Sign and send the next anchor, unless one is unconfirmed, too many are not final, or somebody must look."""
        means = self._means
        with means.database.read() as connection:
            current, wanted = anchors.open_anchor(connection), anchors.newest_wanted(connection)
            flying, foreign = anchors.in_flight(connection), attempts.foreign(connection)
            following = attempts.next_nonce(connection)
            signed = wanted is not None and fleetlog.head_at(connection, means.profile.fleet_log, wanted.size)
        halted = next((one for one in flying if one.state == anchors.REVERTED), None)
        if halted is not None:
            means.say(self._finisher.halted(halted))
        elif foreign is not None or self._is_overtaken(following, look):
            nonce = following if foreign is None else foreign
            means.say(UsageError("foreign_nonce", f"somebody else used nonce {nonce} of this account", _FOREIGN))
        elif wanted is None or not signed or current is not None or self._is_full(len(flying)):
            return  # a head that was decided and is not signed yet: the sequencer does that next
        else:
            self._open(wanted, look)

    def _is_overtaken(self, following: int | None, look: Look) -> bool:
        """Tell whether the account has used more nonces than the journal knows, as every endpoint says."""
        if following is None or look.mined_nonces <= following:
            return False
        return (self._means.endpoints.least_used(self._means.account.address) or 0) > following

    def _is_full(self, flying: int) -> bool:
        if flying >= anchors.MAX_UNFINAL:
            self._means.say(Unavailable("not_final", f"{flying} anchors are not final: the next waits, and grows"))
        return flying >= anchors.MAX_UNFINAL

    def _open(self, wanted: Anchor, look: Look) -> None:
        if wanted.since_ms is None:
            with self._means.database.write() as connection:
                anchors.first_seen(connection, wanted.size, self._means.now_ms())
            # Durable: since when it waits: what it may pay grows with time.
        attempt = self._preparer.first(wanted, look)
        if attempt is not None:
            self._driver.begin(attempt)

    def figures(self) -> Figures:
        """Return what metrics show; reads the store on the caller's thread."""
        means, look = self._means, self._look
        with means.database.read() as connection:
            flying, wanted = anchors.in_flight(connection), anchors.newest_wanted(connection)
            following = attempts.next_nonce(connection)
        unfinal = [*flying, wanted] if wanted is not None else flying
        return Figures(
            waiting=int(wanted is not None),
            unfinal=len(flying),
            oldest_ms=min((one.since_ms for one in unfinal if one.since_ms is not None), default=None),
            next_nonce=following,
            mined_nonces=None if look is None else look.mined_nonces,
            height=None if look is None else look.tip.number,
            base_fee=None if look is None else look.tip.base_fee,
            bumps=means.counters.bumps,
            reorgs=means.counters.reorgs,
            sent=means.counters.sent,
        )
