#!/usr/bin/env python3
"""Deploys the contracts at addresses that follow from their code: `contracts/script/deploy.py COMMAND --rpc URL ...`.

contracts  IdentityRegistry with its FleetLog, CommandLog, ModelRegistry, RecordVerifier
admin      TenantAdmin (AccessManager behind a TimelockController) for the tenants of a deployed registry

Each is made by the deterministic deployment proxy at 0x4e59b448... (CREATE2): the address follows from the salt and
the code, and is the same on every chain that has the proxy. What is there already is checked and left alone, so a run
that stopped is run again. In the end the code of each address is compared with the committed build
(`edgeseal/contracts`), its immutables apart, and the immutables with what they must name. `--dry-run` sends nothing: it
prints addresses, what stands there and the gas each deployment would take. `--json` prints one object.

Exit codes: 0 all there and ours, 1 something is not (what and why is printed), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from eth_abi.abi import encode

from edgeseal.adapters.evm import Account, BoundContract, Contract, EvmClient, Transaction
from edgeseal.errors import EdgesealError
from edgeseal.evmproof.keccak import keccak256

PROXY = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
OVER_REGISTRY = ("CommandLog", "ModelRegistry", "RecordVerifier")
WAIT_S = 300


class Failure(Exception):
    """Something is not as it must be; the message says what, and what to do."""


@dataclass(frozen=True)
class Planned:
    """One deployment: the contract's name, its init code with arguments, and the address that follows from it."""

    name: str
    code: bytes
    address: bytes


def planned(name: str, salt: bytes, arguments: bytes = b"") -> Planned:
    code = Contract(name).bytecode + arguments
    address = keccak256(b"\xff" + PROXY + salt + keccak256(code))[12:]
    return Planned(name, code, address)


def created(creator: bytes, nonce: int) -> bytes:
    """The address of what a contract with this address creates as number `nonce` (1 to 127)."""
    return keccak256(b"\xd6\x94" + creator + bytes([nonce]))[12:]


def word(address: bytes) -> bytes:
    return bytes(12) + address


def plan_contracts(salt: bytes) -> tuple[list[Planned], dict[str, dict[str, bytes]]]:
    """What to deploy in order, and for each contract its address and immutables."""
    registry = planned("IdentityRegistry", salt)
    fleet = created(registry.address, 1)
    plans = [registry, *(planned(name, salt, word(registry.address)) for name in OVER_REGISTRY)]
    expected = {
        "IdentityRegistry": {"": registry.address, "fleetLog": fleet},
        "FleetLog": {"": fleet, "registry": registry.address},
    }
    expected |= {plan.name: {"": plan.address, "registry": registry.address, "fleetLog": fleet} for plan in plans[1:]}
    return plans, expected


def plan_admin(salt: bytes, options: argparse.Namespace) -> tuple[list[Planned], dict[str, dict[str, bytes]]]:
    _, deployed = plan_contracts(salt)
    targets = tuple(deployed[name][""] for name in ("IdentityRegistry", "CommandLog", "ModelRegistry"))
    arguments = encode(
        ["(address,address,address)", "uint256", "address[]", "address", "uint32", "address"],
        [targets, options.wait, options.proposer, options.operator, options.operations_delay, options.guardian],
    )
    plan = planned("TenantAdmin", salt, arguments)
    timelock, manager = created(plan.address, 1), created(plan.address, 2)
    expected = {
        "TenantAdmin": {"": plan.address, "manager": manager, "timelock": timelock},
        "AccessManager": {"": manager},
        "TimelockController": {"": timelock},
    }
    return [plan], expected


def problem(client: EvmClient, name: str, expected: dict[str, bytes]) -> str | None:
    """Why the code at the address is not the committed contract with these immutables; None if it is."""
    contract, code = Contract(name), bytearray(client.code(expected[""]))
    if not code:
        return "nothing is deployed there"
    if len(code) != len(contract.runtime):
        return "other code than ours"
    for immutable, places in contract.immutables.items():
        for place in places:
            if code[place : place + 32] != word(expected[immutable]):
                return f"{immutable} is not 0x{expected[immutable].hex()}"
            code[place : place + 32] = bytes(32)
    return None if code == contract.runtime else "other code than ours"


def deploy(client: EvmClient, account: Account, chain_id: int, plan: Planned, salt: bytes) -> None:
    """Send one deployment and wait until it is mined. A second run finds the code and does not send again."""
    gas = client.estimate_gas(account.address, PROXY, salt + plan.code)
    newest, tip = client.header("latest"), client.priority_fee()
    if newest is None:
        raise Failure("the node names no newest block")
    signed = account.sign(
        Transaction(
            chain_id, client.transaction_count(account.address), PROXY, salt + plan.code, gas * 12 // 10,
            2 * newest.base_fee + tip, tip,
        )
    )  # fmt: skip
    client.send_raw(signed.raw)
    deadline = time.monotonic() + WAIT_S
    while (receipt := client.receipt(signed.hash)) is None:
        if time.monotonic() > deadline:
            raise Failure(f"{plan.name}: 0x{signed.hash.hex()} is not mined after {WAIT_S} s: run again when it is")
        time.sleep(0.5)
    if not receipt.ok:
        raise Failure(f"{plan.name}: transaction 0x{signed.hash.hex()} failed")


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    client = EvmClient(options.rpc)
    chain_id = client.chain_id()
    if chain_id != options.chain_id:
        raise Failure(f"{options.rpc} serves chain {chain_id}, not {options.chain_id}")
    if not client.code(PROXY):
        raise Failure(f"chain {chain_id} lacks the deployment proxy 0x{PROXY.hex()}: deploy it, or use another chain")
    salt = sha256(options.salt.encode()).digest()
    plans, expected = plan_contracts(salt) if options.command == "contracts" else plan_admin(salt, options)
    missing = [plan for plan in plans if not client.code(plan.address)]
    gas = {}
    if options.dry_run:
        sender = bytes(20) if options.account_key is None else Account.from_file(options.account_key).address
        # What stands on a contract that is itself still to be deployed cannot be estimated yet.
        ready = missing if not missing or missing[0] is not plans[0] else missing[:1]
        gas = {plan.name: client.estimate_gas(sender, PROXY, salt + plan.code) for plan in ready}
    elif missing:
        if options.account_key is None:
            raise Failure("--account-key FILE is needed to deploy")
        account = Account.from_file(options.account_key)
        for plan in missing:
            deploy(client, account, chain_id, plan, salt)
    for name, parts in expected.items():
        found = problem(client, name, parts)
        yield {
            "contract": name,
            "address": "0x" + parts[""].hex(),
            "code": "ours" if found is None else found,
            "codeHash": "0x" + client.code_hash(parts[""]).hex(),
            "gas": gas.get(name),
        }


def check_wired(client: EvmClient, rows: list[dict[str, Any]]) -> None:
    """Ask the registry for its log, so that a chain which lies about code alone is caught out."""
    addresses = {row["contract"]: bytes.fromhex(row["address"][2:]) for row in rows}
    if "IdentityRegistry" in addresses:
        registry = BoundContract(client, Contract("IdentityRegistry"), addresses["IdentityRegistry"])
        if bytes.fromhex(registry.call("fleetLog")[2:]) != addresses["FleetLog"]:
            raise Failure("the IdentityRegistry names another FleetLog")


def parser() -> argparse.ArgumentParser:
    found = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = found.add_subparsers(dest="command", required=True)
    for name in ("contracts", "admin"):
        command = commands.add_parser(name)
        command.add_argument("--rpc", required=True, help="endpoint of the node")
        command.add_argument("--chain-id", type=int, required=True, help="the chain it must serve")
        command.add_argument(
            "--account-key", type=Path, help="file with the paying account's private key, 64 hex digits"
        )
        command.add_argument("--salt", default="edgeseal-1", help="another salt gives other addresses")
        command.add_argument("--dry-run", action="store_true", help="send nothing")
        command.add_argument("--json", action="store_true", help="print one JSON object")
    command.add_argument("--wait", type=int, default=172_800, help="seconds every operation of the timelock waits")
    command.add_argument("--proposer", action="append", required=True, help="who may propose to the timelock; repeat")
    command.add_argument("--operator", required=True, help="who does the daily work")
    command.add_argument("--operations-delay", type=int, default=0, help="seconds the daily work waits")
    command.add_argument("--guardian", required=True, help="who may suspend, revoke and veto")
    return found


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        rows = list(run(options))
        if all(row["code"] == "ours" for row in rows):
            check_wired(EvmClient(options.rpc), rows)
    except (Failure, EdgesealError) as failure:
        print(f"deploy: {failure}", file=sys.stderr)
        return 1
    if options.json:
        print(json.dumps({"chainId": options.chain_id, "dryRun": options.dry_run, "contracts": rows}, indent=1))
    else:
        for row in rows:
            gas = "" if row["gas"] is None else f"  {row['gas']:,} gas"
            print(f"{row['contract']:20} {row['address']}  {row['code']}{gas}")
    return 0 if options.dry_run or all(row["code"] == "ours" for row in rows) else 1


if __name__ == "__main__":
    raise SystemExit(main())
