"""Device logs as they are kept: segments as received, their leaf hashes, heads (``docs/format.md`` 5, 6).

Segments in the store follow each other without gap or overlap: of one that repeats known positions, ``skip`` leading
items are not counted. What was sent again whole after it had been stored stripped stands in ``patch``. Every function
works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import cbor, limits, merkle
from edgeseal.errors import InvariantBroken
from edgeseal.head import DeviceHead
from edgeseal_gateway.store import fleetlog
from edgeseal_gateway.store.database import LARGEST

TILE: Final = 256
"""Leaves under one stored node; a proof reads one tile's leaves and the hashes of the others."""
_TILE_LEVEL: Final = 8

WAITING, READY, SEQUENCED, PASSED = 0, 1, 2, 3
"""States of a head: bodies are missing; may be sequenced; in the fleet log; a larger one went there in its place."""


@dataclass(frozen=True, slots=True)
class HeadRow:
    """A stored device head: the first signature received for its size."""

    id: int
    dev: int
    size: int
    root: bytes
    head: bytes
    digest: bytes
    state: int


def add_segment(
    connection: sqlite3.Connection, dev: int, start: int, skip: int, leaves: Sequence[bytes], data: bytes
) -> None:
    """Keep a segment's bytes: its items from number ``skip`` on are positions ``start`` and following."""
    connection.execute(
        "INSERT INTO segment (dev, start, count, skip, leaves, bytes) VALUES (?, ?, ?, ?, ?, ?)",
        (dev, start, len(leaves), skip, b"".join(leaves), data),
    )


def add_head(
    connection: sqlite3.Connection, dev: int, size: int, root: bytes, head: bytes, digest: bytes, state: int
) -> None:
    """Keep a device head, the first of its size."""
    connection.execute(
        "INSERT INTO device_head (dev, size, root, head, digest, state) VALUES (?, ?, ?, ?, ?, ?)",
        (dev, size, root, head, digest, state),
    )


_HEAD: Final = "SELECT id, dev, size, root, head, digest, state FROM device_head "


def head_at(connection: sqlite3.Connection, dev: int, size: int) -> HeadRow | None:
    """Return the stored head of exactly this size."""
    row = connection.execute(_HEAD + "WHERE dev = ? AND size = ?", (dev, size)).fetchone()
    return None if row is None else HeadRow(*row)


def head_by_digest(connection: sqlite3.Connection, dev: int, digest: bytes) -> HeadRow | None:
    """Return the log's sequenced head whose statement has this digest; the newest are looked at first."""
    row = connection.execute(
        _HEAD + "WHERE dev = ? AND state = 2 AND digest = ? ORDER BY size DESC LIMIT 1", (dev, digest)
    ).fetchone()
    return None if row is None else HeadRow(*row)


def heads(connection: sqlite3.Connection, dev: int, start: int, limit: int) -> list[HeadRow]:
    """Return heads of size ``start`` or more, rising."""
    rows = connection.execute(_HEAD + "WHERE dev = ? AND size >= ? ORDER BY size LIMIT ?", (dev, start, limit))
    return [HeadRow(*row) for row in rows]


def head_count(connection: sqlite3.Connection, dev: int) -> int:
    """Return how many heads of a log are stored."""
    return int(connection.execute("SELECT count(*) FROM device_head WHERE dev = ?", (dev,)).fetchone()[0])


def first_sequenced(connection: sqlite3.Connection, dev: int, above: int) -> HeadRow | None:
    """Return the smallest head in the fleet log that covers position ``above`` (its size is larger)."""
    row = connection.execute(
        _HEAD + "WHERE dev = ? AND size > ? AND state = 2 ORDER BY size LIMIT 1", (dev, above)
    ).fetchone()
    return None if row is None else HeadRow(*row)


def newest_sequenced(connection: sqlite3.Connection, dev: int) -> HeadRow | None:
    """Return the largest head that is in the fleet log."""
    row = connection.execute(_HEAD + "WHERE dev = ? AND state = 2 ORDER BY size DESC LIMIT 1", (dev,)).fetchone()
    return None if row is None else HeadRow(*row)


def ready_heads(connection: sqlite3.Connection, limit: int) -> list[HeadRow]:
    """Return, for at most ``limit`` logs, the largest head that may be sequenced; frozen and revoked logs stay out."""
    rows = connection.execute(
        "SELECT id, dev, max(size), root, head, digest, state FROM device_head WHERE state = 1"
        " AND dev IN (SELECT id FROM device WHERE state IN ('active', 'closed')) GROUP BY dev ORDER BY id LIMIT ?",
        (limit,),
    )  # SQLite takes the other columns from the row that has the maximum
    return [HeadRow(*row) for row in rows]


def set_sequenced(connection: sqlite3.Connection, rows: Iterable[HeadRow]) -> None:
    """Note that these heads are in the fleet log now, in the place of smaller ones of their logs that were ready
    too.
    """
    for row in rows:
        connection.execute(
            "UPDATE device_head SET state = CASE WHEN id = ? THEN 2 ELSE 3 END"
            " WHERE state = 1 AND dev = ? AND size <= ?",
            (row.id, row.dev, row.size),
        )


def add_stripped(connection: sqlite3.Connection, dev: int, positions: Iterable[tuple[int, int]]) -> None:
    """Note (position, form) of items stored without body, or without header."""
    connection.executemany("INSERT OR REPLACE INTO stripped VALUES (?, ?, ?)", [(dev, *item) for item in positions])


def stripped(connection: sqlite3.Connection, dev: int, start: int, stop: int) -> dict[int, int]:
    """Return position → form of items stored not whole, from ``start`` up to ``stop``."""
    rows = connection.execute(
        "SELECT seq, form FROM stripped WHERE dev = ? AND seq >= ? AND seq < ?", (dev, start, stop)
    )
    return dict(rows)


def put_patch(connection: sqlite3.Connection, dev: int, seq: int, item: list[Any]) -> None:
    """Keep a more complete item for a position that was stored stripped."""
    connection.execute("INSERT OR REPLACE INTO patch (dev, seq, item) VALUES (?, ?, ?)", (dev, seq, cbor.encode(item)))
    if item[0] == 0:
        connection.execute("DELETE FROM stripped WHERE dev = ? AND seq = ?", (dev, seq))
    else:
        connection.execute("UPDATE stripped SET form = ? WHERE dev = ? AND seq = ?", (item[0], dev, seq))


def add_covered(connection: sqlite3.Connection, dev: int, form: int, ranges: Iterable[Sequence[int]]) -> None:
    """Note ranges that a whole stored ``thinned`` or ``tombstone`` record names."""
    connection.executemany(
        "INSERT OR IGNORE INTO covered VALUES (?, ?, ?, ?)",
        [(dev, min(start, LARGEST), min(stop, LARGEST), form) for start, stop in ranges],
    )


def release_heads(connection: sqlite3.Connection, dev: int) -> int | None:
    """Make heads ready below which no body is missing without a word (format 6.4); return the first position that is.

    The position is None when nothing is missing below the largest waiting head.
    """
    missing = _first_missing(connection, dev)
    bound = missing if missing is not None else (1 << 63) - 1
    connection.execute("UPDATE device_head SET state = 1 WHERE dev = ? AND state = 0 AND size <= ?", (dev, bound))
    return None if missing is None or not any_waiting(connection, dev) else int(missing)


def _first_missing(connection: sqlite3.Connection, dev: int) -> int | None:
    """Return the first position stored without what it should have and named by no covering range.

    Below a head that was let go everything is accounted for, and stays so. Both tables are read once, in order.
    """
    row = connection.execute(
        "SELECT size FROM device_head WHERE dev = ? AND state <> 0 ORDER BY size DESC LIMIT 1", (dev,)
    ).fetchone()
    start = 0 if row is None else int(row[0])
    ranges = connection.execute(
        "SELECT start, stop, form FROM covered WHERE dev = ? AND stop > ? ORDER BY start", (dev, start)
    )
    reach, following = [0, 0, 0], ranges.fetchone()
    for seq, form in connection.execute(
        "SELECT seq, form FROM stripped WHERE dev = ? AND seq >= ? ORDER BY seq", (dev, start)
    ):
        while following is not None and following[0] <= seq:
            for covered in range(1, following[2] + 1):
                reach[covered] = max(reach[covered], following[1])
            following = ranges.fetchone()
        if seq >= reach[form]:
            return int(seq)
    return None


def any_waiting(connection: sqlite3.Connection, dev: int) -> bool:
    """Tell whether a head of this log waits for bodies."""
    row = connection.execute("SELECT 1 FROM device_head WHERE dev = ? AND state = 0 LIMIT 1", (dev,)).fetchone()
    return row is not None


def leaves(connection: sqlite3.Connection, dev: int, start: int, stop: int) -> list[bytes]:
    """Return the leaf hashes of positions ``start`` up to ``stop``; InvariantBroken ``segment_missing`` if one
    lacks.
    """
    found: list[bytes] = []
    for first, _, blob in _overlapping(connection, dev, start, stop, "leaves"):
        low, high = max(start, first), min(stop, first + len(blob) // 32)
        found += [blob[at : at + 32] for at in range(32 * (low - first), 32 * (high - first), 32)]
    if len(found) != max(0, stop - start):
        raise InvariantBroken("segment_missing", f"device {dev} lacks positions between {start} and {stop}")
    return found


def items(connection: sqlite3.Connection, dev: int, start: int, stop: int) -> Iterator[tuple[int, list[Any]]]:
    """Yield (position, item array as sent) of positions ``start`` up to ``stop``, the most complete form stored."""
    patches = dict(
        connection.execute("SELECT seq, item FROM patch WHERE dev = ? AND seq >= ? AND seq < ?", (dev, start, stop))
    )
    for first, skip, blob in _overlapping(connection, dev, start, stop, "bytes"):
        for seq, item in enumerate(segment_items(blob)[skip:], first):
            if start <= seq < stop:
                yield seq, cbor.decode(patches[seq], max_size=limits.MAX_SEGMENT) if seq in patches else item


def segment_items(data: bytes) -> list[Any]:
    """Return the items of a stored segment, as arrays."""
    found: list[Any] = cbor.decode(data, max_size=limits.MAX_SEGMENT)["items"]
    return found


def _overlapping(
    connection: sqlite3.Connection, dev: int, start: int, stop: int, column: str
) -> Iterator[tuple[int, int, bytes]]:
    at = connection.execute("SELECT max(start) FROM segment WHERE dev = ? AND start <= ?", (dev, start)).fetchone()[0]
    rows = connection.execute(
        f"SELECT start, skip, {column} FROM segment WHERE dev = ? AND start >= ? AND start < ? ORDER BY start",
        (dev, start if at is None else at, stop),
    )
    yield from rows


def reader(connection: sqlite3.Connection, dev: int) -> merkle.GetNode:
    """Return the function by which :mod:`edgeseal.merkle` reads this log: stored tiles, else the leaves under the
    node.
    """
    tiles: dict[int, bytes] = dict(connection.execute("SELECT idx, hash FROM tile WHERE dev = ?", (dev,)))

    def tile(index: int) -> bytes:
        if index not in tiles:
            tiles[index] = merkle.root(leaves(connection, dev, index * TILE, (index + 1) * TILE))
        return tiles[index]

    def get_node(level: int, index: int) -> bytes:
        if level < _TILE_LEVEL:
            return merkle.root(leaves(connection, dev, index << level, (index + 1) << level))
        count = 1 << level - _TILE_LEVEL
        nodes = [tile(at) for at in range(index * count, (index + 1) * count)]
        while len(nodes) > 1:
            nodes = [merkle.node_hash(left, right) for left, right in zip(nodes[::2], nodes[1::2], strict=True)]
        return nodes[0]

    return get_node


def root_at(connection: sqlite3.Connection, dev: int, size: int) -> bytes:
    """Return the root of the log's first ``size`` leaves."""
    return merkle.Frontier.from_nodes(reader(connection, dev), size).root()


def lacks_tiles(connection: sqlite3.Connection, dev: int, size: int) -> bool:
    """Tell whether a tile completed below ``size`` is not stored."""
    known = connection.execute("SELECT count(*) FROM tile WHERE dev = ?", (dev,)).fetchone()[0]
    return bool(known < size // TILE)


def store_tiles(connection: sqlite3.Connection, dev: int, size: int) -> int:
    """Compute and keep the tiles completed below ``size`` that are not there yet; return how many."""
    known = connection.execute("SELECT count(*) FROM tile WHERE dev = ?", (dev,)).fetchone()[0]
    fresh = [
        (dev, index, merkle.root(leaves(connection, dev, index * TILE, (index + 1) * TILE)))
        for index in range(known, size // TILE)
    ]
    connection.executemany("INSERT OR IGNORE INTO tile VALUES (?, ?, ?)", fresh)
    return len(fresh)


def segments_after(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, int, int, int, bytes]]:
    """Return (id, device, first position, skip, bytes) of segments stored after the one with id ``after``."""
    rows = connection.execute(
        "SELECT id, dev, start, skip, bytes FROM segment WHERE id > ? ORDER BY id LIMIT ?", (after, limit)
    )
    return list(rows)


def patches_after(connection: sqlite3.Connection, after: int, limit: int) -> list[tuple[int, int, int, bytes]]:
    """Return (id, device, position, item) of patches stored after the one with id ``after``."""
    rows = connection.execute("SELECT id, dev, seq, item FROM patch WHERE id > ? ORDER BY id LIMIT ?", (after, limit))
    return list(rows)


def newest_statement(connection: sqlite3.Connection, log: bytes, size: int) -> fleetlog.Leaf | None:
    """Return the newest of the log's heads in the fleet log at a position below ``size``."""
    return fleetlog.last_of_subject(connection, log.hex(), DeviceHead.NAME, size)


def covering(connection: sqlite3.Connection, dev: int, seq: int) -> tuple[HeadRow, int] | None:
    """Return the first head in the fleet log that covers record ``seq``, and its position."""
    row = first_sequenced(connection, dev, seq)
    leaf = None if row is None else fleetlog.by_digest(connection, row.digest)
    return None if row is None or leaf is None else (row, leaf.pos)
