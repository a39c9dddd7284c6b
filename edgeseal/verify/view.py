"""One view of the fleet log: which signed heads belong to one growing tree, and what stands in it (format.md 7, 9).

Steps of :meth:`View.settle`:
(1) every (size, root) that a gateway key signed while it was the gateway's, or that a believed chain took, is a node:
what a key signs after it was retired places nothing; (2) roots recomputed from the statements, where all of them from 0
on are here, and consistency proofs link nodes; (3) the main view is the tree over most of the statements shown, then
over the newest believed anchor; (4) what is not in it is a fork where it is shown to contradict it, and unlinked where
nothing is shown.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import accumulate

from edgeseal.bundle import Consistency
from edgeseal.head import DeviceHead
from edgeseal.merkle import Frontier
from edgeseal.snapshot import AbsenceProof, SnapshotProof
from edgeseal.verify.chain import Anchor, Anchors, Ground
from edgeseal.verify.fleet import UNSURE, Defect, Fleet
from edgeseal.verify.graph import Graph, Node, Tree
from edgeseal.verify.snapshots import Snapshots, SubjectView
from edgeseal.verify.state import States
from edgeseal.verify.verdict import (
    ATTESTED,
)


@dataclass(slots=True)
class View:
    """The fleet log as one tree. ``settled`` is the newest believed anchor in it; ``forks`` are (reason, detail);
    ``states`` what the contracts are proved to hold, None without a trust file.
    """

    fleet: Fleet
    anchors: Anchors
    states: States | None = None
    tree: Tree = field(default_factory=lambda: Tree(None, {}, 0))
    settled: Anchor | None = None
    forks: list[tuple[str, str]] = field(default_factory=list)
    unlinked: list[Node] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)
    gateway: str = "gateway unknown"
    _roots: dict[int, bytes] = field(default_factory=dict)
    _anchored: list[Anchor] = field(default_factory=list)
    _snapshots: Snapshots | None = None
    _named: list[tuple[int, int]] | None = None

    def settle(self, consistency: Iterable[Consistency], proofs: Iterable[SnapshotProof | AbsenceProof]) -> None:
        """Work out the view; call it once all signed heads have been taken in. Raises nothing."""
        # (1)
        anchored = {(anchor.size, anchor.root) for anchor in self.anchors.believed}
        signed = {(head.size, head.root) for head in self.fleet.heads}
        nodes = anchored | {(h.size, h.root) for h in self.fleet.heads if not self.fleet.retired(h.kid, h.size)}
        # (2)
        self.need_roots(size for size, _ in nodes | signed)
        graph = Graph(nodes, self._roots, consistency)
        # (3)
        self.tree = graph.tree(anchored)
        self._anchored = [a for a in self.anchors.believed if self.main.get(a.size) == a.root]
        self.settled = self._anchored[-1] if self._anchored else None
        signers = dict.fromkeys(h.kid.hex() for h in self.fleet.heads if (h.size, h.root) == self.tree.top)
        self.gateway = f"gateway {', '.join(signers) or 'unknown'}"
        # (4)
        self._judge(nodes | signed)
        self._snapshots = Snapshots(self.fleet, proofs)
        self.failures += graph.failures + self._snapshots.failures
        self.fleet.defects += self._snapshots.check(self.complete)

    @property
    def main(self) -> Mapping[int, bytes]:
        """Size → root of the heads in the main view."""
        return self.tree.roots

    @property
    def forked(self) -> tuple[str, str] | None:
        """Why nothing can be said of order and absence: the fleet log is shown to have two histories."""
        details = [detail for reason, detail in self.forks if reason == "fork"]
        return ("fleet_fork", f"the fleet log has two histories: {details[0]}") if details else None

    @property
    def complete(self) -> int:
        """Up to which size all statements are here, under a head of the main view; 0 where they are not."""
        return self.tree.complete

    def proved(self, position: int) -> bool:
        """Say whether the statement that claims this position stands there, in the main view."""
        if position < self.complete:
            return True
        return any(self.main.get(size) == root for size, root in self.fleet.receipted.get(position, ()))

    def anchor_of(self, position: int) -> Anchor | None:
        """Return the first believed anchor in the main view whose head covers a position."""
        at = bisect_right(self._anchored, position, key=lambda anchor: anchor.size)
        return self._anchored[at] if at < len(self._anchored) else None

    def sure(self, defect: Defect) -> bool:
        """Say whether a defect stands whatever keysets are not here: it is none of its signer's, or all statements, or
        a snapshot that counts keysets, show that those here are all there were.
        """
        if defect.reason not in UNSURE:
            return True
        told = self.subject(self.fleet.log.hex())
        known = told.ground is not None and (told.problem is None or told.problem[0] == "newer_anchor")
        return known and defect.reach <= told.as_of

    def on_chain(self, position: int) -> bool:
        """Say whether all statements up to a believed anchor above a position are here."""
        return self.settled is not None and position < min(self.complete, self.settled.size)

    def time_below(self, position: int) -> int | None:
        """Return the newest time, Unix seconds, that is shown to have come when the fleet log reached a position: that
        of a believed block which a device head below it names. None where none does.
        """
        if self._named is None:
            times = {anchor.block: anchor.time for anchor in self.anchors.believed}
            found = sorted(
                (p.position, times[p.statement.content.anchored.block])
                for placed in self.fleet.subjects.values()
                for p in placed
                if isinstance(p.statement.content, DeviceHead)
                and p.statement.content.anchored is not None
                and p.statement.content.anchored.block in times
                and self.proved(p.position)
            )
            rising = accumulate((time for _, time in found), max)
            self._named = list(zip((at for at, _ in found), rising, strict=True))
        at = bisect_left(self._named, position, key=lambda named: named[0])
        return self._named[at - 1][1] if at else None

    def order(self, position: int) -> tuple[Ground, tuple[str, str] | None]:
        """Return on what it stands that the keysets below a position are these and no others, and why it may not stand.

        The chain, where all statements up to a believed anchor are here; else the gateway's word, by its signed head or
        by a snapshot that counts the keysets.
        """
        if self.forked:
            return Ground(ATTESTED, self.gateway, "nothing"), self.forked
        if position < self.complete:
            if self.settled and self.on_chain(position):
                return self.settled.ground, None
            return Ground(ATTESTED, self.gateway, "the order of statements that no believed anchor covers"), None
        told = self.subject(self.fleet.log.hex())
        ground = told.ground or Ground(ATTESTED, self.gateway, "nothing")
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
        """Recompute the roots at some sizes, as far as the statements reach; more can be asked for before
        :meth:`settle`.
        """
        leaves = self.fleet.leaves
        if 0 not in leaves or len(leaves) != max(leaves) + 1:
            return  # not all statements from 0 on: nothing to recompute
        frontier, ordered = Frontier(), list(leaves.values())
        for size in sorted({size for size in sizes if 0 < size <= len(ordered) and size not in self._roots}):
            frontier.extend(ordered[frontier.size : size])
            self._roots[size] = frontier.root()

    def subject(self, sub: str, below: int = 0) -> SubjectView:
        """Return what the evidence shows of all statements of a subject, by the best means at hand that reaches all
        positions under ``below``, if one does: ``as_of`` says how far it reaches.

        All statements up to a believed anchor stand on the chain; up to a head that only the gateway signed, on the
        gateway's word, as does a snapshot path, which anyone who reads the statements can refute.
        """
        placed = tuple(p for p in self.fleet.subjects.get(sub, ()) if self.proved(p.position))
        if not self.complete:
            assert self._snapshots is not None
            told = self._snapshots.told(sub, placed, self.proved)
            return told if told.problem else replace(told, problem=self.forked or self._newer(told.as_of + 1))
        newer = self.forked or self._newer(self.complete)
        if self.settled and below <= self.settled.size <= self.complete:
            return SubjectView(placed, self.settled.size, self.settled.ground, problem=newer)
        how = f"all {self.complete} statements under a head that it signed"
        return SubjectView(placed, self.complete, Ground(ATTESTED, self.gateway, how), problem=newer)

    def _newer(self, covered: int) -> tuple[str, str] | None:
        """Say that a believed anchor holds more than ``covered`` statements, unless its head is shown to end in no
        snapshot.
        """
        for anchor in reversed(self.anchors.believed):
            last = anchor.size - 1
            plain = (
                self.proved(last)
                and self._snapshots is not None
                and last not in self._snapshots
                and last in self.fleet.leaves
            )
            if anchor.size > covered and not plain:
                detail = f"the chain holds a head of size {anchor.size}, what is shown here ends at {covered}"
                return "newer_anchor", detail
        return None

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
                detail = f"two roots of the fleet log at size {size}: one by {who}"
                self.forks.append(("retired_key" if retired else "fork", detail))
            else:
                self.unlinked.append(node)
