"""``edgeseal command``: send and list; on chain: log, halt, scope."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

from edgeseal.errors import Unavailable, UsageError
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.operate import home as homes
from edgeseal_console.operate.cli_commandlog import add_command_log, every_command
from edgeseal_console.operate.words import Parsers, branch_of, digest_of, gateway_of, leaf, say, show

ANCHOR_WAIT_S = 600
"""How long ``send --on-chain`` waits for the anchor, in seconds."""


def add_command(subparsers: Parsers) -> None:
    """Add command: send and list here, the command log on chain from elsewhere."""
    branch = branch_of(
        subparsers, "command", "signed commands to devices and groups",
        "edgeseal command send --home ./ops --device pi-7 --wait 60 ping",
    )  # fmt: skip
    send = leaf(
        branch, "send", _run_send, "sign a command and hand it to the gateway",
        "edgeseal command send --home ./ops --device pi-7 --wait 60 model.activate --package ./digits",
    )  # fmt: skip
    whom = send.add_mutually_exclusive_group(required=True)
    whom.add_argument("--device", help="name, log id or kid of a device")
    whom.add_argument("--group", help="every device of a group")
    send.add_argument(
        "--expires-in", type=int, default=1_000_000, metavar="N", help="void after N more fleet positions (%(default)s)"
    )
    send.add_argument("--until", type=int, metavar="MS", help="void after this wall time, ms since 1970")
    send.add_argument(
        "--wait", type=int, default=0, metavar="SECS",
        help="wait so many seconds for the devices' results (0: do not); exit code 3 without them",
    )  # fmt: skip
    send.add_argument(
        "--on-chain", action="store_true", help="wait until it is anchored and log it on chain too (see command log)"
    )
    actions = send.add_subparsers(dest="action", required=True, metavar="ACTION")
    ping = actions.add_parser(
        "ping", help="ask for an answer", formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  edgeseal command send --group line-1 --wait 60 ping --text hello",
    )  # fmt: skip
    ping.add_argument("--text", default="ping", help="what the device is to put on record (%(default)s)")
    activate = actions.add_parser(
        "model.activate", help="run this model package from now on",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="example:\n  edgeseal command send --device pi-7 --wait 60 model.activate --package ./digits",
    )  # fmt: skip
    activate.add_argument("--package", required=True, help="package folder, or the package's digest in hex")
    for action in (ping, activate):
        action.set_defaults(func=_run_send)
        action.add_argument("--wait", type=int, default=argparse.SUPPRESS, metavar="SECS", help="as before the action")
        action.add_argument("--on-chain", action="store_true", default=argparse.SUPPRESS, help="as before the action")
        action.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object")
    listing = leaf(
        branch,
        "list",
        _run_commands,
        "commands and what came of them",
        "edgeseal command list --home ./ops --device pi-7",
    )
    which = listing.add_mutually_exclusive_group()
    which.add_argument("--device", help="only those to this device: name, log id or kid")
    which.add_argument("--group", help="only those to this group")
    add_command_log(branch)


def _arguments(args: argparse.Namespace) -> dict[str, Any]:
    if args.action == "ping":
        return {"text": args.text}
    folder = Path(args.package)
    if not folder.is_dir():
        return {"model": digest_of(args.package, "--package")}
    from edgeseal.adapters.packagedir import read_package
    from edgeseal.model import parse_package

    return {"model": parse_package(read_package(folder)).digest}


def _run_send(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with gateway_of(home) as gateway:
        audience: bytes | str = args.group
        if args.device is not None:
            audience = bytes.fromhex(signing.device_called(gateway, args.device)["log"])
        content, salt, data = signing.command(
            gateway, home.network(), audience=audience, action=args.action, args=_arguments(args),
            expires_in=args.expires_in, until_ms=args.until,
        )  # fmt: skip
        answer = signing.publish(gateway, signing.sign(content, home.operator()), (salt, data))
        results = _await_results(gateway, answer["digest"], content.sub, args.wait) if args.wait else []
        logged = _log_on_chain(home, gateway, answer["digest"], content.sub) if args.on_chain else None
    lines = [f"{args.action} {content.id.hex()} stands at fleet position {answer['pos']}"]
    lines += [f"  {r['log'][:16]}…  {r['state']}{' ' + r['reason'] if r['reason'] else ''}" for r in results]
    unanswered = bool(args.wait) and not _settled(results)
    if unanswered:
        lines.append(f"no result of every device within {args.wait} s; later: edgeseal command list")
    fields = {"id": content.id.hex(), "digest": answer["digest"], "pos": answer["pos"], "results": results}
    if logged is not None:
        lines.append(f"logged on chain with {logged - 1} before it" if logged > 1 else "logged on chain")
        fields["logged"] = logged
    show(args, fields, lines)
    if any(r["state"] in ("refused", "failed") for r in results):
        return 2
    return 3 if unanswered else 0


def _settled(results: list[dict[str, Any]]) -> bool:
    """Tell whether there are devices, and each said what came of the command."""
    return bool(results) and all(r["state"] in ("done", "failed", "refused") for r in results)


def _await_results(gateway: GatewayClient, digest: str, sub: str, secs: int) -> list[dict[str, Any]]:
    where = _where(sub)
    deadline = time.monotonic() + secs
    while True:
        commands = gateway.get("/v1/commands", **where)["commands"]
        results: list[dict[str, Any]] = next((c["results"] for c in commands if c["digest"] == digest), [])
        if _settled(results) or time.monotonic() > deadline:
            return results
        time.sleep(0.5)


def _log_on_chain(home: homes.Home, gateway: GatewayClient, digest: str, sub: str) -> int:
    """Wait until a command is anchored, and log it and what waits before it; return how many were logged.

    Raises Unavailable ``not_anchored``; UsageError ``not_logged`` with the reason; and as the command log does.
    """
    from edgeseal_console.operate.cli_commandlog import log_pending
    from edgeseal_console.operate.commandregister import CommandRegister
    from edgeseal_console.operate.registry import Registry

    register = CommandRegister(Registry(home, home.network(), say))
    deadline = time.monotonic() + ANCHOR_WAIT_S
    while gateway.get(f"/v1/statements/{digest}", wait=10, anchored=1)["anchor"] is None:
        if time.monotonic() > deadline:
            raise Unavailable(
                "not_anchored", f"the command is not anchored after {ANCHOR_WAIT_S} s", "later: edgeseal command log"
            )
    logged, skipped = log_pending(home, register, gateway, _where(sub))
    if digest not in logged:
        why = next((one["why"] for one in skipped if one["digest"] == digest), "it is logged already")
        raise UsageError("not_logged", f"the command was sent and is not logged on chain: {why}")
    return len(logged)


def _where(sub: str) -> dict[str, str]:
    return {"group": sub.removeprefix("group:")} if sub.startswith("group:") else {"log": sub}


def _run_commands(args: argparse.Namespace) -> int:
    from edgeseal_console.operate import signing

    home = homes.load(args.home)
    with gateway_of(home) as gateway:
        where: dict[str, str] = {}
        if args.device is not None:
            where = {"log": signing.device_called(gateway, args.device)["log"]}
        elif args.group is not None:
            where = {"group": args.group}
        commands = every_command(gateway, where)
    lines = [f"{'POS':>7} {'ACTION':<16} {'AUDIENCE':<20} {'ON CHAIN':<12} RESULTS"]
    for command in commands:
        states = ", ".join(
            f"{r['log'][:8]} {r['state']}{' ' + r['reason'] if r['reason'] else ''}" for r in command["results"]
        )
        logged = "-" if command["logged"] is None else f"block {command['logged']['block']}"
        lines.append(
            f"{command['pos']!s:>7} {command['action']:<16} {command['sub'][:20]:<20} {logged:<12} "
            f"{states or 'no answer yet'}"
        )
    return show(args, {"commands": commands}, [line.encode("unicode_escape").decode() for line in lines])
