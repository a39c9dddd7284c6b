"""The contracts build, pass their own tests on both kinds of chain, are committed as built, and agree with the core.

forge is there for x86-64 only; on other machines its part is skipped and the known answers are still compared.
"""

from __future__ import annotations

import importlib.util
import json
import platform
import shutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgeseal import cose
from edgeseal.commitment import domain
from edgeseal.errors import VerificationError
from edgeseal.head import FleetHead
from edgeseal.pack import fleet_log_id

ROOT = Path(__file__).parents[2]
VECTORS = ROOT / "contracts" / "test" / "vectors"
needs_forge = pytest.mark.skipif(platform.machine() != "x86_64", reason="no forge for this platform")


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"contracts_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


def vectors(name: str) -> Any:
    return json.loads((VECTORS / name).read_text("utf-8"))


def unhex(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


@pytest.fixture(scope="module")
def build() -> ModuleType:
    return load(ROOT / "contracts" / "script" / "build.py")


@needs_forge
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("step", ["format", "vectors", "osaka", "prague", "gas"])
def test_step(build: ModuleType, step: str) -> None:
    assert build.main(["--check", step]) == 0


@needs_forge
@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("evm", ["osaka", "prague"])
def test_long_runs(build: ModuleType, evm: str) -> None:
    """Every pair of sizes to 130, and fuzz and invariants many times over."""
    with build.alone():
        build.forge(evm, "build")
        build.forge(
            evm, "test", EDGESEAL_PAIRS="130", FOUNDRY_GAS_LIMIT="9223372036854775807", FOUNDRY_FUZZ_RUNS="2000",
            FOUNDRY_INVARIANT_RUNS="100", FOUNDRY_INVARIANT_DEPTH="150",
        )  # fmt: skip


@needs_forge
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_lines_and_branches_of_every_contract_are_covered() -> None:
    """95 % in each file, and `contracts/audit/coverage.md` shows these figures."""
    assert load(ROOT / "contracts" / "script" / "coverage.py").main(["--check"]) == 0


@needs_forge
@pytest.mark.timeout(1200)
def test_the_committed_abi_and_bytecode_are_what_the_sources_give(
    build: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert build.main(["--check", "artifacts"]) == 0

    for name in build.IMMUTABLES:
        shutil.copy(build.EXPORTS / f"{name}.json", tmp_path)
    stale = tmp_path / "FleetLog.json"
    stale.write_text(stale.read_text("utf-8").replace("StaleSize", "OldSize"))
    monkeypatch.setattr(build, "EXPORTS", tmp_path)
    with build.alone(), pytest.raises(build.Failure, match=r"FleetLog\.json is not current"):
        build.exports(True)


@needs_forge
@pytest.mark.timeout(600)
def test_gas_that_drifts_is_found(build: ModuleType, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """One unit of gas more or less in one snapshot of one function fails the build."""
    snapshots = tmp_path / "snapshots"
    shutil.copytree(build.CONTRACTS / "snapshots", snapshots)
    file = snapshots / "registry.json"
    measured = json.loads(file.read_text("utf-8"))
    measured["finishRotation"] = str(int(measured["finishRotation"]) + 1)
    file.write_text(json.dumps(measured, indent=2))
    with build.alone():
        build.forge("osaka", "build")
        with pytest.raises(build.Failure, match="forge test under osaka failed"):
            build.forge(
                "osaka", "test", "--match-contract", "KeyGasTest", FOUNDRY_PROFILE="gas", FORGE_SNAPSHOT_CHECK="true",
                FOUNDRY_SNAPSHOTS=str(snapshots),
            )  # fmt: skip
    assert "[finishRotation]" in capfd.readouterr().err


@pytest.mark.parametrize("name", ["FleetLog", "IdentityRegistry", "CommandLog", "ModelRegistry", "RecordVerifier"])
def test_every_function_that_changes_something_has_its_gas_checked_in(name: str) -> None:
    script = load(ROOT / "contracts" / "script" / "gas.py")
    group = next(group for group, contract in script.GROUPS.items() if contract == name)
    measured = {entry.split(":")[0] for entry in script.snapshot(group)}
    if name == "FleetLog":
        measured.add("anchor" if script.snapshot("anchor") else "")
    abi = json.loads((ROOT / "edgeseal" / "contracts" / f"{name}.json").read_text("utf-8"))["abi"]
    changing = {
        entry["name"] for entry in abi if entry["type"] == "function" and entry["stateMutability"] == "nonpayable"
    }
    assert changing <= measured


@pytest.mark.parametrize("case", vectors("fleet_head_tbs.json")["heads"], ids=lambda c: f"{c['prevSize']}-{c['size']}")
def test_core_and_contract_sign_the_same_bytes_of_a_fleet_head(case: dict[str, Any]) -> None:
    key = cose.PublicKey.of(unhex(case["x"]), unhex(case["y"]))
    assert key.kid == unhex(case["kid"])
    head = FleetHead(
        unhex(case["logId"]), case["size"], unhex(case["root"]), (case["prevSize"], unhex(case["prevRoot"]))
    )
    message = cose.to_be_signed(head.protected(key.kid), head.payload())
    assert message == unhex(case["message"])
    key.verify(message, unhex(case["r"]) + unhex(case["s"]))


def test_core_and_contract_name_a_log_alike() -> None:
    case = vectors("fleet_log_id.json")
    found = fleet_log_id(unhex(case["tenant"]), case["chainId"], unhex(case["contract"]), unhex(case["nonce"]))
    assert found == unhex(case["logId"])


@pytest.mark.parametrize(("name", "purpose", "nonce"), [("open", "tenant-open", 0), ("recover", "tenant-admin", 1)])
def test_the_tenants_consent_is_signed_as_the_registry_says(name: str, purpose: str, nonce: int) -> None:
    cases = vectors("tenant_consent.json")
    case = cases[name]
    key = cose.PublicKey.of(unhex(case["x"]), unhex(case["y"]))
    place = cases["chainId"].to_bytes(32, "big") + unhex(cases["contract"]) + unhex(cases["admin"])
    message = domain(purpose) + key.kid + place + nonce.to_bytes(32, "big")
    signature = unhex(case["r"]) + unhex(case["s"])
    assert message == unhex(case["message"])
    key.verify(message, signature)
    with pytest.raises(VerificationError):
        key.verify(message[:-1] + b"\x07", signature)
