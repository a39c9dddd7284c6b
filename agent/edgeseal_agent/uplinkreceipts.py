"""A receipt from the gateway: believed only after it was checked against our own head, the keyset and what was seen."""

from __future__ import annotations

import sqlite3
from collections import Counter

from edgeseal.errors import VerificationError
from edgeseal.head import FleetHead, SignedDeviceHead
from edgeseal.messages import ReceiptMessage
from edgeseal_agent import outbox
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.identity import Identity
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import LARGEST


class Receipts:
    """Checks receipts and keeps them. For the uplink's thread, whose ``counts`` it keeps."""

    def __init__(
        self, connection: sqlite3.Connection, journal: Journal, beliefs: Beliefs, identity: Identity,
        counts: Counter[str],
    ) -> None:  # fmt: skip
        self._connection, self._journal = connection, journal
        self._beliefs, self._identity = beliefs, identity
        self._counts = counts

    def take(self, message: ReceiptMessage) -> int:
        """Check a receipt and queue it for the store; return the size of our head that it covers. A crash before it is
        durable asks for it again.

        Raises VerificationError with the reason, ProofMissing where the gateway has to be asked for a consistency
        proof first; errors of the journal.
        """
        head = SignedDeviceHead.decode(message.head)
        size = min(head.head.size, LARGEST)
        row = self._connection.execute("SELECT payload FROM heads WHERE size = ?", (size,)).fetchone()
        if row is None or head.signed.payload != row[0]:
            raise VerificationError(
                "receipt_head", f"the receipt is for a head of size {head.head.size} that is not ours"
            )
        head.verify(self._identity.key)
        included = self._beliefs.include(message.head, message.receipt, message.start, message.path)
        size, fleet = head.head.size, included.fleet
        finality = self._finality(message, fleet)
        kept = outbox.Receipt(size, included.position, fleet.size, message.head, message.receipt, finality)
        self._journal.execute(lambda connection: outbox.keep_receipt(connection, kept))
        self._counts["receipts"] += 1
        return size

    def _finality(self, message: ReceiptMessage, fleet: FleetHead) -> int:
        """Return what a checked receipt says of the chain; only a final anchor is believed for longer than that.

        Raises VerificationError ``receipt_head``: the anchor is of another fleet head than the receipt.
        """
        anchor = message.anchor
        if anchor is None:
            return outbox.PENDING
        if (anchor.size, anchor.root) != (fleet.size, fleet.root):
            raise VerificationError("receipt_head", f"an anchor of size {anchor.size}, a receipt under {fleet.size}")
        if not message.final:
            self._counts["receipts_confirmed"] += 1
            return outbox.CONFIRMED
        self._beliefs.told_anchor(anchor)
        self._counts["receipts_final"] += 1
        return outbox.FINAL
