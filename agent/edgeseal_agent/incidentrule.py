"""Incidents that open by themselves: a record of a kind that the configuration names holds what came before it, and
what comes after, with the inputs that are still there.

The window is a record, signed like every other, and nothing thins or erases it (:mod:`edgeseal_agent.incidents`). It is
open from ``before`` records before the first cause until ``after`` records after the last.
"""

from __future__ import annotations

import logging
import sqlite3
from contextlib import closing
from typing import Any, Final

from edgeseal.errors import FormatError
from edgeseal.record import decode_body
from edgeseal_agent import incidents
from edgeseal_agent.configlog import IncidentConfig
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store, set_meta

logger = logging.getLogger(__name__)

DENIED: Final = "denied"
"""The cause that is no kind: a ``decision.verdict`` that denies."""
LOOK_BACK: Final = 1_000
"""Records that a first start with a rule looks at, and after so many what was looked at is noted: a restart goes on
from that note, however many records a crash left unseen.
"""
_OPEN, _LAST, _SEEN = "rule_incident", "rule_last", "rule_seen"


class IncidentRule:
    """Takes one step at a time, called now and then by one thread. What it knows commits with its records."""

    def __init__(self, config: IncidentConfig, store: Store, journal: Journal) -> None:
        self._config = config
        self._store = store
        self._journal = journal
        facts = store.meta()
        self._open: bytes = facts.get(_OPEN, b"")
        self._last: int = facts.get(_LAST, 0)
        self._noted: int = facts.get(_SEEN, 0)
        self._seen: int = facts.get(_SEEN, journal.size - LOOK_BACK)
        self._kinds = ["decision.verdict" if cause == DENIED else cause for cause in config.on]

    def step(self) -> None:
        """Open, prolong or close an incident, as the records since the last step ask for. Raises what the journal
        raises.
        """
        if not self._kinds:
            self._retire()
            return
        size = self._journal.size
        self._drop_closed()
        for seq, kind in self._causes(size):
            if self._open:
                self._prolong(seq)
            else:
                self._begin(seq, kind)
        self._seen = max(self._seen, size)
        if self._open and self._journal.size > self._last + self._config.after:
            self._end(f"rule: {self._config.after} records after {self._last}")
        elif self._seen >= self._noted + LOOK_BACK:
            self._journal.execute(lambda connection: set_meta(connection, _SEEN, self._seen)).result()
            # Durable: how far causes were looked for.
            self._noted = self._seen

    def _drop_closed(self) -> None:
        """Forget the incident that a person has closed: the next cause opens another one."""
        if self._open:
            found = incidents.find(self._store, self._open)
            if found is None or found[1] is not None:
                self._open = b""

    def _retire(self) -> None:
        """Without a rule: close what an earlier one left open, since nothing else would, and forget how far it looked;
        a later rule begins anew.
        """
        if self._open:
            self._end("rule: none any more")
        if self._noted:
            self._journal.execute(lambda c: c.execute("DELETE FROM meta WHERE key = ?", (_SEEN,))).result()
            self._noted = 0

    def _causes(self, size: int) -> list[tuple[int, str]]:
        marks = ",".join("?" * len(self._kinds))
        with closing(self._store.reader()) as connection:
            rows = connection.execute(
                f"SELECT seq, kind, body FROM records WHERE seq >= ? AND seq < ? AND kind IN ({marks}) ORDER BY seq",
                (self._seen, size, *self._kinds),
            ).fetchall()
        return [(seq, kind) for seq, kind, body in rows if kind != "decision.verdict" or _denies(body)]

    def _begin(self, cause: int, kind: str) -> None:
        identity, start = incidents.new_id(), max(0, cause - self._config.before)

        def also(connection: sqlite3.Connection, seq: int) -> None:
            connection.execute("INSERT INTO incidents VALUES (?, ?, NULL)", (identity, start))
            self._note(connection, identity, cause)

        self._journal.append("incident", _fields(identity, "open", start, None, f"rule: {kind} at {cause}"), also)
        # Durable: the record, the window and its cause; a restart goes on from there.
        self._open, self._last, self._noted = identity, cause, cause + 1
        logger.warning("incident %s: %s at %d", identity.hex(), kind, cause)

    def _prolong(self, cause: int) -> None:
        if cause > self._last:
            identity = self._open
            self._journal.execute(lambda connection: self._note(connection, identity, cause)).result()
            # Durable: the window's later end; a crash before this looks at the cause again.
            self._last = cause

    def _end(self, why: str) -> None:
        identity, last = self._open, self._last
        found = incidents.find(self._store, identity)
        if found is not None and found[1] is None:  # else a person closed it
            start = found[0]

            def also(connection: sqlite3.Connection, seq: int) -> None:
                connection.execute("UPDATE incidents SET stop = ? WHERE id = ?", (seq + 1, identity))
                self._note(connection, b"", last)

            def build(seq: int) -> dict[str, Any]:
                return _fields(identity, "closed", start, seq + 1, why)

            self._journal.append("incident", build, also)
            # Durable: the window is whole; it stays held for good.
        self._open = b""

    def _note(self, connection: sqlite3.Connection, identity: bytes, cause: int) -> None:
        for key, value in ((_OPEN, identity), (_LAST, cause), (_SEEN, cause + 1)):
            set_meta(connection, key, value)


def _fields(identity: bytes, state: str, start: int, stop: int | None, why: str) -> dict[str, Any]:
    return {"id": identity, "state": state, "from": start, "to": stop, "why": why}


def _denies(body: bytes) -> bool:
    try:
        return decode_body("decision.verdict", body)["allow"] is False
    except FormatError:
        return False
