"""The fleet log as the bundle shows it: statements, who signed them, where they stand (format.md 7, 8, 10).

Steps of :meth:`Fleet.load`, for each statement in order of the position it claims:
(1) it decodes; (2) a keyset is signed by the tenant root key and is the next version; (3) anything else is signed by
whoever the newest keyset below its position lets sign it, a device head by the key whose log it is.
What fails is kept as a defect of its position: the leaf stands, the statement says nothing. Positions are claims until
:mod:`edgeseal.verify.view` has tied them to a signed head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import islice

from edgeseal.bundle import Bundle
from edgeseal.cose import PublicKey, Sign1
from edgeseal.errors import EvidenceError, TrustError, VerificationError
from edgeseal.head import DeviceHead, SignedFleetHead
from edgeseal.merkle import leaf_hash, root_from_inclusion
from edgeseal.receipt import INCLUSION, Receipt
from edgeseal.statements import Statement, decode, signer
from edgeseal.statements.enrolment import Enrolment, device_log_id
from edgeseal.statements.keyset import Keyset
from edgeseal.statements.snapshot import Snapshot

MAX_RETRIES: int = 10_000
"""Leaves that each receipt of another leaf is tried on."""
UNSURE: frozenset[str] = frozenset({"no_keyset", "role_missing", "out_of_scope", "unknown_gateway"})
"""What is wrong with a signer by the keysets shown, and may be right by one that is not."""
ROTATION: int = 2
"""A retired gateway key still signs the head that ends in (new keyset, snapshot): up to this size past the keyset
(7).
"""


@dataclass(frozen=True, slots=True)
class Placed:
    """An authentic statement and the position it claims."""

    position: int
    statement: Statement


@dataclass(frozen=True, slots=True)
class KeysetAt:
    """An authentic keyset and the position it claims."""

    position: int
    digest: bytes
    keyset: Keyset


@dataclass(frozen=True, slots=True)
class Defect:
    """A leaf or head that is not what it claims to be; ``reach`` is the fleet size below which all keysets must be
    known before it is sure that its signer might not sign.
    """

    position: int | None
    reason: str
    detail: str
    reach: int = 0


@dataclass(frozen=True, slots=True)
class HeadSeen:
    """A (size, root) of the fleet log that a key signed; ``where`` says what carried it."""

    size: int
    root: bytes
    kid: bytes
    where: str


@dataclass(slots=True)
class Fleet:
    """All that the bundle says of one fleet log. ``root`` is the tenant root kid: trusted, or only claimed by
    devices.
    """

    log: bytes
    root: bytes
    leaves: dict[int, bytes] = field(default_factory=dict)
    subjects: dict[str, list[Placed]] = field(default_factory=dict)
    snapshots: list[Placed] = field(default_factory=list)
    keysets: list[KeysetAt] = field(default_factory=list)
    gateways: dict[bytes, PublicKey] = field(default_factory=dict)
    defects: list[Defect] = field(default_factory=list)
    unjudged: list[str] = field(default_factory=list)
    """Where a fleet head stands that no keyset shown could be asked about."""
    keys: dict[bytes, PublicKey] = field(default_factory=dict)
    heads: list[HeadSeen] = field(default_factory=list)
    named: dict[str, list[tuple[int, Enrolment]]] = field(default_factory=dict)
    receipted: dict[int, list[tuple[int, bytes]]] = field(default_factory=dict)
    statements: int = 0
    _good: set[tuple[bytes, bytes, bytes]] = field(default_factory=set)
    _suspect: list[tuple[bytes, str, Defect]] = field(default_factory=list)

    def load(self, bundle: Bundle) -> None:
        """Read statements, receipts and signed heads of the bundle. Raises what Bundle raises, nothing else."""
        self.keys.update({key.kid: key for key in bundle.public_keys()})
        for position, raw in bundle.statements():
            self.statements += 1
            self.leaves[position] = leaf_hash(raw)
            try:
                self._take(position, raw)
            except EvidenceError as error:
                self.defects.append(Defect(position, error.code, f"statement {position}: {error.message}", position))
        for raw in bundle.fleet_heads():
            self.take_head(raw, "a signed fleet head in the bundle")
        for raw in bundle.receipts():
            self.take_receipt(raw, "a receipt in the bundle")

    def enrolments(self, log: bytes) -> list[Placed]:
        """Return the enrolments of a device log."""
        return [p for p in self.subjects.get(log.hex(), ()) if isinstance(p.statement.content, Enrolment)]

    def device_heads(self, log: bytes) -> list[tuple[int, Statement, DeviceHead]]:
        """Return (position, statement, head) of a device log's heads."""
        return [
            (placed.position, placed.statement, placed.statement.content)
            for placed in self.subjects.get(log.hex(), ())
            if isinstance(placed.statement.content, DeviceHead)
        ]

    def keyset_below(self, position: int) -> Keyset | None:
        """Return the newest keyset below a position, None if the bundle has none."""
        found = [entry.keyset for entry in self.keysets if entry.position < position]
        return found[-1] if found else None

    def retired(self, kid: bytes, size: int) -> bool:
        """Say whether a gateway key was no longer the gateway's when a head of this size was signed."""
        named = [index for index, entry in enumerate(self.keysets) if _names(entry.keyset, kid)]
        if not named:
            return False
        after = named[-1] + 1
        return after < len(self.keysets) and size > self.keysets[after].position + ROTATION

    def take_head(self, raw: bytes, where: str) -> HeadSeen | None:
        """Take an untrusted signed fleet head in; return it if a gateway key of this log signed it.

        Where no keyset is shown at all, as in what a device exports before it met a gateway, nothing says whose key it
        is: it is neither taken nor a defect.
        """
        reach = 0
        try:
            signed = SignedFleetHead.decode(raw)
            reach = signed.head.size
            if not self.keysets and signed.head.log == self.log:
                self.unjudged.append(where)
                return None
            head = signed.verify(self._gateway(signed.signed.kid, signed.head.log))
        except EvidenceError as error:
            self.defects.append(Defect(None, error.code, f"{where}: {error.message}", reach))
            return None
        return self._see(head.size, head.root, signed.signed.kid, where)

    def take_receipt(self, raw: bytes, where: str, leaf: bytes | None = None) -> Receipt | None:
        """Take an untrusted inclusion receipt in, for ``leaf`` or for the statement the bundle has at its position.

        Returns it if it verifies; the position is then proved under the receipt's head. A receipt for a position that
        the bundle does not show says nothing and returns None; one that is of another leaf waits for :meth:`retry`.
        """
        position, reach = None, 0
        try:
            receipt = Receipt.decode(raw)
            position, reach = receipt.index, receipt.size
            entry = leaf if leaf is not None else self.leaves.get(position)
            if receipt.kind != INCLUSION or entry is None:
                return None
            self._hold(receipt, entry, where)
            return receipt
        except EvidenceError as error:
            defect = Defect(position, error.code, f"{where}: {error.message}", reach)
            if leaf is None and position is not None:
                self._suspect.append((raw, where, defect))
            else:
                self.defects.append(defect)
            return None

    def retry(self, leaves: Iterable[bytes]) -> None:
        """Try the receipts of other leaves on these: heads that devices show and the fleet log shown does not hold.

        One that holds shows what a gateway promised elsewhere; one that does not is a defect of its position.
        """
        others = list(islice(leaves, MAX_RETRIES)) if self._suspect else []
        for raw, where, defect in self._suspect:
            receipt = Receipt.decode(raw)
            if not any(self._fits(receipt, leaf, where) for leaf in others):
                self.defects.append(defect)
        self._suspect.clear()

    def _fits(self, receipt: Receipt, leaf: bytes, where: str) -> bool:
        try:
            self._hold(receipt, leaf, where)
        except EvidenceError:
            return False
        return True

    def _hold(self, receipt: Receipt, leaf: bytes, where: str) -> None:
        root = root_from_inclusion(leaf, receipt.index, receipt.size, receipt.path)
        self._check_signed(receipt.signed, root, self._gateway(receipt.signed.kid, receipt.log))
        self._see(receipt.size, root, receipt.signed.kid, where)
        if self.leaves.get(receipt.index) == leaf:
            self.receipted.setdefault(receipt.index, []).append((receipt.size, root))

    def _see(self, size: int, root: bytes, kid: bytes, where: str) -> HeadSeen:
        seen = HeadSeen(size, root, kid, where)
        if all((h.size, h.root, h.kid) != (size, root, kid) for h in self.heads[-1:]):
            self.heads.append(seen)
        return seen

    def _gateway(self, kid: bytes, log: bytes) -> PublicKey:
        if log != self.log:
            raise VerificationError("wrong_log", f"of fleet log {log.hex()}")
        key = self.gateways.get(kid)
        if key is None:
            raise TrustError("unknown_gateway", f"key {kid.hex()} is the gateway of no keyset shown")
        return key

    def _take(self, position: int, raw: bytes) -> None:
        # (1)
        statement = decode(raw)
        content = statement.content
        placed = Placed(position, statement)
        if isinstance(content, Keyset):
            # (2)
            self._take_keyset(placed, content)
        else:
            # (3)
            statement.signed.verify(self._signer(position, statement))
            if isinstance(content, Enrolment):
                self.keys[content.key.kid] = content.key
                self.named.setdefault(content.name, []).append((position, content))
        if isinstance(content, Snapshot):
            if content.log != self.log or content.size != position + 1:
                raise VerificationError("snapshot_size", f"a snapshot of size {content.size} for another place or log")
            self.snapshots.append(placed)
            return
        self.subjects.setdefault(content.sub, []).append(placed)

    def _take_keyset(self, placed: Placed, content: Keyset) -> None:
        if content.root.kid != self.root:
            raise TrustError("foreign_root", f"a keyset of tenant root {content.root.kid.hex()}")
        placed.statement.signed.verify(content.root)
        if content.log != self.log:
            raise VerificationError("wrong_log", f"a keyset of fleet log {content.log.hex()}")
        if self.keysets:
            last = self.keysets[-1]
            step = content.version - last.keyset.version
            if step < 1 or (step == 1 and content.prev != last.digest):
                raise VerificationError("keyset_chain", f"keyset {content.version} does not follow the one before it")
        self.keysets.append(KeysetAt(placed.position, placed.statement.digest, content))
        self.gateways.update({member.key.kid: member.key for member in content.with_role("gateway")})

    def _signer(self, position: int, statement: Statement) -> PublicKey:
        content = statement.content
        if isinstance(content, DeviceHead):
            kid = statement.signed.kid
            if device_log_id(kid) != content.log:
                raise VerificationError("wrong_key", f"a head of log {content.sub} by another log's key")
            if kid not in self.keys:
                raise VerificationError("unknown_key", f"no key {kid.hex()} in the bundle")
            return self.keys[kid]
        keyset = self.keyset_below(position)
        if keyset is None:
            raise TrustError("no_keyset", "no keyset below this position is in the bundle")
        try:
            return signer(statement, keyset)
        except TrustError:
            # The old key's last head ends in (new keyset, snapshot): that snapshot is the old key's (7).
            late = isinstance(content, Snapshot) and self.keysets[-1].position == position - 1
            if not late or len(self.keysets) < 2:
                raise
            return signer(statement, self.keysets[-2].keyset)

    def _check_signed(self, signed: Sign1, root: bytes, key: PublicKey) -> None:
        """Check a fleet-head signature over ``root`` once: one signature serves all receipts of a head (10)."""
        known = (signed.protected, signed.signature, root)
        if known not in self._good:
            signed.verify(key, root)
            self._good.add(known)


def _names(keyset: Keyset, kid: bytes) -> bool:
    return any(member.key.kid == kid for member in keyset.with_role("gateway"))
