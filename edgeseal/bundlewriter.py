"""The evidence bundle, written: typed evidence → names and bytes (format.md 14), as ``edgeseal.bundle`` reads them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, limits
from edgeseal.bundle import SCHEMA, AnchorEvidence, Consistency, Item, anchor_name
from edgeseal.commitment import Opening
from edgeseal.cose import PublicKey
from edgeseal.errors import UsageError
from edgeseal.stateevidence import AccountEvidence, CommandChain, StorageEvidence

CHUNK_BYTES: Final = 96 * 1024
"""About how large the writer lets an array file grow: below cbor.FAST_SIZE, so that it is read fast."""
README: Final = """\
This is evidence of what edge devices did, collected by edgeseal. Check it on a machine you trust:

    edgeseal verify THIS.zip --trust trust.yaml [--rpc URL]

Take trust.yaml from whoever you trust, never from whoever gave you this file. docs/format.md, section 14, says what
each file is; index.json is a table of contents and evidence of nothing.
"""


class Writer:
    """Makes a bundle's files and hands each to ``put(name, bytes)`` as soon as it is full.

    Not thread-safe. ``put`` decides what durable means. Array files are cut at about CHUNK_BYTES.
    """

    def __init__(self, put: Callable[[str, bytes], None]) -> None:
        """Write through ``put``, which gets each name once; its errors pass through every method."""
        self._put = put
        self._fleet_log: bytes | None = None
        self._devices: set[bytes] = set()
        self._counts = {"statements": 0, "records": 0}

    def records(self, log: bytes, items: Iterable[Item], start: int = 0) -> None:
        """Write a device log's items from position ``start`` on; one call a log, or rising calls without overlap."""
        self._devices.add(log)
        for chunk in _cut(items, 1023):
            fields = {"v": 1, "log": log, "from": start, "items": [list(item) for item in chunk]}
            self._put(f"records/{log.hex()}/{start:020d}.cbor", cbor.encode(fields))
            start += len(chunk)
            self._counts["records"] += len(chunk)

    def heads(self, log: bytes, heads: Iterable[bytes]) -> None:
        """Write a device log's signed heads, of rising size; one call a log."""
        self._devices.add(log)
        self._arrays(f"heads/{log.hex()}/", heads)

    def statements(self, statements: Iterable[tuple[int, bytes]]) -> None:
        """Write (position, statement) pairs of rising position; one call."""
        for chunk in _cut((list(pair) for pair in statements), limits.MAX_CHUNK_ITEMS):
            self._put(f"statements/{chunk[0][0]:020d}.cbor", cbor.encode(chunk))
            self._counts["statements"] += len(chunk)

    def receipts(self, receipts: Iterable[bytes]) -> None:
        """Write fleet receipts; one call."""
        self._arrays("proofs/receipts/", receipts)

    def fleet(
        self, log: bytes, heads: list[bytes], consistency: list[Consistency], snapshots: list[dict[str, Any]]
    ) -> None:
        """Write fleet heads of rising size, consistency proofs between them, snapshot and absence proofs; one call.

        Raises UsageError ``bundle_array`` where one of them has more than MAX_CHUNK_ITEMS entries.
        """
        self._fleet_log = log
        for name, entries in (
            ("fleet-heads", heads),
            ("consistency", [list(entry) for entry in consistency]),
            ("snapshots", snapshots),
        ):
            if len(entries) > limits.MAX_CHUNK_ITEMS:
                raise UsageError("bundle_array", f"{len(entries)} {name}, a bundle holds {limits.MAX_CHUNK_ITEMS}")
            self._put(f"proofs/{name}.cbor", cbor.encode(list(entries)))

    def anchor(self, anchor: AnchorEvidence) -> None:
        """Write one anchor's evidence."""
        self._put(anchor_name(anchor), anchor.encode())

    def accounts(self, found: AccountEvidence) -> None:
        """Write contracts' accounts at one block; one call a block."""
        self._put(found.name, found.encode())

    def storage(self, found: StorageEvidence, number: int) -> None:
        """Write slots under one storage root: its ``number``-th file, from 0."""
        self._put(found.name(number), found.encode())

    def commands(self, found: CommandChain, number: int) -> None:
        """Write entries of an audience's digest chain, the first of them its ``number``-th, from 0."""
        self._put(found.name(number), found.encode())

    def key(self, key: PublicKey) -> None:
        """Write one public key."""
        self._put(f"keys/{key.kid.hex()}.cbor", key.encode())

    def package(self, digest: bytes, files: dict[str, bytes]) -> None:
        """Write a model package's files under its digest."""
        for path, data in sorted(files.items()):
            self._put(f"models/{digest.hex()}/{path}", data)

    def input(self, data: bytes) -> bytes:
        """Write a raw input and return its plain digest, its name; the caller writes each input once."""
        digest = sha256(data).digest()
        self._put(f"inputs/{digest.hex()}", data)
        return digest

    def enrolment(self, evidence: bytes) -> None:
        """Write an enrolment's evidence; the caller writes each once."""
        self._put(f"enrolments/{sha256(evidence).hexdigest()}.cbor", evidence)

    def openings(self, log: bytes, openings: Iterable[Opening]) -> None:
        """Write the openings of a log; one call a log."""
        self._arrays(f"openings/{log.hex()}/", (opening.as_map() for opening in openings))

    def finish(self, fleet_log: bytes | None = None) -> None:
        """Write index.json and README, last."""
        log = fleet_log or self._fleet_log
        fields = {
            "schema": SCHEMA,
            "fleet_log": log.hex() if log else None,
            "devices": [device.hex() for device in sorted(self._devices)],
            **self._counts,
        }
        self._put("index.json", json.dumps(fields, indent=1).encode() + b"\n")
        self._put("README", README.encode())

    def _arrays(self, folder: str, entries: Iterable[Any]) -> None:
        number = 0
        for chunk in _cut(entries, limits.MAX_CHUNK_ITEMS):
            self._put(f"{folder}{number:020d}.cbor", cbor.encode(chunk))
            number += len(chunk)


def _cut(entries: Iterable[Any], most: int) -> Iterator[list[Any]]:
    """Yield non-empty lists of at most ``most`` entries and about CHUNK_BYTES."""
    chunk: list[Any] = []
    size = 0
    for entry in entries:
        length = _length(entry)
        if chunk and (len(chunk) == most or size + length > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(entry)
        size += length
    if chunk:
        yield chunk


def _length(entry: Any) -> int:
    """Return about how many bytes ``entry`` will take."""
    if type(entry) is bytes or type(entry) is str:
        return len(entry) + 5
    if type(entry) is dict:
        return sum(_length(value) + 10 for value in entry.values())
    if type(entry) in (list, tuple):
        return 5 + sum(_length(value) for value in entry)
    return 9
