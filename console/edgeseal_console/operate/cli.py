"""Subcommands of people who run a fleet. Each function: load the home, call, print."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeseal.errors import UsageError
from edgeseal.statements.enrolment import ASSURANCE
from edgeseal.statements.keyset import ROLES, Member
from edgeseal.statements.revocation import REASONS
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.operate import home as homes

Parsers = Any
DEFAULT_HOME = Path("~/.config/edgeseal")
DEFAULT_GATEWAY = "http://127.0.0.1:8420"


def add_parsers(subparsers: Parsers) -> None:
    """Add init, chain, keyset, provision, identity, command, model and trust."""
    _init(subparsers)
    _chain(subparsers)
    _keyset(subparsers)
    _provision(subparsers)
    _identity(subparsers)
    _command(subparsers)
    _model(subparsers)
    _trust(subparsers)


def _leaf(
    subparsers: Parsers, name: str, func: Callable[[argparse.Namespace], int], text: str, example: str, *,
    home: bool = True, as_json: bool = True,
) -> argparse.ArgumentParser:  # fmt: skip
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=text, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    if home:
        parser.add_argument(
            "--home", type=Path, default=DEFAULT_HOME.expanduser(), help="operator's folder (%(default)s)"
        )
    if as_json:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=func)
    return parser


def _branch(subparsers: Parsers, name: str, text: str, example: str) -> Parsers:
    parser = subparsers.add_parser(
        name, help=text, description=text, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    return parser.add_subparsers(metavar="ACTION", required=True)


def _show(args: argparse.Namespace, fields: dict[str, Any], lines: list[str]) -> int:
    if getattr(args, "json", False):
        print(json.dumps(fields))
    else:
        print("\n".join(lines))
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _gateway(home: homes.Home) -> GatewayClient:
    return GatewayClient(home.gateway_url, token_file=home.token_file, ca_file=home.ca_file)


def _digest(text: str, what: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise UsageError("not_hex", f"{what} must be 64 hex digits, not {text!r:.70}")
    return value


# --- init, chain -----------------------------------------------------------------------------------------------------


def _init(subparsers: Parsers) -> None:
    parser = _leaf(
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
    return _show(args, fields, [
        f"operator's folder   {args.home}",
        f"tenant root key     {root.hex()}   keep its token ({args.home}/root) offline",
        f"operator key        {operator.hex()}",
        f"EVM account         0x{account.hex()}   send it funds, then: edgeseal chain deploy",
    ])  # fmt: skip


def _chain(subparsers: Parsers) -> None:
    branch = _branch(subparsers, "chain", "the contracts", "edgeseal chain show --home ./ops")
    parser = _leaf(
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

    _leaf(branch, "show", _run_chain_show, "print the network profile", "edgeseal chain show --home ./ops")
    fund = _leaf(
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
    return _show(args, fields, [f"{name:<20}{value}" for name, value in fields.items()])


def _run_fund(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain

    home = homes.load(args.home)
    sent = chain.fund(home, home.network(), args.address, _say)
    return _show(args, {"address": args.address, "wei": sent}, [f"sent {sent} wei to {args.address}"])


def _run_deploy(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain, signing

    home = homes.load(args.home)
    network = chain.deploy(home, rpc=args.rpc, kind=args.kind, gateway=signing.read_key(args.gateway_key), say=_say)
    fields = {
        "network_profile": str(home.network_file), "chain_id": network.chain_id, "fleet_log": network.fleet_log.hex(),
        "fleet_log_contract": "0x" + network.fleet_log_contract.hex(),
        "identity_registry": "0x" + network.identity_registry.hex(),
    }  # fmt: skip
    return _show(args, fields, [
        f"network profile     {home.network_file}",
        f"chain               {network.chain_id} ({network.kind})",
        f"FleetLog            0x{network.fleet_log_contract.hex()}",
        f"IdentityRegistry    0x{network.identity_registry.hex()}",
        f"fleet log           {network.fleet_log.hex()}",
        "next                edgeseal keyset first --gateway-key … --out keyset-1.cbor",
    ])  # fmt: skip


# --- keyset, provision -----------------------------------------------------------------------------------------------


def _keyset(subparsers: Parsers) -> None:
    branch = _branch(
        subparsers, "keyset", "who may sign what: keysets, signed by the tenant root key",
        "edgeseal keyset show --home ./ops",
    )  # fmt: skip
    first = _leaf(
        branch, "first", _run_keyset_first, "make and sign keyset 1, for edgeseal-gateway init",
        "edgeseal keyset first --home ./ops --gateway-key gateway-key.cbor --out keyset-1.cbor",
    )  # fmt: skip
    first.add_argument("--gateway-key", required=True, type=Path, metavar="FILE")
    first.add_argument("--out", required=True, type=Path, metavar="FILE")
    first.add_argument(
        "--anchor-size", type=int, default=1024, help="promise: anchored after so many statements (%(default)s)"
    )
    first.add_argument("--anchor-secs", type=int, default=3600, help="… or so many seconds (%(default)s)")
    first.add_argument("--cadence", type=int, default=300, help="heartbeat of devices, seconds (%(default)s)")
    change = _leaf(
        branch, "change", _run_keyset_change, "sign and publish the next keyset: members added or removed",
        "edgeseal keyset change --home ./ops --add operator=second-operator.cbor:enrol,command/ping",
    )  # fmt: skip
    change.add_argument(
        "--add", action="append", default=[], metavar="ROLE=FILE[:SCOPE,…]", help="a COSE_Key file and its role"
    )
    change.add_argument("--remove", action="append", default=[], metavar="KID", help="hex kid of a member")
    _leaf(branch, "show", _run_keyset_show, "print the gateway's newest keyset", "edgeseal keyset show --home ./ops")


def _run_keyset_first(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    statement = signing.first_keyset(
        home.network(), home.root(), gateway=signing.read_key(args.gateway_key), operator=home.operator().public_key,
        anchor_size=args.anchor_size, anchor_secs=args.anchor_secs, cadence_s=args.cadence,
    )  # fmt: skip
    args.out.write_bytes(statement)
    return _show(args, {"keyset": str(args.out), "version": 1}, [f"keyset 1 written to {args.out}"])


def _member(text: str) -> Member:
    from edgeseal_console.operate import signing

    role, _, rest = text.partition("=")
    path, _, scope = rest.partition(":")
    if role not in ROLES or not path:
        raise UsageError("usage", f"--add {text!r} is not ROLE=FILE[:SCOPE,…]", f"roles: {', '.join(ROLES)}")
    scopes = tuple(scope.split(",")) if scope else signing.OPERATOR_SCOPE if role == "operator" else ()
    return Member(signing.read_key(Path(path)), role, scopes)


def _run_keyset_change(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    network = home.network()
    with _gateway(home) as gateway:
        current, digest = signing.newest_keyset(gateway, network)
        add = [_member(text) for text in args.add]
        remove = [_digest(text, "--remove") for text in args.remove]
        keyset = signing.next_keyset(current, digest, add=add, remove=remove)
        answer = signing.publish(gateway, signing.sign(keyset, home.root()))
    fields = {"version": keyset.version, "pos": answer["pos"]}
    return _show(args, fields, [f"keyset {keyset.version} stands at fleet position {answer['pos']}"])


def _run_keyset_show(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with _gateway(home) as gateway:
        keyset, _ = signing.newest_keyset(gateway, home.network())
    members = [{"role": m.role, "kid": m.key.kid.hex(), "scope": list(m.scope)} for m in keyset.members]
    fields = {
        "version": keyset.version, "root": keyset.root.kid.hex(), "members": members,
        "anchor_size": keyset.anchor_size, "anchor_secs": keyset.anchor_secs, "cadence_s": keyset.cadence_s,
    }  # fmt: skip
    lines = [
        f"keyset {keyset.version}, signed by tenant root {keyset.root.kid.hex()}",
        f"anchored after {keyset.anchor_size} statements or {keyset.anchor_secs} s; "
        f"heartbeats every {keyset.cadence_s} s",
        *(f"  {m.role:<10} {m.key.kid.hex()}  {' '.join(m.scope)}" for m in keyset.members),
    ]
    return _show(args, fields, lines)


def _provision(subparsers: Parsers) -> None:
    parser = _leaf(
        subparsers, "provision", _run_provision, "fetch and check the provisioning pack a device starts from",
        "edgeseal provision --home ./ops --out pack.cbor",
    )  # fmt: skip
    parser.add_argument("--out", required=True, type=Path, metavar="FILE")


def _run_provision(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with _gateway(home) as gateway:
        pack = signing.checked_pack(gateway, home.network())
    args.out.write_bytes(pack.encode())
    fields = {"pack": str(args.out), "fleet_log": pack.log.hex(), "root_kid": pack.root.kid.hex()}
    return _show(args, fields, [f"pack of fleet log {pack.log.hex()} written to {args.out}"])


# --- identity --------------------------------------------------------------------------------------------------------


def _identity(subparsers: Parsers) -> None:
    branch = _branch(
        subparsers, "identity", "devices and keys: enrol, list, revoke", "edgeseal identity list --home ./ops"
    )
    enrol = _leaf(
        branch, "enrol", _run_enrol, "enrol a device from the request its init wrote",
        "edgeseal identity enrol --home ./ops enrol-request.json --groups line-1 --cadence 60",
    )  # fmt: skip
    enrol.add_argument(
        "request", type=Path, help="the JSON file of edgeseal-agent init; compare its kid with the device's"
    )
    enrol.add_argument("--groups", metavar="G,…", help="groups it belongs to; default: those it asks for")
    enrol.add_argument("--cadence", type=int, help="seconds between heartbeats; default: what it declares")
    enrol.add_argument(
        "--assurance", choices=ASSURANCE, default="softhsm",
        help="what you attest of its key (%(default)s: a software key)",
    )  # fmt: skip
    _leaf(
        branch,
        "list",
        _run_list,
        "devices, what they run, how far they are anchored",
        "edgeseal identity list --home ./ops",
    )
    revoke = _leaf(
        branch, "revoke", _run_revoke, "revoke a key in the registry and in the fleet log",
        "edgeseal identity revoke --home ./ops --device pi-7 --reason compromised",
    )  # fmt: skip
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--device", help="name, log id or kid of a device")
    which.add_argument("--kid", help="hex kid of an operator or another key")
    revoke.add_argument("--role", default="operator", choices=ROLES, help="role of --kid (%(default)s)")
    revoke.add_argument("--reason", required=True, choices=REASONS)
    revoke.add_argument("--until", type=int, help="fleet position from which it is void; default: the anchored size")


def _run_enrol(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain, signing

    home = homes.load(args.home)
    network = home.network()
    request = signing.EnrolmentRequest.read(args.request)
    groups = request.groups if args.groups is None else [word for word in args.groups.split(",") if word]
    cadence = args.cadence or request.cadence_s
    content = signing.enrolment(request, assurance=args.assurance, groups=groups, cadence_s=cadence)
    chain.Registry(home, network, _say).register(request.key, "device", bytes(32))
    # Durable on chain: the key's registration. A second try finds it and goes on with the statement.
    with _gateway(home) as gateway:
        answer = signing.publish(gateway, signing.sign(content, home.operator()))
    fields = {"name": content.name, "log": content.log.hex(), "kid": content.key.kid.hex(), "pos": answer["pos"]}
    return _show(args, fields, [
        f"enrolled {content.name} at fleet position {answer['pos']} as {content.assurance}",
        f"  log {content.log.hex()}",
        f"  kid {content.key.kid.hex()}   the device shows the same: edgeseal-agent status",
    ])  # fmt: skip


def _run_list(args: argparse.Namespace) -> int:
    home = homes.load(args.home)
    with _gateway(home) as gateway:
        answer = gateway.get("/v1/devices")
    lines = [f"{'DEVICE':<16} {'STATE':<8} {'ASSURANCE':<16} {'RECORDS':>9} {'ANCHORED':>9}  MODEL"]
    for device in answer["devices"]:
        model = device["model"]
        running = "-" if model is None else f"{model['name']} {model['version']} {model['package'][:12]}"
        lines.append(
            f"{device['name']:<16} {device['state']:<8} {device['assurance']:<16} {device['size']:>9} "
            f"{device['anchored_size'] or 0:>9}  {running}"
        )
    lines += [f"not enrolled: log {a['log']}, {a['size']} records waiting" for a in answer["applicants"]]
    return _show(args, answer, [line.encode("unicode_escape").decode() for line in lines])


def _run_revoke(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain, signing

    home = homes.load(args.home)
    network = home.network()
    with _gateway(home) as gateway:
        if args.device is not None:
            kid, role = bytes.fromhex(signing.device_called(gateway, args.device)["kid"]), "device"
        else:
            kid, role = _digest(args.kid, "--kid"), args.role
        registry = chain.Registry(home, network, _say)
        until = registry.revoke(kid, args.until, args.reason)
        # Durable on chain: the revocation, which counts by itself. A second try finds it and goes on with the mirror.
        statement = signing.sign(signing.revocation(kid, role, until, args.reason), home.operator())
        answer = signing.publish(gateway, statement)
        lines = [f"revoked {role} {kid.hex()} from fleet position {until} on ({args.reason})"]
        if role in ("operator", "gateway"):
            current, digest = signing.newest_keyset(gateway, network)
            if any(member.key.kid == kid for member in current.members):
                keyset = signing.next_keyset(current, digest, remove=[kid])
                signing.publish(gateway, signing.sign(keyset, home.root()))
                lines.append(f"keyset {keyset.version} no longer names it: devices learn it from there")
    return _show(args, {"kid": kid.hex(), "until": until, "pos": answer["pos"]}, lines)


# --- command ---------------------------------------------------------------------------------------------------------


def _command(subparsers: Parsers) -> None:
    branch = _branch(
        subparsers, "command", "signed commands to devices and groups",
        "edgeseal command send --home ./ops --device pi-7 --wait 60 ping",
    )  # fmt: skip
    send = _leaf(
        branch, "send", _run_send, "sign a command and hand it to the gateway",
        "edgeseal command send --home ./ops --device pi-7 --wait 60 model.activate --package ./digits",
    )  # fmt: skip
    whom = send.add_mutually_exclusive_group(required=True)
    whom.add_argument("--device", help="name, log id or kid of a device")
    whom.add_argument("--group", help="every device of a group")
    send.add_argument(
        "--expires-in", type=int, default=1_000_000, metavar="N", help="void after N more fleet positions (%(default)s)"
    )
    send.add_argument("--until", type=int, metavar="MS", help="void after this wall time, ms since 1970")
    send.add_argument("--wait", type=int, default=0, metavar="SECS", help="wait for the devices' results")
    actions = send.add_subparsers(dest="action", required=True, metavar="ACTION")
    ping = actions.add_parser(
        "ping", help="ask for an answer", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  edgeseal command send --group line-1 --wait 60 ping --text hello",
    )  # fmt: skip
    ping.add_argument("--text", default="ping")
    activate = actions.add_parser(
        "model.activate", help="run this model package from now on",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  edgeseal command send --device pi-7 --wait 60 model.activate --package ./digits",
    )  # fmt: skip
    activate.add_argument("--package", required=True, help="package folder, or the package's digest in hex")
    for action in (ping, activate):
        action.set_defaults(func=_run_send)
        action.add_argument("--wait", type=int, default=argparse.SUPPRESS, metavar="SECS", help="as before the action")
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    listing = _leaf(
        branch,
        "list",
        _run_commands,
        "commands and what came of them",
        "edgeseal command list --home ./ops --device pi-7",
    )
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--device")
    which.add_argument("--group")


def _arguments(args: argparse.Namespace) -> dict[str, Any]:
    if args.action == "ping":
        return {"text": args.text}
    folder = Path(args.package)
    if not folder.is_dir():
        return {"model": _digest(args.package, "--package")}
    from edgeseal.adapters.packagedir import read_package
    from edgeseal.model import parse_package

    return {"model": parse_package(read_package(folder)).digest}


def _run_send(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with _gateway(home) as gateway:
        audience: bytes | str = args.group
        if args.device is not None:
            audience = bytes.fromhex(signing.device_called(gateway, args.device)["log"])
        content, salt, data = signing.command(
            gateway, home.network(), audience=audience, action=args.action, args=_arguments(args),
            expires_in=args.expires_in, until_ms=args.until,
        )  # fmt: skip
        answer = signing.publish(gateway, signing.sign(content, home.operator()), (salt, data))
        results = _await_results(gateway, answer["digest"], content.sub, args.wait) if args.wait else []
    lines = [f"{args.action} {content.id.hex()} stands at fleet position {answer['pos']}"]
    lines += [f"  {r['log'][:16]}…  {r['state']}{' ' + r['reason'] if r['reason'] else ''}" for r in results]
    fields = {"id": content.id.hex(), "digest": answer["digest"], "pos": answer["pos"], "results": results}
    _show(args, fields, lines)
    return 2 if any(r["state"] in ("refused", "failed") for r in results) else 0


def _await_results(gateway: GatewayClient, digest: str, sub: str, secs: int) -> list[dict[str, Any]]:
    where = {"group": sub.removeprefix("group:")} if sub.startswith("group:") else {"log": sub}
    deadline = time.monotonic() + secs
    while True:
        commands = gateway.get("/v1/commands", **where)["commands"]
        results: list[dict[str, Any]] = next((c["results"] for c in commands if c["digest"] == digest), [])
        if results and all(r["state"] in ("done", "failed", "refused") for r in results):
            return results
        if time.monotonic() > deadline:
            return results
        time.sleep(0.5)


def _run_commands(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with _gateway(home) as gateway:
        where: dict[str, str] = {}
        if args.device is not None:
            where = {"log": signing.device_called(gateway, args.device)["log"]}
        elif args.group is not None:
            where = {"group": args.group}
        commands: list[dict[str, Any]] = []
        start: int | None = 0
        while start is not None:
            page = gateway.get("/v1/commands", **where, **{"from": start})
            commands += page["commands"]
            start = page["next"]
    lines = [f"{'POS':>7} {'ACTION':<16} {'AUDIENCE':<20} RESULTS"]
    for command in commands:
        states = ", ".join(
            f"{r['log'][:8]} {r['state']}{' ' + r['reason'] if r['reason'] else ''}" for r in command["results"]
        )
        lines.append(
            f"{command['pos']!s:>7} {command['action']:<16} {command['sub'][:20]:<20} {states or 'no answer yet'}"
        )
    return _show(args, {"commands": commands}, [line.encode("unicode_escape").decode() for line in lines])


# --- model, trust ----------------------------------------------------------------------------------------------------


def _model(subparsers: Parsers) -> None:
    branch = _branch(subparsers, "model", "model packages", "edgeseal model inspect ./digits")
    pack = _leaf(
        branch, "pack", _run_pack, "make a package from any .tflite file, golden vectors included",
        "edgeseal model pack model.tflite --name digits --version 1.0.0 --labels labels.txt --out ./digits", home=False,
    )  # fmt: skip
    pack.add_argument("tflite", type=Path)
    pack.add_argument("--name", required=True)
    pack.add_argument("--version", required=True)
    pack.add_argument("--preprocess", type=Path, metavar="FILE", help="how PNG and JPEG become the input tensor (YAML)")
    pack.add_argument("--labels", type=Path, metavar="FILE", help="one label a line")
    pack.add_argument("--sample", type=Path, nargs="+", action="append", default=[], metavar="FILE",
                      help="inputs for a golden vector, one file for each input; seeded noise without it")  # fmt: skip
    pack.add_argument("--out", required=True, type=Path, metavar="DIR")
    inspect = _leaf(
        branch, "inspect", _run_inspect, "what is in a package or a .tflite file",
        "edgeseal model inspect ./digits --check",
        home=False, as_json=False,
    )  # fmt: skip
    inspect.add_argument("path", type=Path)
    inspect.add_argument("--check", action="store_true", help="run the golden vectors; only for models you trust")
    publish = _leaf(
        branch, "publish", _run_publish, "hand a package to the gateway, for devices to fetch by digest",
        "edgeseal model publish --home ./ops ./digits",
    )  # fmt: skip
    publish.add_argument("folder", type=Path)


def _run_pack(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import models

    packed = models.pack(
        args.tflite, args.name, args.version, args.out, preprocess=args.preprocess, labels=args.labels,
        samples=args.sample, progress=_say,
    )  # fmt: skip
    digest = packed.package.digest.hex()
    return _show(args, {"package": str(args.out), "digest": digest}, [f"package {args.out}", f"digest  {digest}"])


def _run_inspect(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import modelview

    print(modelview.inspect(args.path, check=args.check))
    return 0


def _run_publish(args: argparse.Namespace) -> int:
    from edgeseal import cbor
    from edgeseal.adapters.packagedir import read_package
    from edgeseal.model import parse_package

    home = homes.load(args.home)
    files = read_package(args.folder)
    digest = parse_package(files).digest.hex()
    with _gateway(home) as gateway:
        gateway.put(f"/v1/packages/{digest}", cbor.encode(files))
    return _show(args, {"digest": digest}, [f"the gateway holds package {digest}"])


def _trust(subparsers: Parsers) -> None:
    parser = _leaf(
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
    blocks = frozenset(_digest(text.removeprefix("0x"), "--block") for text in args.block)
    publishers = frozenset(_digest(text, "--publisher") for text in args.publisher)
    made = trust_from(network, blocks=blocks, endpoints=tuple(args.endpoint))
    args.out.write_bytes(trust.render(replace(made, publishers=publishers)))
    print(
        f"trust file written to {args.out}; whoever uses it should have got it from you by another way than the bundle"
    )
    return 0
