"""What each command of ``edgeseal-gateway`` takes besides ``--config`` and ``--json``."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Final


def _key(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, metavar="FILE", help="also write the COSE_Key here, for the console")


def _possession(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--challenge", type=Path, required=True, metavar="FILE", help="from: edgeseal identity challenge"
    )
    command.add_argument(
        "--out", type=Path, metavar="FILE", help="also write the proof here, for edgeseal identity register"
    )


def _account(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", choices=("new", "show", "import"), help="what to do with it")
    command.add_argument(
        "--passphrase-file", type=Path, metavar="FILE", help="instead of the configured source, mode 0600"
    )
    command.add_argument(
        "--key-file", type=Path, metavar="FILE", help="import: the private key, 64 hex digits, mode 0600"
    )


def _init(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--keyset", type=Path, required=True, metavar="FILE", help="keyset 1, from: edgeseal keyset first"
    )


def _anchor(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "action", choices=("flush", "cancel", "abandon", "resume", "trail"),
        help="flush: anchor the newest head now; cancel NONCE: outbid it by an empty transaction; abandon "
        "SIZE: give this anchor up; resume: go on after somebody else used the account; trail: what was asked",
    )  # fmt: skip
    command.add_argument(
        "target", type=int, nargs="?", metavar="NONCE|SIZE", help="cancel: the nonce; abandon: the size"
    )
    command.add_argument(
        "--words", metavar="WHY", help="who asks for it and why, kept with time and outcome (all but trail)"
    )


def _claim(command: argparse.ArgumentParser) -> None:
    command.add_argument("action", choices=("new", "list", "revoke"), help="what to do")
    command.add_argument("--out", type=Path, metavar="FILE", help="new: where the token goes, mode 0600")
    command.add_argument("--groups", default="", metavar="G,…", help="new: groups it may ask for; default: none")
    command.add_argument("--seconds", type=int, default=86_400, metavar="N", help="new: seconds it lasts (%(default)s)")
    command.add_argument("--claim", metavar="DIGEST", help="revoke: which one, as list shows it")


def _backup(command: argparse.ArgumentParser) -> None:
    command.add_argument("--out", type=Path, required=True, metavar="DIR", help="a folder that does not exist yet")


def _run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--verbose", action="store_true", help="say more on standard error")


OPTIONS: Final[dict[str, Callable[[argparse.ArgumentParser], None]]] = {
    "key": _key,
    "possession": _possession,
    "account": _account,
    "init": _init,
    "anchor": _anchor,
    "claim": _claim,
    "backup": _backup,
    "run": _run,
}
"""Command → what adds its options to its parser; a command that takes none is not here."""
