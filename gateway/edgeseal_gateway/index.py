"""Record interiors, decoded off ingest's path, into the index; tiles of device logs, so that proofs stay cheap."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from edgeseal import cbor, limits, record, segment
from edgeseal.errors import EvidenceError
from edgeseal_gateway.store import devicelog, devices, indexfile
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.store.indexfile import Model, Result, Row

BATCH: Final = 64
"""Segments, and patches, in one step."""
_log = logging.getLogger("edgeseal.index")


class Indexer:
    """Follows the store. One at a time; not thread-safe."""

    def __init__(self, database: Database, path: Path) -> None:
        """Open or begin the index at ``path``. Raises Unavailable ``store_unavailable``."""
        self._database = database
        self._path = path
        self._open()

    def _open(self) -> None:
        self._index = indexfile.open_index(self._path)
        self._place = indexfile.place(self._path)

    def close(self) -> None:
        """Close the index."""
        self._index.close()

    def step(self) -> bool:
        """Index some of what is new; return whether there was anything.

        An index that is damaged, or was deleted, is begun anew. Raises Unavailable ``store_unavailable``,
        InvariantBroken: the store contradicts itself.
        """
        if indexfile.place(self._path) != self._place:
            self.close()
            self._open()
        try:
            return self._step()
        except indexfile.IndexDamaged as error:
            _log.warning("%s; it is built again", error)
            self.close()
            indexfile.remove(self._path)
            # Gone, and derived: it is begun anew here, or by a restart.
            self._open()
            return True

    def _step(self) -> bool:
        after, patched = indexfile.cursor(self._index)
        with self._database.read() as connection:
            segments = devicelog.segments_after(connection, after, BATCH)
            patches = devicelog.patches_after(connection, patched, BATCH)
            logs = {device.id: device.log for device in devices.every(connection)}
        if not segments and not patches:
            return False
        gathered = _Gathered([], [], [])
        for _, dev, start, skip, data in segments:
            for seq, item in enumerate(devicelog.segment_items(data)[skip:], start):
                gathered.add(dev, logs[dev], seq, item)
        for _, dev, seq, data in patches:
            gathered.add(dev, logs[dev], seq, cbor.decode(data, max_size=limits.MAX_SEGMENT))
        at = segments[-1][0] if segments else after, patches[-1][0] if patches else patched
        indexfile.put(self._index, gathered.rows, gathered.results, gathered.models, at)
        # Kept, not yet for certain on disk: after a power cut the cursor says from where to index again.
        self._tiles({dev for _, dev, _, _, _ in segments})
        return True

    def _tiles(self, devs: set[int]) -> None:
        with self._database.read() as connection:
            sizes = {device.id: device.size for device in devices.every(connection) if device.id in devs}
            lacking = {dev: size for dev, size in sizes.items() if devicelog.lacks_tiles(connection, dev, size)}
        for dev, size in lacking.items():
            with self._database.write() as connection:
                devicelog.store_tiles(connection, dev, size)


class _Gathered:
    """What a batch of items says."""

    def __init__(self, rows: list[Row], results: list[Result], models: list[Model]) -> None:
        self.rows = rows
        self.results = results
        self.models = models

    def add(self, dev: int, log: bytes, seq: int, item: list[Any]) -> None:
        form, first, second = item
        if form == segment.BARE_LEAF:
            self.rows.append(Row(dev, seq, "", 0, 0, 0, form, None))
            return
        try:
            header = record.Header.decode(first)
        except EvidenceError:
            self.rows.append(Row(dev, seq, "", 0, 0, 0, form, "header_malformed"))
            return
        flag = None if (header.log, header.seq) == (log, seq) else "header_place"
        if form == segment.WHOLE:
            try:
                fields = record.decode_body(header.kind, second)
            except EvidenceError as error:
                flag = error.code
            else:
                self.results += _results(dev, header, fields)
                self.models += _models(dev, header, fields)
        t, boot, mono = (min(value, (1 << 63) - 1) for value in (header.t, header.boot, header.mono))
        self.rows.append(Row(dev, seq, header.kind, t, boot, mono, form, flag))


def _results(dev: int, header: record.Header, fields: dict[str, Any]) -> Iterator[Result]:
    if header.kind == "command.received":
        yield Result(sha256(fields["cmd"]).digest(), dev, "received", None, header.seq)
    elif header.kind == "command.refused":
        yield Result(fields["cmd"], dev, "refused", fields["reason"], header.seq)
    elif header.kind == "command.result":
        yield Result(fields["cmd"], dev, "done" if fields["ok"] else "failed", fields["reason"], header.seq)


def _models(dev: int, header: record.Header, fields: dict[str, Any]) -> Iterator[Model]:
    if header.kind == "model.activated":
        yield Model(dev, header.seq, fields["model"], fields["file"], fields["name"], fields["version"])
