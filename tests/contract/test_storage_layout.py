"""Where the compiler puts what ``edgeseal.contractstate`` reads. The bytecode itself is asked in
``tests/integration/gateway/test_state_proofs.py``; here the compiler's own word is compared, member by member.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pytest

CONTRACTS = Path(__file__).parents[2] / "contracts"
FORGE = CONTRACTS / "node_modules" / "@foundry-rs" / "forge-linux-amd64" / "bin" / "forge"

VARIABLES = {
    "FleetLog": {"_logs": 1},
    "IdentityRegistry": {"_keys": 1, "_earlier": 2},
    "CommandLog": {"_chains": 0},
    "ModelRegistry": {"_versions": 1, "_places": 2, "_grants": 4},
}
"""Contract → variable → slot, as in docs/format.md 14.3."""
MEMBERS = {
    "FleetLogBase.Log": {"root": (0, 0, 32), "counts": (1, 0, 32)},
    "IdentityRegistryBase.Key": {
        "from": (0, 0, 8), "until": (0, 8, 8), "lastBlock": (0, 16, 6), "role": (0, 22, 1), "status": (0, 23, 1),
    },
    "IdentityRegistryBase.Interval": {"from": (0, 0, 8), "until": (0, 8, 8)},
    "CommandLogBase.Chain": {"head": (0, 0, 32), "entries": (1, 0, 8)},
    "ModelRegistryBase.Place": {"line": (0, 0, 32), "version": (1, 0, 8)},
    "IModelRegistry.Version": {
        "lastBlock": (4, 0, 6), "approvedAt": (4, 6, 5), "deployableAt": (4, 11, 5), "endedAt": (4, 16, 5),
    },
    "ModelRegistryBase.Grant": {"notBefore": (0, 0, 5), "notAfter": (0, 5, 5)},
}  # fmt: skip
"""Struct → member → (slot in it, byte in the slot from the lowest, size in bytes)."""


def layout(name: str, folder: Path) -> dict[str, Any]:
    env = {key: value for key, value in os.environ.items() if not key.startswith("FOUNDRY_")}
    env |= {"FOUNDRY_OUT": str(folder / "out"), "FOUNDRY_CACHE_PATH": str(folder / "cache")}
    command = [str(FORGE), "inspect", name, "storage-layout", "--json"]
    done = subprocess.run(command, cwd=CONTRACTS, env=env, capture_output=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


@pytest.mark.skipif(platform.machine() != "x86_64", reason="no forge for this platform")
@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_the_compiler_puts_everything_where_it_is_read(tmp_path: Path) -> None:
    seen: dict[str, dict[str, tuple[int, int, int]]] = {}
    for name, variables in VARIABLES.items():
        found = layout(name, tmp_path)
        slots = {entry["label"]: int(entry["slot"]) for entry in found["storage"]}
        assert {label: slots[label] for label in variables} == variables
        sizes = {kind: int(entry["numberOfBytes"]) for kind, entry in found["types"].items()}
        for entry in found["types"].values():
            seen[entry["label"].removeprefix("struct ")] = {
                one["label"]: (int(one["slot"]), one["offset"], sizes[one["type"]]) for one in entry.get("members", ())
            }
    for struct, members in MEMBERS.items():
        assert {label: seen[struct][label] for label in members} == members
