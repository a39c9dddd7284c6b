"""The tree of subjects under a snapshot: building it, proving an entry, proving an absence (``docs/format.md``
section 9).

Inclusion never proves that nothing else was included. The entry of a subject says how many statements it has and what
the last one was; the statements are there to be read, so that a false snapshot is provable by anyone who reads them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, limits, schema
from edgeseal.commitment import domain
from edgeseal.errors import UsageError, VerificationError
from edgeseal.head import DeviceHead
from edgeseal.merkle import inclusion_path, leaf_hash, root, verify_inclusion
from edgeseal.statements import Statement
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment, device_log_id
from edgeseal.statements.revocation import Revocation
from edgeseal.statements.snapshot import Snapshot

_ROLL: Final = domain("roll")

_ENTRY = schema.closed(
    {
        "sub": schema.text(128, 1),
        "n": schema.positive,
        "h": schema.digest,
        "pos": schema.uint,
        "head": schema.maybe(schema.size_root),
        "from": schema.maybe(schema.uint),
        "until": schema.maybe(schema.uint),
        "cmd": schema.maybe(schema.digest),
    }
)


@dataclass(frozen=True, slots=True)
class Entry:
    """What a snapshot says of one subject.

    ``count`` statements whose leaf hashes roll up to ``rolling``, the last at ``position``; the newest device ``head``
    (size, root); the key's validity ``[valid_from, valid_until)`` in fleet positions; digest of the last ``command``.
    """

    sub: str
    count: int = 0
    rolling: bytes = bytes(32)
    position: int = 0
    head: tuple[int, bytes] | None = None
    valid_from: int | None = None
    valid_until: int | None = None
    command: bytes | None = None

    def encode(self) -> bytes:
        """Return the entry's bytes, whose leaf hash stands in the snapshot tree."""
        return cbor.encode(
            {
                "sub": self.sub,
                "n": self.count,
                "h": self.rolling,
                "pos": self.position,
                "head": None if self.head is None else list(self.head),
                "from": self.valid_from,
                "until": self.valid_until,
                "cmd": self.command,
            }
        )

    @classmethod
    def decode(cls, data: bytes) -> Entry:
        """Return the entry in untrusted bytes. Raises FormatError: CBOR and shape codes."""
        fields = cbor.decode(data, max_size=limits.MAX_ENTRY)
        _ENTRY(fields, "entry")
        head = fields["head"]
        return cls(
            fields["sub"],
            fields["n"],
            fields["h"],
            fields["pos"],
            None if head is None else (head[0], head[1]),
            fields["from"],
            fields["until"],
            fields["cmd"],
        )


def roll(rolling: bytes, leaf: bytes) -> bytes:
    """Return the next rolling hash of a subject after the statement with this leaf hash (9.2)."""
    return sha256(_ROLL + rolling + leaf).digest()


def advance(entry: Entry, position: int, statement: Statement) -> Entry:
    """Return ``entry`` after one more statement of its subject, at ``position``. Snapshots never come here."""
    content = statement.content
    following = replace(entry, count=entry.count + 1, rolling=roll(entry.rolling, statement.leaf), position=position)
    if isinstance(content, DeviceHead):
        if entry.head is None or content.size > entry.head[0]:
            following = replace(following, head=(content.size, content.root))
    elif isinstance(content, Enrolment):
        if entry.valid_from is None:
            following = replace(following, valid_from=position)
    elif isinstance(content, Revocation):
        following = revoked(following, content.until)
    elif isinstance(content, Command):
        following = replace(following, command=statement.digest)
    return following


def revoked(entry: Entry, until: int) -> Entry:
    """Return ``entry`` with its key ending at ``until``, or earlier if it already did.

    A revocation of a device's key also ends the validity in the entry of that device's log id (9.2): the caller applies
    this to the entry of :func:`revoked_log`, which gains no statement by it.
    """
    return replace(entry, valid_until=until if entry.valid_until is None else min(until, entry.valid_until))


def revoked_log(content: Revocation) -> str | None:
    """Return the subject of the device log whose validity this revocation also ends, or None for another role."""
    return device_log_id(content.kid).hex() if content.role == "device" else None


class Subjects:
    """The entries of every subject, kept as statements come: what the next snapshot will say. Not thread-safe."""

    def __init__(self, entries: Iterable[Entry] = ()) -> None:
        self.entries: dict[str, Entry] = {entry.sub: entry for entry in entries}

    def add(self, position: int, statement: Statement) -> list[Entry]:
        """Take one sequenced statement in and return the entries it changed; a snapshot changes none."""
        content = statement.content
        if isinstance(content, Snapshot):
            return []
        changed = [advance(self.entries.get(content.sub, Entry(content.sub)), position, statement)]
        if isinstance(content, Revocation):
            log = revoked_log(content)
            if log is not None and log in self.entries:
                changed.append(revoked(self.entries[log], content.until))
        for entry in changed:
            self.entries[entry.sub] = entry
        return changed

    def tree(self) -> SnapshotTree:
        """Return the tree of the entries as they stand."""
        return SnapshotTree(self.entries.values())


class SnapshotTree:
    """The sorted Merkle tree of a snapshot's entries, and the proofs from it."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.entries = sorted(entries, key=lambda entry: entry.sub.encode())
        self._subjects = [entry.sub.encode() for entry in self.entries]
        self._encoded = [entry.encode() for entry in self.entries]
        self._leaves = [leaf_hash(data) for data in self._encoded]

    @property
    def root(self) -> bytes:
        """The root; of no entries it is the hash of nothing."""
        return root(self._leaves)

    def statement(self, log: bytes, position: int) -> Snapshot:
        """Return the payload of the snapshot that will stand at ``position`` of the fleet log ``log``."""
        return Snapshot(log, position + 1, self.root, len(self.entries))

    def prove(self, sub: str, position: int) -> SnapshotProof | AbsenceProof:
        """Return the proof of what the snapshot at ``position`` says of ``sub``: its entry, or that it has none."""
        place = bisect_left(self._subjects, sub.encode())
        if place < len(self.entries) and self.entries[place].sub == sub:
            return SnapshotProof(position, self._located(place))
        left = self._located(place - 1) if place > 0 else None
        right = self._located(place) if place < len(self.entries) else None
        return AbsenceProof(position, sub, left, right)

    def _located(self, index: int) -> Located:
        return Located(index, self._encoded[index], tuple(inclusion_path(self._leaves, index)))


@dataclass(frozen=True, slots=True)
class Located:
    """An entry's bytes, its index in the snapshot tree, and its path. Untrusted until verified."""

    index: int
    entry: bytes
    path: tuple[bytes, ...]

    def verify(self, snapshot: Snapshot) -> Entry:
        """Return the entry once the snapshot is shown to hold it.

        Raises:
            VerificationError: ``path_*``. FormatError: the entry's bytes.
        """
        verify_inclusion(leaf_hash(self.entry), self.index, snapshot.count, self.path, snapshot.root)
        return Entry.decode(self.entry)

    def as_list(self) -> list[Any]:
        """Return ``[index, entry, path]``."""
        return [self.index, self.entry, list(self.path)]


_PATH = schema.items(schema.digest, limits.MAX_PATH)
_LOCATED = schema.row(schema.uint, schema.binary(1, limits.MAX_ENTRY), _PATH)
_SNAPSHOT_PROOF = schema.closed(
    {
        "v": schema.one_of(1),
        "pos": schema.uint,
        "index": schema.uint,
        "entry": schema.binary(1, limits.MAX_ENTRY),
        "path": _PATH,
    }
)
_ABSENCE_PROOF = schema.closed(
    {
        "v": schema.one_of(1),
        "pos": schema.uint,
        "sub": schema.text(128, 1),
        "left": schema.maybe(_LOCATED),
        "right": schema.maybe(_LOCATED),
    }
)


@dataclass(frozen=True, slots=True)
class SnapshotProof:
    """The proof that the snapshot at ``position`` says this of a subject (9.3)."""

    position: int
    located: Located

    def as_map(self) -> dict[str, Any]:
        """Return the CBOR map."""
        located = self.located
        return {
            "v": 1,
            "pos": self.position,
            "index": located.index,
            "entry": located.entry,
            "path": list(located.path),
        }

    def verify(self, snapshot: Snapshot) -> Entry:
        """Return the entry, given the authenticated snapshot at :attr:`position`. Raises as :meth:`Located.verify`."""
        return self.located.verify(snapshot)


@dataclass(frozen=True, slots=True)
class AbsenceProof:
    """The proof that the snapshot at ``position`` knows no statement of ``sub``: its two neighbours (9.3)."""

    position: int
    sub: str
    left: Located | None
    right: Located | None

    def as_map(self) -> dict[str, Any]:
        """Return the CBOR map."""
        sides = (None if side is None else side.as_list() for side in (self.left, self.right))
        return {"v": 1, "pos": self.position, "sub": self.sub, **dict(zip(("left", "right"), sides, strict=True))}

    def verify(self, snapshot: Snapshot) -> None:
        """Check the absence, given the authenticated snapshot at :attr:`position`.

        Raises:
            VerificationError: ``absence_gap`` when the two are not neighbours around the subject, ``path_*``.
            FormatError: an entry's bytes.
        """
        left = None if self.left is None else self.left.verify(snapshot)
        right = None if self.right is None else self.right.verify(snapshot)
        after = 0 if self.left is None else self.left.index + 1
        before = snapshot.count if self.right is None else self.right.index
        wanted = self.sub.encode()
        ordered = (left is None or left.sub.encode() < wanted) and (right is None or wanted < right.sub.encode())
        if after != before or not ordered:
            raise VerificationError("absence_gap", f"the neighbours leave room for an entry of {self.sub!r}")


def proof_from_map(fields: Any) -> SnapshotProof | AbsenceProof:
    """Return the proof in a decoded map of ``proofs/snapshots.cbor``. Raises FormatError: shape codes."""
    if type(fields) is dict and "sub" in fields:
        _ABSENCE_PROOF(fields, "absence proof")
        sides = [
            None if side is None else Located(side[0], side[1], tuple(side[2]))
            for side in (fields["left"], fields["right"])
        ]
        return AbsenceProof(fields["pos"], fields["sub"], sides[0], sides[1])
    _SNAPSHOT_PROOF(fields, "snapshot proof")
    return SnapshotProof(fields["pos"], Located(fields["index"], fields["entry"], tuple(fields["path"])))


def recompute(statements: Iterable[tuple[int, Statement]]) -> SnapshotTree:
    """Return the tree that a snapshot over these (position, statement) pairs, in order, must have.

    Raises:
        UsageError: ``statement_order`` if positions do not rise by one from 0: the caller has not all statements.
    """
    subjects = Subjects()
    for expected, (position, statement) in enumerate(statements):
        if position != expected:
            raise UsageError("statement_order", f"statement {expected} is missing")
        subjects.add(position, statement)
    return subjects.tree()


__all__: Sequence[str] = (
    "AbsenceProof", "Entry", "Located", "SnapshotProof", "SnapshotTree", "Subjects",
    "advance", "proof_from_map", "recompute", "revoked", "revoked_log", "roll",
)  # fmt: skip
