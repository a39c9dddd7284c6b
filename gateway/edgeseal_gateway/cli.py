"""The command line of the gateway: one function a subcommand; what they do is elsewhere."""

from __future__ import annotations

import argparse
import json
import logging
import ssl
import sys
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal_gateway.config import Config, read_config

OK, FAILED, BROKEN = 0, 1, 2
_EXAMPLES: Final = """\
examples, in the order of a first start:
  edgeseal-gateway key --config gateway.yaml --out gateway-key.cbor
  edgeseal-gateway init --config gateway.yaml --keyset keyset-1.cbor
  edgeseal-gateway check --config gateway.yaml
  edgeseal-gateway run --config gateway.yaml
  edgeseal-gateway status --config gateway.yaml
  edgeseal-gateway backup --config gateway.yaml --out /backups/gateway-1

exit codes: 0 done, 1 usage, configuration or a world that is down, 2 a broken invariant
"""


# The chain client and the web server take a second to load: each subcommand loads what it needs.


def _key(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import initialise

    key = initialise.make_key(config)
    if options.out is not None:
        options.out.write_bytes(key.encode())
    return {"kid": key.kid.hex(), "x": key.x.hex(), "y": key.y.hex()}


def _init(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import initialise

    return initialise.create(config, options.keyset)


def _check(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import checks

    found = []
    for what, error in checks.check(config):
        found.append({"what": what, "ok": error is None})
        if error is not None:
            found[-1] |= {"code": error.code, "message": error.message, "remedy": error.remedy}
        if not options.json:
            print(f"{'ok' if error is None else 'WRONG':6}{what}")
            if error is not None:
                print(f"      {error}" + (f"\n      → {error.remedy}" if error.remedy else ""))
    return {"ok": all(one["ok"] for one in found), "checks": found}


def _run(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import daemon

    daemon.run(config)
    return {}


def _index(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import indexchild

    indexchild.run(config)
    return {}


def _status(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    api = config.api
    bind = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(api.bind, api.bind)
    host = f"[{bind}]" if ":" in bind else bind
    request = urllib.request.Request(f"{'http' if api.tls is None else 'https'}://{host}:{api.port}/v1/status")
    context = None
    if api.tls is not None:  # our own certificate, by an address it may not name
        context = ssl.create_default_context(cafile=str(api.tls.ca_file or api.tls.cert_file))
        context.check_hostname = False
    if api.token_file is not None:
        request.add_header("Authorization", f"Bearer {api.token_file.read_text('ascii').split()[0]}")
    try:
        with urllib.request.urlopen(request, timeout=30, context=context) as answer:
            found: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as error:
        raise Unavailable("gateway_unreachable", f"{request.full_url}: {error}", "is the gateway running?") from error
    return found


def _backup(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import backup

    return backup.backup(config, options.out)


_COMMANDS: Final[dict[str, tuple[Callable[[Config, argparse.Namespace], dict[str, Any]], str]]] = {
    "key": (_key, "make the gateway's signing key in its token if it is not there, and print it"),
    "init": (_init, "create the store and sign the first fleet head"),
    "check": (_check, "explain what is wrong with configuration, token, store or chain"),
    "run": (_run, "run until SIGTERM"),
    "index": (_index, "keep the index of records up to date until standard input ends (`run` starts this itself)"),
    "status": (_status, "print what a running gateway says of itself"),
    "backup": (_backup, "write a checked copy of store and packages, also while the gateway runs"),
}


def parser() -> argparse.ArgumentParser:
    """Return the whole command line's parser."""
    top = argparse.ArgumentParser(
        prog="edgeseal-gateway",
        description="Takes devices' sealed histories in, keeps the fleet log, anchors it on a chain.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=_EXAMPLES,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_argument("--config", type=Path, required=True, help="the configuration file")
        command.add_argument("--json", action="store_true", help="print JSON, errors too")
        if name == "key":
            command.add_argument("--out", type=Path, help="also write the COSE_Key here, for the keyset")
        elif name == "init":
            command.add_argument("--keyset", type=Path, required=True, help="keyset 1, signed by the tenant root key")
        elif name == "backup":
            command.add_argument("--out", type=Path, required=True, help="a folder that does not exist yet")
        elif name == "run":
            command.add_argument("--verbose", action="store_true", help="say more on standard error")
    return top


def _print(found: dict[str, Any], indent: str = "") -> None:
    for key, value in found.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{key}: {json.dumps(value) if isinstance(value, list) else value}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand; return the exit code."""
    options = parser().parse_args(arguments)
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if getattr(options, "verbose", False) else logging.INFO,
        format="%(levelname)s %(name)s: %(message)s",
    )
    for noisy in ("urllib3", "web3", "asyncio"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    try:
        found = _COMMANDS[options.command][0](read_config(options.config), options)
    except EdgesealError as error:
        if options.json:
            print(json.dumps({"code": error.code, "message": error.message, "remedy": error.remedy}), file=sys.stderr)
        else:
            print(f"edgeseal-gateway: {error}" + (f"\n  → {error.remedy}" if error.remedy else ""), file=sys.stderr)
        return BROKEN if isinstance(error, InvariantBroken) else FAILED
    except OSError as error:
        print(f"edgeseal-gateway: {error}", file=sys.stderr)
        return FAILED
    if options.json and options.command not in ("run", "index"):
        print(json.dumps(found, indent=2))
    elif options.command not in ("run", "check", "index"):
        _print(found)
    return FAILED if found.get("ok") is False else OK


if __name__ == "__main__":
    sys.exit(main())
