"""A device's history told in order, by sequence number and never by wall clock: what happened, and where something
is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import statements
from edgeseal.bundle import Bundle
from edgeseal.errors import EvidenceError
from edgeseal.head import SignedDeviceHead
from edgeseal.record import Header, body_hash, decode_body
from edgeseal.segment import item_from_list
from edgeseal.statements.command import Command
from edgeseal.verify.times import when


@dataclass(frozen=True, slots=True)
class Event:
    """One line of the story: ``t`` is the device's wall clock in ms (0: unknown, or several records), ``count`` how
    many records it sums up, ``gap`` whether something is missing or withheld here. ``text`` holds words from
    evidence: escape it before it is shown."""

    seq: int
    kind: str
    t: int
    boot: int
    text: str
    count: int = 1
    gap: bool = False

    @property
    def time(self) -> str:
        """The device's wall clock as text, which nobody vouches for."""
        return when(self.t // 1000) if self.t else "?"


def events(bundle: Bundle, log: bytes, start: int = 0) -> Iterator[Event]:
    """Yield the events of a device log from record ``start`` on; runs of inferences by one model are one event.

    Raises what Bundle raises. What cannot be read is an event that says so.
    """
    run: list[Event] = []
    expected = 0
    for first, items in bundle.records(log):
        if first > expected and first > start:
            yield from _flush(run)
            yield Event(
                expected,
                "missing",
                0,
                0,
                f"records {expected} to {first - 1} are not in the bundle",
                first - expected,
                True,
            )
        for seq, item in enumerate(items, first):
            if seq < start:
                continue
            event = _event(seq, item)
            if run and (event.kind, event.text, event.boot) != (run[0].kind, run[0].text, run[0].boot):
                yield from _flush(run)
            if event.kind == "inference":
                run = [run[0] if run else event, event] if len(run) < 2 else [run[0], event]
                continue
            yield event
        expected = first + len(items)
    yield from _flush(run)
    signed = max((_size(raw) for raw in bundle.heads(log)), default=0)
    if signed > max(expected, start):
        text = f"a head here says that there are {signed} records, those from {expected} on are not in the bundle"
        yield Event(expected, "missing", 0, 0, text, signed - expected, True)


def _size(raw: bytes) -> int:
    try:
        return SignedDeviceHead.decode(raw).head.size
    except EvidenceError:
        return 0


def _flush(run: list[Event]) -> Iterator[Event]:
    if run:
        first, last = run[0], run[-1]
        count = last.seq - first.seq + 1
        yield Event(first.seq, first.kind, first.t, first.boot, first.text, count, first.gap)
    run.clear()


def _event(seq: int, item: Any) -> Event:
    try:
        read = item_from_list(item)
        if read.header is None:
            return Event(seq, "?", 0, 0, f"only a leaf hash is here: {read.reason}", gap=True)
        header = Header.decode(read.header)
        if read.body is None:
            return Event(seq, header.kind, header.t, header.boot, f"body withheld: {read.reason}", gap=True)
        if body_hash(read.body) != header.body:
            return Event(
                seq, header.kind, header.t, header.boot, "the body is not the one the header commits to", gap=True
            )
        text = describe(header.kind, decode_body(header.kind, read.body))
        return Event(
            seq,
            header.kind,
            header.t,
            header.boot,
            text,
            gap=header.kind in ("gap", "thinned", "tombstone", "tamper", "fault"),
        )
    except EvidenceError as error:
        return Event(seq, "?", 0, 0, f"cannot be read: {error.code}", gap=True)


def describe(kind: str, fields: dict[str, Any]) -> str:
    """Return what a record of ``kind`` says, in a few words."""
    teller = _TELLERS.get(kind)
    if teller is not None:
        return teller(fields)
    return ", ".join(f"{key} {_word(value)}" for key, value in fields.items() if key != "s")


def _word(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()[:16] + "…" if len(value) > 8 else value.hex()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_word(item)}" for key, item in value.items()) + "}"
    return "[" + ", ".join(map(_word, value)) + "]" if isinstance(value, list) else str(value)


def _command(fields: dict[str, Any]) -> str:
    try:
        statement = statements.decode(fields["cmd"])
    except EvidenceError as error:
        return f"a command that cannot be read ({error.code})"
    content = statement.content
    if not isinstance(content, Command):
        return "no command"
    return f"{content.action} for {content.sub} by operator {_word(statement.signed.kid)}"


_TELLERS: Final[dict[str, Callable[[dict[str, Any]], str]]] = {
    "genesis": lambda f: f"device {f['device']}, epoch {f['epoch']}, tenant root {_word(f['root'])}",
    "key.bound": lambda f: f"keyset {f['keyset'][0]}",
    "boot": lambda f: f"{f['reason']}, after {'a clean' if f['clean'] else 'an unclean'} end, build {f['build']}",
    "inference": lambda f: f"model {_word(f['model'])} on {f['rt'][0]} {f['rt'][1]}, {f['rt'][2]}",
    "command.received": _command,
    "command.result": lambda f: f"command {_word(f['cmd'])} {'done' if f['ok'] else 'failed: ' + str(f['reason'])}",
    "command.refused": lambda f: f"command {_word(f['cmd'])} refused: {f['reason']}, {f['count']} times",
    "model.activated": lambda f: (
        f"{f['name']} {f['version']}, package {_word(f['model'])}, "
        + (f"by command {_word(f['cmd'])}" if f["cmd"] else "by local configuration")
    ),
    "policy.changed": lambda f: f"keyset {f['version']}",
    "heartbeat": lambda f: f"up {f['up']} s, {f['records']} records, {f['unsent']} unsent",
    "decision.verdict": lambda f: (
        f"{f['agent']} {_word(f['id'])}: {'allowed' if f['allow'] else 'denied'} by {f['rule']}"
    ),
    "decision.intent": lambda f: f"{f['agent']} {_word(f['id'])} wants to {f['action']}",
    "decision.outcome": lambda f: f"{f['agent']} {_word(f['id'])}: {'done' if f['ok'] else 'not done'}",
}
