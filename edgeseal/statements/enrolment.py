"""Enrolments: an operator says that this log is this device's (``docs/format.md`` 8.3)."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import ClassVar, Final

from edgeseal import cbor, limits, schema
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError

ASSURANCE: Final = ("file", "softhsm", "tpm-unverified", "tpm-ek-verified")
"""Assurance levels, weakest first; said by the operator, never by the device."""

_ENROLMENT = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "key": schema.point,
        "genesis": schema.digest,
        "name": schema.name,
        "assurance": schema.one_of(*ASSURANCE),
        "evidence": schema.maybe(schema.digest),
        "groups": schema.items(schema.name, limits.MAX_GROUPS),
        "cadence": schema.positive,
    }
)


def device_log_id(kid: bytes) -> bytes:
    """Return the id of the one device log of the key ``kid`` (2.3)."""
    return sha256(domain("device-log") + kid).digest()


@dataclass(frozen=True, slots=True)
class Enrolment:
    """An enrolment's payload. ``genesis`` is the leaf hash of record 0; ``evidence`` the digest of what was shown."""

    NAME: ClassVar[str] = "enrolment"

    key: PublicKey
    genesis: bytes
    name: str
    assurance: str
    evidence: bytes | None
    groups: tuple[str, ...]
    cadence_s: int

    @property
    def log(self) -> bytes:
        """The device log id, which follows from the key."""
        return device_log_id(self.key.kid)

    @property
    def sub(self) -> str:
        """The subject: the device log id."""
        return self.log.hex()

    def payload(self) -> bytes:
        """Return the payload bytes."""
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "key": self.key.point,
                "genesis": self.genesis,
                "name": self.name,
                "assurance": self.assurance,
                "evidence": self.evidence,
                "groups": list(self.groups),
                "cadence": self.cadence_s,
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Enrolment:
        """Return the enrolment in untrusted payload bytes.

        Raises:
            FormatError: CBOR, shape, ``key_invalid``, ``log_id`` when the log id is not that of the key.
        """
        fields = cbor.decode(payload, max_size=limits.MAX_STATEMENT)
        _ENROLMENT(fields, "enrolment")
        key = PublicKey.from_point(fields["key"])
        if device_log_id(key.kid) != fields["log"]:
            raise FormatError("log_id", "the enrolled log id is not that of the enrolled key")
        return cls(
            key,
            fields["genesis"],
            fields["name"],
            fields["assurance"],
            fields["evidence"],
            tuple(fields["groups"]),
            fields["cadence"],
        )
