"""``edgeseal demo``: the main job on real parts, told as a story."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

EXAMPLES = """\
examples:
  edgeseal demo                         # everything on this machine, results in ./demo-out
  edgeseal demo --keep                  # leave it running and print the commands to talk to it
  edgeseal demo --rpc http://host:8545 --account-key key.hex     # on another EVM node (an account with funds there)

exit codes: 0 everything held; 2 something did not; 1 usage, or a part that did not start; 130 interrupted
"""


def add_parsers(subparsers: Any) -> None:
    """Add the subcommand demo."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        "demo", help="show the whole system at work on this machine, real parts only",
        description="Start a broker, a chain, a gateway and two devices; enrol, command, infer, anchor, collect,\n"
        "verify, re-execute, tamper. A minute or two. Leaves bundle.zip, tampered.zip, trust.yaml, summary.json,\n"
        "report.html and logs/ in the folder --out; while it runs, and with --keep, state and keys in its work/.",
        epilog=EXAMPLES, formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=Path("demo-out"), metavar="DIR", help="folder for the results (%(default)s)"
    )
    parser.add_argument(
        "--inferences", type=int, default=600, metavar="N", help="over both devices, 500 at least (%(default)s)"
    )
    parser.add_argument("--keep", action="store_true", help="leave everything running afterwards, until Ctrl-C")
    parser.add_argument("--rpc", metavar="URL", help="an EVM node to use instead of an own anvil")
    parser.add_argument("--account-key", type=Path, metavar="FILE", help="for --rpc: an account with funds, key in hex")
    parser.set_defaults(func=_run)


def _run(args: argparse.Namespace) -> int:
    from edgeseal_console.demo import story

    return story.tell(args.out, inferences=args.inferences, keep=args.keep, rpc=args.rpc, account_key=args.account_key)
