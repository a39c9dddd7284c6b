"""``edgeseal collect``: a gateway's export and devices' own exports → one bundle.

Nothing is believed here and nothing is checked but shape: who collects may not be who verifies. What a device shows
beside what the gateway shows is kept, above all where the two differ: that is evidence.
"""

from __future__ import annotations

import json
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import reduce
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

from edgeseal import cbor, cose, segment
from edgeseal.bundle import AnchorEvidence, Bundle, Item
from edgeseal.bundlewriter import Writer
from edgeseal.errors import EvidenceError, FormatError, Unavailable, UsageError
from edgeseal.head import SignedDeviceHead, SignedFleetHead
from edgeseal.receipt import Receipt
from edgeseal.record import Header, decode_body
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.investigate.collectstate import ChainState
from edgeseal_console.investigate.merge import (
    all_openings,
    anchored_size,
    fleet_order,
    head_log,
    head_size,
    heads_in,
    log_of,
    merged,
    receipt_size,
    whole_run,
)
from edgeseal_console.investigate.opening import opened

PAGE: Final = 1_024
MAX_PAGE_BYTES: Final = 64 << 20
MAX_FLEET_HEADS: Final = 4_000
SIZES_AT_ONCE: Final = 200

Say = Callable[[str], None]


def run(args: Any) -> int:
    """Collect from ``args.gateway`` and the bundles ``args.device`` into ``args.out``, a new .zip; print what is in it.

    Raises UsageError ``out_exists``, Unavailable where the gateway is not there; the .zip appears whole or not at all.
    """
    out: Path = args.out
    if out.exists():
        raise UsageError("out_exists", f"{out} exists", "choose another name or remove it")
    if not args.gateway and not args.device:
        raise UsageError(
            "nothing_to_collect", "neither a gateway nor a device's export is named", "give --gateway or --device"
        )
    draft = out.with_name(f".{out.name}.new")

    def say(text: str) -> None:
        print(text, file=sys.stderr)

    try:
        with ExitStack() as stack, zipfile.ZipFile(draft, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
            exports = [stack.enter_context(opened(path)) for path in args.device]
            client = None
            if args.gateway:
                made = GatewayClient(args.gateway, token_file=args.token_file, ca_file=args.ca_file)
                client = stack.enter_context(made)
            counts = Collection(client, exports, say, args.anchored).write(Writer(archive.writestr))
        draft.rename(out)
    except FormatError as error:
        raise UsageError(error.code, f"a device's export cannot be read: {error.message}") from error
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise Unavailable("gateway_answer", f"an answer of another shape than the API's: {error!r:.200}") from error
    except OSError as error:
        raise Unavailable("collect_failed", f"{error.filename or out}: {error.strerror}") from error
    finally:
        draft.unlink(missing_ok=True)
    if args.json:
        print(json.dumps({"out": str(out), **counts}))
    else:
        print(f"{out}: " + ", ".join(f"{count} {what}" for what, count in counts.items()))
    return 0


@dataclass
class Collection:
    """One collection in progress. ``client`` None: devices' exports only."""

    client: GatewayClient | None
    exports: list[Bundle]
    say: Say
    anchored_only: bool = False
    counts: dict[str, int] = field(default_factory=dict)
    _statements: dict[int, bytes] = field(default_factory=dict)
    _below: int = 1 << 63
    _others: list[bytes] | None = None
    _sizes: set[int] = field(default_factory=set)
    _keys: dict[bytes, cose.PublicKey] = field(default_factory=dict)

    def write(self, writer: Writer) -> dict[str, int]:
        """Write the whole bundle; return what is in it, as counts."""
        index = self.client.get("/v1/export/index") if self.client else {}
        devices = [bytes.fromhex(device["log"]) for device in index.get("devices", [])]
        own: dict[bytes, list[Bundle]] = {}
        for export in self.exports:
            for log in export.logs():
                own.setdefault(log, []).append(export)
        self.say("fleet log")
        for export in reversed(self.exports):
            self._statements.update(export.statements())
        self._statements.update(self._gateway_statements())
        if self.anchored_only:
            self._below = max((anchor["size"] for anchor in index.get("anchors", [])), default=0)
            self._statements = {pos: raw for pos, raw in self._statements.items() if pos < self._below}
        ends = self._ends() if self.anchored_only else None
        for log in sorted({*devices, *own}):
            self._device(writer, log, own.get(log, []), log in devices, ends)
        self._write_statements(writer)
        fleet_log = self._fleet(writer, index, sorted({*devices, *own}))
        self._anchors(writer, max((anchor["size"] for anchor in index.get("anchors", [])), default=0))
        ChainState(self.exports, self._page, self.say).write(writer, index, self.counts)
        self._rest(writer)
        writer.finish(fleet_log)
        return self.counts

    def _ends(self) -> dict[bytes, int]:
        """Return, by log, how many records the heads among the statements cover."""
        ends: dict[bytes, int] = {}
        for raw in self._statements.values():
            if (log := head_log(raw)) is not None:
                ends[log] = max(ends.get(log, 0), head_size(raw))
        return ends

    def _device(
        self, writer: Writer, log: bytes, own: list[Bundle], known: bool, ends: dict[bytes, int] | None
    ) -> None:
        self.say(f"device log {log.hex()[:16]}…")
        heads = set(self._heads(log)) if known else set()
        heads |= {raw for export in own for raw in export.heads(log)}
        heads |= {raw for raw in self._evidence() if head_log(raw) == log}
        end = max(map(head_size, heads), default=0)  # what no signed head covers is evidence of nothing
        if ends is not None:
            end = ends.get(log, 0)
            heads = {raw for raw in heads if head_size(raw) <= end}
        theirs = self._items(log) if known else iter(())
        none: Iterator[Item] = iter(())
        ours = reduce(merged, (whole_run(export, log) for export in own), none)
        items = merged(theirs, ours)
        writer.records(log, self._watched(islice(items, end)))
        left = 0 if self.anchored_only else sum(1 for _ in items)
        if left:
            self.say(f"  {left} records are left out: no signed head covers them, so that they show nothing")
            self._count("records left out", left)
        writer.heads(log, sorted(heads, key=lambda raw: (head_size(raw), raw)))
        self._count("device heads", len(heads))
        if own:
            writer.openings(log, (opening for opening in all_openings(own, log) if opening.seq < end))

    def _watched(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass items on; note the fleet heads that records carry, so that consistency proofs to them can be fetched."""
        for number, item in enumerate(items):
            read = segment.item_from_list(list(item))
            if read.header is not None and read.body is not None:
                self._note(number, read.header, read.body)
            if number and number % 50_000 == 0:
                self.say(f"  {number} records")
            self._count("records")
            yield item

    def _note(self, number: int, header: bytes, body: bytes) -> None:
        if number and b"command.received" not in header:
            return
        try:
            kind = Header.decode(header).kind
            fields = decode_body(kind, body) if kind in ("genesis", "command.received") else {}
            if "fleet" in fields:
                self._sizes.add(SignedFleetHead.decode(fields["fleet"]).head.size)
            if "receipt" in fields:
                self._sizes.add(Receipt.decode(fields["receipt"]).size)
        except EvidenceError:
            return  # the verifier says what is wrong with it

    def _write_statements(self, writer: Writer) -> None:
        writer.statements(sorted(self._statements.items()))
        self._count("statements", len(self._statements))
        receipts = []
        for raw in dict.fromkeys(raw for export in self.exports for raw in export.receipts()):
            size = receipt_size(raw)
            if size <= self._below:
                receipts.append(raw)
                self._sizes.add(size)
        writer.receipts(receipts)

    def _gateway_statements(self) -> Iterator[tuple[int, bytes]]:
        start = 0
        while page := self._page("/v1/export/statements", {"from": start, "limit": PAGE}):
            yield from ((position, raw) for position, raw in page)
            start = page[-1][0] + 1

    def _fleet(self, writer: Writer, index: dict[str, Any], logs: list[bytes]) -> bytes | None:
        heads = {raw for export in self.exports for raw in export.fleet_heads()}
        consistency: list[Any] = [entry for export in self.exports for entry in export.consistency()]
        snapshots: list[dict[str, Any]] = []
        if self.client:
            sizes = {anchor["size"] for anchor in index["anchors"]} | {
                snapshot["size"] for snapshot in index["snapshots"]
            }
            kept = {index["size"], *sorted(sizes)[-MAX_FLEET_HEADS:], *self._sizes}
            known = self._known_heads(sorted(size for size in kept if 0 < size <= min(index["size"], self._below)))
            heads |= {raw for _, raw in known}
            consistency += self._consistency([size for size, _ in known])
            snapshots = self._snapshots(index, logs)
        first = bytes.fromhex(index["fleet_log"]) if index else log_of(heads)
        writer.fleet(first or bytes(32), sorted(heads, key=fleet_order), consistency, snapshots)
        self._count("fleet heads", len(heads))
        return first

    def _known_heads(self, sizes: list[int]) -> list[tuple[int, bytes]]:
        """Return (size, head) of those sizes at which the gateway has a signed head: a device may have been shown
        others.
        """
        found: list[tuple[int, bytes]] = []
        for size in sizes:
            page = self._page("/v1/export/fleet-heads", {"from": size, "limit": 1})
            if page and SignedFleetHead.decode(page[0]).head.size == size:
                found.append((size, page[0]))
        return found

    def _consistency(self, sizes: list[int]) -> list[Any]:
        found: list[Any] = []
        for start in range(0, max(len(sizes) - 1, 0), SIZES_AT_ONCE):
            some = sizes[start : start + SIZES_AT_ONCE + 1]
            if len(some) > 1:
                found += self._page("/v1/export/consistency", {"sizes": ",".join(map(str, some))})
        return found

    def _snapshots(self, index: dict[str, Any], logs: list[bytes]) -> list[dict[str, Any]]:
        shown = [entry for entry in index["snapshots"] if entry["pos"] < min(index["size"], self._below)]
        anchored = [entry["pos"] for entry in shown if entry["anchored"]]
        positions = [entry["pos"] for entry in shown]
        if not positions:
            return []
        kids = [device["kid"] for device in index["devices"]]
        subs = [index["fleet_log"], *(log.hex() for log in logs), *kids]
        found: list[dict[str, Any]] = []
        for start in range(0, len(subs), SIZES_AT_ONCE):
            query = [
                ("pos", max(anchored or positions)),
                *(("sub", sub) for sub in subs[start : start + SIZES_AT_ONCE]),
            ]
            found += self._page("/v1/export/snapshots", query)
        return found

    def _anchors(self, writer: Writer, last: int) -> None:
        """Write the anchors of exports, and the gateway's up to the one of size ``last``: a collection takes time, and
        one that was made meanwhile holds more than was collected.
        """
        found = {(a.block, a.log): a for export in self.exports for a in export.anchors()}
        start = 0
        while page := self._page("/v1/export/anchors", {"from": start, "limit": 64}):
            for fields in page:
                anchor = AnchorEvidence.decode(cbor.encode(fields))
                size = anchored_size(anchor)
                start = max(start, size + 1)
                if size <= last:
                    found[(anchor.block, anchor.log)] = anchor
        for anchor in found.values():
            writer.anchor(anchor)
        self._count("anchors", len(found))

    def _rest(self, writer: Writer) -> None:
        for fields in self._page("/v1/export/keys", {}):
            key = cose.PublicKey.decode(cbor.encode(fields))
            self._keys[key.kid] = key
        for export in self.exports:
            self._keys.update({key.kid: key for key in export.public_keys()})
        for _, key in sorted(self._keys.items()):
            writer.key(key)
        packages = {digest: export.package(digest) for export in self.exports for digest in export.packages()}
        if self.client:
            for entry in self.client.get("/v1/packages")["packages"]:
                digest = bytes.fromhex(entry["digest"])
                packages[digest] = self._page(f"/v1/packages/{entry['digest']}", {})
        for digest, files in sorted(packages.items()):
            writer.package(digest, files)
        self._count("model packages", len(packages))
        written: set[bytes] = set()
        for export in self.exports:
            for digest in export.inputs():
                data = export.input(digest)
                if digest not in written and data is not None:
                    written.add(writer.input(data))
        self._count("inputs", len(written))
        self._enrolments(writer)

    def _enrolments(self, writer: Writer) -> None:
        """Write the transcripts that enrolments name."""
        found = {digest: export.enrolment_evidence(digest) for export in self.exports for digest in export.enrolments()}
        after: dict[str, str] = {}
        while page := self._page("/v1/export/enrolments", after):
            found |= {sha256(data).digest(): data for data in page}
            after = {"after": sha256(page[-1]).hexdigest()}
        for _, data in sorted(found.items()):
            if data is not None:
                writer.enrolment(data)
        self._count("enrolment transcripts", len(found))

    def _items(self, log: bytes) -> Iterator[Item]:
        start = 0
        while self.client:
            page = self._page(f"/v1/export/records/{log.hex()}", {"from": start, "limit": PAGE})
            if type(page) is not dict or not page.get("items"):
                return
            yield from (tuple(item) for item in page["items"])
            start += len(page["items"])

    def _heads(self, log: bytes) -> Iterator[bytes]:
        start = 0
        while page := self._page(f"/v1/export/heads/{log.hex()}", {"from": start, "limit": PAGE}):
            yield from page
            start = SignedDeviceHead.decode(page[-1]).head.size + 1

    def _evidence(self) -> list[bytes]:
        """Return the signed device heads among the refused bytes that the gateway kept: the other sides of forks."""
        if self._others is None:
            self._others, start = [], 0
            while page := self._page("/v1/export/evidence", {"from": start, "limit": PAGE}):
                for entry in page:
                    self._others += heads_in(entry["bytes"])
                start = int(page[-1]["id"]) + 1
        return self._others

    def _page(self, path: str, query: Any) -> Any:
        if self.client is None:
            return []
        try:
            return cbor.decode(self.client.get_bytes(path, query), max_size=MAX_PAGE_BYTES, max_items=1 << 22)
        except FormatError as error:
            raise Unavailable("gateway_answer", f"{path}: {error.message}") from error

    def _count(self, what: str, count: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + count
