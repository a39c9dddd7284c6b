"""``edgeseal chain scheduled``, ``execute`` and ``cancel``: what waits in the timelock of the tenant's admin."""

from __future__ import annotations

import argparse

from edgeseal_console.operate.acting import acting, registry_of, told
from edgeseal_console.operate.words import Parsers, digest_of, leaf, show


def add_timelock(branch: Parsers) -> None:
    """Add chain scheduled, execute and cancel."""
    listing = leaf(
        branch, "scheduled", _run_scheduled, "what waits in the timelock of the TenantAdmin, put there by --schedule",
        "edgeseal chain scheduled --home ./ops",
    )  # fmt: skip
    listing.add_argument("--all", action="store_true", help="what was carried out or cancelled too")
    for name, run, text in (
        ("execute", _run_execute, "carry out what was scheduled, once its wait is over; any account may"),
        ("cancel", _run_cancel, "take back what was scheduled; a proposer's account may"),
    ):
        parser = acting(branch, name, run, text, f"edgeseal chain {name} --home ./ops {'ab' * 32}")
        parser.add_argument("id", metavar="ID", help="the operation's id (hex), as chain scheduled shows it")


def _run_scheduled(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import timelock

    _, registry = registry_of(args)
    now = registry.time()
    rows = [one.fields() | {"state": one.state(now)} for one in timelock.opened(registry).every()]
    rows = [row for row in rows if args.all or row["state"] in ("waits", "ready")]
    lines = [
        f"{row['id']}  {row['state']}"
        + (f" until Unix second {row['ready_at']}" if row["state"] == "waits" else "")
        + f"\n    {row['call']}"
        for row in rows
    ]
    return show(args, {"operations": rows, "time": now}, lines or ["nothing waits"])


def _run_execute(args: argparse.Namespace) -> int:
    return _end(args, "execute", "carried out: {}", "{}")


def _run_cancel(args: argparse.Namespace) -> int:
    return _end(args, "cancel", "cancelled: {}", "never carried out: {}")


def _end(args: argparse.Namespace, how: str, line: str, meaning: str) -> int:
    """Execute or cancel what waits; ``line`` and ``meaning`` take the call in words."""
    from edgeseal_console.operate import timelock

    _, registry = registry_of(args)
    lock = timelock.opened(registry)
    operation = lock.find(digest_of(args.id, "the id"))
    {"execute": lock.execute, "cancel": lock.cancel}[how](operation)
    words = timelock.call_words(operation.data)
    return told(args, registry, {"id": args.id, "call": words}, line.format(words), meaning.format(words))
