"""Several RPC endpoints of one chain: each checked before it is believed, reads failed over, transactions sent to all.

An endpoint that serves another chain or other contracts is banned for as long as the process runs. One that does not
answer is left alone for a while (1 s to 60 s, or as long as it asks) and checked again when it is back. What is called
confirmed or final is compared between all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from edgeseal.adapters.evm import Busy, EvmClient, Rejected
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal.network import NetworkProfile
from edgeseal_gateway.chain.answers import Answer, classify
from edgeseal_gateway.chain.mirror import check_endpoint

FIRST_PAUSE_S: Final = 1.0
LONGEST_PAUSE_S: Final = 60.0
STALE_BLOCKS: Final = 3
"""An endpoint so many blocks behind another is asked last."""
SILENT_S: Final = 900.0
"""An endpoint that was silent for so long, or answered and knew no ``finalized``, is not waited for any more before a
block is called final."""
QUORUM: Final = 2
"""Endpoints that must call a block final, where so many are named and not silent or banned."""
_Found = TypeVar("_Found")


@dataclass(slots=True)
class Endpoint:
    """One endpoint and what is known of it. ``height``: its newest block when last asked; times are monotonic.

    ``silent_since``: when it last answered; ``untold_since``: since when it answers and names no final block.
    """

    client: EvmClient
    checked: bool = False
    banned: EdgesealError | None = None
    trouble: EdgesealError | None = None
    height: int = 0
    failures: int = 0
    errors: int = 0
    again_at: float = 0.0
    silent_since: float | None = None
    untold_since: float | None = None

    @property
    def name(self) -> str:
        """What is shown of it."""
        return self.client.name


class Endpoints:
    """The endpoints of a profile, in its order. Not thread-safe."""

    def __init__(
        self,
        clients: Sequence[EvmClient],
        profile: NetworkProfile,
        monotonic: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        """Take the clients, at least one. ``jitter`` returns numbers from 0 up to 1."""
        self.every = [Endpoint(client) for client in clients]
        self._profile = profile
        self._monotonic = monotonic
        self._jitter = jitter

    def each(self, act: Callable[[EvmClient], _Found]) -> _Found:
        """Return what ``act`` returns with the first endpoint that answers all it asks: it may be called again from
        its beginning with the next one.

        Raises what ``act`` raises; Unavailable when no endpoint answers; InvariantBroken when all are banned.
        """
        last: EdgesealError | None = None
        for one in self.refresh():
            try:
                found = act(one.client)
            except (Unavailable, Rejected) as error:
                if not error.code.startswith("rpc_"):
                    raise
                self._failed(one, error)
                last = error
                continue
            one.failures, one.trouble = 0, None
            return found
        raise Unavailable("rpc_unreachable", self._why(last), "are the nodes of the network profile running?")

    def refresh(self) -> list[Endpoint]:
        """Ask each usable endpoint for its height, and new ones for chain and contracts; return those that answered,
        the ones that are up to date first.
        """
        now, answered = self._monotonic(), []
        for one in self.every:
            if one.banned is not None or now < one.again_at:
                continue
            try:
                if not one.checked:
                    check_endpoint(one.client, self._profile)
                    one.checked = True
                one.height, one.silent_since = one.client.block_number(), None
            except InvariantBroken as error:
                one.banned = one.trouble = error
            except (Unavailable, Rejected) as error:
                self._failed(one, error)
            else:
                answered.append(one)
        if all(one.banned is not None for one in self.every):
            assert self.every[0].banned is not None
            raise self.every[0].banned
        return self._usable(answered)

    def usable(self) -> list[Endpoint]:
        """Return the endpoints that answered last and were not found failing since, the up-to-date ones first."""
        now = self._monotonic()
        return self._usable([one for one in self.every if one.checked and one.banned is None and now >= one.again_at])

    def _usable(self, answered: list[Endpoint]) -> list[Endpoint]:
        newest = max((one.height for one in answered), default=0)
        return sorted(
            answered, key=lambda one: one.height < newest - STALE_BLOCKS
        )  # sorted() keeps the profile's order

    @property
    def trouble(self) -> EdgesealError | None:
        """What a person should look at: an endpoint that is banned, or silent, of what is final at least, for so long
        that it is not waited for.
        """
        now = self._monotonic()
        for one in self.every:
            if one.banned is not None:
                return one.banned
            if one.silent_since is not None and now - one.silent_since >= SILENT_S and one.trouble is not None:
                return Unavailable("rpc_silent", f"{one.name} has been silent for long: {one.trouble.message}")
            if one.silent_since is None and self._is_past_waiting(one):
                text = f"{one.name} knows no `finalized` block: what is called final rests on the other endpoints"
                return Unavailable("rpc_silent", text, "name an endpoint that follows the chain's finality")
        return None

    def broadcast(self, raw: bytes) -> list[tuple[Answer, str]]:
        """Hand a signed transaction to every usable endpoint, once each; return what each said.

        Raises Unavailable when none answered: whether it is in a pool is not known then.
        """
        said: list[tuple[Answer, str]] = []
        last: EdgesealError | None = None
        for one in self.usable():
            try:
                one.client.send_raw(raw)
                said.append((Answer.TAKEN, ""))
            except Rejected as error:
                answer = classify(error.number, error.text)
                said.append((answer, error.text))
                one.checked = one.checked and answer is not Answer.WRONG_CHAIN  # looked at again before it is believed
            except Unavailable as error:
                self._failed(one, error)
                last = error
        if not said:
            raise Unavailable("rpc_unreachable", self._why(last), "are the nodes of the network profile running?")
        return said

    def least_used(self, address: bytes) -> int | None:
        """Return how many nonces of an account are mined, as far as every usable endpoint agrees: what only one of them
        says was used is not blamed on a stranger. None when none answers.
        """
        found = []
        for one in self.usable():
            try:
                found.append(one.client.transaction_count(address))
            except (Unavailable, Rejected) as error:
                self._failed(one, error)
        return min(found, default=None)

    def contradicted(self, number: int, block: bytes) -> bool:
        """Tell whether an endpoint that has this height says that another block stands there."""
        return any(self._has(one, number, block) is False for one in self.usable())

    def final(self, number: int, block: bytes, confirmations: int | None) -> bool:
        """Tell whether a block is final: by the ``finalized`` tag, or so many blocks deep.

        QUORUM endpoints must say so, or as many as there are, not counting the banned, the long silent, and those that
        for as long have known no ``finalized``; and none of all that answer may say that another block stands there.
        """
        yes = 0
        for one in self.usable():
            reached = self._reached(one, confirmations)
            if reached is None and one.untold_since is None:
                continue  # it did not answer
            has = self._has(one, number, block)
            if has is False:
                return False
            yes += bool(has) and reached is not None and reached >= number
        awaited = [one for one in self.every if one.banned is None and not self._is_past_waiting(one)]
        return yes >= max(1, min(QUORUM, len(awaited)))

    def _is_past_waiting(self, one: Endpoint) -> bool:
        """Tell whether an endpoint has said nothing of what is final for so long that it is not waited for."""
        since = one.untold_since if one.silent_since is None else one.silent_since
        return since is not None and self._monotonic() - since >= SILENT_S

    def _reached(self, one: Endpoint, confirmations: int | None) -> int | None:
        """Return the number of an endpoint's newest final block, None when it does not answer or knows none."""
        if confirmations is not None:
            return one.height - confirmations + 1
        try:
            found = one.client.header("finalized")
        except Rejected:  # a node that does not know the tag says so: nothing is wrong with it otherwise
            found = None
        except Unavailable as error:
            self._failed(one, error)
            one.untold_since = None
            return None
        if found is not None:
            one.untold_since = None
        elif one.untold_since is None:
            one.untold_since = self._monotonic()
        return None if found is None else found.number

    def _has(self, one: Endpoint, number: int, block: bytes) -> bool | None:
        """Return whether this block stands at this height, None where the endpoint cannot say."""
        try:
            found = one.client.header(number)
        except (Unavailable, Rejected) as error:
            self._failed(one, error)
            return None
        return None if found is None else found.hash == block

    def _failed(self, one: Endpoint, error: EdgesealError) -> None:
        """Leave an endpoint alone for a while: twice as long each time, with up to half of it more by chance."""
        now = self._monotonic()
        pause = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2**one.failures) * (1 + self._jitter() / 2)
        asked = error.retry_after_s if isinstance(error, Busy) else 0.0
        one.again_at = now + max(min(pause, LONGEST_PAUSE_S), asked)
        one.failures, one.errors = min(one.failures + 1, 16), one.errors + 1
        one.checked, one.trouble = False, error
        one.silent_since = now if one.silent_since is None else one.silent_since

    def _why(self, last: EdgesealError | None) -> str:
        found = last or next((one.trouble for one in self.every if one.trouble is not None), None)
        return "no endpoint answers" + ("" if found is None else f": {found.message}")
