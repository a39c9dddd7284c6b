"""``edgeseal chain probe`` and ``cost``: what a chain is, and what it would take."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseal.errors import FormatError, UsageError
from edgeseal_console.operate import home as homes
from edgeseal_console.operate import networks
from edgeseal_console.operate.words import Parsers, leaf, show

if TYPE_CHECKING:
    from edgeseal.chainrules import Preset
    from edgeseal.network import NetworkProfile


def add_probe(branch: Parsers) -> None:
    """Add chain probe and chain cost."""
    parser = leaf(
        branch, "probe", _run_probe,
        "check chain id, contracts, P-256 precompile, finality tags and fees; exit code 1 if something fails",
        "edgeseal chain probe --network base --rpc https://rpc.example --rpc https://other.example",
    )  # fmt: skip
    _where(parser)
    parser.add_argument(
        "--watch", type=float, default=0.0, metavar="SECONDS", help="wait so long for the tag finalized to move"
    )
    cost = leaf(
        branch, "cost", _run_cost, "gas and money of an anchor and of a record, from the chain's fees now",
        "edgeseal chain cost --network base --rpc https://rpc.example --eth-price 2500",
    )  # fmt: skip
    _where(cost)
    cost.add_argument("--eth-price", type=float, metavar="PRICE", help="of one ETH; without it no money is named")


def _where(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--network", metavar="F",
        help=f"a network profile's file, or one of {', '.join(networks.names())}; default: the operator's profile",
    )  # fmt: skip
    parser.add_argument(
        "--rpc", action="append", metavar="URL", help="endpoint to ask; repeat; default: those of the profile"
    )


def _asked(args: argparse.Namespace) -> tuple[list[str], NetworkProfile | None, Preset]:
    """Return the endpoints to ask, the profile if there is one, and what to expect of the chain."""
    from edgeseal.chainrules import Preset
    from edgeseal.network import NetworkProfile

    if args.network in networks.names():
        preset = networks.preset(args.network)
        if not args.rpc:
            raise UsageError("no_endpoint", f"{args.network} says nothing of endpoints", "give --rpc URL")
        return args.rpc, None, preset
    if args.network is None:
        network = homes.load(args.home).network()
    else:
        try:
            network = NetworkProfile.decode(Path(args.network).read_bytes())
        except OSError as error:
            raise UsageError(
                "network_unknown", f"{args.network}: {error.strerror}", f"a file, or: {', '.join(networks.names())}"
            ) from error
        except FormatError as error:
            raise UsageError("config_invalid", f"{args.network}: {error.message}") from error
    fitting = networks.preset(networks.fitting(network.chain_id))
    rules = network.rules or fitting.rules
    return args.rpc or list(network.endpoints), network, Preset(network.chain_id, network.kind, rules)


def _run_probe(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import probe

    urls, network, preset = _asked(args)
    found = list(probe.probe(urls, network, preset, watch_s=max(0.0, args.watch)))
    lines = []
    for one in found:
        lines.append(f"{one.state:<5} {one.what}: {one.detail}")
        if one.remedy and one.state != "ok":
            lines.append(f"      {one.remedy}")
    good = all(one.state != "fail" for one in found)
    show(args, {"ok": good, "network": preset.rules.name, "findings": [asdict(one) for one in found]}, lines)
    return 0 if good else 1


def _run_cost(args: argparse.Namespace) -> int:
    from edgeseal.adapters.evm import EvmClient
    from edgeseal_console.operate import cost
    from edgeseal_console.operate.p256probe import p256

    if args.eth_price is not None and not 0 < args.eth_price < 1e9:
        raise UsageError("eth_price", "a price is a positive number")
    urls, network, preset = _asked(args)
    client = EvmClient(urls[0])
    contract = bytes(20) if network is None else network.fleet_log_contract
    found = cost.table(cost.live(client, preset.rules, contract), args.eth_price)
    found |= {"network": preset.rules.name, "chain_id": client.chain_id(), "p256": p256(client).state}
    return show(args, found, _cost_lines(found))


def _cost_lines(found: dict[str, Any]) -> list[str]:
    fees, anchor, price = found["fees"], found["anchor"], found.get("eth_price")
    lines = [
        f"chain {found['chain_id']} ({found['network']}): base fee {_gwei(fees['base_wei'])} "
        f"({_gwei(fees['base_least_wei'])} to {_gwei(fees['base_most_wei'])} lately), tip {_gwei(fees['tip_wei'])}",
        f"data on the parent chain: {_eth(fees['parent_chain_wei_an_anchor'])} an anchor",
        f"anchor at a million leaves: {anchor['gas']['median']:,} gas median, {anchor['gas']['worst']:,} worst; "
        f"{_eth(anchor['wei']['median'])}" + (f", {anchor['money']['median']:.6g}" if price is not None else ""),
        f"{'RECORDS AN ANCHOR':>17} {'GAS A RECORD':>13} {'ETH A MILLION RECORDS':>22}"
        + ("" if price is None else f" {'MONEY A MILLION':>16}"),
    ]
    for row in found["records"]:
        million = row["wei_a_million_records"] / 1e18
        lines.append(
            f"{row['records_an_anchor']:>17,} {row['gas_a_record']:>13,.3f} {million:>22.6g}"
            + ("" if price is None else f" {row['money_a_million_records']:>16.6g}")
        )
    if price is None:
        lines.append("money: give --eth-price, the price of one ETH; none is assumed here")
    if found["p256"] != "present":
        lines.append("this chain has no P-256 precompile: add some 225,000 gas a signature, one for each anchor")
    return lines


def _gwei(wei: int) -> str:
    return f"{wei / 1e9:.6g} gwei"


def _eth(wei: float) -> str:
    return f"{wei / 1e18:.6g} ETH"
