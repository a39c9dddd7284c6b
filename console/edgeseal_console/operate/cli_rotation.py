"""``edgeseal identity rotate veto finish`` for keys; ``edgeseal chain gateway-key`` and ``hand-over``."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgeseal.cose import PublicKey
from edgeseal.errors import EdgesealError, UsageError
from edgeseal.possession import Proof, Rotation
from edgeseal.statements.revocation import REASONS
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.acting import acting, is_scheduling, registry_of, told
from edgeseal_console.operate.cli_registry import kid_of, whose
from edgeseal_console.operate.words import Parsers, address_of, gateway_of, say

if TYPE_CHECKING:
    from edgeseal_console.operate.registry import Registry


def add_rotation(branch: Parsers) -> None:
    """Add identity rotate, veto and finish."""
    rotate = acting(
        branch, "rotate", _run_rotate, "propose that a new key takes an old one's place; it can be vetoed for a day",
        "edgeseal identity rotate --home ./ops --old-proof old.json --new-proof new.json",
    )  # fmt: skip
    for which in ("old", "new"):
        group = rotate.add_mutually_exclusive_group(required=True)
        group.add_argument(f"--{which}-proof", type=Path, metavar="FILE", help="its holder's answer to the challenge")
        group.add_argument(f"--{which}-held", metavar="NAME", help="a key that console.yaml names")
    for name, run, text in (
        ("veto", _run_veto, "stop a rotation that is under way"),
        ("finish", _run_finish, "carry a rotation out, once a day has passed without a veto"),
    ):
        whose(acting(branch, name, run, text, f"edgeseal identity {name} --home ./ops --kid {'ab' * 32}"))


def _run_rotate(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import challenges

    home, registry = registry_of(args)
    proofs: dict[str, Proof | None] = {}
    for which in ("old", "new"):
        path = getattr(args, f"{which}_proof")
        proofs[which] = None if path is None else challenges.read_proof(home, path)
    held = {which: home.signer(getattr(args, f"{which}_held")) for which, one in proofs.items() if one is None}
    given = next((one for one in proofs.values() if one is not None), None)
    if given is None:
        challenge: Any = registry.rotation(held["old"].public_key.kid, held["new"].public_key.kid)
    else:
        challenge = given.challenge
    if not isinstance(challenge, Rotation):
        raise UsageError("proof_differs", "the proof is of a registration, not of a rotation")
    for which, signer in held.items():
        proofs[which] = Proof(challenge, signer.public_key, signer.sign(challenge.message()))
    old, new = proofs["old"], proofs["new"]
    assert old is not None and new is not None
    registry.propose_rotation(old, new, home.operator())
    ready = None
    if not args.dry_run:
        challenges.used(home, challenge)
        under_way = registry.rotation_of(challenge.old_kid)
        ready = None if under_way is None else under_way[1]
    fields = {"old_kid": challenge.old_kid.hex(), "new_kid": challenge.new_kid.hex(), "ready_at": ready}
    return told(
        args, registry, fields,
        f"proposed; from Unix second {ready} on: edgeseal identity finish --kid {challenge.old_kid.hex()}",
        f"{challenge.new_kid.hex()} takes the place of {challenge.old_kid.hex()} when finished",
    )  # fmt: skip


def _run_veto(args: argparse.Namespace) -> int:
    home, registry = registry_of(args)
    kid = kid_of(home, args)
    registry.veto(kid)
    text = f"{kid.hex()} keeps its place"
    return told(args, registry, {"kid": kid.hex()}, f"vetoed: {text}", text)


def _run_finish(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import registryhistory

    home, registry = registry_of(args)
    kid = kid_of(home, args)
    under_way = registry.rotation_of(kid)
    if under_way is None:
        raise UsageError("no_rotation", f"no rotation of {kid.hex()} is under way", "see: edgeseal identity show")
    point = registryhistory.coordinates(registry, kid, under_way[0])
    if point is None:
        raise UsageError("no_rotation", "the node does not show the proposal's event", "use a node with full logs")
    registry.finish(kid, PublicKey.of(*point))
    text = f"{under_way[0].hex()} has the place of {kid.hex()}, which is revoked (superseded)"
    return told(args, registry, {"kid": kid.hex(), "new_kid": under_way[0].hex()}, f"finished: {text}", text)


def add_gateway_key(branch: Parsers) -> None:
    """Add chain gateway-key."""
    parser = acting(
        branch, "gateway-key", _run_gateway_key,
        "put a new gateway key in the place of the old: register it, switch the log to it, revoke the old",
        "edgeseal chain gateway-key --home ./ops --key new-gateway.cbor --reason superseded", by_timelock=True,
    )  # fmt: skip
    parser.add_argument("--key", required=True, type=Path, metavar="FILE", help="from: edgeseal-gateway key")
    parser.add_argument("--proof", type=Path, metavar="FILE", help="the new gateway's answer to identity challenge")
    parser.add_argument("--reason", required=True, choices=REASONS, help="why the old key ends")
    parser.add_argument(
        "--from-position", type=int, dest="position", metavar="N",
        help="position from which the old key is void, at most the anchored size; default: where the log switched",
    )  # fmt: skip


def _schedule_gateway_key(args: argparse.Namespace, registry: Registry, new: PublicKey) -> int:
    """Put the switch alone into the timelock: registering is the operator's, revoking the guardian's."""
    if registry.entry(new.kid) is None:
        raise UsageError(
            "key_unregistered", f"{new.kid.hex()} is not registered in this log",
            f"first: edgeseal identity register --role gateway --key {args.key}",
        )  # fmt: skip
    registry.set_gateway_key(new)
    text = (
        f"heads above the size anchored then are taken of {new.kid.hex()} only; after that the guardian revokes the "
        "old key: edgeseal identity revoke --role gateway"
    )
    return told(args, registry, {}, text, text)


def _readiness(home: homes.Home, new: PublicKey) -> str:
    """Say whether the newest keyset names the new gateway key, as the gateway tells: devices learn it from there."""
    from edgeseal_console.operate import signing

    try:
        with gateway_of(home) as gateway:
            keyset, _ = signing.newest_keyset(gateway, home.network())
    except EdgesealError as error:
        return f"note: cannot see whether the newest keyset names the new key ({error.message})"
    if any(member.key.kid == new.kid for member in keyset.with_role("gateway")):
        return f"keyset {keyset.version} names the new key: heads of it will be believed"
    return (
        f"note: keyset {keyset.version} does not name the new key; devices believe its heads only once one does "
        "(edgeseal keyset change --add gateway=FILE, sequenced and anchored under the old key, in an orderly change)"
    )


def add_hand_over(branch: Parsers) -> None:
    """Add chain hand-over and recover-admin."""
    acting(
        branch, "hand-over", _run_hand_over,
        "make the TenantAdmin of the network profile the tenant's admin, in place of this account",
        "edgeseal chain hand-over --home ./ops --dry-run",
    )  # fmt: skip
    recover = acting(
        branch, "recover-admin", _run_recover,
        "make an account the tenant's admin with the tenant root key: for an admin that was lost or stolen",
        "edgeseal chain recover-admin --home ./ops",
    )  # fmt: skip
    recover.add_argument("--admin", metavar="ADDRESS", help="who is to be the admin; default: this folder's account")


def _run_hand_over(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import handover

    _, registry = registry_of(args)
    manager = "0x" + handover.hand_over(registry).hex()
    text = f"{manager} is the tenant's admin: this account registers, the guardian ends, the timelock does all else"
    return told(args, registry, {"admin": manager}, text, text)


def _run_recover(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import handover

    home, registry = registry_of(args)
    admin = home.account().address if args.admin is None else address_of(args.admin)
    handover.recover(registry, home.root(), admin)
    text = f"0x{admin.hex()} is the tenant's admin; whoever was it before is not"
    return told(args, registry, {"admin": "0x" + admin.hex()}, text, text)


def _run_gateway_key(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import challenges, gatewaykey, signing

    home, registry = registry_of(args)
    new = signing.read_key(args.key)
    if is_scheduling(args):
        return _schedule_gateway_key(args, registry, new)
    proof = None if args.proof is None else challenges.read_proof(home, args.proof)
    say(_readiness(home, new))
    done = gatewaykey.switch(registry, new, args.reason, proof=proof, until=args.position)
    if proof is not None and not args.dry_run:
        challenges.used(home, proof.challenge)
    fields = {"old_kid": done.old.hex(), "new_kid": new.kid.hex(), "since": done.since, "until": done.until}
    text = (
        f"heads above {done.since} are taken of {new.kid.hex()} only; "
        f"{done.old.hex()} is void from position {done.until} on"
    )
    return told(args, registry, fields, f"switched: {text}", text)
