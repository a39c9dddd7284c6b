#!/usr/bin/env python3
"""Builds, tests and exports the contracts: `contracts/script/build.py [--check] [STEP ...]`.

Steps, all of them by default and in this order:

format     forge's own formatting of the Solidity files
vectors    test/vectors/*.json by their generators
artifacts  edgeseal/contracts/*.json: ABI and bytecode for cancun; refuses bytecode that depends on the EVM version
osaka      every test with P256VERIFY at 0x100
prague     every test without it, so with OpenZeppelin's Solidity fallback
gas        snapshots/*.json and the table in README.md: whole-transaction gas under osaka, worst and median printed
peers      the same, and the peers' contracts in the same run; only when named: needs `npm ci` in contracts/peers

Without `--check` the files are written, with it they are compared and nothing is changed. Exit codes: 0 all well, 1 a
test failed or a file is not current, 4 a tool is missing (what to do is printed). Needs no network.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from Crypto.Hash import keccak

CONTRACTS = Path(__file__).resolve().parent.parent
EXPORTS = CONTRACTS.parent / "edgeseal" / "contracts"
RELEASED = "cancun"
TESTED = ("osaka", "prague")
PLATFORMS = {"x86_64": "amd64", "aarch64": "arm64"}
# The immutables of each contract, which the deployment fills in, in the order of their declaration.
IMMUTABLES: dict[str, tuple[str, ...]] = {
    "FleetLog": ("registry",),
    "IdentityRegistry": ("fleetLog",),
    "CommandLog": ("registry", "fleetLog"),
    "ModelRegistry": ("registry", "fleetLog"),
    "RecordVerifier": ("registry", "fleetLog"),
    "TenantAdmin": ("manager", "timelock"),
    # OpenZeppelin's, as TenantAdmin deploys them:
    "AccessManager": (),
    "TimelockController": (),
}
MAX_RUNTIME = 24_576  # EIP-170


class Failure(Exception):
    """A step did not hold; the message says which and why."""


@contextmanager
def alone() -> Iterator[None]:
    """Waits until no other run of this script works in the same output folders."""
    (CONTRACTS / "cache").mkdir(exist_ok=True)
    with (CONTRACTS / "cache" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def forge_binary() -> Path:
    """The pinned forge of this platform. Exits 4 where there is none."""
    arch = PLATFORMS.get(platform.machine(), platform.machine())
    binary = CONTRACTS / "node_modules" / "@foundry-rs" / f"forge-linux-{arch}" / "bin" / "forge"
    if not binary.exists():
        print(f"forge is not at {binary}\nrun: npm ci --ignore-scripts --prefix {CONTRACTS}", file=sys.stderr)
        raise SystemExit(4)
    return binary


def forge(evm: str, *arguments: str, folder: str | None = None, **environment: str) -> None:
    """Runs forge for one EVM version, each with an output folder and cache of its own."""
    folder = folder or evm
    env = {name: value for name, value in os.environ.items() if not name.startswith("FOUNDRY_")}
    env |= {"FOUNDRY_EVM_VERSION": evm, "FOUNDRY_OUT": f"out/{folder}", "FOUNDRY_CACHE_PATH": f"cache/{folder}"}
    print(f"[{evm}] forge {' '.join(arguments)}", flush=True)
    done = subprocess.run([forge_binary(), *arguments], cwd=CONTRACTS, env=env | environment, check=False)
    if done.returncode:
        raise Failure(f"forge {arguments[0]} under {evm} failed")


def artifact(folder: str, name: str) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((CONTRACTS / "out" / folder / f"{name}.sol" / f"{name}.json").read_text())
    return loaded


def export(name: str) -> str:
    """The committed form of a contract; refuses what is too large or differs between EVM versions."""
    built = artifact("released", name)
    runtime = built["deployedBytecode"]
    for evm in TESTED:
        if artifact(evm, name)["bytecode"]["object"] != built["bytecode"]["object"]:
            raise Failure(f"{name}: bytecode for {evm} differs from that for {RELEASED}")
    if len(runtime["object"]) // 2 - 1 > MAX_RUNTIME:
        raise Failure(f"{name}: runtime code is larger than {MAX_RUNTIME} bytes")
    # The compiler names immutables by numbers that rise in the order of their declaration.
    found = runtime.get("immutableReferences", {})
    references = [places for _, places in sorted(found.items(), key=lambda item: int(item[0]))]
    settings = built["metadata"]
    content = {
        "contract": name,
        "compiler": settings["compiler"]["version"],
        "evmVersion": settings["settings"]["evmVersion"],
        "optimizerRuns": settings["settings"]["optimizer"]["runs"],
        "abi": built["abi"],
        "bytecode": built["bytecode"]["object"],
        "runtime": runtime["object"],
        "immutables": {
            word: [place["start"] for place in places]
            for word, places in zip(IMMUTABLES[name], references, strict=True)
        },
        "runtimeKeccak": "0x" + keccak.new(digest_bits=256, data=bytes.fromhex(runtime["object"][2:])).hexdigest(),
    }
    return json.dumps(content, indent=1) + "\n"


def step_format(check: bool) -> None:
    forge(RELEASED, "fmt", *(["--check"] if check else []))


def script(path: str, check: bool, complaint: str) -> None:
    """Runs one of our generators, which write their files or, with --check, compare them."""
    command = [sys.executable, str(CONTRACTS / path), *(["--check"] if check else [])]
    if subprocess.run(command, check=False).returncode:
        raise Failure(complaint)


def step_vectors(check: bool) -> None:
    for generator in ("generate", "settlement"):
        script(
            f"test/vectors/{generator}.py",
            check,
            "the vectors in contracts/test/vectors are not what their generators make",
        )


def build_released() -> None:
    forge(RELEASED, "build", "--force", "src", folder="released")
    for evm in TESTED:
        forge(evm, "build")


def exports(check: bool) -> None:
    """Writes or compares the committed form of what build_released built."""
    for name in IMMUTABLES:
        path = EXPORTS / f"{name}.json"
        text = export(name)
        if not check:
            path.write_text(text)
        elif not path.exists() or path.read_text() != text:
            raise Failure(f"{path} is not current: run contracts/script/build.py artifacts")


def step_artifacts(check: bool) -> None:
    build_released()
    exports(check)


def run_tests(evm: str) -> None:
    forge(evm, "build")  # tests deploy by name, which forge does not count as a reason to compile
    # Without the precompile each signature costs a million instructions; the full counts run with it, and in the soak.
    forge(evm, "test", **({"FOUNDRY_FUZZ_RUNS": "64"} if evm == "prague" else {}))


def step_gas(check: bool) -> None:
    forge("osaka", "build")
    forge("osaka", "test", FOUNDRY_PROFILE="gas", FORGE_SNAPSHOT_CHECK="true" if check else "false")
    script("script/gas.py", check, "the gas table in contracts/README.md is not what was measured")


def step_peers(check: bool) -> None:
    if not (CONTRACTS / "peers" / "node_modules").exists():
        raise Failure("the peers are not there: run scripts/setup bench")
    forge("osaka", "build")
    forge("osaka", "test", FOUNDRY_PROFILE="peers", FORGE_SNAPSHOT_CHECK="true" if check else "false")
    script("script/gas.py", check, "the gas table in contracts/README.md is not what was measured")


STEPS: dict[str, Callable[[bool], None]] = {
    "format": step_format,
    "vectors": step_vectors,
    "artifacts": step_artifacts,
    "osaka": lambda check: run_tests("osaka"),
    "prague": lambda check: run_tests("prague"),
    "gas": step_gas,
}
NAMED: dict[str, Callable[[bool], None]] = {"peers": step_peers}
"""Steps that are done only when they are named."""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare instead of writing")
    parser.add_argument("steps", nargs="*", metavar="STEP", help=" ".join(STEPS | NAMED))
    options = parser.parse_args(arguments)
    unknown = set(options.steps) - set(STEPS) - set(NAMED)
    if unknown:
        parser.error(f"no such step: {' '.join(sorted(unknown))}")
    try:
        with alone():
            for name, step in (STEPS | NAMED).items():
                if name in options.steps or (name in STEPS and not options.steps):
                    step(options.check)
    except Failure as failure:
        print(f"contracts: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
