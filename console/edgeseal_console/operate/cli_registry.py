"""``edgeseal identity`` on the registry contract alone: key, challenge, register, suspend, reinstate, show."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from edgeseal.cose import PublicKey
from edgeseal.errors import UsageError
from edgeseal.possession import ROLES
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.acting import acting, is_scheduling, registry_of, told
from edgeseal_console.operate.words import Parsers, digest_of, gateway_of, leaf, show


def add_registry(branch: Parsers) -> None:
    """Add the actions of ``identity`` that are transactions or views of the registry contract, and nothing else."""
    make = leaf(
        branch, "key", _run_key, "make a key of yours, such as an approver's, in a SoftHSM token of this folder",
        "edgeseal identity key --home ./ops --name approver --out approver.cbor",
    )  # fmt: skip
    make.add_argument("--name", required=True, help="what console.yaml calls it")
    make.add_argument("--module", default=homes.SOFTHSM_MODULE, help="PKCS#11 module (%(default)s)")
    make.add_argument("--out", type=Path, metavar="FILE", help="also write the public key here (COSE_Key)")
    _add_challenge(branch)
    register = acting(
        branch, "register", _run_register, "register a key on chain (devices: identity enrol does this too)",
        "edgeseal identity register --home ./ops --role gateway --key gateway-key.cbor --proof gateway-proof.json",
    )  # fmt: skip
    register.add_argument("--role", required=True, choices=ROLES, help="what the key may do")
    _which_key(register)
    register.add_argument("--proof", type=Path, metavar="FILE", help="its holder's answer to identity challenge")
    register.add_argument("--evidence", metavar="DIGEST", help="digest of what was shown for it; default: none")
    _position(register, "first position at which it counts; default: the anchored size")
    suspend = acting(
        branch, "suspend", _run_suspend, "make a key void until it is reinstated",
        "edgeseal identity suspend --home ./ops --device pi-7 --dry-run",
    )  # fmt: skip
    whose(suspend)
    _position(suspend, "position from which it is void, at most the anchored size; default: that")
    reinstate = acting(
        branch, "reinstate", _run_reinstate, "make a suspended key count again; what was suspended stays void",
        "edgeseal identity reinstate --home ./ops --device pi-7", by_timelock=True,
    )  # fmt: skip
    whose(reinstate)
    _position(reinstate, "position from which it counts, at least the anchored size; default: that")
    entry = leaf(
        branch, "show", _run_show, "what the registry holds of a key, and everything that happened to it",
        "edgeseal identity show --home ./ops --device pi-7",
    )  # fmt: skip
    whose(entry)


def _add_challenge(branch: Parsers) -> None:
    challenge = leaf(
        branch, "challenge", _run_challenge, "write what the holder of a key must sign to be registered as such",
        "edgeseal identity challenge --home ./ops --role gateway --key gateway-key.cbor --out challenge.json",
    )  # fmt: skip
    what = challenge.add_mutually_exclusive_group(required=True)
    what.add_argument("--role", choices=ROLES, help="to register it in this role")
    what.add_argument("--rotate", metavar="KID", help="to put it in the place of this key (hex kid)")
    _which_key(challenge)
    _position(challenge, "with --role: first position at which it counts; default: the anchored size")
    challenge.add_argument("--evidence", metavar="DIGEST", help="digest of what was shown for it; default: none")
    challenge.add_argument("--hours", type=int, default=24, help="how long the answer is taken (%(default)s)")
    challenge.add_argument("--out", required=True, type=Path, metavar="FILE", help="where the challenge goes")


def _which_key(parser: argparse.ArgumentParser) -> None:
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--key", type=Path, metavar="FILE", help="the public key as a COSE_Key")
    which.add_argument("--request", type=Path, metavar="FILE", help="the enrolment request of a device")
    which.add_argument("--held", metavar="NAME", help="a key that console.yaml names, such as operator")


def whose(parser: argparse.ArgumentParser) -> None:
    """Add the ways to name a key that is known already."""
    which = parser.add_mutually_exclusive_group(required=True)
    which.add_argument("--device", help="name, log id or kid of a device (asks the gateway)")
    which.add_argument("--kid", help="hex kid of any key")


def _position(parser: argparse.ArgumentParser, text: str) -> None:
    parser.add_argument("--from-position", type=int, dest="position", metavar="N", help=text)


def kid_of(home: homes.Home, args: argparse.Namespace) -> bytes:
    """Return the kid that ``--device`` or ``--kid`` names. Raises UsageError, Unavailable."""
    from edgeseal_console.operate import signing

    if args.kid is not None:
        return digest_of(args.kid, "--kid")
    with gateway_of(home) as gateway:
        return bytes.fromhex(signing.device_called(gateway, args.device)["kid"])


def _key_of(home: homes.Home, args: argparse.Namespace) -> PublicKey:
    from edgeseal_console.operate import signing

    if args.held is not None:
        return home.signer(args.held).public_key
    if args.request is not None:
        return signing.EnrolmentRequest.read(args.request).key
    return signing.read_key(args.key)


def _evidence(args: argparse.Namespace) -> bytes:
    return bytes(32) if args.evidence is None else digest_of(args.evidence, "--evidence")


def _run_key(args: argparse.Namespace) -> int:
    key = homes.add_key(args.home, args.name, args.module).signer(args.name).public_key
    if args.out is not None:
        args.out.write_bytes(key.encode())
    return show(args, {"name": args.name, "kid": key.kid.hex()}, [
        f"key {args.name}  {key.kid.hex()}",
        f"register it:  edgeseal identity register --held {args.name} --role …",
    ])  # fmt: skip


def _run_challenge(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import challenges

    home, registry = registry_of(args)
    key, seconds = _key_of(home, args), args.hours * 3600
    if args.rotate is not None:
        old = digest_of(args.rotate, "--rotate")
        made: Any = registry.rotation(old, key.kid, evidence=_evidence(args), valid_s=seconds)
    else:
        made = registry.challenge(
            key.kid, args.role, evidence=_evidence(args), start=args.position, valid_s=seconds
        )  # fmt: skip
    challenges.keep(home, made, args.out)
    return show(args, made.fields() | {"out": str(args.out)}, [
        f"{args.out}: to be signed by {' and '.join(kid.hex()[:16] + '…' for kid in made.signers)} "
        f"within {args.hours} hours",
        "on a device: edgeseal-agent possession; on the gateway: edgeseal-gateway possession",
    ])  # fmt: skip


def _run_register(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import challenges

    home, registry = registry_of(args)
    key = _key_of(home, args)
    holder = None if args.held is None else home.signer(args.held)
    proof = None if args.proof is None else challenges.read_proof(home, args.proof)
    if registry.entry(key.kid) is not None:
        raise UsageError("key_exists", f"{key.kid.hex()} is registered already", "see: edgeseal identity show")
    possessed = registry.register(key, args.role, _evidence(args), holder, start=args.position, proof=proof)
    if proof is not None and not args.dry_run:
        challenges.used(home, proof.challenge)
    word = "it proved that it is held" if possessed else "that somebody holds it is your word"
    return told(
        args, registry, {"kid": key.kid.hex(), "role": args.role, "possessed": possessed},
        f"registered {args.role} {key.kid.hex()}; {word}",
        f"{key.kid.hex()} counts as {args.role}, for good or until it is suspended or revoked; {word}",
    )  # fmt: skip


def _run_suspend(args: argparse.Namespace) -> int:
    home, registry = registry_of(args)
    kid = kid_of(home, args)
    until = registry.suspend(kid, args.position)
    text = f"{kid.hex()} is void from fleet position {until} on, until it is reinstated"
    return told(args, registry, {"kid": kid.hex(), "until": until}, f"suspended: {text}", text)


def _run_reinstate(args: argparse.Namespace) -> int:
    home, registry = registry_of(args)
    kid = kid_of(home, args)
    if is_scheduling(args) and args.position is None:
        raise UsageError(
            "position_needed", "the fleet log grows while the timelock waits, and a key counts again only above it",
            "give --from-position N, a size that will not be anchored by then",
        )  # fmt: skip
    start = registry.reinstate(kid, args.position)
    text = f"{kid.hex()} counts again from fleet position {start} on"
    return told(args, registry, {"kid": kid.hex(), "from": start}, f"reinstated: {text}", text)


def _run_show(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import registryhistory

    home, registry = registry_of(args)
    kid = kid_of(home, args)
    entry, under_way = registry.entry(kid), registry.rotation_of(kid)
    if entry is None:
        raise UsageError("key_unregistered", f"{kid.hex()} is not registered in this log", "edgeseal identity register")
    history = registryhistory.of_key(registry, kid)
    possessed = next((one["possessed"] for one in history if one["event"] == "KeyRegistered"), None)
    rotation = None if under_way is None else {"new_kid": under_way[0].hex(), "ready_at": under_way[1]}
    fields = {
        "kid": kid.hex(), "role": entry.role, "status": entry.status, "from": entry.start, "until": entry.until,
        "possessed": possessed, "rotation": rotation, "history": history,
    }  # fmt: skip
    held = {True: "proved when it was registered", False: "the admin's word", None: "the node shows no registration"}
    lines = [
        f"{entry.role} {kid.hex()}", f"status      {entry.status}",
        f"counts      from {entry.start} {'on' if entry.until is None else f'to below {entry.until}'}",
        f"possession  {held[possessed]}",
    ]  # fmt: skip
    if rotation is not None:
        lines.append(f"rotation    to {rotation['new_kid']}, from Unix second {rotation['ready_at']} on")
    shown = ("until", "from", "anchored", "reason", "newKid", "readyAt", "possessed")
    for one in history:
        values = ", ".join(f"{name} {one[name]}" for name in shown if name in one)
        lines.append(f"block {one['block']:<10} {one['event']}: {values}")
    return show(args, fields, lines)
