"""What is known of one device's history: its signed heads, and what reading it once left to be judged (format.md 4,
5).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from edgeseal.bundle import Bundle
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError
from edgeseal.head import DeviceHead, SignedDeviceHead
from edgeseal.statements import Statement
from edgeseal.statements.enrolment import device_log_id
from edgeseal.verify.case import Cases
from edgeseal.verify.fleet import Defect


@dataclass(frozen=True, slots=True)
class Seen:
    """A record as watchers see it. ``fields`` is its decoded body; None when it is withheld or malformed."""

    seq: int
    boot: int
    t: int
    mono: int
    kind: str
    fields: dict[str, Any] | None


class Watcher(Protocol):
    """Something that follows a history kind by kind."""

    kinds: frozenset[str]

    def see(self, record: Seen) -> None:
        """Take one record of one of ``kinds``, in order."""


@dataclass(slots=True)
class Boot:
    """The first and the last record of one run of the agent; times in ms."""

    number: int
    first_seq: int
    first_t: int
    first_mono: int
    last_seq: int
    last_t: int
    last_mono: int
    last_kind: str


@dataclass(frozen=True, slots=True)
class HeadFact:
    """A device head whose signature holds; ``position`` is where the fleet log claims to have it, None if only the
    device shows it.
    """

    head: DeviceHead
    raw: bytes
    position: int | None


@dataclass(slots=True)
class History:
    """What the bundle shows of one device log."""

    log: bytes
    cases: Cases
    key: PublicKey | None = None
    heads: list[HeadFact] = field(default_factory=list)
    size: int = 0
    records: int = 0
    holes: list[tuple[int, int]] = field(default_factory=list)
    roots: dict[int, bytes] = field(default_factory=dict)
    first_leaf: bytes | None = None
    bare: int = 0
    header_only: int = 0
    lost_body: tuple[int, str] | None = None
    malformed: int = 0
    closed_at: int | None = None
    successor: bytes | None = None
    boots: list[Boot] = field(default_factory=list)
    genesis: dict[str, Any] | None = None
    bound: dict[str, Any] | None = None
    defects: list[Defect] = field(default_factory=list)
    """What is wrong with the fleet head in genesis."""

    def take_heads(
        self, bundle: Bundle, placed: Iterable[tuple[int, Statement, DeviceHead]], keys: dict[bytes, PublicKey]
    ) -> None:
        """Take in every signed head of this log: those that stand in the fleet log, whose signatures were checked
        there, and those that the bundle shows besides, whose signatures are checked here.
        """
        known: set[bytes] = set()
        for position, statement, head in placed:
            known.add(statement.signed.raw)
            self.key = keys.get(statement.signed.kid, self.key)
            self.heads.append(HeadFact(head, statement.signed.raw, position))
        for raw in dict.fromkeys(bundle.heads(self.log)):
            if raw not in known:
                self._take_head(raw, keys)
        self.heads.sort(key=lambda fact: (fact.head.size, fact.position if fact.position is not None else 1 << 64))

    def _take_head(self, raw: bytes, keys: dict[bytes, PublicKey]) -> None:
        integrity = self.cases["integrity"]
        try:
            signed = SignedDeviceHead.decode(raw)
            key = keys.get(signed.signed.kid)
            if device_log_id(signed.signed.kid) != self.log or signed.head.log != self.log:
                integrity.fail("wrong_key", f"a head said to be of this log is signed by {signed.signed.kid.hex()}")
            elif key is None:
                integrity.leave_open("unknown_key", f"no public key {signed.signed.kid.hex()} is in the bundle")
            else:
                self.heads.append(HeadFact(signed.verify(key), raw, None))
                self.key = key
        except EvidenceError as error:
            integrity.fail(error.code, f"a signed head of this log: {error.message}")
