"""``edgeseal model`` on the registry contract: line, register, approve, release, grant, deprecate, revoke, show."""

from __future__ import annotations

import argparse

from edgeseal_console.operate import modelactions
from edgeseal_console.operate.acting import acting
from edgeseal_console.operate.audiences import add_audience
from edgeseal_console.operate.words import Parsers, leaf


def add_model_registry(branch: Parsers) -> None:
    """Add the actions of ``model`` that are transactions or views of the model registry."""
    _add_line(branch)
    _add_register(branch)
    _add_approve(branch)
    _add_release(branch)
    _add_grant(branch)
    _add_ends(branch)
    shown = leaf(
        branch, "show", modelactions.show_package, "where a package stands on chain: state, approvals, grants",
        "edgeseal model show --home ./ops ./digits",
    )  # fmt: skip
    shown.add_argument("package", help="package folder, or the package's digest in hex")


def _add_line(branch: Parsers) -> None:
    line = acting(
        branch, "line", modelactions.set_line,
        "set what versions of a line need from now on; without --approvals, show the line",
        "edgeseal model line --home ./ops digits --approvals 2 --evaluation --wait 86400", by_timelock=True,
    )  # fmt: skip
    line.add_argument("name", help="the line's name")
    line.add_argument("--approvals", type=int, metavar="M", help="approvers who must sign")
    line.add_argument("--evaluation", action="store_true", help="and one more, who names an evaluation")
    line.add_argument("--wait", type=int, default=0, metavar="SECS", help="time lock after the last approval")


def _add_register(branch: Parsers) -> None:
    register = acting(
        branch, "register", modelactions.register,
        "propose a package as a version of a line, under a publisher's signature",
        "edgeseal model register --home ./ops ./digits --line digits --version 1 --key publisher \\\n"
        "    --dataset dataset.cbor --training training.cbor",
    )  # fmt: skip
    register.add_argument("package", help="package folder, or the package's digest in hex")
    _version(register)
    register.add_argument("--key", required=True, metavar="NAME", help="the publisher's key, as console.yaml names it")
    register.add_argument("--parent", type=int, default=0, metavar="N", help="the version it was made from")
    for name, needed in (("dataset", True), ("training", True), ("evaluation", False)):
        register.add_argument(
            f"--{name}", required=needed, metavar="FILE|DIGEST", help=f"the {name} statement, or its digest in hex"
        )


def _add_approve(branch: Parsers) -> None:
    approve = acting(
        branch, "approve", modelactions.approve, "sign for a proposed version as an approver",
        "edgeseal model approve --home ./ops --line digits --version 1 --key alice",
    )  # fmt: skip
    _version(approve)
    approve.add_argument("--key", required=True, metavar="NAME", help="the approver's key, as console.yaml names it")
    approve.add_argument(
        "--evaluation", metavar="FILE|DIGEST",
        help="the evaluation this approver vouches for: then it is the independent evaluation, no approval",
    )  # fmt: skip


def _add_release(branch: Parsers) -> None:
    release = acting(
        branch, "release", modelactions.release, "make an approved version deployable, once the time lock is over",
        "edgeseal model release --home ./ops --line digits --version 1 --current",
    )  # fmt: skip
    _version(release)
    release.add_argument("--current", action="store_true", help="and let the line stand at it")


def _add_grant(branch: Parsers) -> None:
    grant = acting(
        branch, "grant", modelactions.grant, "let a device or group run a deployable version, for a time",
        "edgeseal model grant --home ./ops --line digits --version 1 --group line-1 --days 90",
    )  # fmt: skip
    _version(grant)
    add_audience(grant)
    grant.add_argument("--not-before", type=int, metavar="UNIX", help="default: as soon as it can be mined")
    grant.add_argument("--not-after", type=int, metavar="UNIX", help="when it ends; instead of --days")
    grant.add_argument("--days", type=int, default=365, help="how long it lasts (%(default)s)")
    grant.add_argument("--end", action="store_true", help="end now what the audience was granted, instead")


def _add_ends(branch: Parsers) -> None:
    deprecate = acting(
        branch, "deprecate", modelactions.deprecate, "end a version for new activations",
        "edgeseal model deprecate --home ./ops --line digits --version 1 --replacement 2",
    )  # fmt: skip
    _version(deprecate)
    deprecate.add_argument("--replacement", type=int, default=0, metavar="N", help="what to use in its place")
    revoke = acting(
        branch, "revoke", modelactions.revoke, "revoke a version, for good",
        "edgeseal model revoke --home ./ops --line digits --version 1 --reason finding.txt",
    )  # fmt: skip
    _version(revoke)
    revoke.add_argument("--reason", metavar="FILE|DIGEST", help="the statement that says why, or its digest in hex")


def _version(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--line", required=True, metavar="NAME", help="the line it is a version of")
    parser.add_argument("--version", required=True, type=int, metavar="N", help="its number in the line, from 1")
