"""The command line of the gateway: one function a subcommand; what they do is elsewhere."""

from __future__ import annotations

import argparse
import json
import logging
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final, NoReturn

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal_gateway.cli_options import OPTIONS
from edgeseal_gateway.config import Config, read_config

OK, FAILED, BROKEN, INTERRUPTED = 0, 1, 2, 130
_FIRST_START: Final = """\
examples, in the order of a first start:
  edgeseal-gateway key --config gateway.yaml --out gateway-key.cbor
  edgeseal-gateway possession --config gateway.yaml --challenge challenge.json --out proof.json
  edgeseal-gateway account new --config gateway.yaml
  edgeseal-gateway init --config gateway.yaml --keyset keyset-1.cbor
  edgeseal-gateway check --config gateway.yaml
  edgeseal-gateway run --config gateway.yaml
  edgeseal-gateway status --config gateway.yaml
"""
_EXAMPLES: Final = {
    "key": ("key --config gateway.yaml --out gateway-key.cbor",),
    "possession": ("possession --config gateway.yaml --challenge challenge.json --out proof.json",),
    "init": ("init --config gateway.yaml --keyset keyset-1.cbor",),
    "account": (
        "account new --config gateway.yaml",
        "account import --config gateway.yaml --key-file account.hex --passphrase-file passphrase",
        "account show --config gateway.yaml",
    ),
    "check": ("check --config gateway.yaml",),
    "run": ("run --config gateway.yaml",),
    "index": ("index --config gateway.yaml",),
    "status": ("status --config gateway.yaml --json",),
    "anchor": (
        'anchor flush --config gateway.yaml --words "before the audit on Friday"',
        'anchor cancel 41 --config gateway.yaml --words "stuck since noon, nonce 41"',
        'anchor abandon 8192 --config gateway.yaml --words "mined and failed: the key was switched"',
        'anchor resume --config gateway.yaml --words "the nonce was ours, sent by hand"',
        "anchor trail --config gateway.yaml",
    ),
    "claim": (
        "claim new --config gateway.yaml --groups line-1 --out claim.txt",
        "claim list --config gateway.yaml",
        "claim revoke --config gateway.yaml --claim DIGEST",
    ),
    "backup": ("backup --config gateway.yaml --out /backups/gateway-1",),
}
_EXITS: Final = "exit codes: 0 done; 1 usage, configuration, or a world that is down; 2 a broken invariant of our own"


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


class _Parser(argparse.ArgumentParser):
    """Leaves with 1 where the command line makes no sense: argparse's 2 has a meaning of its own here."""

    def error(self, message: str) -> NoReturn:
        """Print usage and what is wrong, and leave."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Return the whole command line's parser."""
    top = _Parser(
        prog="edgeseal-gateway",
        description="Takes devices' sealed histories in, keeps the fleet log, anchors it on a chain.",
        epilog=f"{_EXITS}\n\n{_FIRST_START}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edgeseal-gateway {version('edgeseal')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, (_, text) in _COMMANDS.items():
        command = commands.add_parser(
            name, help=text, description=text[0].upper() + text[1:] + ".", epilog=_epilog(name),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        command.add_argument(
            "--config", type=Path, required=True, metavar="FILE", help="the configuration, YAML (gateway/API.md)"
        )
        command.add_argument("--json", action="store_true", help="print JSON, errors too")
        if name in OPTIONS:
            OPTIONS[name](command)
    return top


def _epilog(name: str) -> str:
    lines = [f"  edgeseal-gateway {example}" for example in _EXAMPLES[name]]
    return f"example{'s' if len(lines) > 1 else ''}:\n" + "\n".join(lines) + f"\n\n{_EXITS}"


def _print(found: dict[str, Any], indent: str = "") -> None:
    for key, value in found.items():
        if isinstance(value, dict):
            print(f"{indent}{key}:")
            _print(value, indent + "  ")
        else:
            print(f"{indent}{key}: {json.dumps(value) if isinstance(value, list) else value}")


def _explain(error: EdgesealError, as_json: bool) -> None:
    """Print cause and remedy to standard error."""
    if as_json:
        print(json.dumps({"code": error.code, "message": error.message, "remedy": error.remedy}), file=sys.stderr)
    else:
        print(f"edgeseal-gateway: {error}" + (f"\n  → {error.remedy}" if error.remedy else ""), file=sys.stderr)


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
        _explain(error, options.json)
        return BROKEN if isinstance(error, InvariantBroken) else FAILED
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        return FAILED
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        said = Unavailable("file_unusable", f"{place}{error.strerror or error}", "look at the path, and who may use it")
        _explain(said, options.json)
        return FAILED
    if options.json and options.command not in ("run", "index"):
        print(json.dumps(found, indent=2))
    elif options.command not in ("run", "check", "index"):
        _print(found)
    return FAILED if found.get("ok") is False else OK


if __name__ == "__main__":
    sys.exit(main())
