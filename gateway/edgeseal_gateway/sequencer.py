"""Statements into the fleet log, and its signed heads (``docs/format.md`` 7, 8, 9): the only writer of the log.

One step: put what waits into the log, decide the head's bytes, make both durable, then sign. A head that was decided
and not signed is signed first, by the same code, whether the step before was interrupted a moment or a crash ago.
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from edgeseal import cose, statements
from edgeseal.errors import EdgesealError, InvariantBroken
from edgeseal.head import FleetHead
from edgeseal.statements import Statement
from edgeseal.statements.enrolment import Enrolment
from edgeseal.statements.revocation import Revocation
from edgeseal_gateway.store import anchors, devicelog, devices, fleetlog, guard, keysets, orders, subjects
from edgeseal_gateway.store.database import Database

MAX_BATCH: Final = 512
"""Logs, and operators' statements, put into the fleet log in one step."""


class Signer(Protocol):
    """The gateway key, in a token: :class:`edgeseal.adapters.pkcs11.Pkcs11Signer` is one."""

    public_key: cose.PublicKey

    def sign(self, message: bytes) -> bytes:
        """Return the ES256 signature of ``message``, 64 bytes r ‖ s, low-S, checked; may block; raises Unavailable."""
        ...


class Claim(Protocol):
    """The claim to sign for this store: :class:`edgeseal_gateway.chain.lease.Lease` is one."""

    def trouble(self) -> EdgesealError | None:
        """Return why this process may not sign now, or None."""
        ...

    def fence(self, connection: sqlite3.Connection) -> None:
        """Raise InvariantBroken, in the transaction that stores what is signed, when another process has taken over."""
        ...


@dataclass(frozen=True, slots=True)
class AnchorPolicy:
    """When a head must be anchored, from the configuration; the keyset's promise counts where it is stricter."""

    size: int | None
    secs: int | None


class Sequencer:
    """Moves the fleet log on. One in the whole gateway; not thread-safe."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        log: bytes,
        policy: AnchorPolicy,
        monotonic: Callable[[], float],
        claim: Claim | None = None,
    ) -> None:
        """Sequence nothing yet. ``claim``: where several gateways may run on one store, the claim to sign for it."""
        self._claim = claim
        self._flush = threading.Event()
        self._database = database
        self._signer = signer
        self._log = log
        self._policy = policy
        self._monotonic = monotonic
        self._unanchored_since: float | None = None
        self.blocked: EdgesealError | None = None
        """Why nothing was signed in the last step, None when nothing stood in the way."""

    def step(self) -> bool:
        """Sequence and sign what waits; return whether anything was done.

        Raises:
            Unavailable: token or store; the next step goes on from here.
            InvariantBroken: somebody else writes this log, or the key is another one.
        """
        self.blocked = None if self._claim is None else self._claim.trouble()
        if self.blocked is not None:
            return False
        with self._database.read() as connection:
            self.blocked = guard.blocked(connection, self._log)
            waiting = fleetlog.unsigned_head(connection, self._log)
        if self.blocked is not None:
            return False
        if waiting is not None:
            self._sign(waiting)
            return True
        with self._database.write() as connection:
            self._fence(connection)
            self.blocked = guard.blocked(connection, self._log)
            if self.blocked is not None or not self._sequence(connection):
                return False
        # Durable: the new leaves and the bytes of the head over them. A restart signs these very bytes.
        with self._database.read() as connection:
            decided = fleetlog.unsigned_head(connection, self._log)
        if decided is None:
            raise InvariantBroken("head_signed", "the head decided a moment ago was signed by somebody else")
        self._sign(decided)
        return True

    def flush(self) -> None:
        """Let the next step end in a head that is anchored, if anything is not. May be called from any thread."""
        self._flush.set()

    def _fence(self, connection: sqlite3.Connection) -> None:
        if self._claim is not None:
            self._claim.fence(connection)

    def _sign(self, decided: fleetlog.StoredHead) -> None:
        key = self._signer.public_key
        if decided.kid != key.kid:
            raise InvariantBroken(
                "gateway_key", f"the head of size {decided.head.size} was decided for another gateway key"
            )
        signature = self._signer.sign(decided.unsigned.to_be_signed)
        with self._database.write() as connection:
            self._fence(connection)
            fleetlog.set_signature(connection, decided.head.size, signature)
        # Durable: the signed head. A restart finds it signed; receipts are made from it again as often as needed.

    def _sequence(self, connection: sqlite3.Connection) -> bool:
        """Append what waits, in the caller's transaction; return False when there is nothing to append."""
        entries = self._orders(connection)
        entries += self._device_heads(connection)
        start = fleetlog.size(connection)
        if entries and self._unanchored_since is None:
            self._unanchored_since = self._monotonic()
        due = self._anchor_due(connection, start + len(entries))
        if not entries and not due:
            return False
        subjects.add(connection, enumerate(entries, start))
        if due:
            entries.append(self._snapshot(connection, start + len(entries)))
        prev = fleetlog.previous_of_next(connection)
        size, root = fleetlog.append(connection, entries)
        kid = self._signer.public_key.kid
        fleetlog.decide_head(connection, FleetHead(self._log, size, root, prev), kid, due)
        if due:
            anchors.want(connection, size)
            self._unanchored_since = None
            self._flush.clear()
        return True

    def _orders(self, connection: sqlite3.Connection) -> list[Statement]:
        """Take operators' statements out of the queue and let them have their effect."""
        found = fleetlog.pending(connection, MAX_BATCH)
        entries = [statements.decode(data) for _, data in found]
        for position, entry in enumerate(entries, fleetlog.size(connection)):
            content = entry.content
            if isinstance(content, Enrolment):
                devices.enrol(connection, content, position)
                devices.forget_applicant(connection, content.log)
            elif isinstance(content, Revocation):
                orders.revoke_by(connection, content)
        orders.drop_pending(connection, [one for one, _ in found])
        return entries

    def _device_heads(self, connection: sqlite3.Connection) -> list[Statement]:
        rows = devicelog.ready_heads(connection, MAX_BATCH)
        devicelog.set_sequenced(connection, rows)
        return [statements.decode(row.head) for row in rows]

    def _anchor_due(self, connection: sqlite3.Connection, size: int) -> bool:
        """Tell whether the head to come must end in a snapshot and go to the chain."""
        if anchors.open_anchor(connection) is not None or anchors.newest_wanted(connection) is not None:
            return False
        if len(anchors.in_flight(connection)) >= anchors.MAX_UNFINAL:
            return False  # the chain is slow to call them final: the open batch grows until it does
        settled = anchors.newest_settled(connection)
        waiting = size - (0 if settled is None else settled.size)
        if waiting <= 0:
            self._flush.clear()
            return False
        if self._flush.is_set():
            return True
        if self._unanchored_since is None:
            self._unanchored_since = self._monotonic()
        promise, _ = keysets.newest(connection, self._log)
        most = min(promise.anchor_size, self._policy.size or promise.anchor_size)
        secs = min(promise.anchor_secs, self._policy.secs or promise.anchor_secs)
        return waiting >= most or self._monotonic() - self._unanchored_since >= secs

    def _snapshot(self, connection: sqlite3.Connection, position: int) -> Statement:
        """Make the snapshot for ``position``. Its signature leaves this process only with the transaction's success."""
        tree = subjects.tree_now(connection)
        made = sign_statement(self._signer, tree.statement(self._log, position))
        subjects.add_snapshot(connection, position, tree)
        return made


def sign_statement(signer: Signer, content: statements.Content) -> Statement:
    """Return ``content`` as a statement signed by the gateway key. Raises what the signer raises."""
    unsigned = statements.prepare(content, signer.public_key.kid)
    return statements.decode(unsigned.assemble(signer.sign(unsigned.to_be_signed)))


def found_log(connection: sqlite3.Connection, signer: Signer, log: bytes, keyset: Statement) -> None:
    """Put keyset 1 and the first snapshot into an empty log and decide the head of size 2 (format 7.1)."""
    subjects.add(connection, [(0, keyset)])
    tree = subjects.tree_now(connection)
    snapshot = sign_statement(signer, tree.statement(log, 1))
    subjects.add_snapshot(connection, 1, tree)
    size, root = fleetlog.append(connection, [keyset, snapshot])
    head = FleetHead(log, size, root, fleetlog.previous_of_next(connection))
    fleetlog.decide_head(connection, head, signer.public_key.kid, True)
    anchors.want(connection, size)
