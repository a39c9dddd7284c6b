"""What a chain said about the fleet log, and how far it may be believed (DESIGN: Verdicts; format.md 14.1, 15).

The verifier has no network. A block hash in the trust file needs none; anything else a chain says comes in as a
:class:`ChainView`, which the caller read under the rules stated there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from edgeseal.bundle import AnchorEvidence
from edgeseal.errors import EvidenceError, VerificationError
from edgeseal.evmproof import verify_log
from edgeseal.fleetlog_event import decode_anchored
from edgeseal.stateevidence import AccountEvidence, StorageEvidence
from edgeseal.trust import OPERATOR, ChainTrust, Trust
from edgeseal.verify.verdict import (
    ATTESTED,
    PROVED,
)


@dataclass(frozen=True, slots=True)
class Ground:
    """On what an answer stands: PROVED, or ATTESTED by somebody; ``how`` says in words why the block is believed."""

    ground: str
    by: str | None
    how: str


@dataclass(frozen=True, slots=True)
class Interval:
    """Positions [start, until) of one fleet log; ``until`` None while open. ``ended_at`` is the anchored size at
    which the end was
    registered: the revocation's own position."""

    start: int
    until: int | None
    ended_at: int | None


@dataclass(frozen=True, slots=True)
class RegistryKey:
    """What the identity registry says of one key in this fleet log."""

    role: str
    intervals: tuple[Interval, ...]


@dataclass(frozen=True, slots=True)
class ChainState:
    """Chain state at one final block: the fleet log's anchored (size, root) and the registry's keys."""

    block: bytes
    number: int
    timestamp: int
    size: int
    root: bytes
    keys: Mapping[bytes, RegistryKey] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Proofs:
    """Proofs of contracts' state after the block of a :class:`ChainState`, in the forms a bundle has them."""

    accounts: AccountEvidence
    storage: tuple[StorageEvidence, ...]


@dataclass(frozen=True, slots=True)
class ChainView:
    """What the caller read from RPC endpoints and may be believed: by an endpoint that the trust file names, or as
    two independent endpoints that both report the block final agree.

    ``how`` says which; ``blocks`` are those of the bundle's anchor blocks found canonical and final; ``state`` is
    the newest state read, after the contracts' code was compared with the trust file; ``problems`` are (reason,
    detail) of what could not be believed; ``proofs`` are those of the state, where the endpoints gave any.
    """

    how: str
    blocks: frozenset[bytes] = frozenset()
    state: ChainState | None = None
    problems: tuple[tuple[str, str], ...] = ()
    proofs: Proofs | None = None


@dataclass(frozen=True, slots=True)
class Anchor:
    """A head that the fleet log's contract took, in a block that is believed. ``time`` is the block's, in seconds."""

    size: int
    root: bytes
    chain: int
    block: bytes
    number: int
    time: int
    ground: Ground


class Anchors:
    """The anchors of one fleet log that are believed, and why others are not."""

    def __init__(self, trust: Trust | None, view: ChainView | None) -> None:
        self._chain = trust.chain if trust else None
        self._log = trust.fleet_log if trust else None
        self._view = view
        self.believed: list[Anchor] = []
        self.failures: list[tuple[str, str]] = []
        self.open: list[tuple[str, str]] = list(view.problems) if view else []

    def load(self, evidence: Iterable[AnchorEvidence]) -> None:
        """Check each anchor's evidence, all of it untrusted; sort it into believed, failed and open."""
        for anchor in _once(evidence):
            try:
                self._check(anchor)
            except EvidenceError as error:
                self.failures.append((error.code, f"anchor in block {anchor.block.hex()}: {error.message}"))
        if self._view and self._view.state and self._chain:
            state = self._view.state
            ground = _ground(self._chain, self._view.how)
            if state.size:
                self.believed.append(
                    Anchor(state.size, state.root, self._chain.id, state.block, state.number, state.timestamp, ground)
                )
        self.believed.sort(key=lambda anchor: (anchor.size, anchor.number))

    def take(self, heads: Iterable[Anchor]) -> None:
        """Take heads that a believed state shows, beside those that events did."""
        known = {(anchor.block, anchor.size, anchor.root) for anchor in self.believed}
        self.believed += [head for head in heads if (head.block, head.size, head.root) not in known]
        self.believed.sort(key=lambda anchor: (anchor.size, anchor.number))

    @property
    def chain_id(self) -> int | None:
        """The id of the trusted chain."""
        return self._chain.id if self._chain else None

    @property
    def state(self) -> ChainState | None:
        """The newest chain state that is believed."""
        return self._view.state if self._view else None

    def ground_of_state(self) -> Ground | None:
        """Return on what the chain state stands, None where there is none."""
        return _ground(self._chain, self._view.how) if self._view and self._view.state and self._chain else None

    def belief(self, block: bytes) -> Ground | None:
        """Return why a block hash is believed to be final on the trusted chain, None if it is not."""
        if self._chain is None:
            return None
        if block in self._chain.blocks:
            return _ground(self._chain, f"block hash {block.hex()[:16]}… in the trust file")
        if self._view and (block in self._view.blocks or (self._view.state and self._view.state.block == block)):
            return _ground(self._chain, self._view.how)
        return None

    def _check(self, anchor: AnchorEvidence) -> None:
        proved = verify_log(
            anchor.block, anchor.header, anchor.receipt, anchor.index, anchor.nodes, anchor.contract, anchor.log
        )
        event = decode_anchored(proved.log)
        if self._chain is None:
            self._leave("no_chain_trusted", "the trust file names no chain, so no anchor is believed")
            return
        if self._chain.fleet_log_contract is None:
            self._leave("contract_unknown", "the trust file names no fleet log contract, so no anchor is believed")
            return
        if anchor.chain != self._chain.id or anchor.contract != self._chain.fleet_log_contract:
            raise VerificationError("anchor_elsewhere", "taken by another contract or chain than the trusted one")
        if event.log_id != self._log:
            raise VerificationError("anchor_log", f"taken for fleet log {event.log_id.hex()}")
        ground = self.belief(anchor.block)
        if ground is None:
            self._leave("block_not_believed", f"nothing believed says that block {anchor.block.hex()} is final")
            return
        header = proved.header
        self.believed.append(
            Anchor(event.size, event.root, anchor.chain, anchor.block, header.number, header.timestamp, ground)
        )

    def _leave(self, reason: str, detail: str) -> None:
        if all(entry[0] != reason for entry in self.open):
            self.open.append((reason, detail))


def _ground(chain: ChainTrust, how: str) -> Ground:
    if chain.kind == OPERATOR:
        return Ground(ATTESTED, f"operator-run chain {chain.id} ({how})", how)
    return Ground(PROVED, None, how)


def _once(evidence: Iterable[AnchorEvidence]) -> Iterator[AnchorEvidence]:
    seen = set()
    for anchor in evidence:
        if (anchor.block, anchor.log, anchor.index) not in seen:
            seen.add((anchor.block, anchor.log, anchor.index))
            yield anchor
