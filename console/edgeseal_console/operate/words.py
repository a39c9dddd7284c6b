"""What the subcommands of operate share: parsers with an example, output for people or as JSON, the gateway."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeseal.errors import UsageError
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.operate import home as homes

Parsers = Any
DEFAULT_HOME = Path("~/.config/edgeseal")
DEFAULT_GATEWAY = "http://127.0.0.1:8420"


def leaf(
    subparsers: Parsers, name: str, func: Callable[[argparse.Namespace], int], text: str, example: str, *,
    home: bool = True, as_json: bool = True,
) -> argparse.ArgumentParser:  # fmt: skip
    """Return the parser of one subcommand, with its example, ``--home`` and ``--json`` where it takes them."""
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name, help=text, description=text, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    if home:
        parser.add_argument(
            "--home", type=Path, default=DEFAULT_HOME.expanduser(), metavar="DIR",
            help="operator's folder (%(default)s)",
        )  # fmt: skip
    if as_json:
        parser.add_argument("--json", action="store_true", help="print one JSON object")
    parser.set_defaults(func=func)
    return parser


def branch_of(subparsers: Parsers, name: str, text: str, example: str) -> Parsers:
    """Return where the actions of a subcommand such as ``chain`` are added."""
    parser = subparsers.add_parser(
        name, help=text, description=text, epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )  # fmt: skip
    return parser.add_subparsers(metavar="ACTION", required=True)


def show(args: argparse.Namespace, fields: dict[str, Any], lines: list[str]) -> int:
    """Print ``fields`` as one JSON object where ``--json`` is given, else ``lines``; return exit code 0."""
    if getattr(args, "json", False):
        print(json.dumps(fields))
    else:
        print("\n".join(lines))
    return 0


def say(text: str) -> None:
    """Print one line of progress, where no output is read."""
    print(text, file=sys.stderr, flush=True)


def gateway_of(home: homes.Home) -> GatewayClient:
    """Return a client of the gateway that this home names; close it after use."""
    return GatewayClient(home.gateway_url, token_file=home.token_file, ca_file=home.ca_file)


def digest_of(text: str, what: str) -> bytes:
    """Return the 32 bytes of 64 hex digits that a person typed. Raises UsageError ``not_hex``."""
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise UsageError("not_hex", f"{what} must be 64 hex digits, not {text!r:.70}")
    return value


def address_of(text: str) -> bytes:
    """Return the 20 bytes of an address that a person typed. Raises UsageError ``address``."""
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", text) is None:
        raise UsageError("address", f"{text!r:.60} is no address: 0x and 40 hex digits")
    return bytes.fromhex(text[2:])
