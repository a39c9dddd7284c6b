"""``edgeseal init``, ``chain deploy``, ``show``, ``fund`` and ``trust``: the folder, the contracts, the trust file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseal_console.operate import home as homes
from edgeseal_console.operate import networks
from edgeseal_console.operate.cli_challenge import add_challenge
from edgeseal_console.operate.cli_probe import add_probe
from edgeseal_console.operate.cli_rotation import add_gateway_key, add_hand_over
from edgeseal_console.operate.cli_timelock import add_timelock
from edgeseal_console.operate.words import DEFAULT_GATEWAY, Parsers, address_of, branch_of, digest_of, leaf, say, show

if TYPE_CHECKING:
    from edgeseal.network import NetworkProfile
    from edgeseal_console.operate.deployment import Admins


def add_init(subparsers: Parsers) -> None:
    """Add init."""
    parser = leaf(
        subparsers, "init", _run_init, "make an operator's folder: tenant root key, operator key, EVM account",
        "edgeseal init --home ./ops --gateway http://127.0.0.1:8420",
    )  # fmt: skip
    parser.add_argument(
        "--module", default=homes.SOFTHSM_MODULE, metavar="FILE", help="PKCS#11 module for the new tokens (%(default)s)"
    )
    parser.add_argument(
        "--gateway", default=DEFAULT_GATEWAY, metavar="URL", help="URL of the gateway's API (%(default)s)"
    )
    parser.add_argument(
        "--account-key",
        type=Path,
        metavar="FILE",
        help="file with an EVM private key in hex; a new one is made without it",
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
    """Add chain and its actions."""
    branch = branch_of(
        subparsers, "chain", "the contracts and the chain they stand on", "edgeseal chain show --home ./ops"
    )
    _add_deploy(branch)
    add_probe(branch)
    add_gateway_key(branch)
    add_hand_over(branch)
    add_timelock(branch)
    add_challenge(branch)
    leaf(branch, "show", _run_chain_show, "print the network profile", "edgeseal chain show --home ./ops")
    fund = leaf(
        branch, "fund", _run_fund, "send half of the operator's balance to an account, such as the gateway's",
        "edgeseal chain fund --home ./ops 0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    )  # fmt: skip
    fund.add_argument("address", help="0x and 40 hex digits")


def _add_deploy(branch: Parsers) -> None:
    parser = leaf(
        branch, "deploy", _run_deploy,
        "deploy the contracts, open tenant and fleet log, write network profile and trust file; repeat it if stopped",
        "edgeseal chain deploy --home ./ops --network base --rpc https://rpc.example --gateway-key gateway-key.cbor",
    )  # fmt: skip
    parser.add_argument(
        "--rpc", required=True, action="append", metavar="URL",
        help="RPC endpoint of the chain; repeat: the first is asked, the gateway uses all",
    )  # fmt: skip
    parser.add_argument(
        "--network", choices=networks.names(), help="what to expect of the chain; default: by its chain id"
    )
    parser.add_argument(
        "--gateway-key", required=True, type=Path, metavar="FILE", help="from: edgeseal-gateway key --out FILE"
    )
    parser.add_argument(
        "--gateway-later", action="store_true",
        help="leave its registration to identity register, with the proof that the gateway holds it",
    )  # fmt: skip
    parser.add_argument(
        "--kind", choices=("operator", "public"),
        help="operator: the chain is run by whoever is under audit, and what it shows is ATTESTED; public: it is not; "
        "default: as the network says",
    )  # fmt: skip
    parser.add_argument("--salt", default="edgeseal-1", help="another salt gives other addresses (%(default)s)")
    admins = parser.add_argument_group("an admin that is no single key: TenantAdmin (all three, or none)")
    admins.add_argument("--proposer", action="append", metavar="ADDRESS", help="proposes to the timelock; repeat")
    admins.add_argument("--operations", metavar="ADDRESS", help="does the daily work; default: this account")
    admins.add_argument("--guardian", metavar="ADDRESS", help="may suspend, revoke and veto, and nothing else")
    admins.add_argument(
        "--wait-hours", type=int, default=48, metavar="HOURS", help="how long the timelock waits (%(default)s)"
    )
    parser.add_argument("--dry-run", action="store_true", help="show addresses, transactions and gas; send nothing")


def _run_chain_show(args: argparse.Namespace) -> int:
    home = homes.load(args.home)
    network = home.network()
    fields: dict[str, Any] = {
        "chain_id": network.chain_id, "kind": network.kind, "endpoints": list(network.endpoints),
        "fleet_log": network.fleet_log.hex(), **_contracts(network), "root_kid": network.tenant_root.kid.hex(),
    }  # fmt: skip
    if network.rules is not None:
        fields |= {
            "network": network.rules.name, "finality": network.rules.finality,
            "confirmations": network.rules.confirmations,
        }  # fmt: skip
    return show(args, fields, [f"{name:<22}{value}" for name, value in fields.items()])


def _run_fund(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain

    home = homes.load(args.home)
    sent = chain.fund(home, home.network(), args.address, say)
    line = f"sent {sent / 10**18:.6f} ETH ({sent} wei) to {args.address}"
    return show(args, {"address": args.address, "wei": sent}, [line])


def _run_deploy(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain, signing

    home, gateway = homes.load(args.home), signing.read_key(args.gateway_key)
    admins = _admins(home, args)
    if args.dry_run:
        planned = chain.plan(home, rpc=args.rpc[0], network=args.network, admins=admins, salt=args.salt)
        calls = [preview.fields() | {"data": len(preview.data)} for preview in planned.previews]
        lines = [f"{row['contract']:<20}{row['address']}  {row['code']}" for row in planned.contracts]
        lines += [preview.line() for preview in planned.previews]
        lines.append("then: open tenant and fleet log, register operator and gateway, write profile and trust file")
        return show(args, {"dry_run": True, "contracts": planned.contracts, "calls": calls}, lines)
    network = chain.deploy(
        home, rpc=args.rpc[0], kind=args.kind, gateway=gateway, say=say, network=args.network, admins=admins,
        salt=args.salt, register_gateway=not args.gateway_later, further_rpc=args.rpc[1:],
    )  # fmt: skip
    fields = _contracts(network) | {
        "network_profile": str(home.network_file), "trust_file": str(home.folder / chain.TRUST_NAME),
        "chain_id": network.chain_id, "fleet_log": network.fleet_log.hex(),
    }  # fmt: skip
    return show(args, fields, [
        f"network profile       {home.network_file}",
        f"trust file            {home.folder / chain.TRUST_NAME}   for investigators; edgeseal trust puts more into it",
        f"chain                 {network.chain_id} ({network.kind})",
        *(f"{name:<22}{address}" for name, address in _contracts(network).items()),
        f"fleet log             {network.fleet_log.hex()}",
        "next                  the profile to the gateway; chain probe; keyset first --gateway-key … --out …",
    ])  # fmt: skip


def _admins(home: homes.Home, args: argparse.Namespace) -> Admins | None:
    from edgeseal.errors import UsageError
    from edgeseal_console.operate.deployment import Admins

    if not args.proposer and args.guardian is None:
        return None
    if not args.proposer or args.guardian is None:
        raise UsageError("admins", "a TenantAdmin needs a --proposer and a --guardian")
    operator = home.account().address if args.operations is None else address_of(args.operations)
    proposers = tuple(map(address_of, args.proposer))
    return Admins(proposers, operator, address_of(args.guardian), args.wait_hours * 3600)


def _contracts(network: NetworkProfile) -> dict[str, str]:
    found = {"fleet_log_contract": network.fleet_log_contract, "identity_registry": network.identity_registry}
    found |= {key: one.address for key, one in network.further()}
    return {name: "0x" + address.hex() for name, address in found.items()}


def add_trust(subparsers: Parsers) -> None:
    """Add trust."""
    parser = leaf(
        subparsers, "trust", _run_trust, "write a trust file from this operator's network profile",
        "edgeseal trust --home ./ops --endpoint http://127.0.0.1:8545 --out trust.yaml",
    )  # fmt: skip
    parser.add_argument(
        "--block", action="append", default=[], metavar="HASH", help="block hash accepted as final; repeat"
    )
    parser.add_argument(
        "--endpoint", action="append", default=[], metavar="URL", help="RPC endpoint that is believed; repeat"
    )
    parser.add_argument(
        "--publisher", action="append", default=[], metavar="DIGEST", help="package --reinfer may run; repeat"
    )
    parser.add_argument(
        "--ek-ca", type=Path, action="append", default=[], metavar="FILE",
        help="certificates of TPM makers to believe, PEM or DER: what they certified is PROVED",
    )  # fmt: skip
    parser.add_argument(
        "--model-registry", action="store_true",
        help="name the model registry too: each activated model must then have been approved and granted in it",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="FILE", help="where the trust file goes")


def _run_trust(args: argparse.Namespace) -> int:
    from dataclasses import replace

    from edgeseal import trust
    from edgeseal_console.operate import accepting
    from edgeseal_console.operate.trustfile import trust_from

    network = homes.load(args.home).network()
    blocks = frozenset(digest_of(text.removeprefix("0x"), "--block") for text in args.block)
    publishers = frozenset(digest_of(text, "--publisher") for text in args.publisher)
    made = trust_from(network, blocks=blocks, endpoints=tuple(args.endpoint), models=args.model_registry)
    makers = accepting.authority_digests(accepting.certificates(args.ek_ca))
    args.out.write_bytes(trust.render(replace(made, publishers=publishers, ek_authorities=makers)))
    return show(args, {"trust": str(args.out), "blocks": len(blocks), "endpoints": len(args.endpoint)}, [
        f"trust file written to {args.out}; whoever uses it should have got it from you by another way than the bundle"
    ])  # fmt: skip
