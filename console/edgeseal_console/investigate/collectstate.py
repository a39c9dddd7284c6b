"""The part of ``edgeseal collect`` that is about chain state: proofs pass from a gateway and devices' exports into the
bundle, file by file. Nothing is believed; what proves nothing is left to the verifier to name.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from edgeseal import cbor
from edgeseal.bundle import Bundle
from edgeseal.bundlewriter import Writer
from edgeseal.errors import EvidenceError, Unavailable
from edgeseal.stateevidence import AccountEvidence, CommandChain, StorageEvidence

PAGE: Final = 64
ENTRIES: Final = 2_048
WAIT_S: Final = 30.0
"""How long a gateway is waited for that has not yet taken the proofs of its newest anchor."""
_PAUSE_S: Final = 0.5


@dataclass
class ChainState:
    """The proofs of one collection. ``page`` asks the gateway, and returns an empty list where there is none."""

    exports: list[Bundle]
    page: Callable[[str, Any], Any]
    say: Callable[[str], None]
    _files: dict[bytes, int] = field(default_factory=dict)

    def write(self, writer: Writer, index: dict[str, Any], counts: dict[str, int]) -> None:
        """Write every proof once; ``index`` is the gateway's table of contents, empty without a gateway."""
        self.say("chain state")
        roots: dict[bytes, None] = {}
        blocks: set[bytes] = set()
        for found in self._accounts(index):
            if found.block not in blocks:
                blocks.add(found.block)
                writer.accounts(found)
                roots.update(dict.fromkeys(_roots(found)))
        for storage in self._storage(list(roots)):
            number = self._files.get(storage.root, 0)
            self._files[storage.root] = number + 1
            writer.storage(storage, number)
        self._commands(writer, index)
        if blocks:
            counts["states"] = len(blocks)

    def _accounts(self, index: dict[str, Any]) -> Iterator[AccountEvidence]:
        for export in self.exports:
            yield from export.accounts()
        if not index or "logged" not in index:
            return  # no gateway, or one that keeps no proofs
        start, asked_until = 0, time.monotonic() + WAIT_S
        newest = max((anchor["number"] for anchor in index["anchors"]), default=-1)
        pending = any(anchor["state"] == "pending" for anchor in index["anchors"] if anchor["number"] == newest)
        while True:
            found = self.page("/v1/export/accounts", {"from": start, "limit": PAGE})
            for fields in found:
                one = AccountEvidence.decode(cbor.encode(fields))
                start = max(start, _number(one) + 1)
                if _number(one) > newest:
                    return  # made while this was collected: it would tell of more than is here
                yield one
            if not found and (not pending or start > newest or time.monotonic() > asked_until):
                return
            if not found:
                time.sleep(_PAUSE_S)

    def _storage(self, roots: list[bytes]) -> Iterator[StorageEvidence]:
        for export in self.exports:
            yield from export.storage()
        for root in roots:
            start = bytes(32)
            while found := self.page(f"/v1/export/storage/{root.hex()}", {"from": start.hex()}):
                one = StorageEvidence.decode(cbor.encode(found))
                yield one
                if one.slots[-1] == b"\xff" * 32:
                    break
                start = (int.from_bytes(one.slots[-1], "big") + 1).to_bytes(32, "big")

    def _commands(self, writer: Writer, index: dict[str, Any]) -> None:
        written: set[str] = set()
        for audience in index.get("logged", []):
            start = 0
            while found := self.page(f"/v1/export/commands/{audience}", {"from": start, "limit": ENTRIES}):
                one = CommandChain.decode(cbor.encode(found))
                written.add(one.name(start))
                writer.commands(one, start)
                start += len(one.entries)
        if not index:
            for export in self.exports:
                numbers: dict[bytes, int] = {}
                for one in export.commands():
                    number = numbers.get(one.audience, 0)
                    numbers[one.audience] = number + len(one.entries)
                    if one.name(number) not in written:
                        written.add(one.name(number))
                        writer.commands(one, number)


def _roots(found: AccountEvidence) -> list[bytes]:
    """Return the storage roots that proofs of accounts lead to. Raises Unavailable ``gateway_answer`` if they fail."""
    try:
        return [account.storage_root for account in found.verify()[1].values() if account is not None]
    except EvidenceError as error:
        raise Unavailable("gateway_answer", f"accounts that prove nothing: {error.message}") from error


def _number(found: AccountEvidence) -> int:
    try:
        return found.verify()[0].number
    except EvidenceError as error:
        raise Unavailable("gateway_answer", f"accounts that prove nothing: {error.message}") from error
