"""The events of one fleet log on chain, newest first, by the contract's own back-pointers: no index, no scan.

Each event names the block of the one before it, as the chain's NUMBER opcode counts blocks. On a chain where a node
numbers blocks otherwise (Arbitrum) the walk ends at once, and who needs more looks through ranges of blocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from edgeseal.adapters.evm import BoundContract, FoundLog

_POINTING: Final = ("Anchored", "GatewayKeyChanged")
_FIRST: Final = "Opened"


def events(fleet: BoundContract, log: bytes) -> Iterator[FoundLog]:
    """Yield the log's events, newest first, as far as the back-pointers lead; the first of all is ``Opened``.

    Raises Unavailable as the node does, and Reverted for a log the contract does not know.
    """
    contract = fleet.contract
    names = {contract.event_topic(name): name for name in (*_POINTING, _FIRST)}
    block = int(fleet.call("gatewayOf", log)[2])
    while block:
        here = [
            entry
            for entry in fleet.client.logs([fleet.address], [None, log], block, block)
            if entry.log.topics and entry.log.topics[0] in names
        ]
        before = block
        for entry in reversed(here):
            yield entry
            name = names[entry.log.topics[0]]
            pointed = 0 if name == _FIRST else int(contract.decode_event(name, entry.log)["prevBlock"])
            before = min(before, pointed)
        if before >= block:
            return
        block = before


def opened_block(fleet: BoundContract, log: bytes) -> int:
    """Return the block in which the log was opened, 0 where the back-pointers do not lead there. Raises as
    :func:`events`.
    """
    opened = fleet.contract.event_topic(_FIRST)
    for entry in events(fleet, log):
        if entry.log.topics[0] == opened:
            return entry.block_number
    return 0
