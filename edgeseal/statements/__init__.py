"""Whatever may be a leaf of the fleet log: one table typ → signer's role and payload (``docs/format.md`` section 8).

Make one with :func:`prepare` and a signature over its ``to_be_signed``; take one apart with :func:`decode`, which
checks its shape and its subject. Who may sign it is judged by the keyset below its position: :func:`signer`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Protocol, Self, cast

from edgeseal import cose, limits
from edgeseal.errors import FormatError, VerificationError
from edgeseal.head import DeviceHead
from edgeseal.merkle import leaf_hash
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment
from edgeseal.statements.keyset import Keyset
from edgeseal.statements.revocation import Revocation
from edgeseal.statements.snapshot import Snapshot

Content = DeviceHead | Keyset | Enrolment | Command | Revocation | Snapshot


class _Kind(Protocol):
    @classmethod
    def from_payload(cls, payload: bytes) -> Self: ...


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of the table: the payload's type, the role of its signer, its limit in bytes."""

    payload: type[_Kind]
    role: str
    limit: int


TABLE: Final[Mapping[str, Entry]] = {
    DeviceHead.NAME: Entry(DeviceHead, "device", limits.MAX_HEAD),
    Keyset.NAME: Entry(Keyset, "root", limits.MAX_STATEMENT),
    Enrolment.NAME: Entry(Enrolment, "operator", limits.MAX_STATEMENT),
    Command.NAME: Entry(Command, "operator", limits.MAX_COMMAND),
    Revocation.NAME: Entry(Revocation, "operator", limits.MAX_STATEMENT),
    Snapshot.NAME: Entry(Snapshot, "gateway", limits.MAX_STATEMENT),
}
"""typ name → what such a statement is."""


@dataclass(frozen=True, slots=True)
class Unsigned:
    """A statement or head ready for its key: sign SHA-256 of ``to_be_signed``, then :meth:`assemble`."""

    protected: bytes
    payload: bytes

    @property
    def to_be_signed(self) -> bytes:
        """The bytes that the signature covers."""
        return cose.to_be_signed(self.protected, self.payload)

    def assemble(self, signature: bytes) -> bytes:
        """Return the signed object: a leaf's entry as it will stand for ever. ``signature`` is 64 bytes, low-S."""
        return cose.assemble(self.protected, self.payload, signature)


def prepare(content: Content, kid: bytes) -> Unsigned:
    """Return ``content`` made ready to be signed by the key ``kid``."""
    if isinstance(content, DeviceHead):
        return Unsigned(content.protected(kid), content.payload())
    return Unsigned(cose.protected_header(kid, content.NAME, content.sub), content.payload())


@dataclass(frozen=True, slots=True)
class Statement:
    """A statement taken apart; its signature has not been checked (:func:`signer`, then ``signed.verify``)."""

    signed: cose.Sign1
    content: Content

    @property
    def name(self) -> str:
        """Its typ name, a key of :data:`TABLE`."""
        return self.signed.name

    @property
    def leaf(self) -> bytes:
        """Its leaf hash in the fleet log (7.1)."""
        return leaf_hash(self.signed.raw)

    @property
    def digest(self) -> bytes:
        """The digest of its bytes: what ``previous`` of commands and keysets names."""
        return sha256(self.signed.raw).digest()


def decode(data: bytes) -> Statement:
    """Take an untrusted statement apart.

    Raises:
        FormatError: as :func:`edgeseal.cose.decode` and the payload's own codes; ``claims_mismatch`` if subject or
        private
            claims do not fit the payload; ``too_large`` by the limit of its kind.
    """
    signed = cose.decode(data, limit=limits.MAX_STATEMENT, names=tuple(TABLE))
    entry = TABLE[signed.name]
    if len(data) > entry.limit:
        raise FormatError("too_large", f"a {signed.name} of {len(data)} bytes, the limit is {entry.limit}")
    assert signed.payload is not None
    content = cast(Content, entry.payload.from_payload(signed.payload))
    if isinstance(content, DeviceHead):
        content.check_claims(signed)
    elif (signed.sub, signed.size, signed.log, signed.prev, signed.vds) != (content.sub, None, None, None, False):
        raise FormatError("claims_mismatch", f"the claims of a {signed.name} do not fit its payload")
    return Statement(signed, content)


def signer(statement: Statement, keyset: Keyset, device: cose.PublicKey | None = None) -> cose.PublicKey:
    """Return the key that may have signed ``statement`` under ``keyset``, the newest one below its position.

    For a keyset, ``keyset`` is itself: its root key (which the caller compares with the one it trusts). For a device
    head ``device`` is the enrolled key of its log.

    Raises:
        TrustError: ``role_missing``, ``out_of_scope``.
        VerificationError: ``unknown_key`` for a device head when no device is given.
    """
    content, kid = statement.content, statement.signed.kid
    if isinstance(content, DeviceHead):
        if device is None:
            raise VerificationError("unknown_key", f"log {content.sub} is not enrolled")
        return device
    if isinstance(content, Keyset):
        return content.root
    if isinstance(content, Snapshot):
        return keyset.member(kid, "gateway").key
    scope = {"enrolment": "enrol", "revocation": "revoke"}.get(statement.name)
    if scope is None:
        assert isinstance(content, Command)
        scope = f"command/{content.action}"
    return keyset.operator(kid, scope).key
