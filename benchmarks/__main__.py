"""``python -m benchmarks [NAME …] [--json]``: measure, and print the table. All rows take five to ten minutes.

Exit codes: 0 every floor met, 2 a floor missed by more than the A/A spread, 1 something could not be measured.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from benchmarks.machine import describe, tree
from benchmarks.table import MISSED, Row, Tell, render

ROWS = {
    "durable": "device: durable records a second, beside checkpointed-local-log",
    "latency": "device: inference latency with sealing, beside the same without",
    "footprint": "device: memory, and time to the first sealed record",
    "gateway": "gateway: records per CPU-second, MQTT to fsynced store",
    "verify": "verifying a million records, beside the bare hash loop",
    "gas": "chain: gas per anchor",
}


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    unknown = set(options.names) - set(ROWS)
    if unknown:
        print(f"no such row: {', '.join(sorted(unknown))}; there are {', '.join(ROWS)}", file=sys.stderr)
        return 1
    rows: list[Row] = []
    for name in options.names or ROWS:
        tell = _teller(name)
        tell(ROWS[name])
        measure: Callable[[Tell], list[Row]] = import_module(f"benchmarks.{name}").measure
        rows += measure(tell)
    table = f"\n{_today()}, {tree()}: {describe()}\n\n{render(rows)}"
    print(json.dumps(_report(rows), indent=1) if options.json else table)
    return 2 if any(row.state == MISSED for row in rows) else 0


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    listed = "\n".join(f"  {name:<10} {text}" for name, text in ROWS.items())
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure, and print the table (docs/benchmarks.md says how to read it).",
        epilog=f"rows:\n{listed}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="rows to measure; all of them without")
    parser.add_argument("--json", action="store_true", help="print the table as JSON")
    return parser.parse_args(arguments)


def _teller(name: str) -> Tell:
    started = time.monotonic()

    def tell(text: str) -> None:
        print(f"[{name} {time.monotonic() - started:4.0f} s] {text}", file=sys.stderr, flush=True)

    return tell


def _today() -> str:
    return time.strftime("%Y-%m-%d", time.gmtime())


def _report(rows: list[Row]) -> dict[str, Any]:
    return {
        "schema": "edgeseal-benchmarks/1",
        "date": _today(),
        "tree": tree(),
        "machine": describe(),
        "rows": [row.as_json() for row in rows],
    }


if __name__ == "__main__":
    raise SystemExit(main())
