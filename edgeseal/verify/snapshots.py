"""Snapshots: what they say of a subject, and whether they tell the truth where the statements are here (format.md
9).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from edgeseal.errors import EvidenceError
from edgeseal.snapshot import AbsenceProof, Entry, SnapshotProof, Subjects, roll
from edgeseal.statements.snapshot import Snapshot
from edgeseal.verify.chain import Ground
from edgeseal.verify.fleet import Defect, Fleet, Placed
from edgeseal.verify.verdict import (
    ATTESTED,
)

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


class Snapshots:
    """The snapshots of a fleet log and the proofs that lead into them, sorted by the subject they claim to be about."""

    def __init__(self, fleet: Fleet, proofs: Iterable[SnapshotProof | AbsenceProof]) -> None:
        """Sort; nothing is verified yet. ``failures`` says which proofs cannot be read."""
        self._fleet = fleet
        self._at = {placed.position: placed for placed in fleet.snapshots}
        self._proofs: dict[str, list[SnapshotProof | AbsenceProof]] = {}
        self.failures: list[tuple[str, str]] = []
        for proof in sorted(proofs, key=lambda proof: -proof.position):
            try:
                sub = proof.sub if isinstance(proof, AbsenceProof) else Entry.decode(proof.located.entry).sub
            except EvidenceError as error:
                self.failures.append((error.code, f"snapshot proof at {proof.position}: {error.message}"))
                continue
            self._proofs.setdefault(sub, []).append(proof)

    def __contains__(self, position: int) -> bool:
        """Say whether the statement at a position is a snapshot."""
        return position in self._at

    def told(self, sub: str, placed: tuple[Placed, ...], proved: Callable[[int], bool]) -> SubjectView:
        """Return what the newest snapshot with a proof for ``sub`` says of it, on the word of the gateway that
        signed the snapshot.

        ``placed`` are the statements of the subject whose positions are proved; ``proved`` says it of any position.
        """
        problem = ("no_snapshot", "neither all statements nor a snapshot path for this subject are here")
        for proof in self._proofs.get(sub, ()):
            position = proof.position
            found = self._at.get(position)
            if found is None or not proved(position):
                problem = ("snapshot_not_proved", f"the snapshot at {position} is not shown to stand in the fleet log")
                continue
            snapshot = found.statement.content
            assert isinstance(snapshot, Snapshot)
            by = f"gateway {found.statement.signed.kid.hex()}"
            ground = Ground(ATTESTED, by, f"a snapshot at {position}, refutable")
            try:
                if isinstance(proof, AbsenceProof):
                    proof.verify(snapshot)
                    return _matched(Entry(sub), placed, position, ground)
                return _matched(proof.verify(snapshot), placed, position, ground)
            except EvidenceError as error:
                problem = (error.code, f"snapshot proof at {position}: {error.message}")
        return SubjectView(placed, 0, None, problem=problem)

    def check(self, complete: int) -> list[Defect]:
        """Return the snapshots below ``complete``, below which all statements are here, that are not what those say."""
        told = [placed for placed in self._fleet.snapshots if placed.position < complete]
        keep = _affordable(told)
        everything = sorted((p for ps in self._fleet.subjects.values() for p in ps), key=lambda p: p.position)
        subjects, found, taken = Subjects(), [], 0
        for placed in told:
            while taken < len(everything) and everything[taken].position < placed.position:
                subjects.add(everything[taken].position, everything[taken].statement)
                taken += 1
            content = placed.statement.content
            assert isinstance(content, Snapshot)
            if placed.position in keep:
                tree = subjects.tree()
                if (tree.root, len(tree.entries)) != (content.root, content.count):
                    detail = f"the snapshot at {placed.position} is not what the statements below it say"
                    found.append(Defect(placed.position, "snapshot_false", detail))
        return found


def _affordable(told: list[Placed]) -> set[int]:
    """Return the positions of the snapshots to recompute: the first ones within MAX_SNAPSHOT_WORK, and the newest."""
    work, keep = 0, {placed.position for placed in told[-1:]}
    for placed in told:
        content = placed.statement.content
        assert isinstance(content, Snapshot)
        work += content.count
        if work <= MAX_SNAPSHOT_WORK:
            keep.add(placed.position)
    return keep


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
