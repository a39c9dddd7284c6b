"""The contracts on a real node: deployed at their deterministic addresses, checked, and a record settled there."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import secrets
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from edgeseal import cose, settlement
from edgeseal.adapters.evm import Account, BoundContract, Contract, EvmClient, Reverted, Transaction, TxReceipt
from edgeseal.head import NO_HEAD, FleetHead
from edgeseal.verify.chain import Interval, RegistryKey
from edgeseal_console.demo.parts import CHAIN_ID, Chain
from edgeseal_console.operate import chain as operate
from edgeseal_console.operate import home as homes
from tests.world import Key

ROOT = Path(__file__).parents[2]
VECTORS: dict[str, Any] = json.loads((ROOT / "contracts" / "test" / "vectors" / "settlement.json").read_text("utf-8"))
WAIT_S = 90.0


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("contracts_deploy", ROOT / "contracts" / "script" / "deploy.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def key_file(tmp_path: Path, chain: Chain) -> Path:
    """The key of a new account with money."""
    path = tmp_path / "account.key"
    path.write_text(secrets.token_hex(32))
    chain.fund("0x" + Account.from_file(path).address.hex())
    return path


def rows(script: ModuleType, capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    code = script.main([*arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)["contracts"]


def test_deployed_where_the_code_says(
    script: ModuleType, chain: Chain, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = ("contracts", "--rpc", chain.url, "--chain-id", str(CHAIN_ID))
    code, dry = rows(script, capsys, *where, "--dry-run")
    assert code == 0
    assert {row["code"] for row in dry} == {"nothing is deployed there"}
    assert dry[0]["gas"] > 1_000_000

    code, real = rows(script, capsys, *where, "--account-key", str(key_file))
    assert code == 0
    assert [row["address"] for row in real] == [row["address"] for row in dry]
    assert {row["code"] for row in real} == {"ours"}
    payer, client = Account.from_file(key_file).address, EvmClient(chain.url)
    before = client.transaction_count(payer)
    assert rows(script, capsys, *where, "--account-key", str(key_file))[0] == 0
    assert client.transaction_count(payer) == before, "a second run sends nothing"

    admin = ("admin", *where[1:], "--proposer", "0x" + "11" * 20, "--operator", "0x" + "22" * 20,
             "--guardian", "0x" + "33" * 20)  # fmt: skip
    code, found = rows(script, capsys, *admin, "--account-key", str(key_file))
    assert code == 0
    assert [row["contract"] for row in found] == ["TenantAdmin", "AccessManager", "TimelockController"]

    # Another byte anywhere in the code is not ours.
    verifier = next(row for row in real if row["contract"] == "RecordVerifier")
    runtime = bytearray(client.code(bytes.fromhex(verifier["address"][2:])))
    runtime[-1] ^= 1
    client.request("anvil_setCode", verifier["address"], "0x" + runtime.hex())
    code, found = rows(script, capsys, *where)
    assert code == 1
    assert [row["contract"] for row in found if row["code"] != "ours"] == ["RecordVerifier"]


def test_another_chain_is_refused(script: ModuleType, chain: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["contracts", "--rpc", chain.url, "--chain-id", "1", "--dry-run"]) == 1
    assert f"serves chain {CHAIN_ID}, not 1" in capsys.readouterr().err


def send(client: EvmClient, account: Account, to: bytes, data: bytes) -> TxReceipt:
    nonce = client.transaction_count(account.address)
    signed = account.sign(Transaction(CHAIN_ID, nonce, to, data, 5_000_000, 10**11, 10**9))
    client.send_raw(signed.raw)
    deadline = time.monotonic() + WAIT_S
    while (receipt := client.receipt(signed.hash)) is None:
        assert time.monotonic() < deadline, "not mined"
    assert receipt.ok
    return receipt


def unhex(value: str) -> bytes:
    return bytes.fromhex(value.removeprefix("0x"))


def test_possession_is_proved_and_a_record_is_settled_as_the_core_says(
    script: ModuleType, chain: Chain, key_file: Path, tmp_path: Path
) -> None:
    home = homes.create(
        tmp_path / "home", module=homes.SOFTHSM_MODULE, gateway_url="http://127.0.0.1:1", account_key=key_file
    )
    gateway, account, client = Key(0x2002), Account.from_file(key_file), EvmClient(chain.url)
    network = operate.deploy(home, rpc=chain.url, kind="operator", gateway=gateway.public, say=lambda text: None)
    registry = Contract("IdentityRegistry")
    logs = client.logs(
        [network.identity_registry], [registry.event_topic("KeyRegistered"), network.fleet_log], 0,
        client.block_number(),
    )  # fmt: skip
    found = [registry.decode_event("KeyRegistered", entry.log) for entry in logs]
    assert [(operate.ROLES[event["role"]], event["possessed"]) for event in found] == [
        ("gateway", False),
        ("operator", True),
    ]

    row = VECTORS["keys"][0]
    device = cose.PublicKey.of(unhex(row["x"]), unhex(row["y"]))
    operate.Registry(home, network, lambda text: None).register(device, "device", bytes(32))
    head = FleetHead(network.fleet_log, VECTORS["size"], unhex(VECTORS["root"]), NO_HEAD)
    signature = gateway.sign(cose.to_be_signed(head.protected(gateway.kid), head.payload()))
    key, log = gateway.public, Contract("FleetLog")
    anchor = log.encode(
        "anchor", head.log, head.size, head.root, 0, bytes(32), key.x, key.y, signature[:32], signature[32:], []
    )
    send(client, account, network.fleet_log_contract, anchor)

    argument = bytes(12) + network.identity_registry
    plan = script.planned("RecordVerifier", bytes(32), argument)
    send(client, account, script.PROXY, bytes(32) + plan.code)
    verifier = BoundContract(client, Contract("RecordVerifier"), plan.address)
    case = VECTORS["cases"][0]
    evidence = settlement.Evidence(
        network.fleet_log, unhex(case["record"]), [unhex(node) for node in case["devicePath"]], unhex(case["head"]),
        (unhex(case["x"]), unhex(case["y"])), unhex(case["r"]) + unhex(case["s"]), case["position"],
        [unhex(node) for node in case["fleetPath"]],
    )  # fmt: skip
    entry = RegistryKey("device", (Interval(0, None, None),))
    settled = settlement.check(evidence, (head.size, head.root), entry)
    assert verifier.call("check", evidence.arguments()) == dataclasses.astuple(settled)

    receipt = send(client, account, plan.address, verifier.contract.encode("settle", evidence.arguments()))
    event = verifier.contract.decode_event("RecordSettled", receipt.logs[0])
    assert (event["deviceLog"], event["seq"], event["body"]) == (settled.device_log, settled.seq, settled.body)
    moved = dataclasses.replace(evidence, position=evidence.position + 1)
    with pytest.raises(Reverted) as refused:
        verifier.call("check", moved.arguments())
    assert refused.value.name == "NotInFleetLog"
