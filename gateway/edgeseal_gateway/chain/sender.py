"""The gateway's transactions: one at a time, from its own account, until it is final.

Order of work, for crashes: sign, store the bytes, send them. A restart finds them and sends the very same bytes
again; what the chain did with them is asked for by hash, for every attempt. Nonces are this program's own: nobody
else uses the account.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Final

from edgeseal import cose
from edgeseal.adapters.evm import Account, BoundContract, Contract, EvmClient, Rejected, Transaction, TxReceipt
from edgeseal.errors import EdgesealError, InvariantBroken, UsageError
from edgeseal.network import NetworkProfile
from edgeseal_gateway.chain import anchor as anchoring
from edgeseal_gateway.chain import fees, history
from edgeseal_gateway.chain.sendstate import Do, Mined, Seen, SendState
from edgeseal_gateway.store import anchors, fleetlog
from edgeseal_gateway.store.anchors import Anchor, Attempt
from edgeseal_gateway.store.database import Database

GWEI: Final = 1_000_000_000
_HARMLESS: Final = ("already known", "already imported", "known transaction", "nonce too low")
"""What nodes say when they have the transaction, or had it: its hash tells the rest."""
_TOO_LITTLE: Final = ("underpriced", "fee too low", "less than block base fee", "max fee per gas less than")


class Sender:
    """Carries wanted anchors to the chain. One in the whole gateway; not thread-safe."""

    def __init__(
        self,
        client: EvmClient,
        profile: NetworkProfile,
        database: Database,
        account: Account,
        key: cose.PublicKey,
        confirmations: int,
        max_fee_gwei: int,
        now_ms: Callable[[], int],
    ) -> None:
        self._client = client
        self._profile = profile
        self._database = database
        self._account = account
        self._key = key
        self._confirmations = confirmations
        self._ceiling = max_fee_gwei * GWEI
        self._now_ms = now_ms
        self._contract = Contract("FleetLog")
        self._state: tuple[int, SendState] | None = None
        self.blocked: EdgesealError | None = None
        """Why no anchor goes out, None when nothing stands in the way."""

    def use(self, client: EvmClient) -> None:
        """Go on through another endpoint."""
        self._client = client

    def step(self, anchored: int) -> bool:
        """Move the open anchor on, or open the next; ``anchored`` is the size on the chain now. Return whether one
        became final.

        Raises Unavailable, and InvariantBroken ``anchor_mismatch`` when a mined transaction did something else.
        """
        with self._database.read() as connection:
            current = anchors.open_anchor(connection)
            wanted = anchors.newest_wanted(connection)
            if wanted is not None and fleetlog.head_at(connection, self._profile.fleet_log, wanted.size) is None:
                wanted = None  # decided and not signed yet: the sequencer does that next
        if current is not None:
            return self._follow(current, anchored)
        if wanted is None:
            self.blocked = None
            return False
        if anchored >= wanted.size:
            return self._adopt(wanted.size)
        self._open(wanted, anchored)
        return False

    def _open(self, wanted: Anchor, anchored: int) -> None:
        """Sign, store and send the transaction of a wanted anchor."""
        with self._database.read() as connection:
            head = self._head(connection, wanted.size)
            data = anchoring.call_data(connection, self._contract, head, self._key, anchored)
            nonce = anchors.next_nonce(connection)
        try:
            gas = fees.gas_limit(
                self._client.estimate_gas(self._account.address, self._profile.fleet_log_contract, data)
            )
        except Rejected as error:
            refused = self._contract.decode_error(error.data) if error.data else error
            self.blocked = UsageError("anchor_refused", f"size {wanted.size}: {refused.message}")
            return
        nonce = max(nonce or 0, self._client.transaction_count(self._account.address))
        attempt = self._sign(wanted.size, nonce, data, gas, fees.first(*self._market(), self._ceiling))
        if attempt is None:
            return
        with self._database.write() as connection:
            anchors.start(connection, attempt)
        # Durable: the bytes that may go out. A restart sends exactly these again and looks for their hash.
        self.blocked = None
        self._send(attempt)

    def _sign(self, size: int, nonce: int, data: bytes, gas: int, offer: fees.Fees) -> Attempt | None:
        cost = gas * offer.max_fee
        if self._client.balance(self._account.address) < cost:
            text = f"account 0x{self._account.address.hex()} cannot pay up to {cost} wei"
            self.blocked = UsageError("funds", text, "send it funds: anchoring goes on by itself")
            return None
        signed = self._account.sign(
            Transaction(
                self._profile.chain_id, nonce, self._profile.fleet_log_contract, data, gas, offer.max_fee, offer.tip
            )
        )
        return Attempt(signed.hash, size, nonce, signed.raw, offer.max_fee, offer.tip, gas, self._now_ms())

    def _market(self) -> tuple[int, int]:
        header = self._client.header("latest")
        return (0 if header is None else header.base_fee), self._client.priority_fee()

    def _send(self, attempt: Attempt) -> bool:
        """Hand the bytes to the node; return False if the node asks for more. Its other words are kept in
        ``blocked``.
        """
        try:
            self._client.send_raw(attempt.raw)
        except Rejected as error:
            text = error.text.lower()
            if any(word in text for word in _TOO_LITTLE):
                return False
            if not any(word in text for word in _HARMLESS):
                self.blocked = UsageError("anchor_refused", f"the node refuses the transaction: {error.text}")
        return True

    def _follow(self, current: Anchor, anchored: int) -> bool:
        with self._database.read() as connection:
            attempts = anchors.attempts(connection, current.size)
        if not attempts:
            raise InvariantBroken("anchor_state", f"the anchor of size {current.size} was sent without a transaction")
        receipt = next(filter(None, (self._client.receipt(one.hash) for one in attempts)), None)
        newest = attempts[-1]
        look = Seen(
            self._client.block_number(),
            self._client.transaction_count(self._account.address),
            None if receipt is None else Mined(receipt.ok, receipt.block_number, self._is_canonical(receipt)),
            self._now_ms(),
        )
        do = self._send_state(newest.nonce).decide(look, newest.at_ms)
        if do is Do.FINISH and receipt is not None:
            return self._finish(current.size, receipt)
        if do in (Do.REVERTED, Do.NONCE_LOST):
            return self._failed(current, anchored, do)
        if do is Do.BUMP or (do is Do.SEND_AGAIN and not self._send(newest)):
            self._bump(newest)
        return False

    def _send_state(self, nonce: int) -> SendState:
        if self._state is None or self._state[0] != nonce:
            self._state = nonce, SendState(nonce, self._confirmations)
        return self._state[1]

    def _is_canonical(self, receipt: TxReceipt) -> bool:
        header = self._client.header(receipt.block_number)
        return header is not None and header.hash == receipt.block_hash

    def _bump(self, newest: Attempt) -> None:
        offer = fees.bumped(fees.Fees(newest.max_fee, newest.tip), *self._market(), self._ceiling)
        if offer is None:
            self._send(newest)
            self.blocked = UsageError("fee_ceiling", "the chain asks more than chain.max_fee_gwei allows")
            return
        with self._database.read() as connection:
            head, final = self._head(connection, newest.size), anchors.newest_final(connection)
            size = 0 if final is None else final.size  # nothing else was anchored: the transaction is still open
            data = anchoring.call_data(connection, self._contract, head, self._key, size)
        attempt = self._sign(newest.size, newest.nonce, data, newest.gas, offer)
        if attempt is None:
            return
        with self._database.write() as connection:
            anchors.add_attempt(connection, attempt)
        # Durable: the replacement's bytes, beside the old ones: whichever is mined, it is found by its hash.
        self._send(attempt)

    def _head(self, connection: sqlite3.Connection, size: int) -> fleetlog.StoredHead:
        head = fleetlog.head_at(connection, self._profile.fleet_log, size)
        if head is None:
            raise InvariantBroken("head_missing", f"no signed head of size {size}, which is to be anchored")
        return head

    def _finish(self, size: int, receipt: TxReceipt) -> bool:
        """Compare what was mined with what was meant, and keep the evidence."""
        with self._database.read() as connection:
            wanted = anchoring.meant(self._head(connection, size))
        profile = self._profile
        index, proof = anchoring.evidence(self._client, profile.chain_id, profile.fleet_log_contract, receipt, wanted)
        with self._database.write() as connection:
            anchors.finish(connection, size, receipt.block_hash, receipt.block_number, receipt.tx, index, proof)
        # Durable: the anchor and its evidence. A restart tells the devices again and opens the next one.
        self.blocked = None
        return True

    def _failed(self, current: Anchor, anchored: int, do: Do) -> bool:
        """Judge a transaction that will never do its work: somebody else's may have."""
        if anchored >= current.size and self._adopt(current.size):
            return True
        with self._database.write() as connection:
            anchors.give_up(connection, current.size)
        self.blocked = UsageError(
            "anchor_failed",
            f"size {current.size}: {do.value}",
            "the next anchor is tried by itself; if this repeats, look at the contract's gateway key and the account",
        )
        return False

    def _adopt(self, size: int) -> bool:
        """Take an anchor that somebody else brought to the chain: anybody may, the signature is ours."""
        with self._database.read() as connection:
            wanted = anchoring.meant(self._head(connection, size))
        fleet = BoundContract(self._client, self._contract, self._profile.fleet_log_contract)
        for entry in history.events(fleet, self._profile.fleet_log):
            receipt = self._client.receipt(entry.tx)
            if receipt is not None and anchoring.find_event(receipt, entry.log.address, wanted) is not None:
                return self._finish(size, receipt)
            if anchoring.is_older(entry.log, size):
                break
        with self._database.write() as connection:
            anchors.drop(connection, size)
        return False
