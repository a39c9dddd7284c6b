"""Gas of whole transactions, ours beside the peers', measured in one run of forge's gas tests.

The tests run anew and are compared with the committed ``contracts/snapshots``: gas does not depend on the machine, so
the A/A spread is none. Pairs of sizes for ``anchor`` are drawn at one million leaves and run from the fewest nodes to
the most. The peers' contracts come from their own npm packages (``contracts/peers``), as published.
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
REGISTRATION: Final = 75_000
SETTLEMENT: Final = 120_000
PER_RECORD: Final = 8.0
RECORDS: Final = (1, 100, 10_000, 1_000_000)
FLOORED: Final = 10_000
"""Records an anchor at which the share of each has a floor."""
_COUNTS: Final = ("fewest nodes", "most nodes")
"""Entries of the snapshot that count nodes, not gas."""
CONTRACTS: Final = Path(__file__).resolve().parent.parent / "contracts"


def measure(tell: Tell) -> list[Row]:
    tell("forge measures anew, ours and the peers', and compares with contracts/snapshots")
    done = subprocess.run(
        [sys.executable, CONTRACTS / "script" / "build.py", "--check", "peers"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"the gas tests failed:\n{done.stdout}{done.stderr}")
    return rows({group: snapshot(group) for group in ("anchor", "registry", "records", "peers")})


def snapshot(group: str) -> dict[str, int]:
    """Return what ``contracts/snapshots`` holds for one group: name → gas."""
    text = (CONTRACTS / "snapshots" / f"{group}.json").read_text("utf-8")
    return {name: int(value) for name, value in json.loads(text).items()}


def rows(found: dict[str, dict[str, int]]) -> list[Row]:
    """Return the table's rows for these snapshots: floors first, then shares per record, then the peers' operations."""
    anchor, peers = found["anchor"], found["peers"]
    worst = max(gas for name, gas in anchor.items() if not name.endswith(_COUNTS))
    median = anchor["drawn pairs: median"]
    registration = found["registry"]["registerKeyWithProof"]
    settlement = max(gas for name, gas in found["records"].items() if name.startswith("settle"))
    return [
        at_most(NAME, "gas per anchor at 1M leaves, worst", worst, WORST, "{:,.0f}"),
        at_most(NAME, "gas per anchor at 1M leaves, median of drawn pairs", median, MEDIAN, "{:,.0f}"),
        shown(NAME, "gas of the least drawn pair", f"{anchor['drawn pairs: least']:,}", anchor["drawn pairs: least"]),
        at_most(NAME, "gas of a device's registration with proof of possession", registration, REGISTRATION, "{:,.0f}"),
        at_most(NAME, "gas of settling a record, worst", settlement, SETTLEMENT, "{:,.0f}"),
        at_most(NAME, f"gas per record at {FLOORED:,} records an anchor", median / FLOORED, PER_RECORD, "{:.1f}"),
        *(_share(records, median, peers) for records in RECORDS),
        *(shown(NAME, name, f"{gas:,}", gas) for name, gas in peers.items()),
    ]


def _share(records: int, median: int, peers: dict[str, int]) -> Row:
    """What one record costs where so many stand under one root: ours and each peer's single call that takes a root."""
    told = [f"ours {_said(median / records)}"]
    told += [f"{name} {_said(gas / records)}" for name, gas in peers.items() if " of " not in name]
    return shown(NAME, f"gas per record at {records:,} a root", "; ".join(told), median / records)


def _said(gas: float) -> str:
    return f"{gas:,.0f}" if gas >= 100 else f"{gas:.3g}"
