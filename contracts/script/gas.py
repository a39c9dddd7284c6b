#!/usr/bin/env python3
"""Prints the measured gas (`contracts/snapshots/*.json`); keeps `contracts/README.md` and the package's copy current.

The snapshots are written by `contracts/script/build.py gas`, which runs this afterwards. `--check` changes nothing and
exits 1 if README or package hold other numbers.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

CONTRACTS = Path(__file__).resolve().parent.parent
README = CONTRACTS / "README.md"
PACKAGED = CONTRACTS.parent / "edgeseal" / "contracts" / "gas.json"  # what `edgeseal chain cost` reckons with
GROUPS = {
    "log": "FleetLog",
    "registry": "IdentityRegistry",
    "commands": "CommandLog",
    "models": "ModelRegistry",
    "records": "RecordVerifier",
    "peers": "peer",
}
RECORDS = (1, 100, 10_000, 1_000_000)
BEGIN, END = "<!-- gas: begin -->\n", "<!-- gas: end -->\n"


def snapshot(group: str) -> dict[str, int]:
    found = json.loads((CONTRACTS / "snapshots" / f"{group}.json").read_text())
    return {name: int(value) for name, value in found.items()}


def per_record(gas: int, records: int) -> str:
    share = gas / records
    return f"{share:,.0f}" if share >= 1_000 else f"{share:.1f}" if share >= 1 else f"{share:.3f}"


def rows() -> list[tuple[str, str]]:
    anchor = snapshot("anchor")
    drawn = {name.removeprefix("drawn pairs: "): anchor.pop(name) for name in list(anchor) if name.startswith("drawn")}
    nodes = f"{drawn.pop('fewest nodes')} to {drawn.pop('most nodes')} nodes"
    table = [
        (f"`anchor` at 1 million leaves, drawn pairs ({nodes}): {name}", f"{drawn[name]:,}")
        for name in ("least", "median", "worst")
    ]
    edges = sorted(anchor.items(), key=lambda item: [int(word) for word in item[0].replace(",", "").split()[:3:2]])
    table += [(f"`anchor` from {name}", f"{gas:,}") for name, gas in edges]
    for records in RECORDS:
        share = per_record(drawn["median"], records)
        table.append((f"gas per record at {records:,} records an anchor (median)", share))
    for group, contract in GROUPS.items():
        table += [(f"{contract}: `{name}`", f"{gas:,}") for name, gas in snapshot(group).items()]
    return table


def packaged() -> str:
    found = {group: snapshot(group) for group in ("anchor", *GROUPS)}
    return json.dumps(found, indent=1, sort_keys=True) + "\n"


def render() -> str:
    lines = ["| transaction | gas |", "|---|---:|", *(f"| {name} | {gas} |" for name, gas in rows())]
    return "\n".join(lines) + "\n"


def main() -> int:
    table = render()
    print(table, end="")
    text = README.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    current = before + BEGIN + table + END + after
    if "--check" not in sys.argv[1:]:
        README.write_text(current)
        PACKAGED.write_text(packaged())
    elif current != text or not PACKAGED.exists() or PACKAGED.read_text() != packaged():
        print(f"{README} or {PACKAGED} shows other numbers: run contracts/script/build.py gas", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
