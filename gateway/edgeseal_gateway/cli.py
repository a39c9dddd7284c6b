"""The command line of the gateway: one function a subcommand; what they do is elsewhere."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import EdgesealError, InvariantBroken, UsageError
from edgeseal_gateway.config import Config, read_config

OK, FAILED, BROKEN = 0, 1, 2
_EXAMPLES: Final = """\
examples, in the order of a first start:
  edgeseal-gateway key --config gateway.yaml --out gateway-key.cbor
  edgeseal-gateway possession --config gateway.yaml --challenge gateway-challenge.json --out gateway-proof.json
  edgeseal-gateway account new --config gateway.yaml
  edgeseal-gateway init --config gateway.yaml --keyset keyset-1.cbor
  edgeseal-gateway check --config gateway.yaml
  edgeseal-gateway run --config gateway.yaml
  edgeseal-gateway status --config gateway.yaml
  edgeseal-gateway anchor flush --config gateway.yaml --words "before the audit on Friday"
  edgeseal-gateway claim new --config gateway.yaml --groups line-1 --out claim.txt
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


def _possession(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import possession

    proof = possession.prove(config, options.challenge)
    if options.out is not None:
        options.out.write_bytes(proof.encode())
    found: dict[str, Any] = json.loads(proof.encode())
    return found


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


def _account(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import account

    return account.run(config, options.action, options.passphrase_file, options.key_file)


def _index(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import indexchild

    indexchild.run(config)
    return {}


def _status(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import localapi

    return localapi.call(config, "/v1/status")


def _anchor(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import localapi

    if options.action == "trail":
        return localapi.call(config, "/v1/operations")
    if options.words is None:
        raise UsageError("operation_words", "--words is missing", "say who asks for it and why: it is kept")
    return localapi.operate(config, options.action, options.target, options.words)


def _claim(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import claims

    if options.action == "new":
        groups = tuple(word for word in options.groups.split(",") if word)
        return claims.new(config, options.out, groups, options.seconds)
    return claims.revoke(config, options.claim) if options.action == "revoke" else claims.listed(config)


def _backup(config: Config, options: argparse.Namespace) -> dict[str, Any]:
    from edgeseal_gateway import backup

    return backup.backup(config, options.out)


_COMMANDS: Final[dict[str, tuple[Callable[[Config, argparse.Namespace], dict[str, Any]], str]]] = {
    "key": (_key, "make the gateway's signing key in its token if it is not there, and print it"),
    "possession": (_possession, "sign an operator's challenge, so that the key is registered on chain as held here"),
    "init": (_init, "create the store and sign the first fleet head"),
    "account": (_account, "make, import or show the account that pays for anchors, in an encrypted keystore"),
    "check": (_check, "explain what is wrong with configuration, token, store or chain"),
    "run": (_run, "run until SIGTERM"),
    "index": (_index, "keep the index of records up to date until standard input ends (`run` starts this itself)"),
    "status": (_status, "print what a running gateway says of itself"),
    "anchor": (_anchor, "have a running gateway anchor now, cancel a nonce, give an anchor up, go on; who asked"),
    "claim": (_claim, "make, list or revoke one-time tokens with which devices may apply for enrolment"),
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
        elif name == "possession":
            command.add_argument("--challenge", type=Path, required=True, help="from: edgeseal identity challenge")
            command.add_argument("--out", type=Path, help="write the proof here, for edgeseal identity register")
        elif name == "account":
            command.add_argument("action", choices=("new", "show", "import"), help="what to do with it")
            command.add_argument("--passphrase-file", type=Path, help="instead of the configured source, mode 0600")
            command.add_argument("--key-file", type=Path, help="import: the private key, 64 hex digits")
        elif name == "init":
            command.add_argument("--keyset", type=Path, required=True, help="keyset 1, signed by the tenant root key")
        elif name == "anchor":
            command.add_argument("action", choices=("flush", "cancel", "abandon", "resume", "trail"))
            command.add_argument("target", type=int, nargs="?", help="cancel: the nonce; abandon: the size")
            command.add_argument("--words", help="who asks for it and why: kept with time and outcome")
        elif name == "claim":
            command.add_argument("action", choices=("new", "list", "revoke"), help="what to do")
            command.add_argument("--out", type=Path, help="new: the file for the token, mode 0600")
            command.add_argument("--groups", default="", metavar="G,…", help="new: groups it may ask for")
            command.add_argument("--seconds", type=int, default=86_400, help="new: how long it lasts (%(default)s)")
            command.add_argument("--claim", metavar="DIGEST", help="revoke: which one, as list shows it")
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
