"""Events of a contract, looked for in all blocks since the tenant's log was opened."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from edgeseal.adapters.evm import FoundLog
from edgeseal_console.operate.registry import Registry

SPAN: Final = 5_000
"""Blocks asked for at once."""


def every_event(registry: Registry, address: bytes, topics: Sequence[bytes | None]) -> Iterator[FoundLog]:
    """Yield a contract's logs with these topics (None matches any), oldest first. Raises Rejected, Unavailable."""
    first, newest = registry.network.first_block, registry.client.block_number()
    while first <= newest:
        yield from registry.client.logs([address], topics, first, min(newest, first + SPAN - 1))
        first += SPAN
