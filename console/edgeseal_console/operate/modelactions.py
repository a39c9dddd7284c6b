"""What the actions of ``edgeseal model`` on the registry contract do, and what they say of it."""

from __future__ import annotations

import argparse
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeseal import modelline
from edgeseal.adapters.namedfile import read_file
from edgeseal.errors import UsageError
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.acting import registry_of, told
from edgeseal_console.operate.audiences import audience_of
from edgeseal_console.operate.words import digest_of, show

if TYPE_CHECKING:
    from edgeseal_console.operate.modelregistry import Models, Version

MAX_STATEMENT_FILE: Final = 16 << 20
"""The longest file whose digest is taken, in bytes."""
DAY_S: Final = 86_400
LEAD_S: Final = 30
"""A grant begins so many seconds from now at the soonest, so that its transaction is mined before."""


def _opened(args: argparse.Namespace) -> tuple[homes.Home, Models]:
    from edgeseal_console.operate.modelregistry import Models

    home, registry = registry_of(args)
    return home, Models(registry)


def package_digest(text: str) -> bytes:
    """Return the digest of a package, given as its folder or in hex. Raises UsageError, FormatError."""
    folder = Path(text)
    if not folder.is_dir():
        return digest_of(text, "the package")
    from edgeseal.adapters.packagedir import read_package
    from edgeseal.model import parse_package

    return parse_package(read_package(folder)).digest


def _digest(text: str | None, what: str) -> bytes:
    """Return SHA-256 of a file, or the digest given in hex; zeros for none."""
    if text is None:
        return modelline.NO_DIGEST
    path = Path(text)
    return sha256(read_file(path, MAX_STATEMENT_FILE)).digest() if path.is_file() else digest_of(text, what)


def _told(args: argparse.Namespace, models: Models, fields: dict[str, Any], text: str) -> int:
    return told(args, models.registry, fields, text, text)


def set_line(args: argparse.Namespace) -> int:
    """Set or show a line's policy. Return the exit code."""
    _, models = _opened(args)
    line = modelline.line_id(args.name)
    if args.approvals is not None:
        models.set_policy(line, args.approvals, args.evaluation, args.wait)
        text = (
            f"versions of {args.name} proposed from now on need {args.approvals} approvals"
            + (", an independent evaluation" if args.evaluation else "") + f" and {args.wait} s of waiting"
        )  # fmt: skip
        return _told(args, models, {"line": line.hex(), "approvals": args.approvals, "wait_s": args.wait}, text)
    found = models.line(line)
    policy = found["policy"]
    need = "no policy: the line is not in use" if policy is None else (
        f"needs {policy['approvals']} approvals" + (", an evaluation" if policy["evaluation"] else "")
        + f", {policy['wait_s']} s of waiting"
    )  # fmt: skip
    stands = "at no version" if found["current"] is None else f"at version {found['current']}"
    return show(args, found | {"name": args.name}, [f"line {args.name} ({line.hex()[:16]}…)", need, f"stands {stands}"])


def register(args: argparse.Namespace) -> int:
    """Propose a package as a version. Return the exit code."""
    home, models = _opened(args)
    artifact, line = package_digest(args.package), modelline.line_id(args.line)
    made = modelline.Proposal(
        models.tenant, line, args.version, args.parent, artifact, _digest(args.dataset, "--dataset"),
        _digest(args.training, "--training"), _digest(args.evaluation, "--evaluation"),
    )  # fmt: skip
    models.register(made, home.signer(args.key))
    text = f"version {args.version} of {args.line} is package {artifact.hex()}, proposed; next: edgeseal model approve"
    return _told(args, models, {"line": line.hex(), "version": args.version, "artifact": artifact.hex()}, text)


def approve(args: argparse.Namespace) -> int:
    """Sign for a version, or vouch for an evaluation. Return the exit code."""
    home, models = _opened(args)
    line, signer = modelline.line_id(args.line), home.signer(args.key)
    models.approve(line, args.version, _digest(args.evaluation, "--evaluation"), signer)
    kid = signer.public_key.kid.hex()
    word = "approved" if args.evaluation is None else "vouched for an evaluation of"
    if args.dry_run:
        return _told(args, models, {"approver": kid}, f"{args.key} ({kid[:16]}…) has {word} version {args.version}")
    found = models.version(line, args.version)
    text = f"{args.key} {word} version {args.version}: {found.approvals} of {found.needed} approvals, {found.state}"
    return _told(args, models, found.fields() | {"approver": kid}, text)


def release(args: argparse.Namespace) -> int:
    """Make a version deployable, and with ``--current`` let the line stand at it. Return the exit code."""
    _, models = _opened(args)
    line = modelline.line_id(args.line)
    approved = models.version(line, args.version).state == "approved"
    if approved or not args.current:
        models.release(line, args.version)  # where it cannot be, the contract says why
        # Durable on chain: the version is deployable. A second try with --current goes on with the line.
    if args.current and not (approved and args.dry_run):
        models.set_current(line, args.version)
    text = f"version {args.version} of {args.line} is deployable" + (", and the line stands at it" * args.current)
    return _told(args, models, {"line": line.hex(), "version": args.version}, text)


def grant(args: argparse.Namespace) -> int:
    """Grant a version to an audience, or end its grants. Return the exit code."""
    home, models = _opened(args)
    line, (audience, who) = modelline.line_id(args.line), audience_of(home, args)
    found = models.version(line, args.version)
    if args.end:
        models.end_grant(found.artifact, audience)
        return _told(
            args, models, {"audience": audience.hex()}, f"{who} may not activate {found.artifact.hex()} any more"
        )
    rules = models.network.rules
    lead = LEAD_S if rules is None else max(5, min(LEAD_S, 3 * rules.block_ms // 1_000))
    start = max(models.registry.time(), int(time.time())) + lead if args.not_before is None else args.not_before
    end = start + args.days * DAY_S if args.not_after is None else args.not_after
    models.grant(line, args.version, audience, start, end)
    fields = {"audience": audience.hex(), "artifact": found.artifact.hex(), "not_before": start, "not_after": end}
    return _told(args, models, fields, f"{who} may activate version {args.version} from {start} until before {end}")


def deprecate(args: argparse.Namespace) -> int:
    """End a version for new activations. Return the exit code."""
    _, models = _opened(args)
    models.deprecate(modelline.line_id(args.line), args.version, args.replacement)
    instead = f"; version {args.replacement} is to be used instead" if args.replacement else ""
    text = f"version {args.version} of {args.line} takes no new activations{instead}"
    return _told(args, models, {"version": args.version, "replacement": args.replacement or None}, text)


def revoke(args: argparse.Namespace) -> int:
    """Revoke a version. Return the exit code."""
    _, models = _opened(args)
    models.revoke(modelline.line_id(args.line), args.version, _digest(args.reason, "--reason"))
    text = f"version {args.version} of {args.line} is revoked for good; the gateway refuses to activate it"
    return _told(args, models, {"version": args.version}, text)


def show_package(args: argparse.Namespace) -> int:
    """Show where a package stands on chain. Return the exit code."""
    _, models = _opened(args)
    artifact = package_digest(args.package)
    place = models.place(artifact)
    if place is None:
        raise UsageError(
            "model_unregistered",
            f"the model registry does not know package {artifact.hex()}",
            "edgeseal model register",
        )
    found = models.version(*place)
    history, grants, now = models.history(found), models.grants(found), models.registry.time()
    fields = found.fields() | {"history": history, "grants": grants, "time": now}
    lines = [
        f"package     {artifact.hex()}",
        f"line        {found.line.hex()}, version {found.number}" + (f", from {found.parent}" if found.parent else ""),
        f"state       {found.state}{_lacks(found, now)}",
        f"approvals   {found.approvals} of {found.needed}"
        + (f", evaluation {'named' if found.evaluated else 'missing'}" if found.needs_evaluation else ""),
    ]
    lines += [f"            {one['approver']}" for one in history if one["event"] == "Approved"]
    for one in grants:
        state = "now" if one["not_before"] <= now < one["not_after"] else "not now"
        lines.append(
            f"granted     {one['audience']}  from {one['not_before']} until before {one['not_after']} ({state})"
        )
    lines += [] if grants else ["granted     to nobody"]
    return show(args, fields, lines)


def _lacks(found: Version, now: int) -> str:
    """Return what a version that is not deployable waits for, for people."""
    if found.state == "proposed":
        return "; next: edgeseal model approve"
    if found.state != "approved":
        return ""
    left = found.approved_at + found.wait_s - now
    return f"; the time lock has {left} s to go" if left > 0 else "; next: edgeseal model release"
