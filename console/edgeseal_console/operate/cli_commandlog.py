"""``edgeseal command`` on the command log contract: log, halt, scope."""

from __future__ import annotations

import argparse
import json
import secrets
import time
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeseal import commandlog
from edgeseal.adapters.namedfile import read_file
from edgeseal.commandlog import CLASSES, Entry
from edgeseal.errors import UsageError
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.acting import acting, registry_of, told
from edgeseal_console.operate.audiences import add_audience, audience_of
from edgeseal_console.operate.words import Parsers, digest_of, gateway_of, show

if TYPE_CHECKING:
    from edgeseal_console.operate.commandregister import CommandRegister

HALT_SCHEMA: Final = "edgeseal-halt/1"
MAX_NOTICE: Final = 1 << 20
"""The longest notice of a halt, in bytes."""


def add_command_log(branch: Parsers) -> None:
    """Add the actions of ``command`` that are transactions of the command log."""
    log = acting(
        branch, "log", _run_log, "log this operator's anchored commands on chain, many in a call",
        "edgeseal command log --home ./ops --group line-1 --dry-run",
    )  # fmt: skip
    add_audience(log, required=False)
    halt = acting(
        branch, "halt", _run_halt, "log an emergency halt, under a topic of its own that monitors watch",
        "edgeseal command halt --home ./ops --group line-1 --reason 'arm 3 hit the fence' --out halt.json",
    )  # fmt: skip
    add_audience(halt, everyone="everybody in the tenant")
    why = halt.add_mutually_exclusive_group(required=True)
    why.add_argument("--reason", help="what happened; goes into a notice with a random salt, whose digest is logged")
    why.add_argument("--notice", type=Path, metavar="FILE", help="a notice that is written already")
    halt.add_argument("--out", type=Path, metavar="FILE", help="with --reason: where the notice is kept")
    scope = acting(
        branch, "scope", _run_scope,
        "say on chain what an operator may command an audience to; without --classes, show it",
        "edgeseal command scope --home ./ops --operator KID --group line-1 --classes query,model", by_timelock=True,
    )  # fmt: skip
    scope.add_argument("--operator", metavar="KID", help="hex kid; default: this folder's operator")
    add_audience(scope, everyone="whatever the audience")
    scope.add_argument("--classes", metavar="C,…", help=f"of {', '.join(CLASSES)}; none takes the scope away")


def _opened(args: argparse.Namespace) -> tuple[homes.Home, CommandRegister]:
    from edgeseal_console.operate.commandregister import CommandRegister

    home, registry = registry_of(args)
    return home, CommandRegister(registry)


def _run_log(args: argparse.Namespace) -> int:
    home, register = _opened(args)
    with gateway_of(home) as gateway:
        where: dict[str, str] = {} if args.group is None else {"group": args.group}
        if args.device is not None:
            where = {"log": audience_of(home, args)[0].hex()}
        logged, skipped = log_pending(home, register, gateway, where)
    word = "would be logged" if args.dry_run else "logged on chain"
    lines = f"{len(logged)} commands {word}" + "".join(
        f"\n  not {one['digest'][:16]}…: {one['why']}" for one in skipped
    )
    return told(args, register.registry, {"logged": logged, "skipped": skipped}, lines, lines)


def log_pending(
    home: homes.Home, register: CommandRegister, gateway: GatewayClient, where: dict[str, str]
) -> tuple[list[str], list[dict[str, str]]]:
    """Log every command of ours that can be, one call for each audience and 64 of them.

    Returns the digests logged, and for the others why not. Raises as :class:`CommandRegister`.
    """
    operator = home.operator()
    kid, anchored = operator.public_key.kid.hex(), register.registry.anchored_size()
    waiting: dict[str, list[Entry]] = {}
    skipped: list[dict[str, str]] = []
    least: dict[str, int] = {}
    for command in every_command(gateway, where):
        sub, position = command["sub"], command["pos"]
        if sub not in least:
            least[sub] = register.next_position(_audience(sub))
        why = ""
        if command["signer"] != kid:
            why = f"operator {command['signer'][:16]}… signed it and logs it"
        elif command.get("logged") is None and position < least[sub]:
            why = f"a later one is logged already: the next position is {least[sub]}"
        elif position >= anchored:
            why = f"its position {position} is not anchored yet, the anchored size is {anchored}"
        if why:
            skipped.append({"digest": command["digest"], "why": why})
        elif position >= least[sub]:
            entry = Entry(bytes.fromhex(command["digest"]), position, commandlog.class_of(command["action"]))
            waiting.setdefault(sub, []).append(entry)
    logged: list[str] = []
    for sub, entries in waiting.items():
        register.log(_audience(sub), entries, operator)
        # Durable on chain: this audience's entries. A second try finds the next position above them.
        logged += [one.digest.hex() for one in entries]
    return logged, skipped


def every_command(gateway: GatewayClient, where: dict[str, str]) -> list[dict[str, Any]]:
    """Return the gateway's commands in the order of their positions. Raises as :class:`GatewayClient`."""
    found: list[dict[str, Any]] = []
    start: int | None = 0
    while start is not None:
        page = gateway.get("/v1/commands", **where, **{"from": start})
        found += page["commands"]
        start = page["next"]
    return found


def _audience(sub: str) -> bytes:
    return commandlog.audience_id(sub.removeprefix("group:") if sub.startswith("group:") else bytes.fromhex(sub))


def _run_halt(args: argparse.Namespace) -> int:
    home, register = _opened(args)
    audience, who = audience_of(home, args)
    if args.notice is not None:
        notice = read_file(args.notice, MAX_NOTICE)
    elif args.out is None:
        raise UsageError(
            "halt_notice", "the notice has to be kept: its digest says nothing by itself", "give --out FILE"
        )
    else:
        fields = {
            "schema": HALT_SCHEMA, "fleet_log": register.network.fleet_log.hex(), "audience": audience.hex(),
            "reason": args.reason, "time": int(time.time()), "salt": secrets.token_hex(32),
        }  # fmt: skip
        notice = (json.dumps(fields, indent=1) + "\n").encode()
    digest = sha256(notice).digest()
    if args.notice is None and not args.dry_run:
        args.out.write_bytes(notice)
        # Durable: the notice, before its digest is public. Whoever stops here halts with --notice.
    register.halt(audience, digest, home.operator())
    text = f"emergency halt of {who} logged on chain, notice {digest.hex()}; devices see no chain: command them too"
    return told(args, register.registry, {"audience": audience.hex(), "digest": digest.hex()}, text, text)


def _run_scope(args: argparse.Namespace) -> int:
    home, register = _opened(args)
    if args.classes is None:
        return _show_scope(args, home, register)
    names = [] if args.classes == "none" else args.classes.split(",")
    unknown = [name for name in names if name not in CLASSES]
    if unknown:
        raise UsageError("class_unknown", f"no action class {unknown[0]!r:.40}", f"choose of {', '.join(CLASSES)}")
    operator = home.operator().public_key.kid if args.operator is None else digest_of(args.operator, "--operator")
    audience, who = audience_of(home, args)
    register.set_scope(operator, audience, sum(1 << CLASSES.index(name) for name in set(names)))
    text = f"operator {operator.hex()[:16]}… may command {who} to: {', '.join(names) or 'nothing'}"
    fields = {"operator": operator.hex(), "audience": audience.hex(), "classes": names}
    return told(args, register.registry, fields, text, text)


def _show_scope(args: argparse.Namespace, home: homes.Home, register: CommandRegister) -> int:
    """Print what an operator may command an audience to: by a scope of its own, or by the one for everybody."""
    operator = home.operator().public_key.kid if args.operator is None else digest_of(args.operator, "--operator")
    audience, who = audience_of(home, args)
    bits = register.classes(operator, audience) | register.classes(operator, commandlog.EVERYBODY)
    names = [name for number, name in enumerate(CLASSES) if bits & 1 << number]
    fields = {"operator": operator.hex(), "audience": audience.hex(), "classes": names}
    return show(
        args, fields, [f"operator {operator.hex()[:16]}… may command {who} to: {', '.join(names) or 'nothing'}"]
    )
