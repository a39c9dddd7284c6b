#!/usr/bin/env python3
"""Measures which lines and branches of our contracts the tests reach: `contracts/script/coverage.py [--check]`.

`forge coverage` compiles without the optimizer, which OpenZeppelin's P256 does not survive. So the rules
(`src/XBase.sol`) are measured over the precompile alone (`test/PrecompileOnly.sol`, `EDGESEAL_COVERAGE=1`), and the few
lines that join rules and curve (`src/X.sol`, `src/OpenZeppelinP256.sol`) stand apart: every other run has them.

The table is printed. Without `--check` it is written to `contracts/audit/coverage.md`, with it compared. Exit codes: 0
every file has 95 % of lines and of branches, 1 one has not, or the record is not current, 4 forge is missing.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

CONTRACTS = Path(__file__).resolve().parent.parent
RECORD = CONTRACTS / "audit" / "coverage.md"
LEAST = 95.0
ROW = re.compile(
    r"\| (src/\S+) +\| *[\d.]+% \((\d+)/(\d+)\) *\|[^|]*\| *[\d.]+% \((\d+)/(\d+)\) *\| *[\d.]+% \((\d+)/(\d+)\)"
)
HEADER = """\
# Coverage

Written by `contracts/script/coverage.py` from `forge coverage`; `make soak` measures anew and compares. The joints of
rules and curve (`src/X.sol`, `src/OpenZeppelinP256.sol`) are apart: they do not compile without the optimizer.

| file | lines | branches | functions |
|---|---:|---:|---:|
"""


@dataclass(frozen=True)
class Covered:
    """Of one file: how many lines, branches and functions were reached, of how many."""

    file: str
    lines: tuple[int, int]
    branches: tuple[int, int]
    functions: tuple[int, int]

    def enough(self) -> bool:
        return all(percent(*counts) >= LEAST for counts in (self.lines, self.branches))


def percent(reached: int, of: int) -> float:
    return 100 * reached / of if of else 100.0


def build() -> ModuleType:
    """build.py beside this file: where forge is, and the lock against other runs in the same folders."""
    spec = importlib.util.spec_from_file_location("contracts_build", Path(__file__).with_name("build.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def measure() -> list[Covered]:
    """Runs every test under `forge coverage`. Raises CalledProcessError where one fails."""
    builder = build()
    joints = [name for name in builder.IMMUTABLES if (CONTRACTS / "src" / f"{name}Base.sol").exists()]
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOUNDRY_")} | {
        "EDGESEAL_COVERAGE": "1", "FOUNDRY_EVM_VERSION": "osaka",
        "FOUNDRY_OUT": "out/coverage", "FOUNDRY_CACHE_PATH": "cache/coverage",
    }  # fmt: skip
    command = [str(builder.forge_binary()), "coverage"]
    for pattern in (*(f"src/{name}.sol" for name in joints), "*OpenZeppelinP256*"):
        command += ["--skip", pattern]
    with builder.alone():
        done = subprocess.run(command, cwd=CONTRACTS, env=env, capture_output=True, text=True, check=False)
    if done.returncode:
        print(done.stdout, done.stderr, file=sys.stderr)
        done.check_returncode()
    found = []
    for match in ROW.finditer(done.stdout):
        numbers = [int(number) for number in match.groups()[1:]]
        found.append(Covered(match[1], (numbers[0], numbers[1]), (numbers[2], numbers[3]), (numbers[4], numbers[5])))
    return sorted(found, key=lambda row: row.file)


def render(rows: list[Covered]) -> str:
    def cell(counts: tuple[int, int]) -> str:
        return f"{percent(*counts):.1f} % ({counts[0]} of {counts[1]})" if counts[1] else "none"

    def total(kind: str) -> tuple[int, int]:
        counts = [getattr(row, kind) for row in rows]
        return sum(reached for reached, _ in counts), sum(of for _, of in counts)

    every = Covered("all", total("lines"), total("branches"), total("functions"))
    return HEADER + "".join(
        f"| {row.file} | {cell(row.lines)} | {cell(row.branches)} | {cell(row.functions)} |\n" for row in [*rows, every]
    )


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    options = parser.parse_args(arguments)
    rows = measure()
    text = render(rows)
    print(text, end="")
    least = [row.file for row in rows if not row.enough()]
    if len(rows) < 14 or least:
        print(f"coverage: {len(rows)} files measured, below {LEAST:.0f} %: {least}", file=sys.stderr)
        return 1
    if not options.check:
        RECORD.write_text(text)
    elif not RECORD.exists() or RECORD.read_text() != text:
        print(f"{RECORD} is not current: run contracts/script/coverage.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
