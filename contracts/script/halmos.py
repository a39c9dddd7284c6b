#!/usr/bin/env python3
"""Proves the properties in `contracts/test/halmos` with halmos: `contracts/script/halmos.py [--check] [PATTERN]`.

halmos runs symbolically: each `check_` function begins in an arbitrary state of the contracts, makes one arbitrary call
as an arbitrary caller, and asserts what must hold afterwards; so no sequence of calls breaks it. halmos lives in a
virtual environment of its own (`contracts/cache/.halmos`, made from `requirements/halmos.lock`): its solver's version
is not ours to choose.

Without `--check` what was found is written to `contracts/audit/halmos.md`; with it, it is compared: the same
properties, all proved. A PATTERN (a regular expression over names) proves some and writes their rows. Exit codes: 0 all
proved, 1 one is not, or the record is not current, 4 a tool is missing (what to do is printed). Making the environment
needs a package index; proving needs no network.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

CONTRACTS = Path(__file__).resolve().parent.parent
PROPERTIES = CONTRACTS / "test" / "halmos"
RECORD = CONTRACTS / "audit" / "halmos.md"
LOCK = CONTRACTS.parent / "requirements" / "halmos.lock"
OPTIONS = ("--default-bytes-lengths", "0,65", "--solver-timeout-assertion", "0")
"""More stand beside the properties, as `@custom:halmos`."""
EVERY = "^check_"
HEADER = """\
# What halmos proves

Written by `contracts/script/halmos.py`; `make soak` proves it anew (`tests/contract/test_contracts_halmos.py`).

Each property begins in an arbitrary state of the contracts (all storage symbolic), with an arbitrary caller and one
call of any function with arbitrary arguments; arrays have none or one element. P-256 is arbitrary too: any signature
may be good (`AdminRoles`, `Heads`, `Terminal`) or none is (`KeylessRoles`). SHA-256 and Keccak-256 are uninterpreted.
Since the state is arbitrary, what one call keeps every sequence of calls keeps. "Loops cut off": the loop over the
earlier intervals of a key, or over the grants of a version, was followed for two of them, that over the levels of a
consistency proof for six (trees below 24 leaves have five).

```
halmos {version}, in contracts/ with FOUNDRY_PROFILE=halmos:
{command}
```

| contract | property | it says | result |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Result:
    """One property: whether it was proved for every path, and whether a loop was cut off on one."""

    contract: str
    name: str
    proved: bool
    cut: bool


def build() -> ModuleType:
    """build.py beside this file: it knows where forge is."""
    spec = importlib.util.spec_from_file_location("contracts_build", Path(__file__).with_name("build.py"))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def environment() -> Path:
    """The folder with halmos' programs; made anew where the lock has changed. Exits 4 without uv."""
    folder = CONTRACTS / "cache" / ".halmos"
    stamp, digest = folder / "locked", hashlib.sha256(LOCK.read_bytes()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return folder / "bin"
    uv = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
    if not Path(uv).exists():
        print("uv is not there; run: scripts/setup dev", file=sys.stderr)
        raise SystemExit(4)
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, folder], check=True)
    python = folder / "bin" / "python"
    subprocess.run([uv, "pip", "install", "--quiet", "--python", python, "--require-hashes", "-r", LOCK], check=True)
    stamp.write_text(digest)
    return folder / "bin"


def command(pattern: str) -> list[str]:
    halmos = ["python", "-P", "script/halmos_sha256.py"]
    return [*halmos, "--root", ".", "--forge-build-out", "out/halmos", "--function", pattern, *OPTIONS]


def prove(pattern: str) -> list[Result]:
    """Runs halmos over the properties whose names match."""
    programs, builder = environment(), build()
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOUNDRY_")}
    env["PATH"] = os.pathsep.join([str(programs), str(builder.forge_binary().parent), env["PATH"]])
    env |= {"FOUNDRY_PROFILE": "halmos", "FOUNDRY_OUT": "out/halmos", "FOUNDRY_CACHE_PATH": "cache/halmos-build"}
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder) / "results.json"
        subprocess.run([*command(pattern), "--json-output", output], cwd=CONTRACTS, env=env, check=False)
        if not output.exists():
            print("halmos stopped before it had results; what it said stands above", file=sys.stderr)
            raise SystemExit(1)
        found = json.loads(output.read_text())["test_results"]
    return [
        Result(contract.split(":")[1], row["name"].split("(")[0], row["exitcode"] == 0, bool(row["num_bounded_loops"]))
        for contract, rows in sorted(found.items())
        for row in rows
    ]


def promises() -> dict[str, str]:
    """Every property in the sources, with the sentence that stands before it."""
    found: dict[str, str] = {}
    for path in sorted(PROPERTIES.glob("*.t.sol")):
        for said, name in re.findall(r"((?:    /// [^\n]*\n)+)    function (check_\w+)\(", path.read_text()):
            lines = [line.strip().removeprefix("/// ") for line in said.splitlines()]
            found[name] = " ".join(line for line in lines if not line.startswith("@custom"))
    return found


def recorded() -> list[Result]:
    """What the record says, of properties that are still in the sources."""
    text = RECORD.read_text() if RECORD.exists() else ""
    rows = re.findall(r"^\| (\w+) \| `(check_\w+)` \| .* \| ([^|]*) \|$", text, re.MULTILINE)
    known = promises()
    return [Result(where, name, "NOT" not in how, "cut off" in how) for where, name, how in rows if name in known]


def merged(results: list[Result]) -> list[Result]:
    """The record's rows, those just proved anew in place of the old ones, in the order of their names."""
    rows = {row.name: row for row in [*recorded(), *results]}
    return sorted(rows.values(), key=lambda row: (row.contract, row.name))


def render(results: list[Result]) -> str:
    said = promises()
    version = re.search(r"^halmos==(\S+)", LOCK.read_text(), re.MULTILINE)
    assert version is not None
    text = HEADER.format(version=version[1], command=" ".join(command(EVERY)))
    for row in results:
        result = ("proved" + (", loops cut off" if row.cut else "")) if row.proved else "NOT PROVED"
        text += f"| {row.contract} | `{row.name}` | {said[row.name]} | {result} |\n"
    return text


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("pattern", nargs="?", default=EVERY, metavar="PATTERN", help="prove only these")
    options = parser.parse_args(arguments)
    results = prove(options.pattern)
    for row in results:
        print(f"{'proved' if row.proved else 'NOT PROVED'}{', loops cut off' if row.cut else ''}: {row.name}")
    missing = set(promises()) - {row.name for row in results}
    if options.pattern == EVERY and missing:
        print(f"halmos: not run: {', '.join(sorted(missing))}", file=sys.stderr)
        return 1
    if not options.check:
        RECORD.write_text(render(merged(results)))
    elif RECORD.read_text() != render(merged(results)):
        print(f"{RECORD} is not current: run contracts/script/halmos.py", file=sys.stderr)
        return 1
    return 0 if results and all(row.proved for row in results) else 1


if __name__ == "__main__":
    raise SystemExit(main())
