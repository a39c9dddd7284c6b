"""Segments into the store (``docs/format.md`` section 6): many messages, one transaction, then the acknowledgements.

Whatever a message says, the others of its batch are stored; what is refused is counted under its reason code and
answered. Nothing unauthenticated is kept. A log position under a good signature is never refused for its content.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import limits
from edgeseal.errors import EvidenceError, TrustError, VerificationError
from edgeseal.head import Seen
from edgeseal.merkle import Frontier
from edgeseal.messages import Refusal, Resend
from edgeseal_gateway import bodies, enforcement, segmentcheck
from edgeseal_gateway.headreader import Head, HeadReader
from edgeseal_gateway.segmentcheck import Envelope
from edgeseal_gateway.store import devicelog, devices, refusals
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.store.devices import Device

MAX_CACHED: Final = 20_000
MISMATCHES_BEFORE_RESTART: Final = 3
"""After so many segments in a row that miss their root, a device is asked for its whole log: it may have forked."""
ASK_AGAIN: Final = frozenset({"root_mismatch", "body_mismatch", "segment_gap"})


@dataclass(frozen=True, slots=True)
class Again:
    """The device sent what is stored already: it lacks our receipt for its log."""

    log: bytes


Answer = Refusal | Resend | Again


@dataclass(slots=True)
class _Known:
    """A device in memory, its head reader, and the position whose body was last asked for."""

    device: Device
    reader: HeadReader
    asked: int | None = None


class Ingest:
    """Takes batches of ``up/segment`` payloads. One at a time in the whole gateway; not thread-safe."""

    def __init__(self, database: Database, now_ms: Callable[[], int], quota_bytes: int) -> None:
        self._database = database
        self._now_ms = now_ms
        self._quota = quota_bytes
        self._cache: dict[bytes, _Known] = {}
        self._version = -1
        self._touched: dict[bytes, Device] = {}
        self._tally: dict[tuple[bytes, str], tuple[int, str]] = {}
        self._answers: dict[tuple[bytes, str], Answer] = {}

    def take(self, batch: Sequence[tuple[bytes, bytes]]) -> list[Answer]:
        """Store what is good of ``batch``, pairs of (log id of the topic, payload), and return what to answer.

        When it returns, everything accepted is durable and the messages may be acknowledged; a crash before that brings
        them again, and they are found stored. When it raises, nothing of the batch was stored.

        Raises:
            Unavailable: ``store_unavailable``. InvariantBroken: the store contradicts itself.
        """
        self._touched, self._tally, self._answers = {}, {}, {}
        try:
            with self._database.write() as connection:
                self._refresh(connection)
                for log, data in batch:
                    self._one(connection, log, data)
                for device in self._touched.values():
                    devices.advance(connection, device)
                for (log, code), (n, detail) in self._tally.items():
                    refusals.count(connection, log, code, detail, self._now_ms(), n)
        except BaseException:
            self._cache.clear()  # what is in memory may be ahead of what is stored
            raise
        return list(self._answers.values())

    def _refresh(self, connection: sqlite3.Connection) -> None:
        """Learn which devices were revoked, frozen or closed by another stage since the last batch."""
        version = connection.execute("PRAGMA data_version").fetchone()[0]
        if version != self._version:
            self._version = version
            states = devices.states(connection)
            for log, known in self._cache.items():
                known.device.state = states.get(log, devices.ACTIVE)

    def _find(self, connection: sqlite3.Connection, log: bytes) -> _Known | None:
        known = self._cache.get(log)
        if known is None:
            device = devices.find(connection, log)
            if device is None:
                return None
            while len(self._cache) >= MAX_CACHED:
                del self._cache[next(iter(self._cache))]
            known = self._cache[log] = _Known(device, HeadReader(log, device.key))
        return known

    def _one(self, connection: sqlite3.Connection, log: bytes, data: bytes) -> None:
        known = self._find(connection, log)
        if known is None:
            self._refuse(log, "unknown_key", "this log is not enrolled here", 0)
            return
        device = known.device
        if device.state not in (devices.ACTIVE, devices.CLOSED):
            refused = enforcement.refusal(connection, device)
            if refused is not None:
                self._refuse(log, *refused, device.size)
                return
        try:
            self._segment(connection, known, data)
        except EvidenceError as error:
            self._refuse(log, error.code, error.message, device.size)
            if error.code in ASK_AGAIN:
                self._ask(known, error.code)

    def _refuse(self, log: bytes, code: str, detail: str, size: int) -> None:
        n, _ = self._tally.get((log, code), (0, ""))
        self._tally[log, code] = (n + 1, detail)
        self._answers[log, "refusal"] = Refusal(log, code, detail[: limits.MAX_TEXT // 4], size)

    def _ask(self, known: _Known, code: str) -> None:
        device = known.device
        device.mismatches += code == "root_mismatch"
        whole = device.mismatches >= MISMATCHES_BEFORE_RESTART
        if whole:
            device.mismatches = 0
        self._answers[device.log, "resend"] = Resend(device.log, 0 if whole else device.size)

    def _segment(self, connection: sqlite3.Connection, known: _Known, data: bytes) -> None:
        device = known.device
        envelope = segmentcheck.open_envelope(data, device.log)
        head = known.reader.read(envelope.head)
        if envelope.start + envelope.count != head.size:
            raise VerificationError("segment_size", f"from {envelope.start} and {envelope.count} items")
        known.reader.verify(head)
        device.contact = self._now_ms()
        self._touched[device.log] = device
        if head.size <= device.size:
            self._stored_already(connection, known, envelope, head, data)
        else:
            self._extend(connection, known, envelope, head, data)

    def _extend(
        self, connection: sqlite3.Connection, known: _Known, envelope: Envelope, head: Head, data: bytes
    ) -> None:
        """Take a segment that goes beyond what is stored: check everything, then write."""
        device, start = known.device, known.device.size
        skip = start - envelope.start
        if skip < 0:
            raise VerificationError("segment_gap", f"the segment begins at {envelope.start}, {start} are stored")
        found = envelope.leaves()
        if skip and found[:skip] != devicelog.leaves(connection, device.id, envelope.start, start):
            self._other_branch(connection, device, envelope, head, found, data)
        frontier = Frontier(start, device.frontier.hashes)
        frontier.extend(found[skip:])
        if frontier.root() != head.root:
            raise VerificationError("root_mismatch", f"the items do not lead to the signed root of size {head.size}")
        device.mismatches = 0
        self._check_prev(connection, device, head, data)
        if start == 0 and found[0] != device.genesis:
            raise TrustError("genesis_mismatch", "record 0 is not the one that the enrolment names")
        if device.state == devices.CLOSED:
            self._keep(connection, device, "after_closed", data)
            raise VerificationError("after_closed", f"the log was closed at size {start}")
        if device.bytes + len(data) > self._quota:
            raise TrustError("quota", f"the log has {device.bytes} bytes here, the quota is {self._quota}")
        noted = envelope.check_bodies()
        self._note_seen(connection, device, head, data)
        # From here on only writes.
        devicelog.add_segment(connection, device.id, start, skip, found[skip:], data)
        state = devicelog.READY if bodies.note(connection, device, noted, skip, start) else devicelog.WAITING
        digest = sha256(head.signed).digest()
        devicelog.add_head(connection, device.id, head.size, head.root, head.signed, digest, state)
        device.size, device.root, device.frontier = head.size, head.root, frontier
        device.bytes += len(data)
        if any(kind == b"closed" and envelope.start + place + 1 == head.size for place, kind, _ in noted.watched):
            device.state = devices.CLOSED
        if skip:
            self._fill(connection, device, envelope.start, envelope.items[:skip])
        if state == devicelog.WAITING or skip or noted.watched:
            self._release(connection, known)

    def _stored_already(
        self, connection: sqlite3.Connection, known: _Known, envelope: Envelope, head: Head, data: bytes
    ) -> None:
        """Take a head of a size we are past: the same again, a fork, or bodies that were missing."""
        device = known.device
        row = devicelog.head_at(connection, device.id, head.size)
        ours = devicelog.root_at(connection, device.id, head.size) if row is None else row.root
        if ours != head.root:
            self._fork(connection, device, head.size, data, f"two roots for size {head.size}")
        self._check_prev(connection, device, head, data)
        self._fill(connection, device, envelope.start, envelope.items)
        self._release(connection, known)
        self._answers[device.log, "again"] = Again(device.log)

    def _fill(self, connection: sqlite3.Connection, device: Device, start: int, items: list[list[Any]]) -> None:
        for error in bodies.fill(connection, device, start, items, self._quota):
            self._refuse(device.log, error.code, error.message, device.size)

    def _release(self, connection: sqlite3.Connection, known: _Known) -> None:
        """Let heads go on whose bodies are all accounted for; ask once for the first that is not."""
        device = known.device
        missing = devicelog.release_heads(connection, device.id)
        if missing is not None and missing != known.asked:
            self._refuse(device.log, "bodies_missing", f"the body of record {missing} is missing", device.size)
            self._answers[device.log, "resend"] = Resend(device.log, missing)
        known.asked = missing

    def _check_prev(self, connection: sqlite3.Connection, device: Device, head: Head, data: bytes) -> None:
        size, root = head.prev
        if (size, root) == (device.size, device.root):
            return  # the usual: it follows the newest head that is stored
        if 0 < size <= device.size:
            row = devicelog.head_at(connection, device.id, size)
            if row is not None and row.root != root:
                self._fork(connection, device, size, data, f"a head denies the signed head of size {size}")

    def _other_branch(
        self,
        connection: sqlite3.Connection,
        device: Device,
        envelope: Envelope,
        head: Head,
        found: list[bytes],
        data: bytes,
    ) -> None:
        """Judge a segment that gives stored positions other leaves: a fork if a signed root covers it, else noise."""
        frontier = Frontier.from_nodes(devicelog.reader(connection, device.id), envelope.start)
        frontier.extend(found)
        if frontier.root() != head.root:
            raise VerificationError("root_mismatch", f"the items do not lead to the signed root of size {head.size}")
        self._fork(connection, device, device.size, data, f"two histories from position {envelope.start} on")

    def _fork(self, connection: sqlite3.Connection, device: Device, size: int, data: bytes, detail: str) -> None:
        """Keep both sides, freeze the log, refuse: format 5.2."""
        row = devicelog.head_at(connection, device.id, size) or devicelog.head_at(connection, device.id, device.size)
        if row is not None:
            self._keep(connection, device, refusals.FORK, row.head)
        self._keep(connection, device, refusals.FORK, data)
        devices.set_state(connection, device.log, devices.FROZEN)
        device.state = devices.FROZEN
        raise VerificationError(refusals.FORK, detail)

    def _note_seen(self, connection: sqlite3.Connection, device: Device, head: Head, data: bytes) -> None:
        if head.seen is None:
            fell = device.seen is not None
        else:
            seen = Seen(*head.seen)
            fell = device.seen is not None and device.seen.log == seen.log and seen.size < device.seen.size
            device.seen = device.seen if fell else seen
        if fell:  # the position stands all the same; the verifier reports it
            self._keep(connection, device, "seen_fell", data)
            self._tally[device.log, "seen_fell"] = (1, f"the head of size {head.size} forgets what was seen before")

    def _keep(self, connection: sqlite3.Connection, device: Device, code: str, data: bytes) -> None:
        refusals.keep(connection, device.log, code, data, self._now_ms())
