"""Durable records a second, acknowledged only after fsync: the agent's journal with its sealer, beside
checkpointed-local-log 0.7.0 appending to its JSONL log.

Both are given the same payload and acknowledge nothing before it is on the disk. Ours stores header and body, grows the
Merkle frontier and has heads signed in a SoftHSM token meanwhile; the peer stores the payload's SHA-256, which is what
it takes, and signs nothing here. The peer writes one append at a time whatever the number of callers, so its best is
one caller, and that stands beside our 2,000 appends in flight.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import sha256
from statistics import median
from typing import Any, Final

from cll.log import AppendInput, jsonl

from benchmarks.device import Running, make_device
from benchmarks.table import Row, Tell, ratio_at_least, shown
from benchmarks.trials import PAIRS, Ratio, in_turns, ratios
from benchmarks.workdir import folder
from edgeseal import cbor
from edgeseal_agent.journal import Journal

NAME: Final = "durable"
FLOOR: Final = 5.0
SECONDS: Final = 1.5
IN_FLIGHT: Final = 2_000
CALLERS: Final = (1, 8, 32)

Append = Callable[[int], None]
"""Appends one record of this number, and returns when it is durable."""


def _fields(number: int) -> dict[str, Any]:
    """A decision as an agent logs it: about 260 bytes of body."""
    return {
        "agent": "planner",
        "id": number.to_bytes(16, "big"),
        "action": "close valve 7: the pressure fell below the configured threshold",
        "data": [0, sha256(number.to_bytes(8, "big")).digest()],
        "pub": {"valve": 7, "pressure_mbar": 11_900, "note": "threshold 12.5 bar, measured 11.9 bar"},
    }


def measure(tell: Tell) -> list[Row]:
    with folder() as root:
        running = Running.start(make_device(root / "device"))
        jsonl.init(root / "peer.jsonl")
        peer = jsonl.open(root / "peer.jsonl")
        try:
            return _measure(running.journal, peer, tell)
        finally:
            peer.close()
            running.stop()


def _measure(journal: Journal, peer: jsonl.JsonlStore, tell: Tell) -> list[Row]:
    numbers = _Numbers()

    def ours(number: int) -> None:
        journal.append("decision.intent", _fields(number))

    def theirs(number: int) -> None:
        payload = cbor.encode({**_fields(number), "s": bytes(32)})
        peer.append(AppendInput(sha256(payload).digest(), datetime.now(UTC)))

    found = in_turns(
        PAIRS,
        {
            "ours, in flight": lambda: _in_flight(journal, numbers),
            "peer, 1 caller": lambda: _blocking(theirs, 1, numbers),
            "ours, again": lambda: _in_flight(journal, numbers),
        },
        tell,
    )
    best, theirs_best = found["ours, in flight"], found["peer, 1 caller"]
    ratio = Ratio.of(ratios(best, theirs_best), ratios(found["ours, again"], best))
    rows = [ratio_at_least(NAME, f"durable records, {IN_FLIGHT} in flight, to the peer's", ratio, FLOOR)]
    rows.append(shown(NAME, "the same in this run, ours and the peer's", _each(best, theirs_best)))
    for callers in CALLERS:
        tell(f"{callers} blocking callers")
        turns = in_turns(
            PAIRS,
            {
                "ours": lambda: _blocking(ours, callers, numbers, SECONDS / 2),  # noqa: B023
                "peer": lambda: _blocking(theirs, callers, numbers, SECONDS / 2),  # noqa: B023
            },
            lambda text: None,
        )
        middle = median(ratios(turns["ours"], turns["peer"]))
        measured = f"{middle:.2f} × ({_each(turns['ours'], turns['peer'])})"
        rows.append(shown(NAME, f"{callers} blocking caller{'' if callers == 1 else 's'}", measured, middle))
    return rows


def _each(ours: list[float], theirs: list[float]) -> str:
    return f"{median(ours):,.0f}/s, {median(theirs):,.0f}/s"


class _Numbers:
    """Numbers that are given once, to any thread."""

    def __init__(self) -> None:
        self._next = 0
        self._lock = threading.Lock()

    def take(self) -> int:
        with self._lock:
            self._next += 1
            return self._next


def _in_flight(journal: Journal, numbers: _Numbers) -> float:
    """Return records a second with IN_FLIGHT queued and not yet durable, all of them durable at the end."""
    waiting: deque[Any] = deque()
    done = 0
    started = time.perf_counter()
    while time.perf_counter() - started < SECONDS:
        while len(waiting) < IN_FLIGHT:
            waiting.append(journal.submit("decision.intent", _fields(numbers.take())))
        waiting.popleft().result()
        done += 1
        while waiting and waiting[0].done:
            waiting.popleft()
            done += 1
    for ticket in waiting:
        ticket.result()
    done += len(waiting)
    return done / (time.perf_counter() - started)


def _blocking(append: Append, callers: int, numbers: _Numbers, seconds: float = SECONDS) -> float:
    """Return records a second of ``callers`` threads, each of which waits for its own."""
    counts = [0] * callers
    started = time.perf_counter()

    def call(caller: int) -> None:
        while time.perf_counter() - started < seconds:
            append(numbers.take())
            counts[caller] += 1

    threads = [threading.Thread(target=call, args=(caller,)) for caller in range(callers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(counts) / (time.perf_counter() - started)
