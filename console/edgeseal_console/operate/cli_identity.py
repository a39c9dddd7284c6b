"""``edgeseal identity``: enrol, list, revoke."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeseal.statements.enrolment import ASSURANCE
from edgeseal.statements.keyset import ROLES
from edgeseal.statements.revocation import REASONS
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.words import Parsers, branch_of, digest_of, gateway_of, leaf, say, show


def add_identity(subparsers: Parsers) -> None:
    """Add identity enrol, list and revoke."""
    branch = branch_of(
        subparsers, "identity", "devices and keys: enrol, list, revoke", "edgeseal identity list --home ./ops"
    )
    enrol = leaf(
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
    leaf(
        branch,
        "list",
        _run_list,
        "devices, what they run, how far they are anchored",
        "edgeseal identity list --home ./ops",
    )
    revoke = leaf(
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
    chain.Registry(home, network, say).register(request.key, "device", bytes(32))
    # Durable on chain: the key's registration. A second try finds it and goes on with the statement.
    with gateway_of(home) as gateway:
        answer = signing.publish(gateway, signing.sign(content, home.operator()))
    fields = {"name": content.name, "log": content.log.hex(), "kid": content.key.kid.hex(), "pos": answer["pos"]}
    return show(args, fields, [
        f"enrolled {content.name} at fleet position {answer['pos']} as {content.assurance}",
        f"  log {content.log.hex()}",
        f"  kid {content.key.kid.hex()}   the device shows the same: edgeseal-agent status",
    ])  # fmt: skip


def _run_list(args: argparse.Namespace) -> int:
    home = homes.load(args.home)
    with gateway_of(home) as gateway:
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
    return show(args, answer, [line.encode("unicode_escape").decode() for line in lines])


def _run_revoke(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import chain, signing

    home = homes.load(args.home)
    network = home.network()
    with gateway_of(home) as gateway:
        if args.device is not None:
            kid, role = bytes.fromhex(signing.device_called(gateway, args.device)["kid"]), "device"
        else:
            kid, role = digest_of(args.kid, "--kid"), args.role
        registry = chain.Registry(home, network, say)
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
    return show(args, {"kid": kid.hex(), "until": until, "pos": answer["pos"]}, lines)
