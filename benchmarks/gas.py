"""Gas per anchor, measured by forge's gas tests: whole transactions, gateway signature and consistency enforced.

The tests run anew and are compared with the committed ``contracts/snapshots``: gas does not depend on the machine, so
the A/A spread is none. Their pairs of sizes are drawn at one million leaves and run from the fewest nodes to the most.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Final

from benchmarks.table import Row, Tell, at_most, shown

NAME: Final = "gas"
WORST: Final = 85_000
MEDIAN: Final = 72_000
PER_RECORD: Final = 8.0
RECORDS: Final = 10_000
_COUNTS: Final = ("fewest nodes", "most nodes")
"""Entries of the snapshot that count nodes, not gas."""
CONTRACTS: Final = Path(__file__).resolve().parent.parent / "contracts"


def measure(tell: Tell) -> list[Row]:
    tell("forge measures anew and compares with contracts/snapshots")
    done = subprocess.run(
        [sys.executable, CONTRACTS / "script" / "build.py", "--check", "gas"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the gas tests failed:\n{done.stdout}{done.stderr}")
    found = {
        key: int(value) for key, value in json.loads((CONTRACTS / "snapshots" / "anchor.json").read_text()).items()
    }
    worst = max(gas for key, gas in found.items() if not key.endswith(_COUNTS))
    median = found["drawn pairs: median"]
    return [
        at_most(NAME, "gas per anchor at 1M leaves, worst", worst, WORST, "{:,.0f}"),
        at_most(NAME, "gas per anchor at 1M leaves, median of drawn pairs", median, MEDIAN, "{:,.0f}"),
        at_most(NAME, f"gas per record at {RECORDS:,} records an anchor", median / RECORDS, PER_RECORD, "{:.1f}"),
        shown(NAME, "gas of the least drawn pair", f"{found['drawn pairs: least']:,}", found["drawn pairs: least"]),
    ]
