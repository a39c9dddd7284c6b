"""Incidents: a window of the log, with its inputs, that nothing may thin or erase from now on.

``edgeseal-agent incident`` leaves a request in the state directory, where the running agent finds it, or the next one
that starts: only one process writes the log. The request is gone once its record is durable, and its id makes it happen
once.
"""

from __future__ import annotations

import json
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import UsageError
from edgeseal_agent.identity import refuse_stranger, sync_folder, write_file
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store

FOLDER: Final = "incidents"
MAX_REQUEST: Final = 4_096
MAX_WHY: Final = 512
ID_SIZE: Final = 16
BEFORE: Final = 1_000
"""Records before its opening that an incident holds, unless told otherwise."""
ENDLESS: Final = 1 << 62
_POLL_S: Final = 0.1


@dataclass(frozen=True, slots=True)
class Request:
    """What a person asks for: to open an incident that holds ``before`` records back, or to close one."""

    id: bytes
    state: str
    before: int
    why: str


def windows(connection: sqlite3.Connection) -> list[tuple[int, int]]:
    """Return the windows [start, stop) of all incidents; one that is open has no end yet."""
    rows = connection.execute("SELECT start, coalesce(stop, ?) FROM incidents ORDER BY start", (ENDLESS,))
    return [(start, stop) for start, stop in rows]


def ask(state_dir: Path, request: Request) -> None:
    """Leave a request for the agent. Durable when it returns.

    Raises:
        UsageError: ``incident_request`` for a reason that is empty or longer than ``MAX_WHY`` bytes, ``state_missing``,
            ``wrong_account``.
    """
    if not 0 < len(request.why.encode()) <= MAX_WHY:
        raise UsageError("incident_request", f"a reason has 1 to {MAX_WHY} bytes", "say in one sentence what happened")
    refuse_stranger(state_dir)
    folder = state_dir / FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(state_dir)
        text = {"id": request.id.hex(), "state": request.state, "before": request.before, "why": request.why}
        write_file(folder / f"{request.id.hex()}.{request.state}", json.dumps(text).encode())
    except OSError as error:
        raise UsageError("state_missing", f"{folder}: {error.strerror}", "edgeseal-agent init makes it") from error


def wait_recorded(store: Store, request: Request, timeout_s: float) -> tuple[int, int | None] | None:
    """Return the window of the request's incident once the agent has recorded it, None when that takes too long."""
    deadline = time.monotonic() + timeout_s
    while True:
        found = find(store, request.id)
        if found is not None and (request.state == "open" or found[1] is not None):
            return found
        if time.monotonic() > deadline:
            return None
        time.sleep(_POLL_S)


def find(store: Store, identity: bytes) -> tuple[int, int | None] | None:
    """Return an incident's window, None when there is none of this id."""
    with closing(store.reader()) as connection:
        row = connection.execute("SELECT start, stop FROM incidents WHERE id = ?", (identity,)).fetchone()
    return None if row is None else (row[0], row[1])


def known_id(store: Store, text: str) -> bytes:
    """Return the id that a person typed. Raises UsageError ``incident_unknown`` for one that this log does not have."""
    try:
        identity = bytes.fromhex(text)
    except ValueError:
        identity = b""
    if find(store, identity) is None:
        raise UsageError("incident_unknown", f"there is no incident {text}", "edgeseal-agent status lists them")
    return identity


def take_up(state_dir: Path, store: Store, journal: Journal) -> int:
    """Record what is asked for in the state directory; return how many requests were taken. Called by the agent only.

    What is no request, or closes an incident that is not open, is dropped. Raises what the journal raises.
    """
    count = 0
    for path, request in _requests(state_dir / FOLDER):
        if request is not None:
            count += _record(store, journal, request)
            # Durable: the record and the window; a restart that finds the request still there sees its id and drops it.
        path.unlink(missing_ok=True)
    return count


def _record(store: Store, journal: Journal, request: Request) -> int:
    found = find(store, request.id)
    if request.state == "open" and found is None:
        journal.append(
            "incident",
            lambda seq: _fields(request, max(0, seq - request.before), None),
            lambda c, seq: _open(c, seq, request),
        )
        return 1
    if request.state == "closed" and found is not None and found[1] is None:
        start = found[0]
        journal.append("incident", lambda seq: _fields(request, start, seq + 1), lambda c, seq: _close(c, seq, request))
        return 1
    return 0


def _fields(request: Request, start: int, stop: int | None) -> dict[str, Any]:
    return {"id": request.id, "state": request.state, "from": start, "to": stop, "why": request.why}


def _open(connection: sqlite3.Connection, seq: int, request: Request) -> None:
    connection.execute("INSERT INTO incidents VALUES (?, ?, NULL)", (request.id, max(0, seq - request.before)))


def _close(connection: sqlite3.Connection, seq: int, request: Request) -> None:
    connection.execute("UPDATE incidents SET stop = ? WHERE id = ? AND stop IS NULL", (seq + 1, request.id))


def _requests(folder: Path) -> Iterator[tuple[Path, Request | None]]:
    """Yield the files of the folder, oldest first, each with its request or None."""
    if not folder.is_dir():
        return
    for path in sorted((path for path in folder.iterdir() if not path.name.startswith(".")), key=_written):
        yield path, _read(path)


def _written(path: Path) -> tuple[int, str]:
    """Return when a request was written, and its name; one that is gone meanwhile comes first."""
    try:
        return path.stat().st_mtime_ns, path.name
    except OSError:
        return 0, path.name


def _read(path: Path) -> Request | None:
    try:
        with open(path, "rb") as file:
            found = json.loads(file.read(MAX_REQUEST))
        identity, before, why = bytes.fromhex(found["id"]), found["before"], found["why"]
        state = found["state"]
        good = len(identity) == ID_SIZE and state in ("open", "closed") and type(before) is int and before >= 0
        good = good and type(why) is str and 0 < len(why.encode()) <= MAX_WHY
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None
    if not good:
        return None
    return Request(identity, state, before, why)


def new_id() -> bytes:
    """Return a random incident id."""
    return os.urandom(ID_SIZE)
