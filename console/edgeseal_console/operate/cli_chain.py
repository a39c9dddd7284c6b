"""``edgeseal init``, ``chain`` and ``trust``: the operator's folder, the contracts, the trust file."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeseal_console.operate import home as homes
from edgeseal_console.operate.words import DEFAULT_GATEWAY, Parsers, branch_of, digest_of, leaf, say, show


def add_init(subparsers: Parsers) -> None:
    """Add init."""
    parser = leaf(
        subparsers, "init", _run_init, "make an operator's folder: tenant root key, operator key, EVM account",
        "edgeseal init --home ./ops --gateway http://127.0.0.1:8420",
    )  # fmt: skip
    parser.add_argument(
        "--module", default=homes.SOFTHSM_MODULE, help="PKCS#11 module for the new tokens (%(default)s)"
    )
    parser.add_argument("--gateway", default=DEFAULT_GATEWAY, help="URL of the gateway's API (%(default)s)")
    parser.add_argument(
        "--account-key", type=Path, help="file with an EVM private key in hex; a new one is made without it"
    )


def _run_init(args: argparse.Namespace) -> int:
    home = homes.create(args.home, module=args.module, gateway_url=args.gateway, account_key=args.account_key)
    root, operator, account = home.root().public_key.kid, home.operator().public_key.kid, home.account().address
    fields = {
        "home": str(args.home),
        "root_kid": root.hex(),
        "operator_kid": operator.hex(),
        "account": "0x" + account.hex(),
    }
    return show(args, fields, [
        f"operator's folder   {args.home}",
        f"tenant root key     {root.hex()}   keep its token ({args.home}/root) offline",
        f"operator key        {operator.hex()}",
        f"EVM account         0x{account.hex()}   send it funds, then: edgeseal chain deploy",
    ])  # fmt: skip


def add_chain(subparsers: Parsers) -> None:
    """Add chain deploy, show and fund."""
    branch = branch_of(subparsers, "chain", "the contracts", "edgeseal chain show --home ./ops")
    parser = leaf(
        branch, "deploy", _run_deploy, "deploy the contracts, open tenant and fleet log, write the network profile",
        "edgeseal chain deploy --home ./ops --rpc http://127.0.0.1:8545 --gateway-key gateway-key.cbor",
    )  # fmt: skip
    parser.add_argument("--rpc", required=True, metavar="URL", help="RPC endpoint of the chain")
    parser.add_argument(
        "--gateway-key", required=True, type=Path, metavar="FILE", help="from: edgeseal-gateway key --out FILE"
    )
    parser.add_argument(
        "--kind", choices=("operator", "public"), default="operator",
        help="operator: the chain is run by whoever is under audit, and what it shows is ATTESTED; public: it is not",
    )  # fmt: skip

    leaf(branch, "show", _run_chain_show, "print the network profile", "edgeseal chain show --home ./ops")
    fund = leaf(
        branch, "fund", _run_fund, "send half of the operator's balance to an account, such as the gateway's",
        "edgeseal chain fund --home ./ops 0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    )  # fmt: skip
    fund.add_argument("address", help="0x and 40 hex digits")


def _run_chain_show(args: argparse.Namespace) -> int:
    home = homes.load(args.home)
    network = home.network()
    fields = {
        "chain_id": network.chain_id, "kind": network.kind, "endpoints": list(network.endpoints),
        "fleet_log": network.fleet_log.hex(), "fleet_log_contract": "0x" + network.fleet_log_contract.hex(),
        "identity_registry": "0x" + network.identity_registry.hex(), "root_kid": network.tenant_root.kid.hex(),
    }  # fmt: skip
    return show(args, fields, [f"{name:<20}{value}" for name, value in fields.items()])


def _run_fund(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain

    home = homes.load(args.home)
    sent = chain.fund(home, home.network(), args.address, say)
    return show(args, {"address": args.address, "wei": sent}, [f"sent {sent} wei to {args.address}"])


def _run_deploy(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain, signing

    home = homes.load(args.home)
    network = chain.deploy(home, rpc=args.rpc, kind=args.kind, gateway=signing.read_key(args.gateway_key), say=say)
    fields = {
        "network_profile": str(home.network_file), "chain_id": network.chain_id, "fleet_log": network.fleet_log.hex(),
        "fleet_log_contract": "0x" + network.fleet_log_contract.hex(),
        "identity_registry": "0x" + network.identity_registry.hex(),
    }  # fmt: skip
    return show(args, fields, [
        f"network profile     {home.network_file}",
        f"chain               {network.chain_id} ({network.kind})",
        f"FleetLog            0x{network.fleet_log_contract.hex()}",
        f"IdentityRegistry    0x{network.identity_registry.hex()}",
        f"fleet log           {network.fleet_log.hex()}",
        "next                edgeseal keyset first --gateway-key … --out keyset-1.cbor",
    ])  # fmt: skip


def add_trust(subparsers: Parsers) -> None:
    """Add trust."""
    parser = leaf(
        subparsers, "trust", _run_trust, "write a trust file from this operator's network profile",
        "edgeseal trust --home ./ops --endpoint http://127.0.0.1:8545 --out trust.yaml", as_json=False,
    )  # fmt: skip
    parser.add_argument("--block", action="append", default=[], metavar="HASH", help="block hash accepted as final")
    parser.add_argument("--endpoint", action="append", default=[], metavar="URL", help="RPC endpoint that is believed")
    parser.add_argument("--publisher", action="append", default=[], metavar="DIGEST", help="package --reinfer may run")
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")


def _run_trust(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from edgeseal import trust
    from edgeseal_console.operate.trustfile import trust_from

    network = homes.load(args.home).network()
    blocks = frozenset(digest_of(text.removeprefix("0x"), "--block") for text in args.block)
    publishers = frozenset(digest_of(text, "--publisher") for text in args.publisher)
    made = trust_from(network, blocks=blocks, endpoints=tuple(args.endpoint))
    args.out.write_bytes(trust.render(replace(made, publishers=publishers)))
    print(
        f"trust file written to {args.out}; whoever uses it should have got it from you by another way than the bundle"
    )
    return 0
