"""``edgeseal replay``: a bundle's histories told in order; with ``--reinfer``, its inferences run again."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, Final

from edgeseal.bundle import Bundle
from edgeseal.errors import FormatError
from edgeseal.trust import Trust
from edgeseal.verify import Reexecution, Verdict
from edgeseal_console.investigate.escape import safe
from edgeseal_console.investigate.opening import opened, read_trust
from edgeseal_console.investigate.reinfer import Reinfer
from edgeseal_console.investigate.timeline import Event, events
from edgeseal_console.investigate.verify import counted, judge, progress_to_stderr, questions, render

MAX_EVENTS: Final = 100_000
"""Events of the timeline that ``--json`` holds in memory."""


def run(args: Any) -> int:
    """Tell ``args.bundle`` from record ``args.start`` on, then its verdict; return the verdict's exit code.

    Raises UsageError for arguments, a bundle that is not there, or a trust file that cannot be read.
    """
    trust, asked = read_trust(args.trust), questions(args.ask)
    say = progress_to_stderr(args.json)
    done: dict[bytes, Reexecution] | None = None
    if args.reinfer:
        done = reexecute(args.bundle, trust, args.run_untrusted, say or (lambda text: None))
    verdict = judge(args.bundle, trust, args.rpc, asked, done, say)
    if not args.reinfer:
        verdict = counted(verdict, args.ask)
    if args.json:
        events_told = _timeline(args)
        told = list(islice(events_told, MAX_EVENTS))
        fields = verdict.as_json() | {"timeline": told, "timeline_cut": next(events_told, None) is not None}
        print(json.dumps(fields, indent=1))
    else:
        for line in _lines(args):
            print(line)
        print("\n" + render(verdict, trust is not None))
    return verdict.exit_code


def reexecute(path: Any, trust: Trust | None, untrusted: bool, say: Any) -> dict[bytes, Reexecution]:
    """Run every inference of the bundle at ``path`` again; return what came of it by log.

    Only packages that a valid operator command activated, or that the trust file names, are run, unless
    ``untrusted``. Evidence that cannot be read gives nothing: the verdict says why.
    """
    verdict: Verdict = judge(path, trust, ask=("command_authority",))
    allowed = None if untrusted else verdict.activated | (trust.publishers if trust else frozenset())
    try:
        with opened(path) as bundle:
            again = Reinfer(bundle, allowed, say)
            try:
                return {log: again.run(log) for log in bundle.logs()}
            finally:
                again.close()
    except FormatError:
        return {}


def _chosen(bundle: Bundle, args: Any) -> list[bytes]:
    return [log for log in bundle.logs() if not args.log or log.hex().startswith(args.log.lower())]


def _told(args: Any) -> Iterator[tuple[bytes, Event]]:
    try:
        with opened(args.bundle) as bundle:
            for log in _chosen(bundle, args):
                for event in events(bundle, log, args.start):
                    yield log, event
    except FormatError as error:
        print(f"the bundle cannot be read on: {safe(error.message)} [{error.code}]", file=sys.stderr)


def _timeline(args: Any) -> Iterator[dict[str, Any]]:
    for log, event in _told(args):
        yield {
            "log": log.hex(), "seq": event.seq, "count": event.count, "kind": event.kind, "t": event.t,
            "boot": event.boot, "text": event.text, "gap": event.gap,
        }  # fmt: skip


def _lines(args: Any) -> Iterator[str]:
    last: bytes | None = None
    for log, event in _told(args):
        if log != last:
            yield "" if last is None else "\n"
            yield f"device log {log.hex()}  (times are the device's own, nobody vouches for them)"
            last = log
        times = f" ×{event.count}" if event.count > 1 else ""
        mark = "!" if event.gap else " "
        yield f"{mark} {event.seq:>8}  {event.time:<20}  {safe(event.kind)}{times}: {safe(event.text)}"
