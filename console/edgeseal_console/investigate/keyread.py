"""What one RPC endpoint says of a key in the identity registry: its intervals by state, never by events alone.

A node may have pruned the logs of old blocks, so events that are missing say nothing. The registry's state holds every
interval; events only add at which size an end was registered, and only where they add up to the same intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from edgeseal import contractstate
from edgeseal.adapters.evm import Contract, Rejected
from edgeseal.adapters.evmstate import StateReader
from edgeseal.contractstate import MAX_ITEMS, ROLES
from edgeseal.errors import Unavailable
from edgeseal.network import endpoint_name as name_of
from edgeseal.verify.chain import Interval, RegistryKey
from edgeseal_console.investigate.endpoint import Endpoint

MAX_EVENTS: Final = 256
"""Registry events read for one key."""

_EVENTS: Final = ("KeyRegistered", "KeySuspended", "KeyReinstated", "KeyRevoked")
_OPEN: Final = 2**64 - 1


class KeyReader:
    """Reads keys of one fleet log in the registry at ``address``, through one endpoint. Not thread-safe; may block."""

    def __init__(self, endpoint: Endpoint, address: bytes, log: bytes) -> None:
        """Read through ``endpoint``; nothing is asked yet."""
        self._endpoint = endpoint
        self._address = address
        self._log = log
        self._registry = Contract("IdentityRegistry")

    def called(self, kid: bytes, number: int) -> RegistryKey | None:
        """Return a key as calls at block ``number`` tell it, None for one that is not registered.

        Raises Unavailable ``rpc_answer`` for what the contract never answers, and as the endpoint does.
        """
        try:
            answer = self._call("keyOf", kid, number)
        except Rejected:
            return None
        role, status, last, start, until = answer
        if not status or role >= len(ROLES):
            return None
        starts, ends = self._call("earlierIntervals", kid, number)
        if len(starts) != len(ends) or len(starts) > MAX_ITEMS:
            where = name_of(self._endpoint.url)
            raise Unavailable("rpc_answer", f"{where} tells of {len(starts)} starts and {len(ends)} ends")
        told = [*zip(starts, ends, strict=True), (start, until)]
        plain = in_force((start, None if until == _OPEN else until) for start, until in told)
        return RegistryKey(ROLES[role], self._dated(plain, kid, last))

    def proved(self, reader: StateReader, kid: bytes) -> RegistryKey | None:
        """Return a key as the registry's storage, proved, holds it, None for one that is not registered.

        Raises as :meth:`StateReader.ask`, and VerificationError ``state_value`` for what the contract never writes.
        """
        state = reader.ask(self._address, lambda read: contractstate.key_state(read, self._log, kid))
        if state is None:
            return None
        return RegistryKey(state.role, self._dated(in_force(state.intervals), kid, state.last_block))

    def _call(self, function: str, kid: bytes, number: int) -> tuple[Any, ...]:
        data = self._registry.encode(function, self._log, kid)
        return self._registry.decode_result(function, self._endpoint.call(self._address, data, number))

    def _dated(self, plain: tuple[Interval, ...], kid: bytes, last_block: int) -> tuple[Interval, ...]:
        """Return the same intervals, with the sizes at which their ends were registered where events tell them."""
        if all(interval.until is None for interval in plain):
            return plain
        told = intervals(self._events(kid, last_block))
        same = [(i.start, i.until) for i in told] == [(i.start, i.until) for i in plain]
        return told if same else plain

    def _events(self, kid: bytes, block: int) -> list[tuple[str, dict[str, Any]]]:
        """Return a key's events, oldest first, as far back as the node has them: each names the block of the one
        before.
        """
        registry = self._registry
        topics = {registry.event_topic(name): name for name in _EVENTS}
        found: list[tuple[str, dict[str, Any]]] = []
        seen: set[int] = set()
        while block and block not in seen and len(found) < MAX_EVENTS:
            seen.add(block)
            here = [entry.log for entry in self._logs(kid, block)]
            decoded = [
                (topics[entry.topics[0]], registry.decode_event(topics[entry.topics[0]], entry))
                for entry in here
                if entry.topics[0] in topics
            ]
            if not decoded:
                break
            found = decoded + found
            block = int(decoded[0][1].get("prevBlock", 0))
        return found

    def _logs(self, kid: bytes, block: int) -> Sequence[Any]:
        try:
            return self._endpoint.logs([self._address], [None, self._log, kid], block, block)
        except Rejected:
            return []  # a node that forgot these logs may say so instead of giving none


def in_force(pairs: Iterable[tuple[int, int | None]]) -> tuple[Interval, ...]:
    """Return intervals [start, until), in the order they were made, each cut where a later one ends below its end:
    so the contract counts them (``IIdentityRegistry.earlierIntervals``).
    """
    found: list[Interval] = []
    for start, until in pairs:
        if until is not None:
            found = [_cut(interval, until, None) for interval in found]
        found.append(Interval(start, None if until is None else max(until, start), None))
    return tuple(found)


def intervals(events: Iterable[tuple[str, dict[str, Any]]]) -> tuple[Interval, ...]:
    """Return the validity that a key's registry events, oldest first, add up to: what was ended stays ended, and a
    later, lower end also cuts earlier intervals."""
    found: list[Interval] = []
    for name, values in events:
        if name in ("KeyRegistered", "KeyReinstated"):
            found.append(Interval(int(values["from"]), None, None))
            continue
        until, ended_at = int(values["until"]), int(values["anchored"])
        found = [_cut(interval, until, ended_at) for interval in found]
    return tuple(found)


def _cut(interval: Interval, until: int, ended_at: int | None) -> Interval:
    if interval.until is not None and interval.until <= until:
        return interval
    known = [size for size in (ended_at, interval.ended_at) if size is not None]
    return Interval(interval.start, max(until, interval.start), min(known, default=None))
