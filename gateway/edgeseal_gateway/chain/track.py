"""What became of an anchor's transactions: every attempt's receipt is read again at each look until it is final."""

from __future__ import annotations

from dataclasses import dataclass

from edgeseal.adapters.evm import EvmClient, Rejected, TxReceipt
from edgeseal.errors import Unavailable
from edgeseal_gateway.chain.endpoints import Endpoint
from edgeseal_gateway.chain.means import Look, Means
from edgeseal_gateway.chain.sendstate import Do, Mined, Seen, SendState, State
from edgeseal_gateway.store import attempts
from edgeseal_gateway.store.anchors import Anchor
from edgeseal_gateway.store.attempts import Attempt
from edgeseal_gateway.store.database import LARGEST


@dataclass(frozen=True, slots=True)
class Verdict:
    """Where an anchor stands now and what to do, the receipt that says so, and who showed it. ``filled``: an empty
    transaction of ours used its nonce.
    """

    state: State
    do: Do
    receipt: TxReceipt | None
    client: EvmClient
    attempts: tuple[Attempt, ...]
    filled: bool


class Tracker:
    """Remembers, between looks, only what can only be counted."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._states: dict[int, SendState] = {}

    def forget(self) -> None:
        """Count anew: the chain went back."""
        self._states.clear()

    def judge(self, anchor: Anchor, look: Look) -> Verdict:
        """Return what to do about an anchor that was signed or found on the chain. Raises Unavailable."""
        means = self._means
        with means.database.read() as connection:
            ours = tuple(attempts.of_anchor(connection, anchor.size))
            rivals = attempts.of_nonce(connection, ours[-1].nonce) if ours else []
        hashes = [anchor.tx] if anchor.tx is not None else []
        hashes += [one.hash for one in reversed(ours) if one.hash != anchor.tx]
        shown = self._find(hashes, look)
        mined = None if shown is None else self._mined(anchor, *shown)
        filled = mined is None and self._find([one.hash for one in rivals if one.size == 0], look) is not None
        newest = look.tip.number if shown is None else max(look.tip.number, shown[1].height)
        used = look.mined_nonces
        if mined is None and ours and used > ours[-1].nonce:
            used = means.endpoints.least_used(means.account.address) or 0  # one that lies cannot stop us
        seen = Seen(newest, used, ours[-1].nonce if ours else None, mined, filled)
        state = self._states.setdefault(anchor.size, SendState(means.rules))
        where, do = state.decide(State(anchor.state), seen)
        if do is not Do.WAIT or where is State.FINAL:
            self._states.pop(anchor.size, None)
        receipt, client = (None, look.client) if shown is None else (shown[0], shown[1].client)
        return Verdict(where, do, receipt, client, ours, filled)

    def _find(self, hashes: list[bytes], look: Look) -> tuple[TxReceipt, Endpoint] | None:
        """Return the first receipt whose block the same endpoint still has at that height: from the endpoint of this
        look first, then from the others, so that one that lags or lies cannot make a transaction vanish.
        """
        usable = self._means.endpoints.usable()
        for one in sorted(usable, key=lambda one: one.client is not look.client):
            for tx in hashes:
                try:
                    receipt = one.client.receipt(tx)
                    header = None if receipt is None else one.client.header(receipt.block_number)
                except (Unavailable, Rejected):
                    if one.client is look.client:
                        raise
                    break
                if receipt is None or header is None or receipt.tx != tx or receipt.block_number > LARGEST:
                    continue
                if header.hash == receipt.block_hash:
                    return receipt, one
        return None

    def _mined(self, anchor: Anchor, receipt: TxReceipt, endpoint: Endpoint) -> Mined:
        number, block, rules = receipt.block_number, receipt.block_hash, self._means.rules
        endpoints = self._means.endpoints
        contradicted = endpoints.contradicted(number, block)
        final = not contradicted and endpoints.final(number, block, None if rules.by_tag else rules.confirmations)
        return Mined(receipt.ok, number, anchor.block != block, contradicted, final)
