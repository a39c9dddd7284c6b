"""What a key signs to be registered on chain, or to take another's place there (``docs/format.md`` 2.5).

The operator's console makes a challenge; whoever holds the key signs its :meth:`message` and hands a :class:`Proof`
back. Nothing else that these keys sign can be taken for such a message, nor the other way round: every message here
begins with the ASCII of its domain, every COSE structure with the byte 0x84 (``docs/adr/0010``).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from edgeseal import limits, strictyaml
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import VerificationError

POSSESSION: Final = "edgeseal-possession/1"
ROTATION: Final = "edgeseal-rotation/1"
ROLES: Final = ("device", "operator", "gateway", "publisher", "approver", "auditor")
"""Roles of the IdentityRegistry, in the order of its enum."""
_HASH: Final = r"[0-9a-f]{64}"
_ADDRESS: Final = r"0x[0-9a-fA-F]{40}"
_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Place:
    """Where a message counts: chain, registry (20 bytes), tenant and fleet log (32 bytes each). Nowhere else."""

    chain_id: int
    registry: bytes
    tenant: bytes
    log: bytes

    def encode(self) -> bytes:
        """Return chain id (32 bytes), registry, tenant and log, as the contract hashes them."""
        return self.chain_id.to_bytes(32, "big") + self.registry + self.tenant + self.log

    def fields(self) -> dict[str, Any]:
        """Return the fields of a file."""
        return {
            "chain_id": self.chain_id, "registry": "0x" + self.registry.hex(), "tenant": self.tenant.hex(),
            "log": self.log.hex(),
        }  # fmt: skip

    @classmethod
    def read(cls, section: strictyaml.Section) -> Place:
        """Return the place in a file's map. Raises FormatError ``yaml_*``."""
        return cls(
            section.integer("chain_id", 1, _MAX),
            bytes.fromhex(section.text("registry", _ADDRESS)[2:]),
            _hash(section, "tenant"),
            _hash(section, "log"),
        )


@dataclass(frozen=True, slots=True)
class Possession:
    """A challenge to the holder of ``kid``: to be registered in ``role`` from position ``start`` on.

    ``evidence`` is a 32-byte digest, zero for none; ``nonce`` the admin's 32 random bytes; ``deadline`` Unix seconds by
    the chain's clock, after which the contract takes the signature no more.
    """

    place: Place
    kid: bytes
    role: str
    start: int
    evidence: bytes
    nonce: bytes
    deadline: int

    def message(self) -> bytes:
        """Return the bytes to sign with ES256: 224, whatever the fields."""
        return (
            domain("key-possession") + self.place.encode() + bytes([ROLES.index(self.role)])
            + self.start.to_bytes(8, "big") + self.evidence + self.nonce + self.deadline.to_bytes(8, "big")
        )  # fmt: skip

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Whose signature is asked for, as kids."""
        return (self.kid,)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a file."""
        return {
            "schema": POSSESSION, **self.place.fields(), "kid": self.kid.hex(), "role": self.role, "from": self.start,
            "evidence": self.evidence.hex(), "nonce": self.nonce.hex(), "deadline": self.deadline,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Rotation:
    """A challenge to the holders of two keys, and to an operator: ``new_kid`` is to take ``old_kid``'s place."""

    place: Place
    old_kid: bytes
    new_kid: bytes
    evidence: bytes
    nonce: bytes
    deadline: int

    def message(self) -> bytes:
        """Return the bytes to sign with ES256: 277, whatever the fields."""
        return (
            domain("key-rotation") + self.place.encode() + self.old_kid + self.new_kid + self.evidence + self.nonce
            + self.deadline.to_bytes(8, "big")
        )  # fmt: skip

    @property
    def signers(self) -> tuple[bytes, ...]:
        """Whose signature is asked for, as kids (the operator's is the console's own matter)."""
        return (self.old_kid, self.new_kid)

    def fields(self) -> dict[str, Any]:
        """Return the fields of a file."""
        return {
            "schema": ROTATION, **self.place.fields(), "old_kid": self.old_kid.hex(), "new_kid": self.new_kid.hex(),
            "evidence": self.evidence.hex(), "nonce": self.nonce.hex(), "deadline": self.deadline,
        }  # fmt: skip


Challenge: TypeAlias = Possession | Rotation


def encode(challenge: Challenge) -> bytes:
    """Return the file of a challenge: one JSON object; :func:`decode` gives it back."""
    return (json.dumps(challenge.fields(), indent=1) + "\n").encode()


def decode(data: bytes) -> Challenge:
    """Return the challenge in untrusted bytes. Raises FormatError ``yaml_*``."""
    section = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
    challenge = _read(section)
    section.done()
    return challenge


def _read(section: strictyaml.Section) -> Challenge:
    schema = section.text("schema", f"{POSSESSION}|{ROTATION}")
    place = Place.read(section)
    if schema == POSSESSION:
        return Possession(
            place, _hash(section, "kid"), section.text("role", "|".join(ROLES)), section.integer("from", 0, _MAX),
            _hash(section, "evidence"), _hash(section, "nonce"), section.integer("deadline", 0, _MAX),
        )  # fmt: skip
    return Rotation(
        place, _hash(section, "old_kid"), _hash(section, "new_kid"), _hash(section, "evidence"),
        _hash(section, "nonce"), section.integer("deadline", 0, _MAX),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Proof:
    """A challenge that ``key`` signed: :meth:`decode` has checked that, and that the key is one asked for."""

    challenge: Challenge
    key: PublicKey
    signature: bytes

    def encode(self) -> bytes:
        """Return the file of a proof: one JSON object."""
        fields = self.challenge.fields() | {
            "x": self.key.x.hex(), "y": self.key.y.hex(), "signature": self.signature.hex(),
        }  # fmt: skip
        return (json.dumps(fields, indent=1) + "\n").encode()

    @classmethod
    def decode(cls, data: bytes) -> Proof:
        """Return the proof in untrusted bytes, its signature checked.

        Raises:
            FormatError: ``yaml_*``, ``key_invalid``. VerificationError: ``wrong_key`` for a key nobody asked,
            ``bad_signature``, ``high_s``, ``signature_range``.
        """
        section = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
        key = PublicKey.of(_hash(section, "x"), _hash(section, "y"))
        signature = bytes.fromhex(section.text("signature", r"[0-9a-f]{128}"))
        challenge = _read(section)
        section.done()
        if key.kid not in challenge.signers:
            raise VerificationError("wrong_key", f"key {key.kid.hex()} was not asked to sign this")
        key.verify(challenge.message(), signature)
        return cls(challenge, key, signature)


def _hash(section: strictyaml.Section, key: str) -> bytes:
    return bytes.fromhex(section.text(key, _HASH))
