"""What was refused: counters for everybody, and samples of the bytes, both bounded (``docs/format.md`` 18).

Nobody can fill the disk from here: counters are kept for at most MAX_LOGS logs, evidence for a fixed number of bytes in
each log and in all. Sides of a fork have a budget of their own, so that noise cannot push them out.
"""

from __future__ import annotations

import sqlite3
from typing import Final

MAX_LOGS: Final = 10_000
OTHERS: Final = bytes(32)
"""The log under which refusals of further logs are counted together."""
MAX_EVIDENCE_LOG: Final = 16
MAX_EVIDENCE_TOTAL: Final = 4_096
MAX_EVIDENCE_BYTES: Final = 256 << 20
MAX_DETAIL: Final = 200
FORK: Final = "fork"


def count(connection: sqlite3.Connection, log: bytes, code: str, detail: str, at_ms: int, n: int = 1) -> None:
    """Count ``n`` refusals of ``code`` for a log; the newest detail is kept."""
    known = connection.execute("SELECT 1 FROM refusal WHERE log = ? LIMIT 1", (log,)).fetchone()
    if known is None and connection.execute("SELECT count(DISTINCT log) FROM refusal").fetchone()[0] >= MAX_LOGS:
        log = OTHERS
    connection.execute(
        "INSERT INTO refusal VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET"
        " n = n + excluded.n, at = excluded.at, detail = excluded.detail",
        (log, code, n, at_ms, detail[:MAX_DETAIL]),
    )


def keep(connection: sqlite3.Connection, log: bytes, code: str, data: bytes, at_ms: int) -> bool:
    """Keep refused bytes as evidence if there is room; return whether they were kept."""
    mine = connection.execute("SELECT count(*) FROM evidence WHERE log = ? AND code = ?", (log, code)).fetchone()[0]
    total, size = connection.execute(
        "SELECT count(*), coalesce(sum(length(bytes)), 0) FROM evidence WHERE (code = 'fork') = ?", (code == FORK,)
    ).fetchone()
    if mine >= MAX_EVIDENCE_LOG or total >= MAX_EVIDENCE_TOTAL or size + len(data) > MAX_EVIDENCE_BYTES:
        return False
    connection.execute("INSERT INTO evidence (log, code, bytes, at) VALUES (?, ?, ?, ?)", (log, code, data, at_ms))
    return True


def totals(connection: sqlite3.Connection) -> dict[str, int]:
    """Return code → number of refusals over all logs."""
    return dict(connection.execute("SELECT code, sum(n) FROM refusal GROUP BY code ORDER BY code"))


def of_log(connection: sqlite3.Connection, log: bytes) -> dict[str, int]:
    """Return code → number of refusals of one log."""
    return dict(connection.execute("SELECT code, n FROM refusal WHERE log = ? ORDER BY code", (log,)))


def newest(connection: sqlite3.Connection, limit: int) -> list[tuple[bytes, str, int, int, str]]:
    """Return (log, code, n, last ms, detail), the newest first."""
    return list(connection.execute("SELECT log, code, n, at, detail FROM refusal ORDER BY at DESC LIMIT ?", (limit,)))


def evidence(connection: sqlite3.Connection, start: int, limit: int) -> list[tuple[int, bytes, str, bytes]]:
    """Return (id, log, code, bytes) of kept evidence from ``id`` ``start`` on."""
    return list(
        connection.execute(
            "SELECT id, log, code, bytes FROM evidence WHERE id >= ? ORDER BY id LIMIT ?", (start, limit)
        )
    )
