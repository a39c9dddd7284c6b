"""Bodies go in two ways: thinned at the quota, lowest class first, or erased by retention. Headers always stay.

In both a record that names the positions is sealed first, and only then do the bodies go (``docs/format.md`` sections
4.4 and 6.4). The plan is a row that commits with that record, so a restart at any point takes it up where it stood.
What lies in the window of an incident is left alone, and so is every kind that is not named here.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import limits, segment
from edgeseal.record import Header
from edgeseal_agent import incidents, outbox, retention
from edgeseal_agent.disk import DiskGuard
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store

CLASSES: Final[Sequence[Sequence[str]]] = (("heartbeat", "state"), ("inference",))
"""The lowest class, in the order in which the quota may take it, oldest first, receipt or not: what a device says in
bulk of its own working. Nothing else goes for want of space, and this only where ``when_full: thin`` says so."""
ERASABLE: Final[Mapping[str, Sequence[str]]] = {
    "telemetry": ("heartbeat", "state"), "inference": ("inference",),
    "decision": ("decision.intent", "decision.outcome"),
}  # fmt: skip
"""What retention may take, by class, after a final receipt. No verdict: a denial is one; no command, model, tamper,
incident."""
MAX_PLAN: Final = 4_096
"""Positions of one plan, so that its transaction is short."""
CHUNK: Final = 512
"""Positions that are written anew together."""
MAX_CHUNKS: Final = 32
"""Chunks of one plan, so that its transaction is short even where what goes lies far apart."""
WORTH_WRITING: Final = 32
"""Bodies of a chunk for which it is written anew; fewer leave their room to those that go later."""
DAY_MS: Final = 86_400_000
FORM: Final = segment.HEADER_ONLY
THINNED, TOMBSTONE = "thinned", "tombstone"
_REASONS: Final = {THINNED: "quota", TOMBSTONE: "retention"}

Ranges = list[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class Stripped:
    """Positions ``start`` up to ``stop`` whose bodies are gone, and why."""

    start: int
    stop: int
    reason: str


def stripped(connection: sqlite3.Connection, start: int, stop: int) -> list[Stripped]:
    """Return the ranges without bodies that touch positions ``start`` up to ``stop``, in order."""
    rows = connection.execute(
        "SELECT start, stop, reason FROM stripped WHERE done AND stop > ? AND start < ? ORDER BY start", (start, stop)
    )
    return [Stripped(*row) for row in rows]


class Thinning:
    """Takes one step at a time, called now and then by one thread; the journal's writer does the writing.

    Args:
        days: age in days by class, from which retention takes bodies that a final receipt covers; 0: never.
    """

    def __init__(
        self, store: Store, journal: Journal, guard: DiskGuard, wall_ms: Callable[[], int], days: Mapping[str, int]
    ) -> None:
        self._store = store
        self._journal = journal
        self._guard = guard
        self._wall_ms = wall_ms
        self._days = days
        self._from: dict[tuple[Sequence[str], bool], int] = {}
        """Where to look first for kinds that go: for want of space, or by age."""

    def step(self) -> str | None:
        """Carry out a sealed plan, or make one; return ``stripped``, ``planned``, ``waiting`` for a head, or None:
        nothing to do, or nothing left to take.

        May block for one transaction. Raises what the journal raises.
        """
        with closing(self._store.reader()) as connection:
            plan = connection.execute("SELECT max(seq) FROM stripped WHERE NOT done").fetchone()[0]
            if plan is not None:
                if outbox.signed_size(connection) <= plan:
                    return "waiting"
                self._journal.execute(_carry_out).result()
                # Durable: the bodies are gone, under a signed head that covers the record naming them.
                return "stripped"
            kind, ranges = self._choose(connection)
            unopened = not ranges and self._guard.wants_thinning() and retention.has_unopenable(connection)
        if unopened:
            self._journal.execute(retention.delete_unopenable).result()
            # Durable: what opened commitments of bodies that went before is gone too.
            return "stripped"
        if not ranges:
            return None
        fields = {"ranges": [list(span) for span in ranges], "form": FORM, "reason": _REASONS[kind]}
        self._journal.append(kind, fields, lambda c, seq: _plan(c, seq, ranges, _REASONS[kind]))
        # Durable: the record and the plan; a restart waits for its head and carries it out.
        return "planned"

    def expects(self) -> bool:
        """Say whether there are bodies that the quota may still take, now or once a signed head covers them."""
        with closing(self._store.reader()) as connection:
            return _has_bodies(connection, min(self._from.get((kinds, True), 0) for kinds in CLASSES))

    def _choose(self, connection: sqlite3.Connection) -> tuple[str, Ranges]:
        if self._guard.wants_thinning():
            sealed = outbox.signed_size(connection)
            for kinds in CLASSES:
                if ranges := self._find(connection, kinds, sealed):
                    return THINNED, ranges
        for name, kinds in ERASABLE.items():
            if days := self._days[name]:
                before = self._wall_ms() - days * DAY_MS
                if ranges := self._find(connection, kinds, outbox.final(connection), before):
                    return TOMBSTONE, ranges
        return THINNED, []

    def _find(
        self, connection: sqlite3.Connection, kinds: Sequence[str], below: int, before_ms: int | None = None
    ) -> Ranges:
        """Return the oldest runs of positions of these kinds that still have bodies, below a position (and a time)."""
        marks = ",".join("?" * len(kinds))
        rows = connection.execute(
            f"SELECT seq, header FROM records WHERE seq >= ? AND seq < ? AND kind IN ({marks}) AND length(body) > 0"
            " ORDER BY seq",
            (self._from.get((kinds, before_ms is None), 0), below, *kinds),
        )
        held, count = incidents.windows(connection), 0
        chunks: set[int] = set()
        ranges: Ranges = []
        for seq, header in rows:
            if count == MAX_PLAN:
                break
            if before_ms is not None and not retention.is_old(Header.decode(header), before_ms):
                continue
            if any(start <= seq < stop for start, stop in held):
                continue
            chunks.add(seq // CHUNK)
            if len(chunks) > MAX_CHUNKS:
                break
            if ranges and ranges[-1][1] == seq:
                ranges[-1] = (ranges[-1][0], seq + 1)
            elif len(ranges) == limits.MAX_RANGES:
                break
            else:
                ranges.append((seq, seq + 1))
            count += 1
        if ranges:
            self._from[kinds, before_ms is None] = ranges[0][0]
        elif before_ms is None:
            self._from[kinds, True] = below  # all that has a body below is held for good
        return ranges


def can_make_room(store: Store) -> bool:
    """Say whether the quota may still take anything from a store that nobody writes: bodies, or what opened some."""
    with closing(store.reader()) as connection:
        return _has_bodies(connection, 0) or retention.has_unopenable(connection)


def _has_bodies(connection: sqlite3.Connection, start: int) -> bool:
    """Say whether a position from ``start`` on has a body that the quota may take, a signed head over it or not."""
    kinds = [kind for of_class in CLASSES for kind in of_class]
    marks = ",".join("?" * len(kinds))
    found = connection.execute(
        f"SELECT 1 FROM records WHERE seq >= ? AND kind IN ({marks}) AND length(body) > 0"
        f" AND NOT {retention.HELD} LIMIT 1",
        (start, *kinds),
    ).fetchone()
    return found is not None


def _plan(connection: sqlite3.Connection, seq: int, ranges: Ranges, reason: str) -> None:
    connection.executemany(
        "INSERT INTO stripped VALUES (?, ?, ?, ?, 0)", [(start, stop, reason, seq) for start, stop in ranges]
    )


def _carry_out(connection: sqlite3.Connection) -> Any:
    """Take the bodies, inside the writer's transaction. An incident opened meanwhile keeps what it holds."""
    held = incidents.windows(connection)
    going: dict[int, set[int]] = {}
    for start, stop in connection.execute("SELECT start, stop FROM stripped WHERE NOT done").fetchall():
        if any(span[0] < stop and span[1] > start for span in held):
            connection.execute("DELETE FROM stripped WHERE start = ?", (start,))
            continue
        for seq in range(start, stop):
            going.setdefault(seq // CHUNK, set()).add(seq)
    for chunk, seqs in going.items():
        if len(seqs) < WORTH_WRITING:
            connection.executemany("UPDATE records SET body = x'' WHERE seq = ?", [(seq,) for seq in seqs])
        else:
            _write_densely(connection, chunk * CHUNK, seqs)
    connection.execute("UPDATE stripped SET done = 1")


def _write_densely(connection: sqlite3.Connection, start: int, seqs: set[int]) -> None:
    """Write one chunk of records anew, without the bodies of ``seqs``.

    SQLite gives no page back when rows in it only become shorter, not even when all of them do: so they are all taken
    out and put back, the whole ones too.
    """
    span = "FROM records WHERE seq >= ? AND seq < ?"
    rows = connection.execute(f"SELECT * {span} ORDER BY seq", (start, start + CHUNK)).fetchall()
    connection.execute(f"DELETE {span}", (start, start + CHUNK))
    connection.executemany(
        "INSERT INTO records VALUES (?, ?, ?, ?)",
        [(seq, kind, header, b"" if seq in seqs else body) for seq, kind, header, body in rows],
    )
