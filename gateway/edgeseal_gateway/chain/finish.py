"""What is kept of an anchor that was mined: where it stands, and, once final, the evidence that a stranger can check.

A receipt alone is not believed: the event is compared with what was meant, the receipt proved under its block's header,
the contract asked for the state after that block.
"""

from __future__ import annotations

from edgeseal.adapters.evm import BoundContract, EvmClient, FoundLog, Rejected, Reverted, TxReceipt
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal.fleetlog_event import decode_anchored
from edgeseal_gateway.chain import anchor as anchoring
from edgeseal_gateway.chain import history
from edgeseal_gateway.chain.anchor import Meant
from edgeseal_gateway.chain.means import Look, Means
from edgeseal_gateway.chain.sendstate import Do
from edgeseal_gateway.chain.track import Verdict
from edgeseal_gateway.store import anchors, attempts, fleetlog
from edgeseal_gateway.store.anchors import Anchor

_REMEDY = (
    "find out why before going on: `edgeseal-gateway anchor abandon` gives it up, the next snapshot gets a new one"
)


class Finisher:
    """Carries out what was decided about an anchor that was signed or found."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._reconciled = -1
        self._unfound: EdgesealError | None = None

    def carry_out(self, anchor: Anchor, verdict: Verdict, look: Look) -> bool:
        """Store what the verdict makes of an anchor; return whether it is confirmed, final or taken back now.

        Raises Unavailable: the node that showed it does not prove it; nothing was stored.
        """
        receipt, do = verdict.receipt, verdict.do
        if do is Do.UNMINE:
            self._unmine(anchor, verdict)
            return True
        if do is Do.REQUEUE:
            self._requeue(anchor, verdict)
        elif receipt is not None and do is Do.NOTE:
            self._note(anchor, receipt, anchors.MINED)
        elif receipt is not None and do is Do.HALT:
            self._failed(anchor, verdict, receipt, look)
        elif receipt is not None and do in (Do.CONFIRM, Do.FINISH):
            return self._accept(anchor, verdict, receipt, look)
        return False

    def _accept(self, anchor: Anchor, verdict: Verdict, receipt: TxReceipt, look: Look) -> bool:
        means, profile = self._means, self._means.profile
        wanted = self._meant(anchor.size)
        found = anchoring.evidence(verdict.client, profile.chain_id, profile.fleet_log_contract, receipt, wanted)
        if found is None:
            self._note(anchor, receipt, anchors.REVERTED)
            means.say(UsageError("anchor_mismatch", self._text(anchor, "was mined and did something else"), _REMEDY))
            return False
        self._check_state(verdict.client, receipt, wanted, look)
        index, proof = found
        place = (receipt.block_hash, receipt.block_number, receipt.tx, index)
        with means.database.write() as connection:
            attempts.paid(connection, receipt.tx, receipt.gas_used * receipt.gas_price)
            if verdict.do is Do.FINISH:
                anchors.finish(connection, anchor.size, *place, proof)
            else:
                anchors.found(connection, anchor.size, anchors.CONFIRMED, *place)
        # Durable: the anchor, and its evidence if it is final. A restart tells devices again, opens the next.
        return True

    def _check_state(self, client: EvmClient, receipt: TxReceipt, wanted: Meant, look: Look) -> None:
        """Ask the contract what it holds after the block of a receipt, or now where the node forgot older states."""
        fleet = BoundContract(client, self._means.contract, self._means.profile.fleet_log_contract)
        try:
            size, root = fleet.call("head", wanted.log, block=receipt.block_hash)
        except Reverted as error:
            raise Unavailable("rpc_answer", f"the contract does not know the log after its anchor: {error}") from error
        except Rejected:
            size, root = look.anchored, b""
        if size < wanted.size or (size == wanted.size and root and bytes(root) != wanted.root):
            raise Unavailable(
                "rpc_answer", f"{client.name}: after the block of its event the contract holds size {size}"
            )

    def _note(self, anchor: Anchor, receipt: TxReceipt, state: str) -> None:
        with self._means.database.write() as connection:
            anchors.found(connection, anchor.size, state, receipt.block_hash, receipt.block_number, receipt.tx, None)
            attempts.paid(connection, receipt.tx, receipt.gas_used * receipt.gas_price)
        # Durable: where it was seen, for status. A restart looks for its receipt again.

    def _unmine(self, anchor: Anchor, verdict: Verdict) -> None:
        """Clear what came of a block that is gone, or note the other block; the same bytes are sent again."""
        self._means.counters.reorgs += 1
        with self._means.database.write() as connection:
            anchors.lost(connection, anchor.size, verdict.state.value)
            for one in verdict.attempts:
                attempts.paid(connection, one.hash, None)
        # Durable: receipts under this anchor are to be taken back. A restart sends its bytes again.

    def _requeue(self, anchor: Anchor, verdict: Verdict) -> None:
        """Let an anchor wait for another nonce: its own was used by an empty transaction of ours, or by a stranger."""
        nonce = verdict.attempts[-1].nonce
        with self._means.database.write() as connection:
            anchors.lost(connection, anchor.size, anchors.QUEUED)
            if not verdict.filled:
                attempts.note_foreign(connection, nonce)
        # Durable: it waits again; its old bytes stay in the journal, should they be mined after all.

    def _failed(self, anchor: Anchor, verdict: Verdict, receipt: TxReceipt, look: Look) -> None:
        """Judge a transaction that was mined and reverted: explained by what the chain holds, or a reason to halt."""
        ours = next((one for one in verdict.attempts if one.hash == receipt.tx), None)
        explained = look.anchored >= anchor.size or (ours is not None and ours.base != look.anchored)
        if not explained:
            self._note(anchor, receipt, anchors.REVERTED)
            return
        with self._means.database.write() as connection:
            attempts.paid(connection, receipt.tx, receipt.gas_used * receipt.gas_price)
            anchors.lost(connection, anchor.size, anchors.QUEUED)
        # Durable: it waits again, and is compared with what the chain holds before anything is signed.

    def halted(self, anchor: Anchor) -> UsageError:
        """Return what is said about an anchor that failed."""
        return UsageError("anchor_failed", self._text(anchor, "was mined and failed; nothing more is sent"), _REMEDY)

    @staticmethod
    def _text(anchor: Anchor, what: str) -> str:
        tx = "" if anchor.tx is None else f" (0x{anchor.tx.hex()})"
        return f"the transaction of size {anchor.size}{tx} {what}"

    def _meant(self, size: int) -> Meant:
        with self._means.database.read() as connection:
            head = fleetlog.head_at(connection, self._means.profile.fleet_log, size)
        if head is None:
            raise InvariantBroken("head_missing", f"no signed head of size {size}, which is anchored")
        return anchoring.meant(head)

    def reconcile(self, look: Look) -> None:
        """Take over what is on the chain and was not noted: brought by somebody else (anybody may, the signature is
        ours), or by us before the journal was lost. Heads that waited and can never get there any more are dropped.
        """
        with self._means.database.read() as connection:
            settled, waiting = anchors.newest_settled(connection), anchors.newest_wanted(connection)
            known = max((one.size for one in anchors.in_flight(connection)), default=0)
        least = 0 if settled is None else settled.size
        overtaken = waiting is not None and waiting.size <= look.anchored
        ahead = look.anchored > max(least, known)
        if not overtaken and (not ahead or look.anchored == self._reconciled):
            if ahead and self._unfound is not None:
                self._means.say(self._unfound)
            return
        fleet = BoundContract(look.client, self._means.contract, self._means.profile.fleet_log_contract)
        floor = 0 if settled is None or settled.number is None else settled.number
        taken_over = set()
        for entry in history.events(fleet, self._means.profile.fleet_log, floor):
            if anchoring.is_older(entry.log, least + 1):
                break
            taken_over.add(self._adopt(entry, look.client))
        with self._means.database.write() as connection:
            anchors.drop_waiting(connection, look.anchored)
        # Durable: what the chain holds is known; what it can never take any more is forgotten.
        self._reconciled = look.anchored
        self._unfound = None if look.anchored in {least, known, *taken_over} else self._nowhere(look)

    def _nowhere(self, look: Look) -> EdgesealError:
        text = (
            f"the chain holds size {look.anchored}, and no event that says so was found in {history.SCAN_BOUND} blocks"
        )
        return UsageError(
            "history_bound", text, "use an endpoint that keeps older events: its evidence is missing here"
        )

    def _adopt(self, entry: FoundLog, client: EvmClient) -> int | None:
        """Take an anchor over that an event names, if it is of one of our heads; return its size."""
        means = self._means
        try:
            size = decode_anchored(entry.log).size
        except EdgesealError:
            return None
        with means.database.read() as connection:
            head = fleetlog.head_at(connection, means.profile.fleet_log, size)
        receipt = client.receipt(entry.tx)
        if head is None or receipt is None or receipt.block_hash != entry.block_hash:
            return None
        if anchoring.find_event(receipt, means.profile.fleet_log_contract, anchoring.meant(head)) is None:
            return None
        sent = client.transaction(entry.tx)
        with means.database.write() as connection:
            if sent is not None and sent.sender == means.account.address:
                attempts.not_below(connection, sent.nonce + 1)
            anchors.found(connection, size, anchors.MINED, receipt.block_hash, receipt.block_number, receipt.tx, None)
        # Durable: where it was found; from here it is followed like one of our own.
        return size
