"""Writes every vector of format version 1, or with --check compares them with what is committed.

    python -m tests.vectors.generate [--check]

Nothing of edgeseal is imported: what the vectors say is this second implementation's reading of docs/format.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from types import ModuleType

from tests.vectors.parts import (
    attestations,
    bundles,
    cbor_items,
    commitments,
    exchanges,
    heads,
    keys,
    merkle_trees,
    onchain,
    packages,
    possessions,
    receipts,
    records,
    segments,
    snapshots,
    statement_kinds,
    trust_files,
)

FOLDER = Path(__file__).parent / "v1"
PARTS: dict[str, ModuleType] = {
    "attestation": attestations,
    "bundle": bundles,
    "cbor": cbor_items,
    "commitment": commitments,
    "exchange": exchanges,
    "head": heads,
    "key": keys,
    "merkle": merkle_trees,
    "onchain": onchain,
    "package": packages,
    "possession": possessions,
    "receipt": receipts,
    "record": records,
    "segment": segments,
    "snapshot": snapshots,
    "statement": statement_kinds,
    "trust": trust_files,
}


def files() -> dict[str, str]:
    """Every vector by its path below v1/, as JSON text."""
    found: dict[str, str] = {}
    for part, module in PARTS.items():
        for name, case in module.cases():
            path = f"{part}/{name}.json"
            if path in found:
                raise ValueError(f"two vectors called {path}")
            found[path] = json.dumps(case, indent=1, ensure_ascii=False) + "\n"
    return found


def main() -> int:
    """Write or check; 1 when a committed vector differs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the committed vectors, write nothing")
    check = parser.parse_args().check
    wanted = files()
    present = {str(path.relative_to(FOLDER)): path.read_text("utf-8") for path in FOLDER.glob("*/*.json")}
    if check:
        wrong = sorted(name for name in wanted.keys() | present.keys() if wanted.get(name) != present.get(name))
        print("\n".join(wrong) or f"{len(wanted)} vectors as written")
        return 1 if wrong else 0
    for name in present.keys() - wanted.keys():
        (FOLDER / name).unlink()
    for name, text in wanted.items():
        (FOLDER / name).parent.mkdir(parents=True, exist_ok=True)
        (FOLDER / name).write_text(text, "utf-8")
    print(f"{len(wanted)} vectors written")
    return 0


if __name__ == "__main__":
    sys.exit(main())
