"""The events of one fleet log on chain, newest first, by the contract's own back-pointers: no index, no scan.

Each event names the block of the one before it, as the chain's NUMBER opcode counts blocks. On a chain where a node
numbers blocks otherwise (Arbitrum) the pointers lead nowhere: then ranges of blocks are looked through, from the newest
down, for SCAN_BOUND blocks at most and never from the first.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgeseal.adapters.evm import BoundContract, FoundLog, Rejected

SPAN: Final = 5_000
"""Blocks asked for in one look; halved as often as a node refuses so many."""
SMALLEST_SPAN: Final = 16
SCAN_BOUND: Final = 2_000_000
"""Blocks looked through where pointers lead nowhere: six days of a chain with four blocks a second."""
_FIRST: Final = "Opened"
_POINTER: Final = "prevBlock"


def events(fleet: BoundContract, log: bytes, floor: int = 0, bound: int = SCAN_BOUND) -> Iterator[FoundLog]:
    """Yield the log's events, newest first; the first of all is ``Opened``.

    Args:
        floor: a block below which nobody needs events, as the node numbers blocks; only a scan stops there.
        bound: how many blocks a scan looks through.

    Raises Unavailable and Rejected as the node does, and Reverted for a log the contract does not know.
    """
    names = _names(fleet)
    block, lowest = int(fleet.call("gatewayOf", log)[2]), None
    while block:
        here = _between(fleet, log, names, block, block)
        if not here:
            yield from _scan(fleet, log, names, max(floor, 0), bound, lowest)
            return
        before = lowest = block
        for entry in reversed(here):
            yield entry
            name = names[entry.log.topics[0]]
            pointed = 0 if name == _FIRST else int(fleet.contract.decode_event(name, entry.log)[_POINTER])
            before = min(before, pointed)
        if before >= block:
            return
        block = before


def _names(fleet: BoundContract) -> dict[bytes, str]:
    """Return topic → name of the events that belong to a log's chain of pointers, and of the first."""
    pointing = fleet.contract.events_with(_POINTER)
    return {fleet.contract.event_topic(name): name for name in (*pointing, _FIRST)}


def _between(fleet: BoundContract, log: bytes, names: dict[bytes, str], first: int, last: int) -> list[FoundLog]:
    found = fleet.client.logs([fleet.address], [None, log], first, last)
    return [entry for entry in found if entry.log.topics and entry.log.topics[0] in names]


def _scan(
    fleet: BoundContract, log: bytes, names: dict[bytes, str], floor: int, bound: int, below: int | None
) -> Iterator[FoundLog]:
    """Yield the events in ranges from the newest block, or the one below ``below``, down."""
    newest = fleet.client.block_number()
    last = newest if below is None else min(newest, below - 1)
    floor, span = max(floor, newest - bound + 1, 0), SPAN
    while last >= floor:
        first = max(floor, last - span + 1)
        try:
            found = _between(fleet, log, names, first, last)
        except Rejected:
            if span <= SMALLEST_SPAN:
                raise
            span //= 2
            continue
        for entry in reversed(found):
            yield entry
            if names[entry.log.topics[0]] == _FIRST:
                return
        last = first - 1
