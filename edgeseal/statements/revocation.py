"""Revocations: an operator mirrors the registry's word that a key ends (``docs/format.md`` 8.5)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Final

from edgeseal import cbor, limits, schema

REASONS: Final = ("compromised", "retired", "lost", "superseded")

_REVOCATION = schema.closed(
    {
        "v": schema.one_of(1),
        "kid": schema.digest,
        "role": schema.one_of("device", "gateway", "operator", "publisher", "approver", "auditor"),
        "until": schema.uint,
        "reason": schema.one_of(*REASONS),
    }
)


@dataclass(frozen=True, slots=True)
class Revocation:
    """A revocation's payload. ``until`` is the first fleet position at which the key is no longer valid."""

    NAME: ClassVar[str] = "revocation"

    kid: bytes
    role: str
    until: int
    reason: str

    @property
    def sub(self) -> str:
        """The subject: the kid."""
        return self.kid.hex()

    def payload(self) -> bytes:
        """Return the payload bytes."""
        return cbor.encode({"v": 1, "kid": self.kid, "role": self.role, "until": self.until, "reason": self.reason})

    @classmethod
    def from_payload(cls, payload: bytes) -> Revocation:
        """Return the revocation in untrusted payload bytes. Raises FormatError: CBOR and shape codes."""
        fields = cbor.decode(payload, max_size=limits.MAX_STATEMENT)
        _REVOCATION(fields, "revocation")
        return cls(fields["kid"], fields["role"], fields["until"], fields["reason"])
