"""``edgeseal identity``: what is in the registry *and* in the fleet log: enrol, list, revoke."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeseal.statements.enrolment import ASSURANCE
from edgeseal.statements.keyset import ROLES
from edgeseal.statements.revocation import REASONS
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.acting import told
from edgeseal_console.operate.cli_accept import add_accept
from edgeseal_console.operate.cli_registry import add_registry, kid_of
from edgeseal_console.operate.cli_rotation import add_rotation
from edgeseal_console.operate.words import Parsers, branch_of, digest_of, gateway_of, leaf, say, show


def add_identity(subparsers: Parsers) -> None:
    """Add identity: enrol, list and revoke here, what concerns the registry alone from elsewhere."""
    branch = branch_of(
        subparsers, "identity",
        "devices and keys: enrol and revoke are transactions and statements of the fleet log, others transactions only",
        "edgeseal identity list --home ./ops",
    )  # fmt: skip
    enrol = leaf(
        branch, "enrol", _run_enrol, "enrol a device from the request its init wrote",
        "edgeseal identity enrol --home ./ops enrol-request.json --groups line-1 --cadence 60",
    )  # fmt: skip
    enrol.add_argument(
        "request", type=Path, help="the JSON file of edgeseal-agent init; compare its kid with the device's"
    )
    enrol.add_argument("--groups", metavar="G,…", help="groups it belongs to; default: those it asks for")
    enrol.add_argument(
        "--cadence", type=int, metavar="SECS", help="seconds between heartbeats; default: what it declares"
    )
    enrol.add_argument(
        "--assurance", choices=ASSURANCE, default="softhsm",
        help="what you attest of its key (%(default)s: a software key)",
    )  # fmt: skip
    enrol.add_argument(
        "--proof", type=Path, metavar="FILE",
        help="the device's answer to identity challenge: its key is registered as held; without: on your word",
    )  # fmt: skip
    listed = leaf(
        branch, "list", _run_list, "devices, what they run, how far they are anchored; or the keys on chain",
        "edgeseal identity list --home ./ops --registry",
    )  # fmt: skip
    listed.add_argument("--registry", action="store_true", help="every key registered on chain, from the chain alone")
    revoke = leaf(
        branch, "revoke", _run_revoke, "revoke a key in the registry and in the fleet log",
        "edgeseal identity revoke --home ./ops --device pi-7 --reason compromised",
    )  # fmt: skip
    which = revoke.add_mutually_exclusive_group(required=True)
    which.add_argument("--device", help="name, log id or kid of a device")
    which.add_argument("--kid", help="hex kid of an operator or another key")
    revoke.add_argument("--role", default="operator", choices=ROLES, help="role of --kid (%(default)s)")
    revoke.add_argument("--reason", required=True, choices=REASONS, help="why, on chain and in the fleet log")
    revoke.add_argument(
        "--until", "--from-position", type=int, dest="until", metavar="N",
        help="fleet position from which it is void, at most the anchored size; default: that",
    )  # fmt: skip
    add_accept(branch)
    add_registry(branch)
    add_rotation(branch)
    revoke.add_argument("--dry-run", action="store_true", help="show what would be sent and signed; do neither")


def _run_enrol(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import challenges, signing
    from edgeseal_console.operate.registry import Registry

    home = homes.load(args.home)
    network = home.network()
    request = signing.EnrolmentRequest.read(args.request)
    groups = request.groups if args.groups is None else [word for word in args.groups.split(",") if word]
    cadence = args.cadence or request.cadence_s
    content = signing.enrolment(request, assurance=args.assurance, groups=groups, cadence_s=cadence)
    proof = None if args.proof is None else challenges.read_proof(home, args.proof)
    Registry(home, network, say).register(request.key, "device", bytes(32), proof=proof)
    # Durable on chain: the key's registration. A second try finds it and goes on with the statement.
    with gateway_of(home) as gateway:
        answer = signing.publish(gateway, signing.sign(content, home.operator()))
    if proof is not None:
        challenges.used(home, proof.challenge)
    fields = {"name": content.name, "log": content.log.hex(), "kid": content.key.kid.hex(), "pos": answer["pos"]}
    return show(args, fields, [
        f"enrolled {content.name} at fleet position {answer['pos']} as {content.assurance}",
        f"  log {content.log.hex()}",
        f"  kid {content.key.kid.hex()}   the device shows the same: edgeseal-agent status",
    ])  # fmt: skip


def _run_list(args: argparse.Namespace) -> int:
    home = homes.load(args.home)
    if args.registry:
        return _list_registry(args, home)
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


def _list_registry(args: argparse.Namespace, home: homes.Home) -> int:
    from edgeseal_console.operate import registryhistory
    from edgeseal_console.operate.registry import Registry

    rows = registryhistory.registered(Registry(home, home.network(), say, dry_run=True))
    lines = [f"{'KID':<64} {'ROLE':<9} {'STATUS':<9} {'FROM':>8} {'UNTIL':>8}  HELD"]
    for row in rows:
        until = "-" if row["until"] is None else row["until"]
        held = "proved" if row["possessed"] else "on the admin's word"
        lines.append(f"{row['kid']} {row['role']:<9} {row['status']:<9} {row['from']:>8} {until:>8}  {held}")
    return show(args, {"keys": rows}, lines)


def _run_revoke(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing
    from edgeseal_console.operate.registry import Registry

    home = homes.load(args.home)
    network = home.network()
    if args.dry_run:
        looked, kid = Registry(home, network, say, dry_run=True), kid_of(home, args)
        until, role = looked.revoke(kid, args.until, args.reason), "device" if args.kid is None else args.role
        return told(
            args, looked, {"kid": kid.hex(), "until": until}, "",
            f"{role} {kid.hex()} is void from fleet position {until} on, for good; the fleet log states the same"
            + (", and the next keyset no longer names it" if role in ("operator", "gateway") else ""),
        )  # fmt: skip
    with gateway_of(home) as gateway:
        if args.device is not None:
            kid, role = bytes.fromhex(signing.device_called(gateway, args.device)["kid"]), "device"
        else:
            kid, role = digest_of(args.kid, "--kid"), args.role
        registry = Registry(home, network, say)
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
