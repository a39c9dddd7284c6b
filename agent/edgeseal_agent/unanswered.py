"""Commands that the end of a log leaves undone: each gets its result in that log, so that none of them vanishes.

After ``closed`` there is no record left to answer in, and the next log has another audience. So before its end a log
says of each command it took and did not answer whether it was carried out; what was not is refused with a reason.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Any, Final

from edgeseal.errors import EdgesealError
from edgeseal.record import decode_body
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store

NOT_CARRIED_OUT: Final = "log_closed"
_ACTS: Final = ("model.activated", "model.rejected")
"""Records that name the command they carry out."""


def answer(store: Store, journal: Journal) -> int:
    """Record a ``command.result`` for each command without one, in the order of their positions; return how many.

    A command whose act is on record is answered with what the act says; every other with ``log_closed``. Repeatable:
    what has a result is left alone. Raises what the journal raises.
    """
    with closing(store.reader()) as connection:
        rows = connection.execute("SELECT seq, digest, id FROM commands WHERE NOT done ORDER BY pos").fetchall()
        acts = _acts(connection, rows[0][0]) if rows else {}
    for _, digest, identifier in rows:
        ok, reason = acts.get(digest, (False, NOT_CARRIED_OUT))
        fields = {"id": identifier, "cmd": digest, "ok": ok, "reason": reason, "result": None, "pub": {}}

        def also(connection: sqlite3.Connection, seq: int, digest: bytes = digest) -> None:
            _note(connection, digest)

        journal.append("command.result", fields, also)
        # Durable: the answer, and that the command has one; one transaction.
    return len(rows)


def _note(connection: sqlite3.Connection, digest: bytes) -> None:
    connection.execute("UPDATE commands SET done = 1 WHERE digest = ?", (digest,))


def _acts(connection: sqlite3.Connection, start: int) -> dict[bytes, tuple[bool, str | None]]:
    """Return command digest → (ok, reason) of the acts on record from position ``start`` on."""
    marks = ",".join("?" * len(_ACTS))
    rows = connection.execute(
        f"SELECT kind, body FROM records WHERE seq > ? AND kind IN ({marks}) ORDER BY seq", (start, *_ACTS)
    )
    found: dict[bytes, tuple[bool, str | None]] = {}
    for kind, body in rows:
        try:
            fields: dict[str, Any] = decode_body(kind, body)
        except EdgesealError:
            continue
        if fields["cmd"] is not None:
            found[fields["cmd"]] = (True, None) if kind == _ACTS[0] else (False, fields["reason"])
    return found
