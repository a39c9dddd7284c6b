"""``edgeseal chain challenge``: bring a signed head to the contract and ask for a consistency proof."""

from __future__ import annotations

import argparse
from pathlib import Path

from edgeseal_console.operate.acting import acting, registry_of, told
from edgeseal_console.operate.words import Parsers


def add_challenge(branch: Parsers) -> None:
    """Add chain challenge."""
    parser = acting(
        branch, "challenge", _run_challenge,
        "ask on chain that a head you were given be shown part of what is anchored, or the log be marked in default",
        "edgeseal chain challenge --home ./ops receipt.cbor --statement device-head.cbor",
    )  # fmt: skip
    parser.add_argument("file", type=Path, metavar="RECEIPT", help="a receipt, or a signed fleet head")
    parser.add_argument("--statement", type=Path, metavar="FILE", help="the statement a receipt was given for")
    parser.add_argument(
        "--gateway-key", type=Path, metavar="FILE", help="the key that signed (COSE_Key); default: the log's own"
    )
    parser.add_argument("--mark-default", action="store_true", help="nobody answered in time: say so, for good")


def _run_challenge(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import headchallenge, signing

    _, registry = registry_of(args)
    key = headchallenge.gateway_key(registry) if args.gateway_key is None else signing.read_key(args.gateway_key)
    held = headchallenge.read_head(args.file, args.statement, key)
    state, deadline = headchallenge.state_of(registry, held.head)
    what = f"head of size {held.head.size}, root {held.head.root.hex()[:16]}…"
    if args.mark_default:
        headchallenge.mark_default(registry, held.head)
        changes = f"the log stays in default for the {what}, for good"
    elif state == "none":
        headchallenge.challenge(registry, held)
        changes = f"the gateway must show that the anchored head begins with the {what}, or its log is in default"
    else:
        changes = "nothing: this head was challenged before"
    if not args.dry_run:
        state, deadline = headchallenge.state_of(registry, held.head)
    fields = {"size": held.head.size, "root": held.head.root.hex(), "state": state, "deadline": deadline}
    until = f", to be answered until Unix second {deadline}" if state == "open" else ""
    return told(args, registry, fields, f"{what}: {state}{until}", changes)
