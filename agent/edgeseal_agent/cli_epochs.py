"""The subcommands that begin and end a device log: rotate, decommission, lost; and how init names a predecessor."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Final

from edgeseal_agent import config as configuration

PATIENCE_S: Final = 60.0
"""How long the gateway is waited for, unless told otherwise."""


def rotate(options: argparse.Namespace) -> int:
    """Close this log with the old key and open the next epoch's with a new one, each naming the other."""
    from edgeseal_agent.initialise import REQUEST_NAME
    from edgeseal_agent.rotation import rotate as carry_out

    config, successor = configuration.load(options.config), configuration.load(options.next)
    request = carry_out(config, successor)
    if options.json:
        print(json.dumps(request))
        return 0
    for key in ("name", "log", "kid", "genesis", "assurance"):
        print(f"{key:<10} {request[key]}")
    print(f"\nsend the rest of the old log:  edgeseal-agent run --config {options.config}")
    print(f"enrol the new one:             edgeseal identity enrol {successor.state_dir / REQUEST_NAME}")
    return 0


def decommission(options: argparse.Namespace) -> int:
    """End this log for good: closed, received by the gateway, the key destroyed."""
    from edgeseal_agent.decommission import NOTE_NAME
    from edgeseal_agent.decommission import decommission as carry_out

    config = configuration.load(options.config)
    report = carry_out(config, options.reason, options.wait_s)
    if options.json:
        print(json.dumps(report))
    else:
        print(f"{report['name']}: {report['size']} records, received at fleet position {report['position']}")
        print(f"its key {report['kid']} is destroyed; the evidence: {config.state_dir / NOTE_NAME}")
    return 0


def lost(options: argparse.Namespace) -> int:
    """Where the store is gone: ask the gateway how far the log reached, for the next epoch's init --successor."""
    from edgeseal_agent.identity import write_file
    from edgeseal_agent.lost import ask, unanswered

    config = configuration.load(options.config)
    found = unanswered(config) if options.unanswered else ask(config, options.wait_s)
    write_file(options.out, json.dumps(found.as_json(), indent=2).encode() + b"\n", 0o644)
    if options.json:
        print(json.dumps({"out": str(options.out), "log": found.log.hex(), "size": found.size, "lost": found.lost}))
    else:
        print(f"{found.lost}\n{options.out}: for edgeseal-agent init --successor, with a new key and the next epoch")
    return 0


COMMANDS: Final = (rotate, decommission, lost)
EXAMPLES: Final = {
    "rotate": ("--next next.yaml", "a new key: close this log, open the next epoch's"),
    "decommission": ("--reason 'sold'", "end the log for good and destroy the key"),
    "lost": ("--out lost.json", "the store is gone: ask the gateway how far it reached"),
}


def add_options(sub: argparse.ArgumentParser, name: str) -> None:
    """Add the options of one of the subcommands, or of ``init``."""
    if name == "init":
        sub.add_argument("--successor", type=Path, metavar="FILE", help="of the log before: what lost wrote")
    if name == "rotate":
        sub.add_argument("--next", type=Path, required=True, metavar="FILE", help="the next epoch's configuration")
    if name == "decommission":
        sub.add_argument("--reason", required=True, metavar="WHY", help="why, in a sentence; it goes on record")
    if name == "lost":
        sub.add_argument("--out", type=Path, required=True, metavar="FILE", help="where the answer goes")
        sub.add_argument("--unanswered", action="store_true", help="do not ask: put down that nothing is known")
    if name in ("decommission", "lost"):
        sub.add_argument(
            "--wait-s",
            type=float,
            default=PATIENCE_S,
            metavar="S",
            help="seconds for the gateway to answer (%(default)s)",
        )
