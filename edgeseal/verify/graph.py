"""Heads of a log as nodes, and what is shown to be a prefix of what (RFC 9162): by recomputed roots, by consistency
proofs.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass

from edgeseal.bundle import Consistency
from edgeseal.errors import EvidenceError
from edgeseal.merkle import verify_consistency

Node = tuple[int, bytes]
"""(size, root)."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One growing tree: its top, the roots at smaller sizes shown to be prefixes of it (its own too), and up to
    which size all leaves are here."""

    top: Node | None
    roots: Mapping[int, bytes]
    complete: int


class Graph:
    """Nodes and the links between them. ``roots`` are those recomputed from leaves; ``failures`` says what was no
    proof.
    """

    def __init__(self, nodes: Set[Node], roots: Mapping[int, bytes], consistency: Iterable[Consistency]) -> None:
        """Check every consistency proof, all untrusted, against the nodes of its two sizes. Raises nothing."""
        self._nodes = nodes
        self._roots = roots
        self._matching = sorted(node for node in nodes if roots.get(node[0]) == node[1])
        self._below: dict[Node, set[Node]] = {}
        self.failures: list[tuple[str, str]] = []
        at: dict[int, list[Node]] = {}
        for node in nodes:
            at.setdefault(node[0], []).append(node)
        for size1, size2, path in consistency:
            if size1 in at and size2 in at:
                self._link(at[size1], at[size2], path)

    def tree(self, anchored: Set[Node]) -> Tree:
        """Return the tree that most of the leaves here lead to, then the newest of the ``anchored`` nodes, then the
        largest node.
        """
        most = self._matching[-1][0] if self._matching else 0
        newest = max((size for size, _ in anchored), default=0)
        best: tuple[int, int, int] = (-1, -1, -1)
        found = Tree(None, {}, 0)
        # Of the nodes that the leaves lead to the largest stands for all; the rest are tried from the newest down.
        for node in sorted(self._nodes - set(self._matching[:-1]), reverse=True):
            prefixes = self._prefixes(node)
            complete = max((size for size, root in prefixes if self._roots.get(size) == root), default=0)
            score = (complete, max((size for size, _ in prefixes & anchored), default=0), node[0])
            if score > best:
                best, found = score, Tree(node, dict(prefixes), complete)
            if best[:2] == (most, newest):
                break
        return found

    def _link(self, older: list[Node], newer: list[Node], path: list[bytes]) -> None:
        reason: tuple[str, str] | None = None
        for old in older:
            for new in newer:
                try:
                    verify_consistency(old[0], new[0], old[1], new[1], path)
                except EvidenceError as error:
                    reason = (error.code, f"consistency proof {old[0]} to {new[0]}: {error.message}")
                    continue
                self._below.setdefault(new, set()).add(old)
                return
        if reason:
            self.failures.append(reason)

    def _prefixes(self, top: Node) -> set[Node]:
        """Return the nodes shown to be prefixes of ``top``, itself among them."""
        found: set[Node] = set()
        todo, reached = [top], 0
        while todo:
            node = todo.pop()
            if node in found:
                continue
            found.add(node)
            todo += self._below.get(node, ())
            if self._roots.get(node[0]) == node[1]:
                reached = max(reached, node[0])
        found.update(self._matching[: bisect_right(self._matching, reached, key=lambda node: node[0])])
        return found
