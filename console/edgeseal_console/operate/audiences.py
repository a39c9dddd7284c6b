"""Whom a grant, a scope or a logged command is for: as a person says it, and as the contracts write it."""

from __future__ import annotations

import argparse

from edgeseal import commandlog
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.words import gateway_of


def add_audience(parser: argparse.ArgumentParser, *, everyone: str = "", required: bool = True) -> None:
    """Add the ways to name an audience; ``everyone`` is what that one means, empty where it is not offered."""
    whom = parser.add_mutually_exclusive_group(required=required)
    whom.add_argument("--device", help="name, log id or kid of a device (asks the gateway)")
    whom.add_argument("--group", help="every device of a group")
    if everyone:
        whom.add_argument("--everyone", action="store_true", help=everyone)


def audience_of(home: homes.Home, args: argparse.Namespace) -> tuple[bytes, str]:
    """Return an audience as the contracts write it (32 bytes), and a word for people.

    Raises UsageError, Unavailable: only where a device is named.
    """
    from edgeseal_console.operate import signing

    if args.group is not None:
        return commandlog.audience_id(args.group), f"group {args.group}"
    if args.device is None:
        return commandlog.EVERYBODY, "everybody"
    with gateway_of(home) as gateway:
        return bytes.fromhex(signing.device_called(gateway, args.device)["log"]), f"device {args.device}"
