"""``edgeseal keyset`` and ``provision``: who may sign what, and what a device starts from."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeseal.errors import UsageError
from edgeseal.statements.keyset import ROLES, Member
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.words import Parsers, branch_of, digest_of, gateway_of, leaf, show


def add_keyset(subparsers: Parsers) -> None:
    """Add keyset first, change and show."""
    branch = branch_of(
        subparsers, "keyset", "who may sign what: keysets, signed by the tenant root key",
        "edgeseal keyset show --home ./ops",
    )  # fmt: skip
    first = leaf(
        branch, "first", _run_keyset_first, "make and sign keyset 1, for edgeseal-gateway init",
        "edgeseal keyset first --home ./ops --gateway-key gateway-key.cbor --out keyset-1.cbor",
    )  # fmt: skip
    first.add_argument(
        "--gateway-key", required=True, type=Path, metavar="FILE", help="from: edgeseal-gateway key --out FILE"
    )
    first.add_argument("--out", required=True, type=Path, metavar="FILE", help="where the signed keyset goes")
    first.add_argument(
        "--anchor-size",
        type=int,
        default=1024,
        metavar="N",
        help="promise: anchored after so many statements (%(default)s)",
    )
    first.add_argument(
        "--anchor-secs", type=int, default=3600, metavar="SECS", help="… or so many seconds (%(default)s)"
    )
    first.add_argument(
        "--cadence", type=int, default=300, metavar="SECS", help="seconds between devices' heartbeats (%(default)s)"
    )
    change = leaf(
        branch, "change", _run_keyset_change, "sign and publish the next keyset: members added or removed",
        "edgeseal keyset change --home ./ops --add operator=second-operator.cbor:enrol,command/ping",
    )  # fmt: skip
    change.add_argument(
        "--add",
        action="append",
        default=[],
        metavar="ROLE=FILE[:SCOPE,…]",
        help="a COSE_Key file and its role; repeat for more",
    )
    change.add_argument(
        "--remove", action="append", default=[], metavar="KID", help="hex kid of a member; repeat for more"
    )
    leaf(branch, "show", _run_keyset_show, "print the gateway's newest keyset", "edgeseal keyset show --home ./ops")


def _run_keyset_first(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    statement = signing.first_keyset(
        home.network(), home.root(), gateway=signing.read_key(args.gateway_key), operator=home.operator().public_key,
        anchor_size=args.anchor_size, anchor_secs=args.anchor_secs, cadence_s=args.cadence,
    )  # fmt: skip
    args.out.write_bytes(statement)
    return show(args, {"keyset": str(args.out), "version": 1}, [f"keyset 1 written to {args.out}"])


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
    with gateway_of(home) as gateway:
        current, digest = signing.newest_keyset(gateway, network)
        add = [_member(text) for text in args.add]
        remove = [digest_of(text, "--remove") for text in args.remove]
        keyset = signing.next_keyset(current, digest, add=add, remove=remove)
        answer = signing.publish(gateway, signing.sign(keyset, home.root()))
    fields = {"version": keyset.version, "pos": answer["pos"]}
    return show(args, fields, [f"keyset {keyset.version} stands at fleet position {answer['pos']}"])


def _run_keyset_show(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with gateway_of(home) as gateway:
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
    return show(args, fields, lines)


def add_provision(subparsers: Parsers) -> None:
    """Add provision."""
    parser = leaf(
        subparsers, "provision", _run_provision, "fetch and check the provisioning pack a device starts from",
        "edgeseal provision --home ./ops --out pack.cbor",
    )  # fmt: skip
    parser.add_argument(
        "--out", required=True, type=Path, metavar="FILE", help="where the pack goes; carry it to devices"
    )


def _run_provision(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with gateway_of(home) as gateway:
        pack = signing.checked_pack(gateway, home.network())
    args.out.write_bytes(pack.encode())
    fields = {"pack": str(args.out), "fleet_log": pack.log.hex(), "root_kid": pack.root.kid.hex()}
    return show(args, fields, [f"pack of fleet log {pack.log.hex()} written to {args.out}"])
