"""Commands that are transactions of the tenant's admin or an operator: their options, how they are sent, what is said.

With ``--dry-run`` nothing is sent and what would be is shown. With ``--schedule``, where the tenant's admin is a
TenantAdmin and its timelock must act, the call is put into the timelock (``edgeseal chain execute`` carries it out).
"""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from edgeseal_console.operate import home as homes
from edgeseal_console.operate.words import Parsers, leaf, say, show

if TYPE_CHECKING:
    from edgeseal_console.operate.registry import Registry


def acting(
    branch: Parsers, name: str, run: Any, text: str, example: str, *, by_timelock: bool = False
) -> argparse.ArgumentParser:  # fmt: skip
    """Return the parser of an action that is a transaction, with ``--dry-run``.

    ``by_timelock``: a TenantAdmin leaves this action to its timelock, so that it can be scheduled there.
    """
    parser = leaf(branch, name, run, text, example)
    parser.add_argument("--dry-run", action="store_true", help="show the transaction and its gas; send nothing")
    if by_timelock:
        parser.add_argument(
            "--schedule", action="store_true",
            help="put it into the timelock of the TenantAdmin; once the wait is over: edgeseal chain execute",
        )  # fmt: skip
    return parser


def is_scheduling(args: argparse.Namespace) -> bool:
    """Tell whether the call is put into the timelock instead of being sent."""
    return bool(getattr(args, "schedule", False))


def registry_of(args: argparse.Namespace) -> tuple[homes.Home, Registry]:
    """Return home and registry; one that sends nothing with ``--dry-run`` or ``--schedule``, and for actions that have
    no such option.

    Raises UsageError, Unavailable; with ``--schedule`` as :func:`edgeseal_console.operate.timelock.opened`.
    """
    from edgeseal_console.operate import timelock
    from edgeseal_console.operate.registry import Registry

    home = homes.load(args.home)
    registry = Registry(home, home.network(), say, dry_run=is_scheduling(args) or getattr(args, "dry_run", True))
    if is_scheduling(args):
        registry.transactor.sender = timelock.opened(registry).address
    return home, registry


def told(args: argparse.Namespace, registry: Registry, fields: dict[str, Any], line: str, changes: str) -> int:
    """Print what was done or, in a dry run, each transaction and what it would change; with ``--schedule``, put what
    would have been sent into the timelock first. Return exit code 0.
    """
    if is_scheduling(args):
        return _scheduled(args, registry, changes)
    if not args.dry_run:
        return show(args, fields | {"dry_run": False}, [line])
    return _would(args, registry, fields, changes)


def _would(args: argparse.Namespace, registry: Registry, fields: dict[str, Any], changes: str) -> int:
    calls = [preview.fields() for preview in registry.previews]
    lines = [preview.line() for preview in registry.previews] or ["nothing to send"]
    return show(args, fields | {"dry_run": True, "calls": calls, "changes": changes}, [*lines, f"changes: {changes}"])


def _scheduled(args: argparse.Namespace, registry: Registry, changes: str) -> int:
    from edgeseal_console.operate import timelock
    from edgeseal_console.operate.registry import Registry

    home = homes.load(args.home)
    lock = timelock.opened(Registry(home, registry.network, say, dry_run=args.dry_run))
    made = [lock.schedule(preview) for preview in registry.previews]
    fields: dict[str, Any] = {"operations": [one.fields() for one in made]}
    if args.dry_run:
        return _would(args, lock.registry, fields, f"once carried out: {changes}")
    lines = [f"scheduled: {one.id.hex()}, from Unix second {one.ready_at} on: edgeseal chain execute" for one in made]
    return show(args, fields | {"dry_run": False, "changes": changes}, [*lines, f"it changes: {changes}"])
