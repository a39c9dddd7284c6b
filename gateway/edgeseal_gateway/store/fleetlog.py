"""The fleet log as it is kept: leaves, Merkle nodes, signed heads (``docs/format.md`` section 7).

Every function works in the caller's transaction. Only the sequencer appends; everybody may read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from edgeseal import cose, merkle, statements
from edgeseal.errors import InvariantBroken
from edgeseal.head import NO_HEAD, FleetHead
from edgeseal.receipt import encode_inclusion


@dataclass(frozen=True, slots=True)
class Leaf:
    """One statement of the fleet log and its position."""

    pos: int
    leaf: bytes
    digest: bytes
    typ: str
    sub: str
    statement: bytes


@dataclass(frozen=True, slots=True)
class StoredHead:
    """A fleet head that was decided; ``signature`` is None until it has been signed. ``snapshot``: its last leaf is
    one.
    """

    head: FleetHead
    kid: bytes
    snapshot: bool
    signature: bytes | None

    @property
    def unsigned(self) -> statements.Unsigned:
        """What the gateway key signs: the same bytes however often it is asked."""
        return statements.Unsigned(self.head.protected(self.kid), self.head.payload())

    @property
    def signed(self) -> bytes:
        """The signed head's bytes; InvariantBroken ``head_unsigned`` when it has no signature yet."""
        if self.signature is None:
            raise InvariantBroken("head_unsigned", f"the fleet head of size {self.head.size} has no signature")
        return self.unsigned.assemble(self.signature)


def same_digest(signed: cose.Sign1) -> bytes:
    """Return the digest of what makes two signed objects the same: protected header and payload (format 1.4)."""
    assert signed.payload is not None
    return sha256(cose.to_be_signed(signed.protected, signed.payload)).digest()


def prepare(connection: sqlite3.Connection) -> None:
    """Give a store of an earlier release the index of subjects that it lacks: the old one was of no use beside that of
    types, and a device's newest head was looked for among everybody's.
    """
    connection.execute("DROP INDEX IF EXISTS leaf_sub")
    connection.execute("CREATE INDEX IF NOT EXISTS leaf_subject ON leaf (sub, typ, pos)")


def size(connection: sqlite3.Connection) -> int:
    """Return the number of leaves."""
    row = connection.execute("SELECT max(pos) FROM leaf").fetchone()
    return 0 if row[0] is None else int(row[0]) + 1


def append(connection: sqlite3.Connection, entries: Sequence[statements.Statement]) -> tuple[int, bytes]:
    """Append statements in order; return the log's new size and root."""
    start = size(connection)
    frontier = merkle.Frontier.from_nodes(reader(connection), start)
    nodes: list[tuple[int, int, bytes]] = []
    rows = []
    for pos, entry in enumerate(entries, start):
        leaf = entry.leaf
        nodes += frontier.append(leaf)[1:]
        rows.append(
            (pos, leaf, same_digest(entry.signed), entry.digest, entry.name, entry.signed.sub, entry.signed.raw)
        )
    connection.executemany("INSERT INTO leaf VALUES (?, ?, ?, ?, ?, ?, ?)", rows)
    connection.executemany("INSERT INTO node VALUES (?, ?, ?)", nodes)
    return frontier.size, frontier.root()


def reader(connection: sqlite3.Connection) -> merkle.GetNode:
    """Return the function by which :mod:`edgeseal.merkle` reads stored nodes. It raises InvariantBroken
    ``node_missing``.
    """

    def get_node(level: int, index: int) -> bytes:
        if level:
            row = connection.execute("SELECT hash FROM node WHERE level = ? AND idx = ?", (level, index)).fetchone()
        else:
            row = connection.execute("SELECT leaf FROM leaf WHERE pos = ?", (index,)).fetchone()
        if row is None:
            raise InvariantBroken("node_missing", f"the fleet log lacks node {index} of level {level}")
        return bytes(row[0])

    return get_node


def root_at(connection: sqlite3.Connection, tree_size: int) -> bytes:
    """Return the root of the first ``tree_size`` leaves."""
    return merkle.Frontier.from_nodes(reader(connection), tree_size).root()


def consistency_path(connection: sqlite3.Connection, size1: int, size2: int) -> list[bytes]:
    """Return the RFC 9162 path between two sizes of the log; empty from 0 and between equal ones."""
    return merkle.consistency_path_from(reader(connection), size1, size2)


def receipt(connection: sqlite3.Connection, head: StoredHead, pos: int) -> bytes:
    """Return the receipt of leaf ``pos`` under a signed head (format 10)."""
    path = merkle.inclusion_path_from(reader(connection), pos, head.head.size)
    signed = cose.decode(head.signed, limit=2048, names=(FleetHead.NAME,))
    return encode_inclusion(signed, head.head.size, pos, path)


_LEAF = "SELECT pos, leaf, digest, typ, sub, statement FROM leaf "
_HEAD = "SELECT size, root, prev_size, prev_root, kid, snapshot, signature FROM fleet_head "


def leaves(connection: sqlite3.Connection, start: int, limit: int, below: int | None = None) -> list[Leaf]:
    """Return at most ``limit`` leaves from position ``start`` on, below position ``below`` if given."""
    stop = size(connection) if below is None else below
    rows = connection.execute(_LEAF + "WHERE pos >= ? AND pos < ? ORDER BY pos LIMIT ?", (start, stop, limit))
    return [Leaf(*row) for row in rows]


def by_digest(connection: sqlite3.Connection, digest: bytes) -> Leaf | None:
    """Return the leaf whose statement has this digest."""
    row = connection.execute(_LEAF + "WHERE digest = ?", (digest,)).fetchone()
    return None if row is None else Leaf(*row)


def by_same(connection: sqlite3.Connection, same: bytes) -> Leaf | None:
    """Return the leaf that is the same statement in the sense of format 1.4."""
    row = connection.execute(_LEAF + "WHERE same = ?", (same,)).fetchone()
    return None if row is None else Leaf(*row)


def of_type(connection: sqlite3.Connection, typ: str, start: int = 0, limit: int = -1) -> list[Leaf]:
    """Return the leaves of one typ from position ``start`` on, rising."""
    rows = connection.execute(_LEAF + "WHERE typ = ? AND pos >= ? ORDER BY pos LIMIT ?", (typ, start, limit))
    return [Leaf(*row) for row in rows]


def of_subject(connection: sqlite3.Connection, sub: str, typ: str, start: int = 0) -> list[Leaf]:
    """Return the leaves with this subject and typ from position ``start`` on, rising."""
    rows = connection.execute(_LEAF + "WHERE sub = ? AND typ = ? AND pos >= ? ORDER BY pos", (sub, typ, start))
    return [Leaf(*row) for row in rows]


def last_of_subject(connection: sqlite3.Connection, sub: str, typ: str, below: int | None = None) -> Leaf | None:
    """Return the newest leaf with this subject and typ, below position ``below`` if given."""
    row = connection.execute(
        _LEAF + "WHERE sub = ? AND typ = ? AND pos < ? ORDER BY pos DESC LIMIT 1",
        (sub, typ, size(connection) if below is None else below),
    ).fetchone()
    return None if row is None else Leaf(*row)


def decide_head(connection: sqlite3.Connection, tree: FleetHead, kid: bytes, snapshot: bool) -> None:
    """Put down the head that will be signed next."""
    connection.execute(
        "INSERT INTO fleet_head VALUES (?, ?, ?, ?, ?, ?, NULL)",
        (tree.size, tree.root, tree.prev[0], tree.prev[1], kid, snapshot),
    )


def set_signature(connection: sqlite3.Connection, tree_size: int, signature: bytes) -> None:
    """Keep the first signature of a head. Raises InvariantBroken ``head_signed`` when it has one already."""
    done = connection.execute(
        "UPDATE fleet_head SET signature = ? WHERE size = ? AND signature IS NULL", (signature, tree_size)
    )
    if done.rowcount != 1:
        raise InvariantBroken("head_signed", f"the fleet head of size {tree_size} was signed by somebody else")


def unsigned_head(connection: sqlite3.Connection, log: bytes) -> StoredHead | None:
    """Return the head that was decided and not signed, if there is one."""
    return _one_head(connection, log, "WHERE signature IS NULL")


def newest_head(connection: sqlite3.Connection, log: bytes, at_least: int = 0) -> StoredHead | None:
    """Return the newest signed head, of size ``at_least`` or more."""
    return _one_head(connection, log, "WHERE signature IS NOT NULL AND size >= ? ORDER BY size DESC LIMIT 1", at_least)


def first_head(connection: sqlite3.Connection, log: bytes, at_least: int) -> StoredHead | None:
    """Return the smallest signed head of size ``at_least`` or more."""
    return _one_head(connection, log, "WHERE signature IS NOT NULL AND size >= ? ORDER BY size LIMIT 1", at_least)


def head_at(connection: sqlite3.Connection, log: bytes, tree_size: int) -> StoredHead | None:
    """Return the signed head of exactly this size."""
    return _one_head(connection, log, "WHERE signature IS NOT NULL AND size = ?", tree_size)


def check(connection: sqlite3.Connection) -> None:
    """Check that the newest decided head is that of all leaves: at start, before anything is built on them.

    Raises InvariantBroken ``store_contradicts``, ``node_missing``.
    """
    tree_size, root = previous_of_next(connection)
    if tree_size != size(connection) or root_at(connection, tree_size) != root:
        raise InvariantBroken(
            "store_contradicts",
            f"the newest fleet head, of size {tree_size}, is not that of the {size(connection)} leaves in the store",
            "the store was changed or damaged: restore the newest backup",
        )


def heads(connection: sqlite3.Connection, log: bytes, start: int, limit: int) -> list[StoredHead]:
    """Return signed heads of size ``start`` or more, rising."""
    rows = connection.execute(_HEAD + "WHERE signature IS NOT NULL AND size >= ? ORDER BY size LIMIT ?", (start, limit))
    return [_head(log, row) for row in rows]


def previous_of_next(connection: sqlite3.Connection) -> tuple[int, bytes]:
    """Return what the next head names as the one before: the newest decided head, or no head."""
    row = connection.execute("SELECT size, root FROM fleet_head ORDER BY size DESC LIMIT 1").fetchone()
    return NO_HEAD if row is None else (int(row[0]), bytes(row[1]))


def _one_head(connection: sqlite3.Connection, log: bytes, where: str, *values: int) -> StoredHead | None:
    row = connection.execute(_HEAD + where, values).fetchone()
    return None if row is None else _head(log, row)


def _head(log: bytes, row: Sequence[object]) -> StoredHead:
    tree_size, root, prev_size, prev_root, kid, snapshot, signature = row
    assert isinstance(tree_size, int) and isinstance(root, bytes) and isinstance(kid, bytes)
    assert isinstance(prev_size, int) and isinstance(prev_root, bytes)
    assert signature is None or isinstance(signature, bytes)
    return StoredHead(FleetHead(log, tree_size, root, (prev_size, prev_root)), kid, bool(snapshot), signature)


def pending(connection: sqlite3.Connection, limit: int) -> list[tuple[int, bytes]]:
    """Return (id, statement) of operators' statements that wait for their place, in order of arrival."""
    rows: Iterable[tuple[int, bytes]] = connection.execute(
        "SELECT id, statement FROM pending ORDER BY id LIMIT ?", (limit,)
    )
    return list(rows)
