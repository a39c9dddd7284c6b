"""Verifying a million records on one core, streamed from a bundle on disk, beside the bare hash loop.

The history is one device's: inferences, a heartbeat now and then, a signed head every 256 records (the agent's most; a
shorter history with its default of 64 stands beside), all heads in a fleet
log that is anchored on a chain. Verified are once the hashes, roots and heads (``append_only``), once every question
under a trust file, with strict decoding of every header and body. Each pass is a process of its own; what counts is
its CPU time, from opening the bundle to the verdict. The bare loop hashes the same million headers, which it has in
memory already, and folds them to the root.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

from benchmarks.checker import ALL, BARE, BUNDLE, HEADERS, TRUST
from benchmarks.history import STEP_MS, LongHistory
from benchmarks.table import Row, Tell, ratio_at_most, shown
from benchmarks.trials import Ratio, in_turns, ratios
from benchmarks.workdir import folder
from edgeseal.bundlewriter import Writer
from edgeseal.trust import render

NAME: Final = "verify"
RECORDS: Final = 1_000_000
PER_HEAD: Final = 256
SHORT: Final = 100_000
SHORT_PER_HEAD: Final = 64
HEADS_ONLY: Final = 4.0
EVERYTHING: Final = 14.0
CHUNK: Final = 8_192
ROUNDS: Final = 3
"""Passes of each kind: a pass over a million records takes seconds, and its CPU time varies little."""


def measure(tell: Tell) -> list[Row]:
    with folder() as root:
        tell(f"making {SHORT:,} records, a head every {SHORT_PER_HEAD}")
        make_bundle(root / "short", SHORT, SHORT_PER_HEAD)
        short = {what: _pass(root / "short", what) for what in (BARE, "append_only", ALL)}
        tell(f"making {RECORDS:,} records, a head every {PER_HEAD}")
        make_bundle(root, RECORDS, PER_HEAD)
        found = in_turns(
            ROUNDS,
            {what: lambda what=what: _pass(root, what) for what in (BARE, "append_only", ALL)}
            | {"bare again": lambda: _pass(root, BARE)},
            tell,
        )
        everything = found[ALL][0]
        if everything["records"] != RECORDS or "failed" in everything["states"]:
            raise SystemExit(f"the verifier does not find the history good: {everything}")
        return [*_rows(found), _short_row(short)]


def _rows(found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    seconds = {name: [run["cpu_s"] for run in runs] for name, runs in found.items()}
    same = ratios(seconds["bare again"], seconds[BARE])
    bare = [(a + b) / 2 for a, b in zip(seconds[BARE], seconds["bare again"], strict=True)]
    rows = []
    for name, text, ceiling in (
        ("append_only", "hashes, roots and heads", HEADS_ONLY), (ALL, "every question, decoded strictly", EVERYTHING),
    ):  # fmt: skip
        ratio = Ratio.of(ratios(seconds[name], bare), same)
        rows.append(ratio_at_most(NAME, f"{text}, to the bare loop", ratio, ceiling, "{:.2f} ×"))
        peak = max(run["peak_mb"] for run in found[name])
        rows.append(shown(NAME, f"{text}: CPU, peak memory", f"{min(seconds[name]):.1f} s, {peak:.0f} MB", peak))
    rows.append(shown(NAME, "the bare loop: CPU", f"{min(bare):.2f} s", min(bare)))
    states = found[ALL][0]["states"]
    text = ", ".join(f"{len(questions)} {state}" for state, questions in sorted(states.items()))
    rows.append(shown(NAME, f"the verdict over {found[ALL][0]['heads']:,} heads, no endpoint asked", text))
    return rows


def _short_row(short: dict[str, dict[str, Any]]) -> Row:
    heads, every = (short[what]["cpu_s"] / short[BARE]["cpu_s"] for what in ("append_only", ALL))
    what = f"{SHORT:,} records, a head every {SHORT_PER_HEAD}: heads, every question"
    return shown(NAME, what, f"{heads:.2f} ×, {every:.2f} ×", heads)


def _pass(root: Path, what: str) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.checker", str(root), what], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"the pass {what!r} failed: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def make_bundle(root: Path, records: int, per_head: int) -> None:
    """Write the bundle, the trust file and the bare headers into ``root``."""
    history = LongHistory()
    world = history.world
    world.anchor()

    def put(name: str, data: bytes) -> None:
        path = root / BUNDLE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    writer = Writer(put)
    root.mkdir(exist_ok=True)
    with open(root / HEADERS, "wb") as bare:
        start = 0
        for pairs in history.sealed(records, per_head, CHUNK):
            bare.write(b"".join(len(header).to_bytes(2, "big") + header for header, _ in pairs))
            writer.records(history.log, [(0, *pair) for pair in pairs], start)
            start += len(pairs)
    writer.heads(history.log, history.heads)
    history.device.heads = history.heads
    world.deliver(history.device)
    world.time_s += records * STEP_MS // 1000  # the chain's clock went on with the device's
    world.anchor(tell=False)
    writer.statements(enumerate(world.statements))
    writer.receipts([world.receipt(position) for position in (0, world.size - 2)])
    writer.fleet(world.log, world.heads, [], [])
    for anchor in world.anchors:
        writer.anchor(anchor)
    writer.finish()
    (root / TRUST).write_bytes(render(world.trust()))
