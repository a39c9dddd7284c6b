"""What an investigation asks of a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol


class Endpoint(Protocol):
    """What is asked of a node; :class:`edgeseal.adapters.evm.EvmClient` is one."""

    url: str

    def chain_id(self) -> int:
        """Return the chain id."""

    def header(self, block: Any) -> Any:
        """Return the header of a block (number, hash, timestamp), None if there is none."""

    def code_hash(self, address: bytes, block: Any = ...) -> bytes:
        """Return Keccak-256 of the code at an address."""

    def call(self, to: bytes, data: bytes, block: Any = ...) -> bytes:
        """Return what a call answers."""

    def logs(self, addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[Any]:
        """Return logs."""

    def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
        """Return the trie nodes of a state proof. Raises Rejected where it gives none."""
