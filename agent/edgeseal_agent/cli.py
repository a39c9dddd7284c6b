"""The command ``edgeseal-agent``: one function a subcommand, which loads the configuration, calls and prints.

Exit codes: 0 done; 1 usage, configuration, or a world that is down (disk, token, broker); 2 our own state contradicts
itself.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any, NoReturn

from edgeseal import limits
from edgeseal.adapters.namedfile import read_named
from edgeseal.errors import EdgesealError, EvidenceError, InvariantBroken, Unavailable
from edgeseal_agent import cli_enrol, cli_epochs
from edgeseal_agent import config as configuration
from edgeseal_agent.store import store_error

EXITS = (
    "exit codes: 0 done; 1 usage, configuration, or a world that is down (disk, token, broker); "
    "2 our own state\n            contradicts itself"
)
EXAMPLES = {
    "init": ("--json", "make the device's key and log; print what enrolment needs"),
    "check": ("", "say what a run needs and what is wrong"),
    "run": ("--list inputs.txt --once", "run the model on each line of a list, seal, and leave"),
    "status": ("--json", "what is recorded, sealed, sent, receipted"),
    "incident": ("--open 'the arm hit the fence'", "hold the records before and after, and their inputs"),
    "export": ("--out device.zip", "everything this device can show, as a bundle"),
    "enrol": cli_enrol.EXAMPLE,
    "possession": ("--challenge c.json --out proof.json", "sign that this key may be registered on chain"),
    **cli_epochs.EXAMPLES,
}


class _Parser(argparse.ArgumentParser):
    """Leaves with 1 where the command line makes no sense: argparse's 2 has a meaning of its own here."""

    def error(self, message: str) -> NoReturn:
        """Print usage and what is wrong, and leave."""
        self.print_usage(sys.stderr)
        self.exit(1, f"{self.prog}: error: {message}\n")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one subcommand and return its exit code."""
    options = parser().parse_args(arguments)
    try:
        code: int = options.function(options)
        return code
    except EdgesealError as error:
        return _refused(error, options.json)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except sqlite3.Error as error:
        return _refused(store_error(error), options.json)
    except BrokenPipeError:
        return 1
    except OSError as error:
        place = "" if error.filename is None else f"{error.filename}: "
        said = Unavailable("file_unusable", f"{place}{error.strerror or error}", "look at the path, and who may use it")
        return _refused(said, options.json)


def _refused(error: EdgesealError, as_json: bool) -> int:
    """Say what is wrong and how to mend it; return the exit code."""
    _explain(error, as_json)
    return 2 if isinstance(error, InvariantBroken) else 1


def init(options: argparse.Namespace) -> int:
    """Make key and log; print what an operator needs to enrol this device."""
    from edgeseal_agent import predecessor
    from edgeseal_agent.initialise import REQUEST_NAME, initialise

    config = configuration.load(options.config)
    before = None if options.successor is None else predecessor.read(options.successor)
    request = initialise(config, None if before is None else lambda key: before).as_json()
    if options.json:
        print(json.dumps(request))
        return 0
    for key in ("name", "log", "kid", "genesis", "assurance"):
        print(f"{key:<10} {request[key]}")
    print(f"\nenrol it:  edgeseal identity enrol {config.state_dir / REQUEST_NAME}")
    return 0


def check(options: argparse.Namespace) -> int:
    """Say what a run needs, what is wrong, and how to mend it."""
    from edgeseal_agent import checks

    found: list[checks.Finding] = []
    for finding in checks.check(configuration.load(options.config)):
        found.append(finding)
        if not options.json:
            print(f"{finding.state:<5} {finding.what}: {finding.detail}")
            if finding.remedy and finding.state != "ok":
                print(f"      {finding.remedy}")
    if options.json:
        print(json.dumps({"findings": [asdict(finding) for finding in found]}))
    failed, warned = (sum(finding.state == state for finding in found) for state in ("fail", "warn"))
    if not options.json:
        print(f"\n{'a run would not work' if failed else 'a run works'}: {failed} fail, {warned} warn")
    return 1 if failed else 0


def run(options: argparse.Namespace) -> int:
    """Run until SIGTERM, or with --once until the source is worked through."""
    from edgeseal_agent import daemon, parts

    chosen = parts.Options(options.list, options.once, options.again, options.acks)
    return daemon.run(configuration.load(options.config), chosen)


def status(options: argparse.Namespace) -> int:
    """Print what is recorded, sealed, sent and receipted."""
    from edgeseal_agent import status as reporting

    report = reporting.status(configuration.load(options.config))
    print(json.dumps(report) if options.json else reporting.as_text(report))
    return 0


def incident(options: argparse.Namespace) -> int:
    """Open or close an incident: a window of records, with their inputs, that nothing thins or erases any more."""
    from edgeseal_agent import identity, incidents

    config = configuration.load(options.config)
    store = identity.open_store(config)
    if options.open is not None:
        request = incidents.Request(incidents.new_id(), "open", options.before, options.open)
    else:
        request = incidents.Request(incidents.known_id(store, options.close), "closed", 0, options.why)
    incidents.ask(config.state_dir, request)
    # Durable: the request; the agent records it now, or when it next starts.
    running = identity.is_running(config.state_dir)
    window = incidents.wait_recorded(store, request, options.wait_s) if running else None
    start, stop = (None, None) if window is None else window
    if options.json:
        print(json.dumps({"id": request.id.hex(), "state": request.state, "from": start, "to": stop}))
    elif window is None:
        print(f"incident {request.id.hex()}: the agent {'is busy' if running else 'does not run'}; it will record this")
    else:
        end = "on, until it is closed" if stop is None else f"to {stop}"
        print(f"incident {request.id.hex()} {request.state}: records from {start} {end}")
    return 0


def export(options: argparse.Namespace) -> int:
    """Write everything this device can show as an evidence bundle."""
    from edgeseal_agent.export import export as write

    counts: dict[str, Any] = write(configuration.load(options.config), options.out)
    if options.json:
        print(json.dumps({"out": str(options.out), **counts}))
    else:
        print(f"{options.out}: {counts['records']} records, {counts['receipts']} receipts, {counts['inputs']} inputs")
    return 0


def possession(options: argparse.Namespace) -> int:
    """Sign an operator's challenge, so that the device key is registered on chain as held by this device."""
    from edgeseal_agent.identity import write_file
    from edgeseal_agent.possession import prove

    proof = prove(configuration.load(options.config), _small_file(options.challenge))
    if options.out is None:
        print(proof.encode().decode(), end="")
        return 0
    write_file(options.out, proof.encode(), 0o644)
    if options.json:
        print(json.dumps({"out": str(options.out), "kid": proof.key.kid.hex()}))
    else:
        print(f"{options.out}: signed by {proof.key.kid.hex()}; hand it to the operator")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the whole command line's parser."""
    top = _Parser(
        prog="edgeseal-agent",
        description="Run a model on this device and keep a hardware-signed, tamper-evident history of what it did.",
        epilog=EXITS + "\n\nexamples:\n" + "\n".join(_example(name) for name in EXAMPLES),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"edgeseal-agent {version('edgeseal')}")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for function in (init, check, run, status, incident, export, possession, *cli_epochs.COMMANDS):
        text = str(function.__doc__)
        sub = commands.add_parser(
            function.__name__, help=text.rstrip("."), description=text,
            epilog=f"example:\n{_example(function.__name__)}", formatter_class=argparse.RawDescriptionHelpFormatter,
        )  # fmt: skip
        sub.set_defaults(function=function)
        sub.add_argument("--config", type=Path, required=True, metavar="FILE", help="the agent's YAML configuration")
        sub.add_argument("--json", action="store_true", help="print JSON, errors too")
        cli_epochs.add_options(sub, function.__name__)
        if function is run:
            sub.add_argument("--list", type=Path, metavar="FILE", help="take these inputs, not the configured source")
            sub.add_argument("--once", action="store_true", help="leave when no input is left, all of it sealed")
            sub.add_argument("--again", action="store_true", help="take lists again that were worked through before")
            sub.add_argument("--acks", type=int, metavar="FD", help="write 'seq leafhash' of each durable record to it")
        if function is incident:
            what = sub.add_mutually_exclusive_group(required=True)
            what.add_argument("--open", metavar="WHY", help="open one, saying in a sentence what happened")
            what.add_argument("--close", metavar="ID", help="close one: records from now on are no longer held")
            sub.add_argument("--why", default="closed", help="with --close: what was found (%(default)s)")
            sub.add_argument(
                "--before", type=_count, default=1_000, metavar="N",
                help="with --open: hold so many records before it (%(default)s)",
            )  # fmt: skip
            sub.add_argument(
                "--wait-s", type=float, default=30.0, metavar="S", help="seconds for the agent to do so (%(default)s)"
            )
        if function is export:
            sub.add_argument("--out", type=Path, required=True, metavar="PATH", help="a new folder, or a new .zip")
        if function is possession:
            sub.add_argument(
                "--challenge", type=Path, required=True, metavar="FILE", help="from: edgeseal identity challenge"
            )
            sub.add_argument("--out", type=Path, metavar="FILE", help="where the proof goes; default: printed")
    cli_enrol.add(commands, _example("enrol"))
    return top


def _small_file(path: Path) -> bytes:
    """Return the bytes of a file that people hand over; UsageError ``challenge_file`` when it cannot be read."""
    return read_named(path, limits.MAX_YAML, "challenge_file")


def _count(text: str) -> int:
    """Return a number that is not negative; argparse turns the error into usage."""
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"{text!r:.40} is no number of records, 0 or more")
    return int(text)


def _example(name: str) -> str:
    words, text = EXAMPLES[name]
    line = f"edgeseal-agent {name} --config agent.yaml {words}".rstrip()
    return f"  {line:<66}  # {text}"


def _explain(error: EdgesealError, as_json: bool) -> None:
    """Print cause and remedy to standard error."""
    if as_json:
        print(json.dumps({"code": error.code, "message": error.message, "remedy": error.remedy}), file=sys.stderr)
        return
    kind = "evidence refused" if isinstance(error, EvidenceError) else "error"
    print(f"edgeseal-agent: {kind}: {error}", file=sys.stderr)
    if error.remedy:
        print(f"  {error.remedy}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
