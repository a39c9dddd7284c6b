"""Subcommands of people who look into what devices did. Each is loaded when it is called: verifying needs neither
web3 nor a runtime.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

from edgeseal.verify import QUESTIONS
from edgeseal_console.investigate.meaning import ASKED

Parsers = Any

_EXITS = (
    "exit codes: 0 all asked for is ok; 2 something failed; 3 something is not answered; 1 usage or a world that "
    "is down"
)


def add_parsers(subparsers: Parsers) -> None:
    """Add collect, verify, replay, report and inspect."""
    _collect(subparsers)
    _verify(subparsers)
    _replay(subparsers)
    _report(subparsers)
    _inspect(subparsers)


def _asked() -> str:
    return "\n".join(f"  {question:<19} {ASKED[question]}" for question in QUESTIONS)


def _leaf(
    subparsers: Parsers, name: str, func: Callable[[argparse.Namespace], int], text: str, examples: str
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = subparsers.add_parser(
        name,
        help=text,
        description=text,
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(func=func)
    return parser


def _evidence(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("bundle", type=Path, help="the bundle: a .zip or a folder")
    parser.add_argument(
        "--trust", type=Path, metavar="FILE", help="trust file, from whoever you trust (docs/format.md, 15)"
    )
    parser.add_argument(
        "--rpc", action="append", default=[], metavar="URL", help="ask this EVM endpoint too (may be repeated)"
    )


def _collect(subparsers: Parsers) -> None:
    parser = _leaf(
        subparsers, "collect", _run_collect, "gather a gateway's and devices' evidence into one bundle",
        "  edgeseal collect --gateway http://127.0.0.1:8420 --out case.zip\n"
        "  edgeseal collect --home ./ops --device cam-1.zip --anchored --out case.zip\n"
        "  edgeseal collect --gateway https://gw --token-file t --device cam-1.zip --device cam-2.zip --out case.zip",
    )  # fmt: skip
    whence = parser.add_mutually_exclusive_group()
    whence.add_argument("--gateway", metavar="URL", help="the gateway's API")
    whence.add_argument(
        "--home", type=Path, metavar="DIR", help="an operator's folder that names gateway, token and CA certificates"
    )
    parser.add_argument("--token-file", type=Path, metavar="FILE", help="API token, where the gateway asks for one")
    parser.add_argument("--ca-file", type=Path, metavar="FILE", help="CA certificates for an https gateway")
    parser.add_argument(
        "--device",
        type=Path,
        action="append",
        default=[],
        metavar="EXPORT",
        help="what `edgeseal-agent export` wrote (repeat): adds inputs, openings, and what the gateway does not show",
    )
    parser.add_argument(
        "--anchored", action="store_true", help="leave out the newest records, which no final anchor covers yet"
    )
    parser.add_argument("--out", type=Path, required=True, metavar="ZIP", help="the bundle to write, a new file")
    parser.add_argument("--json", action="store_true", help="print what is in it as JSON")


def _verify(subparsers: Parsers) -> None:
    parser = _leaf(
        subparsers, "verify", _run_verify, "answer, from a bundle alone, what it shows and what it does not",
        f"  edgeseal verify case.zip --trust trust.yaml\n"
        f"  edgeseal verify case.zip --trust trust.yaml --rpc https://node-a --rpc https://node-b --ask "
        f"integrity,existed_by --json\n\n"
        f"questions:\n{_asked()}\n\n{_EXITS}",
    )  # fmt: skip
    _evidence(parser)
    parser.add_argument(
        "--ask", metavar="ID,…", help="only these questions (default: all; the exit code then leaves reexecution out)"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict as JSON (docs/format.md, 16)")


def _replay(subparsers: Parsers) -> None:
    parser = _leaf(
        subparsers, "replay", _run_replay, "tell a history in order; with --reinfer, run its inferences again",
        "  edgeseal replay case.zip | less\n"
        "  edgeseal replay case.zip --trust trust.yaml --reinfer --ask reexecution",
    )  # fmt: skip
    _evidence(parser)
    parser.add_argument("--log", metavar="HEX", help="only the device log whose id begins so")
    parser.add_argument("--from", dest="start", type=int, default=0, metavar="SEQ", help="first record to tell")
    parser.add_argument(
        "--reinfer",
        action="store_true",
        help="run every inference again in a sandboxed process, compare outputs bit for bit",
    )
    parser.add_argument(
        "--run-untrusted",
        action="store_true",
        help="with --reinfer: also packages that neither an operator nor the trust file names",
    )
    parser.add_argument(
        "--ask", metavar="ID,…", help="only these questions (default: all; the exit code then leaves reexecution out)"
    )
    parser.add_argument("--json", action="store_true", help="print the verdict, with the timeline, as JSON")


def _report(subparsers: Parsers) -> None:
    parser = _leaf(
        subparsers, "report", _run_report, "write one HTML page: verdict, timeline, gaps, hash of the evidence",
        "  edgeseal report case.zip --trust trust.yaml --out report.html",
    )  # fmt: skip
    _evidence(parser)
    parser.add_argument("--out", type=Path, required=True, metavar="HTML", help="the page to write, a new file")
    parser.add_argument(
        "--ask", metavar="ID,…", help="only these questions (default: all; the exit code then leaves reexecution out)"
    )


def _inspect(subparsers: Parsers) -> None:
    parser = _leaf(
        subparsers, "inspect", _run_inspect, "print any edgeseal object readably; nothing is verified",
        "  edgeseal inspect case.zip\n  edgeseal inspect keyset-1.cbor\n  edgeseal inspect pack.cbor --json",
    )  # fmt: skip
    parser.add_argument(
        "file",
        type=Path,
        help="a bundle, or a file with a head, statement, receipt, segment, pack, key or trust file",
    )
    parser.add_argument("--json", action="store_true", help="print it as JSON")


def _run_collect(args: argparse.Namespace) -> int:
    from edgeseal_console.investigate import collect

    if args.home is not None:
        from edgeseal_console.operate import home as homes

        home = homes.load(args.home)
        args.gateway = home.gateway_url
        args.token_file = args.token_file or home.token_file
        args.ca_file = args.ca_file or home.ca_file
    return collect.run(args)


def _run_verify(args: argparse.Namespace) -> int:
    from edgeseal_console.investigate import verify

    return verify.run(args)


def _run_replay(args: argparse.Namespace) -> int:
    from edgeseal_console.investigate import replay

    return replay.run(args)


def _run_report(args: argparse.Namespace) -> int:
    from edgeseal_console.investigate import report

    return report.run(args)


def _run_inspect(args: argparse.Namespace) -> int:
    from edgeseal_console.investigate import inspect

    return inspect.run(args)
