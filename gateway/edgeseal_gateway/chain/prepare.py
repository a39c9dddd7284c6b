"""Signing: the only place where a transaction of the gateway's account comes into being.

Order, for crashes: price it, see that it may be spent and paid, then in one transaction of the store compare the
fencing token, take the nonce, sign, and keep the bytes. Only bytes that are kept are ever sent, and always these.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from edgeseal.adapters.evm import EvmClient, Rejected, Reverted, Transaction, check_signed
from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from edgeseal_gateway.chain import anchor as anchoring
from edgeseal_gateway.chain import budget, fees, lease
from edgeseal_gateway.chain.datafee import data_fee
from edgeseal_gateway.chain.means import Look, Means
from edgeseal_gateway.chain.refused import remedy
from edgeseal_gateway.store import anchors, attempts, fleetlog
from edgeseal_gateway.store.anchors import Anchor
from edgeseal_gateway.store.attempts import Attempt

EMPTY_GAS: Final = 21_000
"""What an empty transaction costs: one that only uses its nonce up."""
_Nonce = Callable[[sqlite3.Connection], int]


class Preparer:
    """Makes transactions and keeps them; sends nothing."""

    def __init__(self, means: Means) -> None:
        self._means = means

    def first(self, wanted: Anchor, look: Look) -> Attempt | None:
        """Sign and keep the first transaction of an anchor that waits; None where something stands in the way, which
        is said and costs nothing.
        """
        means, profile = self._means, self._means.profile
        data = self._call_data(wanted.size, look.anchored)
        refused = self._refusal(look.client, data, "pending")
        if refused is not None:
            text = f"size {wanted.size}: {refused.message}"
            means.say(UsageError("anchor_refused", text, remedy(refused)))
            return None
        gas = fees.gas_limit(
            look.client.estimate_gas(means.account.address, profile.fleet_log_contract, data, "latest")
        )
        waited = 0 if wanted.since_ms is None else max(0, means.now_ms() - wanted.since_ms)
        bounds = means.settings.bounds
        most = fees.worth(waited, bounds.ceiling)
        offer = fees.first(look.market(), fees.Bounds(min(bounds.min_tip, most), min(bounds.max_tip, most), most))
        if offer is None:
            means.say(Unavailable("fee_ceiling", f"the chain asks more than {most} wei a gas, which is the most now"))
            return None
        transaction = self._transaction(profile.fleet_log_contract, data, gas, offer)

        following = self._following(look)

        def nonce(connection: sqlite3.Connection) -> int:
            anchors.move(connection, wanted.size, (anchors.QUEUED, anchors.BLOCKED_FUNDS), anchors.PREPARED)
            return following(connection)

        if not self._may_pay(transaction, 0, look):
            self._block(wanted)
            return None
        return self._keep(wanted.size, transaction, nonce, look.anchored)

    def call(self, data: bytes, look: Look) -> Attempt | None:
        """Sign and keep a call of the log's contract that carries no anchor; None where something stands in the way.

        It is kept as an empty transaction is: one that has to be outbid is outbid by an empty one, and whoever wanted
        the call asks again.
        """
        means, profile = self._means, self._means.profile
        refused = self._refusal(look.client, data, "pending")
        if refused is not None:
            means.say(UsageError("call_refused", refused.message, remedy(refused)))
            return None
        gas = fees.gas_limit(
            look.client.estimate_gas(means.account.address, profile.fleet_log_contract, data, "latest")
        )
        offer = fees.first(look.market(), means.settings.bounds)
        if offer is None:
            means.say(Unavailable("fee_ceiling", "the chain asks more than may be offered for a gas"))
            return None
        transaction = self._transaction(profile.fleet_log_contract, data, gas, offer)
        return self._keep(0, transaction, self._following(look), 0) if self._may_pay(transaction, 0, look) else None

    def replacement(self, newest: Attempt, look: Look) -> Attempt | None:
        """Sign and keep a transaction that pays more for the same nonce; None where the old one must do."""
        profile = self._means.profile
        if newest.size == 0:
            return self._outbid(newest, self._means.account.address, b"", EMPTY_GAS, look)
        data = self._call_data(newest.size, look.anchored) if look.anchored < newest.size else None
        # On the latest state: the pending one may hold the very transaction that is to be replaced.
        if data is None or self._refusal(look.client, data, "latest") is not None:
            return self.empty(newest, look)  # its head is on the chain already, or cannot get there like this
        gas = look.client.estimate_gas(self._means.account.address, profile.fleet_log_contract, data, "latest")
        return self._outbid(newest, profile.fleet_log_contract, data, fees.gas_limit(gas, newest.gas), look)

    def empty(self, newest: Attempt, look: Look) -> Attempt | None:
        """Sign and keep an empty transaction that outbids the newest of its nonce."""
        return self._outbid(newest, self._means.account.address, b"", EMPTY_GAS, look, size=0)

    def filling(self, nonce: int, look: Look) -> Attempt | None:
        """Sign and keep an empty transaction for a nonce that nobody used and that later ones wait for."""
        offer = fees.first(look.market(), self._means.settings.bounds)
        if offer is None:
            self._means.say(Unavailable("fee_ceiling", "the chain asks more than may be offered for a gas"))
            return None
        transaction = self._transaction(self._means.account.address, b"", EMPTY_GAS, offer)
        return self._keep(0, transaction, lambda _: nonce, 0) if self._may_pay(transaction, 0, look) else None

    def _following(self, look: Look) -> _Nonce:
        """Return what takes the next nonce: the journal's, or, before there is one, the first that no endpoint says was
        used.
        """
        with self._means.database.read() as connection:
            known = attempts.next_nonce(connection)
        used = self._means.endpoints.least_used(self._means.account.address) if known is None else known
        first = look.mined_nonces if used is None else used

        def take(connection: sqlite3.Connection) -> int:
            known = attempts.next_nonce(connection)
            if known is None:
                attempts.not_below(connection, first)
            return first if known is None else known

        return take

    def _outbid(
        self, newest: Attempt, to: bytes, data: bytes, gas: int, look: Look, size: int | None = None
    ) -> Attempt | None:
        before = fees.Fees(newest.max_fee, newest.tip)
        offer = fees.bumped(before, look.market(), self._means.settings.bounds)
        if offer is None:
            self._means.say(Unavailable("fee_ceiling", "the chain asks more than may be offered for a gas"))
            return None
        transaction = self._transaction(to, data, gas, offer)
        if not self._may_pay(transaction, newest.most, look, newest.nonce):
            return None
        kept = newest.size if size is None else size
        return self._keep(kept, transaction, lambda _: newest.nonce, look.anchored)

    def _transaction(self, to: bytes, data: bytes, gas: int, offer: fees.Fees) -> Transaction:
        return Transaction(self._means.profile.chain_id, 0, to, data, gas, offer.max_fee, offer.tip)

    def _call_data(self, size: int, anchored: int) -> bytes:
        means = self._means
        with means.database.read() as connection:
            head = fleetlog.head_at(connection, means.profile.fleet_log, size)
            if head is None:
                raise InvariantBroken("head_missing", f"no signed head of size {size}, which is to be anchored")
            return anchoring.call_data(connection, means.contract, head, means.key, anchored)

    def _refusal(self, client: EvmClient, data: bytes, state: str) -> Reverted | None:
        """Return why the contract would refuse a call on this state, None when it would take it."""
        try:
            client.call(self._means.profile.fleet_log_contract, data, state, self._means.account.address)
        except Rejected as error:
            if error.data:
                return self._means.contract.decode_error(error.data)
            if "revert" in error.text.lower():
                return Reverted("without a reason", (), b"")
            raise
        return None

    def _may_pay(self, transaction: Transaction, before: int, look: Look, nonce: int | None = None) -> bool:
        """Tell whether lease, budget and balance allow it, and say what does not. ``before``: the most that the one it
        replaces can cost.
        """
        means, now_ms = self._means, self._means.now_ms()
        if not means.lease.held():
            means.say(Unavailable("lease_not_held", "another gateway may sign for this store; this one signs nothing"))
            return False
        cost = transaction.gas * transaction.max_fee + data_fee(look.client, means.profile.rules, transaction.data)
        with means.database.read() as connection:
            spent = attempts.spent(connection, now_ms - budget.DAY_MS)
            waiting = attempts.most_in_flight(connection, look.mined_nonces)
        if not budget.allowed(spent, max(0, cost - before), now_ms, means.settings.limits):
            why = budget.refusal(spent, max(0, cost - before), now_ms, means.settings.limits)
            means.say(UsageError("spend_limit", f"nothing is signed: {why}", "it goes on by itself as time passes"))
            return False
        needed = cost + sum(wei for used, wei in waiting.items() if used != nonce)
        held = look.client.balance(means.account.address)
        if held < needed:
            text = f"account 0x{means.account.address.hex()} holds {held} wei and may need {needed}"
            means.say(UsageError("funds", text, "send it funds: anchoring goes on by itself"))
            return False
        return True

    def _block(self, wanted: Anchor) -> None:
        """Keep in the store that an anchor waits for money."""
        trouble = self._means.trouble
        if trouble is not None and trouble.code == "funds" and wanted.state != anchors.BLOCKED_FUNDS:
            with self._means.database.write() as connection:
                anchors.move(connection, wanted.size, (anchors.QUEUED,), anchors.BLOCKED_FUNDS)
            # Durable: no more than a word for status; a restart looks at the balance again.

    def _keep(self, size: int, transaction: Transaction, nonce: _Nonce, base: int) -> Attempt:
        means = self._means
        with means.database.write() as connection:
            lease.fence(connection, means.lease.token)
            asked = Transaction(
                transaction.chain_id, nonce(connection), transaction.to, transaction.data, transaction.gas,
                transaction.max_fee, transaction.max_priority_fee,
            )  # fmt: skip
            signed = means.account.sign(asked)
            check_signed(asked, signed, means.account.address)
            attempt = Attempt(
                signed.hash, size, asked.nonce, signed.raw, asked.max_fee, asked.max_priority_fee, asked.gas,
                means.now_ms(), base,
            )  # fmt: skip
            attempts.add(connection, attempt)
        # Durable: the bytes that may go out. A restart sends exactly these again and looks for their hash. Had signing
        # failed, the nonce would not be used.
        return attempt
