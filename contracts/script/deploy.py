#!/usr/bin/env python3
"""Deploys the contracts at addresses that follow from their code: `contracts/script/deploy.py COMMAND --rpc URL ...`.

contracts  IdentityRegistry with its FleetLog, CommandLog, ModelRegistry, RecordVerifier
admin      TenantAdmin (AccessManager behind a TimelockController) for the tenants of a deployed registry

For whoever deploys but runs no fleet; `edgeseal chain deploy` does the same and opens a tenant. Each contract is made
by the deterministic deployment proxy at 0x4e59b448... (CREATE2): the address follows from the salt and the code, and is
the same on every chain that has the proxy. What is there already is checked and left alone, so a run that stopped is
run again. In the end the code of each address is compared with the committed build (`edgeseal/contracts`), its
immutables apart, and the immutables with what they must name. `--dry-run` sends nothing: it prints addresses, what
stands there and the gas each deployment would take. `--json` prints one object.

Exit codes: 0 all there and ours, 1 something is not (what and why is printed), 2 wrong usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeseal.adapters.evm import Account, EvmClient, Transaction
from edgeseal.errors import EdgesealError
from edgeseal_console.operate.deployment import (
    PROXY,
    SALT,
    Admins,
    Planned,
    check,
    plan_admin,
    plan_contracts,
    planned,
    problem,
    salt_of,
)

__all__ = ["PROXY", "main", "planned"]
WAIT_S = 300


class Failure(Exception):
    """Something is not as it must be; the message says what, and what to do."""


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


def admins_of(options: argparse.Namespace) -> Admins:
    """The people of a TenantAdmin, as typed."""
    proposers = tuple(address(text) for text in options.proposer)
    return Admins(
        proposers, address(options.operator), address(options.guardian), options.wait, options.operations_delay
    )


def address(text: str) -> bytes:
    """The 20 bytes of an address as typed."""
    try:
        found = bytes.fromhex(text.removeprefix("0x"))
    except ValueError:
        found = b""
    if len(found) != 20:
        raise Failure(f"{text!r} is no address: 0x and 40 hex digits")
    return found


def run(options: argparse.Namespace) -> Iterator[dict[str, Any]]:
    client = EvmClient(options.rpc)
    chain_id = client.chain_id()
    if chain_id != options.chain_id:
        raise Failure(f"{options.rpc} serves chain {chain_id}, not {options.chain_id}")
    if not client.code(PROXY):
        raise Failure(f"chain {chain_id} lacks the deployment proxy 0x{PROXY.hex()}: deploy it, or use another chain")
    salt = salt_of(options.salt)
    plans, expected = plan_contracts(salt) if options.command == "contracts" else plan_admin(salt, admins_of(options))
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
    if not options.dry_run and not any(problem(client, *one) for one in expected.items()):
        check(client, expected)


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
        command.add_argument("--salt", default=SALT, help="another salt gives other addresses")
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
