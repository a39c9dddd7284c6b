"""The subcommand ``enrol``: ask an operator, through the gateway, to be enrolled with what the TPM can show."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from edgeseal_agent import config as configuration

EXAMPLE: Final = ("--gateway URL --claim claim.txt", "ask to be enrolled with a claim token; wait for the operator")


def enrol(options: argparse.Namespace) -> int:
    """Ask to be enrolled with a claim token, answer for the TPM, and wait for the operator."""
    from edgeseal_agent.attestenrol import Enrolling, fingerprint
    from edgeseal_agent.attestlink import LetterBox

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    config = configuration.load(options.config)
    box = LetterBox(options.gateway, options.claim, options.ca_file)
    found = Enrolling(config, box, say).run(options.wait_s)
    if options.json:
        print(json.dumps(found))
    else:
        print(f"enrolled: log {found['log']}, fingerprint {fingerprint(bytes.fromhex(found['fingerprint']))}")
    return 0


def add(commands: Any, example: str) -> None:
    """Add the subcommand's parser."""
    text = str(enrol.__doc__)
    sub = commands.add_parser(
        "enrol", help=text.rstrip("."), description=text, epilog=f"example:\n{example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    sub.set_defaults(function=enrol)
    sub.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's YAML configuration")
    sub.add_argument("--json", action="store_true", help="print JSON, errors too")
    sub.add_argument("--gateway", required=True, metavar="URL", help="the gateway's API; https beyond this machine")
    sub.add_argument("--claim", type=Path, required=True, metavar="FILE", help="token of edgeseal-gateway claim new")
    sub.add_argument("--ca-file", type=Path, metavar="FILE", help="who certified the gateway; default: the system's")
    sub.add_argument(
        "--wait-s", type=float, default=3_600.0, metavar="S", help="seconds to wait for the operator (%(default)s)"
    )
