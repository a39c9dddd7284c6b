"""Reading a device's records once, from first to last, in memory that does not grow with their number (format.md 4, 6).

Steps, for each item in order:
(1) the item has a form; (2) its header decodes, names this log and this position, and boot count and monotonic clock
do not fall; (3) the body has the hash its header commits to; (4) the body decodes as its kind; (5) whoever watches
this kind is told; (6) at each size that a signed head names, the root over the leaves so far is computed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from hashlib import sha256
from typing import Any

from edgeseal import limits
from edgeseal.bundle import Bundle
from edgeseal.errors import FormatError
from edgeseal.merkle import Frontier
from edgeseal.record import NEVER_DROPPED, decode_body
from edgeseal.segment import BARE_LEAF, HEADER_ONLY, WHOLE, item_from_list
from edgeseal.verify.fastread import inference_reader, reader
from edgeseal.verify.history import Boot, History, Seen, Watcher

Infer = Callable[[int, bytes, bytes], None]

LEAVES_SUFFICE = frozenset({"append_only"})
"""Questions about hashes, roots and heads: of records only those that carry some need to be decoded for them."""

_BODY_DOMAIN = b"edgeseal/v1/body\x00"


def _plain(items: list[Any]) -> list[bytes] | None:
    """Return the headers of items that are all whole and carry neither a fleet head nor what a TPM attested, None if
    they are not.
    """
    try:
        headers = [item[1] for item in items if item[0] == WHOLE and len(item) == 3]
    except (TypeError, IndexError, KeyError):
        return None
    if len(headers) < len(items) or set(map(type, headers)) != {bytes}:
        return None
    together = b"".join(headers)
    return None if b"command.received" in together or b"attest" in together else headers


class Reading:
    """One pass over a log's records. Written for speed: a history may hold millions of them."""

    def __init__(self, history: History, watchers: Iterable[Watcher], infer: Infer) -> None:
        """Prepare to read ``history``; ``infer`` is told (seq, package digest, model file digest) of each inference
        whose body is whole, which no watcher is."""
        self._history = history
        self._infer = infer
        self._integrity = history.cases["integrity"]
        self._watch: dict[str, list[Watcher]] = {}
        for watcher in watchers:
            for kind in watcher.kinds:
                self._watch.setdefault(kind, []).append(watcher)
        self._read_header = reader(history.log)
        self._read_inference = inference_reader()
        self._boundaries = sorted(
            {size for fact in history.heads for size in (fact.head.size, fact.head.prev[0]) if size}, reverse=True
        )
        self._frontier = Frontier()
        self._pending: list[bytes] = []
        self._boot = -1
        self._mono = 0
        self._first = (0, 0, 0)
        self._last = (0, 0, "")
        self._leaves_only = history.cases.asked <= LEAVES_SUFFICE

    def run(self, bundle: Bundle) -> None:
        """Stream the records past the watchers. Raises what Bundle raises, nothing else."""
        history = self._history
        for start, items in bundle.records(history.log):
            if start > history.size:
                history.holes.append((history.size, start))
            seq = start
            if self._leaves_only and start > 1 and (headers := _plain(items)):
                self._pending = [sha256(b"\x00" + header).digest() for header in headers]
                seq += len(items)
            else:
                for item in items:
                    self._item(seq, item)
                    seq += 1
            history.size = seq
            history.records += len(items)
            self._grow(start)
        self._end_boot()

    def _end_boot(self) -> None:
        if self._boot >= 0:
            self._history.boots.append(Boot(self._boot, *self._first, *self._last[:2], self._mono, self._last[2]))

    def _grow(self, start: int) -> None:
        """(6) Extend the tree up to each boundary within the chunk just read; nothing can be computed past a hole."""
        history, pending, frontier = self._history, self._pending, self._frontier
        if not history.holes:
            base = start
            while self._boundaries and self._boundaries[-1] <= history.size:
                size = self._boundaries.pop()
                if size > frontier.size:
                    frontier.extend(pending[frontier.size - base : size - base])
                history.roots[size] = frontier.root()
            frontier.extend(pending[frontier.size - base :])
        pending.clear()

    def _item(self, seq: int, item: Any) -> None:
        # (1)
        if type(item) is list and len(item) == 3 and item[0] == WHOLE and type(item[0]) is int:
            header, body = item[1], item[2]
            if type(header) is bytes and type(body) is bytes and len(body) <= limits.MAX_BODY:
                leaf = sha256(b"\x00" + header).digest()
                self._pending.append(leaf)
                if seq == 0:
                    self._history.first_leaf = leaf
                self._whole(seq, header, body)
                return
        try:
            other = item_from_list(item)
        except FormatError as error:
            self._integrity.fail(error.code, f"item {seq}: {error.message}", seq)
            self._pending.append(bytes(32))
            return
        self._pending.append(other.leaf)
        if seq == 0:
            self._history.first_leaf = other.leaf
        if other.form == BARE_LEAF:
            self._history.bare += 1
            for watcher in {id(w): w for ws in self._watch.values() for w in ws}.values():
                watcher.see(Seen(seq, 0, 0, 0, "", None))
        elif other.form == HEADER_ONLY and other.header is not None:
            self._history.header_only += 1
            self._whole(seq, other.header, None)

    def _whole(self, seq: int, header: bytes, body: bytes | None) -> None:
        # (2)
        try:
            at, boot, t, mono, kind, wanted = self._read_header(header)
        except FormatError as error:
            self._integrity.fail(error.code, f"record {seq}: its header: {error.message}", seq)
            return
        if at != seq:
            self._misplaced(seq, at)
        if boot != self._boot:
            if boot < max(self._boot, 1):
                self._integrity.fail("boot_fell", f"record {seq}: boot count {boot} after {max(self._boot, 1)}", seq)
            self._end_boot()
            self._boot = boot
            self._first = (seq, t, mono)
        elif mono < self._mono:
            self._integrity.fail("mono_fell", f"record {seq}: the monotonic clock fell within boot {boot}", seq)
        self._mono = mono
        self._last = (seq, t, kind)
        history = self._history
        if history.closed_at is not None:
            self._integrity.fail("after_closed", f"record {seq} follows the end of the log at {history.closed_at}", seq)
        # (3)
        if body is not None:
            if sha256(_BODY_DOMAIN + len(body).to_bytes(8, "big") + body).digest() != wanted:
                detail = f"record {seq}: the body is not the one its header commits to"
                self._integrity.fail("body_mismatch", detail, seq)
                history.header_only += 1
                body = None
            elif kind == "inference":
                self._inference((seq, boot, t, mono), body)
                return
        if body is None and kind in NEVER_DROPPED:
            history.lost_body = history.lost_body or (seq, kind)
        # (4)
        fields = None
        if body is not None:
            try:
                fields = decode_body(kind, body)
            except FormatError:
                history.malformed += 1
        self._tell(Seen(seq, boot, t, mono, kind, fields))

    def _inference(self, record: tuple[int, int, int, int], body: bytes) -> None:
        """(4), (5) for the kind that there are millions of."""
        try:
            model, file = self._read_inference(body)
        except FormatError:
            self._history.malformed += 1
            self._tell(Seen(*record, "inference", None))
            return
        self._infer(record[0], model, file)

    def _tell(self, record: Seen) -> None:
        # (5)
        history = self._history
        if record.kind == "closed":
            history.closed_at = record.seq
            history.successor = record.fields["next"] if record.fields else None
        elif record.seq == 0:
            history.genesis = record.fields if record.kind == "genesis" else None
        elif record.seq == 1:
            history.bound = record.fields if record.kind == "key.bound" else None
        for watcher in self._watch.get(record.kind, ()):
            watcher.see(record)

    def _misplaced(self, seq: int, at: int) -> None:
        if at < 0:
            self._integrity.fail("log_mismatch", f"record {seq} was made for another log", seq)
        else:
            self._integrity.fail("seq_mismatch", f"the record at {seq} says that it is record {at}", seq)
