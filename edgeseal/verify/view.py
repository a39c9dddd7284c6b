"""One view of the fleet log: which signed heads belong to one growing tree, and what stands in it (format.md 7, 9;
RFC 9162).

Steps of :meth:`View.settle`:
(1) every (size, root) that a gateway key signed or a believed chain took is a node; (2) roots recomputed from the
statements, where all of them from 0 on are here, and consistency proofs link nodes; (3) the top is the newest node
that the newest believed anchor is a prefix of; the main view is what is shown to be a prefix of the top; (4) what is
not in it is a fork where it is shown to contradict it, and unlinked where nothing is shown.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from edgeseal.bundle import Consistency
from edgeseal.errors import EvidenceError
from edgeseal.merkle import Frontier, verify_consistency
from edgeseal.snapshot import AbsenceProof, Entry, SnapshotProof, Subjects, roll
from edgeseal.statements.snapshot import Snapshot
from edgeseal.verify.chain import Anchor, Anchors, Ground
from edgeseal.verify.fleet import Defect, Fleet, Placed
from edgeseal.verify.verdict import ATTESTED

Node = tuple[int, bytes]

MAX_SNAPSHOT_WORK: int = 4_000_000
"""Entries hashed to recompute old snapshots; the newest is always recomputed."""


@dataclass(frozen=True, slots=True)
class SubjectView:
    """All statements of one subject below position ``as_of``, and on what it stands that there is no other.

    ``ground`` is None where nothing shows it; ``problem`` then says why as (reason, detail).
    """

    placed: tuple[Placed, ...]
    as_of: int
    ground: Ground | None
    entry: Entry | None = None
    problem: tuple[str, str] | None = None


@dataclass(slots=True)
class View:
    """The fleet log as one tree."""

    fleet: Fleet
    anchors: Anchors
    top: Node | None = None
    main: dict[int, bytes] = field(default_factory=dict)
    complete: int = 0
    settled: Anchor | None = None
    forks: list[tuple[str, str, bytes | None]] = field(default_factory=list)
    unlinked: list[Node] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    _roots: dict[int, bytes] = field(default_factory=dict)
    _false: set[int] = field(default_factory=set)
    _proofs: dict[str, list[SnapshotProof | AbsenceProof]] = field(default_factory=dict)
    _snapshots: dict[int, Placed] = field(default_factory=dict)
    _anchored: list[Anchor] = field(default_factory=list)
    _matching: list[Node] = field(default_factory=list)
    _gateway: str = "gateway unknown"

    def settle(self, consistency: Iterable[Consistency], proofs: Iterable[SnapshotProof | AbsenceProof]) -> None:
        """Work out the view; call it once all signed heads have been taken in. Raises nothing."""
        self._snapshots = {placed.position: placed for placed in self.fleet.snapshots}
        self._sort(proofs)
        # (1)
        nodes = {(head.size, head.root) for head in self.fleet.heads}
        nodes |= {(anchor.size, anchor.root) for anchor in self.anchors.believed}
        # (2)
        self._recompute({size for size, _ in nodes})
        below = self._links(nodes, consistency)
        # (3)
        self._choose(nodes, below)
        # (4)
        self._judge(nodes)
        self._check_snapshots()

    def proved(self, position: int) -> bool:
        """Say whether the statement that claims this position stands there, in the main view."""
        if position < self.complete:
            return True
        return any(self.main.get(size) == root for size, root in self.fleet.receipted.get(position, ()))

    def anchor_of(self, position: int) -> Anchor | None:
        """Return the first believed anchor in the main view whose head covers a position."""
        at = bisect_right(self._anchored, position, key=lambda anchor: anchor.size)
        return self._anchored[at] if at < len(self._anchored) else None

    def order(self, position: int) -> tuple[Ground, tuple[str, str] | None]:
        """Return on what it stands that the keysets below a position are these and no others, and why it may not stand.

        The chain, where all statements up to a believed anchor are here; else the gateway's word, by its signed head or
        by a snapshot that counts the keysets.
        """
        if position < self.complete:
            if self.settled and position < self.settled.size:
                return self.settled.ground, None
            return Ground(ATTESTED, self.gateway(), "the order of statements that no believed anchor covers"), None
        told = self.subject(self.fleet.log.hex())
        ground = told.ground or Ground(ATTESTED, self.gateway(), "nothing")
        if told.ground is None or told.problem or position >= told.as_of:
            return ground, (
                "keysets_incomplete",
                "nothing shows that the keysets here are all there were at that position",
            )
        if not all(self.proved(entry.position) for entry in self.fleet.keysets):
            return ground, ("keysets_incomplete", "a keyset's position is not proved")
        return ground, None

    def root_at(self, size: int) -> bytes | None:
        """Return the main view's root at a size, where it is known."""
        if size in self.main:
            return self.main[size]
        return self._roots.get(size) if size <= self.complete else None

    def need_roots(self, sizes: Iterable[int]) -> None:
        """Recompute the roots at more sizes, as far as the statements reach; to be asked before :meth:`settle`."""
        self._recompute(set(sizes))

    def gateway(self) -> str:
        """Return who attests what only signed fleet heads say."""
        return self._gateway

    def subject(self, sub: str) -> SubjectView:
        """Return what the evidence shows of all statements of a subject, by the best means at hand.

        All statements up to a believed anchor stand on the chain; up to a head that only the gateway signed, on the
        gateway's word, as does a snapshot path, which anyone who reads the statements can refute.
        """
        placed = tuple(p for p in self.fleet.subjects.get(sub, ()) if self.proved(p.position))
        if not self.complete:
            return self._by_snapshot(sub, placed)
        newer = self._newer(self.complete)
        if self.settled and self.settled.size <= self.complete:
            return SubjectView(placed, self.settled.size, self.settled.ground, problem=newer)
        how = f"all {self.complete} statements under a head that it signed"
        return SubjectView(placed, self.complete, Ground(ATTESTED, self.gateway(), how), problem=newer)

    def _newer(self, covered: int) -> tuple[str, str] | None:
        """Say that a believed anchor holds more than ``covered`` statements, unless its head is shown to end in no
        snapshot.
        """
        for anchor in reversed(self.anchors.believed):
            last = anchor.size - 1
            plain = self.proved(last) and last not in self._snapshots and last in self.fleet.leaves
            if anchor.size > covered and not plain:
                detail = f"the chain holds a head of size {anchor.size}, what is shown here ends at {covered}"
                return "newer_anchor", detail
        return None

    def _by_snapshot(self, sub: str, placed: tuple[Placed, ...]) -> SubjectView:
        problem = (
            "no_snapshot",
            "neither all statements of the fleet log nor a snapshot path for this subject are here",
        )
        for proof in self._proofs.get(sub, ()):
            found = self._snapshots.get(proof.position)
            if found is None or not self.proved(proof.position):
                detail = f"the snapshot at {proof.position} is not shown to stand in the fleet log"
                problem = ("snapshot_not_proved", detail)
                continue
            snapshot = found.statement.content
            assert isinstance(snapshot, Snapshot)
            ground = Ground(
                ATTESTED, f"gateway {found.statement.signed.kid.hex()}", f"a snapshot at {proof.position}, refutable"
            )
            try:
                if isinstance(proof, AbsenceProof):
                    proof.verify(snapshot)
                    return SubjectView((), proof.position, ground, problem=self._newer(proof.position + 1))
                told = _matched(proof.verify(snapshot), placed, proof.position, ground)
            except EvidenceError as error:
                problem = (error.code, f"snapshot proof at {proof.position}: {error.message}")
                continue
            return told if told.problem else replace(told, problem=self._newer(proof.position + 1))
        return SubjectView(placed, 0, None, problem=problem)

    def _sort(self, proofs: Iterable[SnapshotProof | AbsenceProof]) -> None:
        """Sort proofs by the subject they claim to be about, newest first."""
        for proof in sorted(proofs, key=lambda proof: -proof.position):
            try:
                sub = proof.sub if isinstance(proof, AbsenceProof) else Entry.decode(proof.located.entry).sub
            except EvidenceError as error:
                self.failures.append((error.code, f"snapshot proof at {proof.position}: {error.message}"))
                continue
            self._proofs.setdefault(sub, []).append(proof)

    def _recompute(self, sizes: set[int]) -> None:
        leaves = self.fleet.leaves
        if 0 not in leaves or len(leaves) != max(leaves) + 1:
            return  # not all statements from 0 on: nothing to recompute
        frontier, ordered = Frontier(), list(leaves.values())
        for size in sorted(size for size in sizes if 0 < size <= len(ordered) and size not in self._roots):
            frontier.extend(ordered[frontier.size : size])
            self._roots[size] = frontier.root()

    def _links(self, nodes: set[Node], consistency: Iterable[Consistency]) -> dict[Node, set[Node]]:
        at: dict[int, list[Node]] = {}
        for node in nodes:
            at.setdefault(node[0], []).append(node)
        below: dict[Node, set[Node]] = {}
        for size1, size2, path in consistency:
            linked, reason = False, ("consistency_unknown", "for sizes of which no head is here")
            for old in at.get(size1, ()):
                for new in at.get(size2, ()):
                    try:
                        verify_consistency(size1, size2, old[1], new[1], path)
                    except EvidenceError as error:
                        reason = (error.code, error.message)
                        continue
                    below.setdefault(new, set()).add(old)
                    linked = True
            if not linked and size1 in at and size2 in at:
                self.failures.append((reason[0], f"consistency proof {size1} to {size2}: {reason[1]}"))
        return below

    def _prefixes(self, top: Node, below: dict[Node, set[Node]]) -> set[Node]:
        """Return the nodes shown to be prefixes of ``top``, itself among them."""
        found: set[Node] = set()
        todo, reached = [top], 0
        while todo:
            node = todo.pop()
            if node in found:
                continue
            found.add(node)
            todo += below.get(node, ())
            if self._roots.get(node[0]) == node[1]:
                reached = max(reached, node[0])
        found.update(self._matching[: bisect_right(self._matching, reached, key=lambda node: node[0])])
        return found

    def _choose(self, nodes: set[Node], below: dict[Node, set[Node]]) -> None:
        self._matching = sorted(node for node in nodes if self._roots.get(node[0]) == node[1])
        anchored = {(anchor.size, anchor.root) for anchor in self.anchors.believed}
        most = self._matching[-1][0] if self._matching else 0
        newest = max((size for size, _ in anchored), default=0)
        best: tuple[int, int, int] | None = None
        # Of the nodes that the statements lead to the largest stands for all; the rest are tried from the newest down.
        for node in sorted(nodes - set(self._matching[:-1]), reverse=True):
            prefixes = self._prefixes(node, below)
            complete = max((size for size, root in prefixes if self._roots.get(size) == root), default=0)
            score = (complete, max((size for size, _ in prefixes & anchored), default=0), node[0])
            if best is None or score > best:
                best, self.top, self.main = score, node, dict(prefixes)
            if best[:2] == (most, newest):
                break
        self.complete = best[0] if best else 0
        self._anchored = [a for a in self.anchors.believed if self.main.get(a.size) == a.root]
        self.settled = self._anchored[-1] if self._anchored else None
        signers = dict.fromkeys(head.kid.hex() for head in self.fleet.heads if (head.size, head.root) == self.top)
        self._gateway = f"gateway {', '.join(signers) or 'unknown'}"

    def _judge(self, nodes: set[Node]) -> None:
        signers: dict[Node, bytes] = {}
        for head in self.fleet.heads:
            if (head.size, head.root) not in signers or not self.fleet.retired(head.kid, head.size):
                signers[(head.size, head.root)] = head.kid
        for node in sorted(nodes):
            size, root = node
            known = self.root_at(size)
            if self.main.get(size) == root:
                continue
            if known is not None and known != root:
                kid = signers.get(node)
                retired = kid is not None and self.fleet.retired(kid, size)
                who = f"gateway key {kid.hex()}" if kid else "the chain's contract"
                self.forks.append(
                    (
                        "retired_key" if retired else "fork",
                        f"two roots of the fleet log at size {size}: one by {who}",
                        kid,
                    )
                )
            else:
                self.unlinked.append(node)

    def _check_snapshots(self) -> None:
        """Compare snapshots with the statements they speak of, as far as all of those are here."""
        if not self.complete:
            return
        told = [p for p in self.fleet.snapshots if p.position < self.complete]
        work, keep = 0, {p.position for p in told[-1:]}
        for placed in told:
            content = placed.statement.content
            assert isinstance(content, Snapshot)
            work += content.count
            if work <= MAX_SNAPSHOT_WORK:
                keep.add(placed.position)
        subjects = Subjects()
        everything = sorted((p for ps in self.fleet.subjects.values() for p in ps), key=lambda p: p.position)
        todo = iter(everything)
        following = next(todo, None)
        for placed in told:
            while following is not None and following.position < placed.position:
                subjects.add(following.position, following.statement)
                following = next(todo, None)
            content = placed.statement.content
            assert isinstance(content, Snapshot)
            if placed.position in keep:
                tree = subjects.tree()
                if (tree.root, len(tree.entries)) != (content.root, content.count):
                    detail = f"the snapshot at {placed.position} is not what the statements below it say"
                    self.fleet.defects.append(Defect(placed.position, "snapshot_false", detail))


def _matched(entry: Entry, placed: tuple[Placed, ...], position: int, ground: Ground) -> SubjectView:
    """Compare the statements of a subject that are here with what the snapshot at ``position`` says of it."""
    below = tuple(p for p in placed if p.position < position)
    rolling = bytes(32)
    for p in below:
        rolling = roll(rolling, p.statement.leaf)
    if (len(below), rolling) == (entry.count, entry.rolling):
        return SubjectView(placed, position, ground, entry)
    if len(below) < entry.count:
        detail = f"the snapshot at {position} counts {entry.count} statements of this subject, {len(below)} are here"
        return SubjectView(placed, position, ground, entry, ("statements_missing", detail))
    detail = f"the snapshot at {position} and the statements of this subject contradict each other"
    return SubjectView(placed, position, ground, entry, ("snapshot_contradicts", detail))
