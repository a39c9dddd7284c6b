"""The ``edgeseal`` command: parse, call, print. What it does lives in ``operate``, ``investigate`` and ``demo``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.metadata import version
from typing import NoReturn

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable

_GROUPS = """\
make and run a fleet:
  init chain keyset provision identity command model trust
look into what it did (needs no gateway, no agent and no network once collected):
  collect verify replay report inspect
see it work:
  demo

exit codes: 0 done or all asked for is ok; 1 usage, or a world that is down; 2 something failed;
            3 nothing failed, but something asked for is not answered by the evidence

examples:
  edgeseal demo                                        # the whole system at work on this machine
  edgeseal verify bundle.zip --trust trust.yaml        # what a device's history shows, and what it does not
"""


class _Parser(argparse.ArgumentParser):
    """Leaves with 1 where the command line makes no sense: argparse's 2 has a meaning of its own here."""

    def error(self, message: str) -> NoReturn:
        """Print usage and what is wrong, and leave."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: error: {message}\n")


def parser() -> argparse.ArgumentParser:
    """Return the whole command line's parser. Modules that load slowly are imported by the subcommand that needs
    them.
    """
    from edgeseal_console.demo import cli as demo
    from edgeseal_console.investigate import cli as investigate
    from edgeseal_console.operate import cli as operate

    top = _Parser(
        prog="edgeseal",
        description="Operate a fleet of edge devices that keep a tamper-evident history; investigate what they did.",
        epilog=_GROUPS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edgeseal {version('edgeseal')}")
    subparsers = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    operate.add_parsers(subparsers)
    investigate.add_parsers(subparsers)
    demo.add_parsers(subparsers)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code. Every expected error is printed as cause and remedy, never as a
    trace.
    """
    arguments = parser().parse_args(argv)
    try:
        code: int = arguments.func(arguments)
        return code
    except EdgesealError as error:
        _print_error(error, as_json=bool(getattr(arguments, "json", False)))
        return 2 if isinstance(error, InvariantBroken) else 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 1
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        said = Unavailable("file_unusable", f"{place}{error.strerror or error}", "look at the path, and who may use it")
        _print_error(said, as_json=bool(getattr(arguments, "json", False)))
        return 1


def _print_error(error: EdgesealError, *, as_json: bool) -> None:
    if as_json:
        fields = {"code": error.code, "message": error.message, "remedy": error.remedy}
        print(json.dumps(fields), file=sys.stderr)
        return
    print(f"edgeseal: {error.message} [{error.code}]", file=sys.stderr)
    if error.remedy:
        print(f"  remedy: {error.remedy}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
