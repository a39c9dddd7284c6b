"""The evidence bundle, read: typed and lazy over names → bytes (format.md 14); ``edgeseal.bundlewriter`` makes them.

Reading is by one file at a time, so that a history of a million records is checked in the memory of one chunk.
Nothing read here is believed: items, heads and statements come out as the bytes their signers made, for
``edgeseal.verify`` to judge.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, limits, recordsfile, schema
from edgeseal.commitment import Opening
from edgeseal.container import Source
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError
from edgeseal.snapshot import AbsenceProof, SnapshotProof, proof_from_map
from edgeseal.stateevidence import NAMES, AccountEvidence, CommandChain, StorageEvidence

SCHEMA: Final = "edgeseal-bundle/1"

_HEX32: Final = r"[0-9a-f]{64}"
_NUMBER: Final = r"[0-9]{20}"
_LAYOUT: Final = re.compile(
    rf"index\.json|README|records/{_HEX32}/{_NUMBER}\.cbor|heads/{_HEX32}/{_NUMBER}\.cbor|statements/{_NUMBER}\.cbor"
    rf"|proofs/receipts/{_NUMBER}\.cbor|proofs/(?:fleet-heads|consistency|snapshots)\.cbor|chain/{_HEX32}-[0-9]{{1,9}}\.cbor"
    rf"|keys/{_HEX32}\.cbor|models/{_HEX32}/.+|inputs/{_HEX32}|openings/{_HEX32}/{_NUMBER}\.cbor"
    rf"|enrolments/{_HEX32}\.cbor",
    re.ASCII,
)

Item = tuple[int, bytes, bytes | str]
"""One record as sent (format.md 6): (0, header, body), (1, header, reason) or (2, leaf, reason)."""
Consistency = tuple[int, int, list[bytes]]
"""(size-1, size-2, path) between two fleet heads."""

_consistency = schema.row(schema.uint, schema.uint, schema.items(schema.digest, limits.MAX_PATH))
_anchor = schema.closed(
    {
        "v": schema.one_of(1),
        "chain": schema.uint,
        "contract": schema.binary(20, 20),
        "block": schema.digest,
        "header": schema.binary(1, 16_384),
        "receipt": schema.binary(1, 4 << 20),
        "index": schema.uint,
        "nodes": schema.items(schema.binary(1, 5 << 20), limits.MAX_PATH + 1, 1),
        "log": schema.uint,
    }
)


@dataclass(frozen=True, slots=True)
class AnchorEvidence:
    """What shows that a contract emitted one log in a block (14.1), not yet checked."""

    chain: int
    contract: bytes
    block: bytes
    header: bytes
    receipt: bytes
    index: int
    nodes: tuple[bytes, ...]
    log: int

    def encode(self) -> bytes:
        """Return the CBOR of the file in ``chain/``."""
        return cbor.encode(
            {
                "v": 1, "chain": self.chain, "contract": self.contract, "block": self.block, "header": self.header,
                "receipt": self.receipt, "index": self.index, "nodes": list(self.nodes), "log": self.log,
            }
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> AnchorEvidence:
        """Return the evidence in untrusted bytes. Raises FormatError: CBOR or shape."""
        fields = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE)
        _anchor(fields, "anchor")
        return cls(
            fields["chain"], fields["contract"], fields["block"], fields["header"], fields["receipt"], fields["index"],
            tuple(fields["nodes"]), fields["log"],
        )  # fmt: skip


class Bundle:
    """A bundle, read file by file. Every method may raise FormatError for the file it reads, and nothing else.

    Codes: ``bundle_layout`` (a name that format.md 14 does not know, or files out of order), ``bundle_index``, CBOR
    and shape codes; and what the Source raises.
    """

    def __init__(self, source: Source) -> None:
        """Sort the names; nothing is read. Raises FormatError ``bundle_layout``."""
        self._source = source
        self._names = sorted(source.names())
        for name in self._names:
            if not _LAYOUT.fullmatch(name) and not NAMES.fullmatch(name):
                raise FormatError("bundle_layout", f"{name!r:.300} is not a file of a bundle")

    def index(self) -> dict[str, Any]:
        """Return index.json, checked for its schema only: a table of contents, never evidence. Empty if there is
        none.
        """
        if "index.json" not in self._names:
            return {}
        try:
            fields = json.loads(self._source.read("index.json"))
        except (ValueError, RecursionError) as error:
            raise FormatError("bundle_index", "index.json is not JSON") from error
        if type(fields) is not dict or fields.get("schema") != SCHEMA:
            raise FormatError("bundle_index", f"index.json is not of schema {SCHEMA}")
        return fields

    def logs(self) -> list[bytes]:
        """Return the ids of all device logs with records or heads here, sorted."""
        found = {name.split("/")[1] for name in self._names if name.startswith(("records/", "heads/"))}
        return [bytes.fromhex(text) for text in sorted(found)]

    def absent(self) -> list[bytes]:
        """Return the ids of the device logs that index.json names and of which nothing is here, sorted, at most
        MAX_CHUNK_ITEMS of them; none where it cannot be read, since it is no evidence.
        """
        try:
            named = self.index().get("devices")
        except FormatError:
            return []
        texts = {text for text in named if type(text) is str} if type(named) is list else set()
        found = {bytes.fromhex(text) for text in texts if re.fullmatch(_HEX32, text)}
        return sorted(found.difference(self.logs()))[: limits.MAX_CHUNK_ITEMS]

    def records(self, log: bytes) -> Iterator[tuple[int, list[Any]]]:
        """Yield (from, items) of each chunk of a device log, in order, chunk by chunk; items' shapes are not checked.

        Raises ``bundle_order`` where a chunk's name, content and predecessor disagree or chunks overlap; a hole
        between chunks is no error here.
        """
        end = 0
        for name, start in self._numbered(f"records/{log.hex()}/"):
            items = recordsfile.decode(self._source.read(name), log, start)
            if start < end:
                raise FormatError("bundle_order", f"{name} overlaps the file before it")
            end = start + len(items)
            yield start, items

    def heads(self, log: bytes) -> Iterator[bytes]:
        """Yield the device heads of a log, as signed."""
        for name, _ in self._numbered(f"heads/{log.hex()}/"):
            yield from self._array(name, schema.binary(1, limits.MAX_HEAD))

    def statements(self) -> Iterator[tuple[int, bytes]]:
        """Yield (position as claimed, statement), rising. Raises ``bundle_order``."""
        last = -1
        for name, _ in self._numbered("statements/"):
            for position, statement in self._array(name, _statement):
                if position <= last:
                    raise FormatError("bundle_order", f"{name}: position {position} after {last}")
                last = position
                yield position, statement

    def receipts(self) -> Iterator[bytes]:
        """Yield the fleet receipts."""
        for name, _ in self._numbered("proofs/receipts/"):
            yield from self._array(name, schema.binary(1, limits.MAX_RECEIPT))

    def fleet_heads(self) -> list[bytes]:
        """Return the signed fleet heads."""
        return self._array("proofs/fleet-heads.cbor", schema.binary(1, limits.MAX_HEAD))

    def consistency(self) -> list[Consistency]:
        """Return the consistency proofs between fleet heads."""
        return [(a, b, path) for a, b, path in self._array("proofs/consistency.cbor", _consistency)]

    def snapshot_proofs(self) -> list[SnapshotProof | AbsenceProof]:
        """Return the snapshot proofs and absence proofs (9.3)."""
        return [proof_from_map(fields) for fields in self._array("proofs/snapshots.cbor", _anything)]

    def anchors(self) -> Iterator[AnchorEvidence]:
        """Yield the anchor evidence. Raises ``bundle_order`` where the name is not that of the block in it."""
        for name in self._under("chain/"):
            if NAMES.fullmatch(name):
                continue
            anchor = AnchorEvidence.decode(self._source.read(name))
            if name != anchor_name(anchor):
                raise FormatError("bundle_order", f"{name} holds another block's log")
            yield anchor

    def accounts(self) -> Iterator[AccountEvidence]:
        """Yield contracts' accounts at blocks (14.2). Raises ``bundle_order`` where the name is not of that block."""
        for name in self._under("chain/accounts/"):
            found = AccountEvidence.decode(self._source.read(name))
            if name != found.name:
                raise FormatError("bundle_order", f"{name} holds another block's accounts")
            yield found

    def storage(self) -> Iterator[StorageEvidence]:
        """Yield slots under storage roots (14.3). Raises ``bundle_order`` where the name is not of that root."""
        for name in self._under("chain/storage/"):
            found = StorageEvidence.decode(self._source.read(name))
            if name != found.name(_number(name)):
                raise FormatError("bundle_order", f"{name} holds another root's slots")
            yield found

    def commands(self) -> Iterator[CommandChain]:
        """Yield the entries of commands' digest chains (14.4), by audience, rising. Raises ``bundle_order``."""
        for name in self._under("chain/commands/"):
            found = CommandChain.decode(self._source.read(name))
            if name != found.name(_number(name)):
                raise FormatError("bundle_order", f"{name} holds another audience's commands")
            yield found

    def public_keys(self) -> Iterator[PublicKey]:
        """Yield the public keys, each named by its own kid. Raises ``bundle_order``, ``key_invalid``."""
        for name in self._under("keys/"):
            key = PublicKey.decode(self._source.read(name))
            if name != f"keys/{key.kid.hex()}.cbor":
                raise FormatError("bundle_order", f"{name} holds another key")
            yield key

    def packages(self) -> list[bytes]:
        """Return the digests under which model packages stand here, sorted: names, not yet recomputed."""
        return [bytes.fromhex(text) for text in sorted({name.split("/")[1] for name in self._under("models/")})]

    def package(self, digest: bytes) -> dict[str, bytes]:
        """Return path → bytes of the model package under this digest; empty if it is not here."""
        prefix = f"models/{digest.hex()}/"
        return {name[len(prefix) :]: self._source.read(name) for name in self._under(prefix)}

    def input(self, digest: bytes) -> bytes | None:
        """Return the raw input with this plain digest, None if it is not here. Raises ``input_digest``."""
        name = f"inputs/{digest.hex()}"
        if not self._under(name):
            return None
        data = self._source.read(name)
        if sha256(data).digest() != digest:
            raise FormatError("input_digest", f"{name} holds other bytes")
        return data

    def inputs(self) -> list[bytes]:
        """Return the digests of the raw inputs here, sorted: names, not yet recomputed."""
        return [bytes.fromhex(name.removeprefix("inputs/")) for name in self._under("inputs/")]

    def enrolment_evidence(self, digest: bytes) -> bytes | None:
        """Return the enrolment's evidence of this digest, None if it is not here. Raises ``evidence_digest``."""
        name = f"enrolments/{digest.hex()}.cbor"
        if not self._under(name):
            return None
        data = self._source.read(name)
        if sha256(data).digest() != digest:
            raise FormatError("evidence_digest", f"{name} holds other bytes")
        return data

    def enrolments(self) -> list[bytes]:
        """Return the digests of the enrolments' evidence here, sorted: names, not yet recomputed."""
        return [bytes.fromhex(name[len("enrolments/") : -len(".cbor")]) for name in self._under("enrolments/")]

    def openings(self, log: bytes) -> Iterator[Opening]:
        """Yield the openings of a log's commitments. Raises ``opening_target`` too."""
        for name, _ in self._numbered(f"openings/{log.hex()}/"):
            for fields in self._array(name, _anything):
                yield Opening.from_map(fields)

    def _under(self, prefix: str) -> list[str]:
        low = _first(self._names, prefix)
        high = low
        while high < len(self._names) and self._names[high].startswith(prefix):
            high += 1
        return self._names[low:high]

    def _numbered(self, folder: str) -> list[tuple[str, int]]:
        found = [(name, int(name[len(folder) : len(folder) + 20])) for name in self._under(folder)]
        if found and found[-1][1] > limits.UINT64:
            raise FormatError("bundle_layout", f"{found[-1][0]} is numbered past 64 bits")
        return found

    def _array(self, name: str, item: schema.Check) -> list[Any]:
        if not self._under(name):
            return []
        entries = cbor.decode(self._source.read(name), max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS)
        schema.items(item, limits.MAX_CHUNK_ITEMS)(entries, name)
        return list(entries)


def _first(names: list[str], prefix: str) -> int:
    low, high = 0, len(names)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if names[middle] < prefix else (low, middle)
    return low


def _number(name: str) -> int:
    """Return the number at the end of a file's name."""
    return int(name[-25:-5])


def _anything(value: Any, at: str) -> None:
    """Check nothing: the caller's own decoder does."""


_statement = schema.row(schema.uint, schema.binary(1, limits.MAX_STATEMENT))


def anchor_name(anchor: AnchorEvidence) -> str:
    """Return the name of an anchor's file in a bundle."""
    return f"chain/{anchor.block.hex()}-{anchor.log}.cbor"
