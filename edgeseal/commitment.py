"""Salted commitments and their openings (``docs/format.md`` section 3).

A commitment lets a record say *this input, this output* without carrying it: whoever holds the data and the salt can
show that the data is what was committed to, and nobody else can guess it.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, limits, schema
from edgeseal.errors import FormatError, VerificationError

SALTED: Final = 0
PLAIN: Final = 1
NO_SALT: Final = bytes(32)
_MODES: Final = {SALTED: "salted", PLAIN: "plain"}


def domain(name: str) -> bytes:
    """Return the domain prefix ``D(name)`` of ``docs/format.md`` 1.1."""
    return b"edgeseal/v1/" + name.encode("ascii") + b"\x00"


def commit(field: str, data: bytes, salt: bytes | None) -> list[Any]:
    """Return ``[mode, h]``: the commitment to ``data`` under ``field``; no salt makes it a plain one.

    Args:
        field: the name it will stand under, so that it opens nowhere else.
        data: the bytes committed to, of any length.
        salt: 32 bytes, or None for mode ``plain``.
    """
    mode = PLAIN if salt is None else SALTED
    return [mode, _hash(field, mode, NO_SALT if salt is None else salt, data)]


def _hash(field: str, mode: int, salt: bytes, data: bytes) -> bytes:
    hashed = sha256(domain(f"commit/{_MODES[mode]}/{field}"))
    hashed.update(salt)
    hashed.update(len(data).to_bytes(8, "big"))
    hashed.update(data)
    return hashed.digest()


def derive_salt(secret: bytes, log: bytes, seq: int, field: str) -> bytes:
    """Return the 32-byte salt of one field of one record, from the device's epoch secret (32 bytes)."""
    return hmac.digest(secret, domain("salt") + log + seq.to_bytes(8, "big") + field.encode(), "sha256")


def verify(field: str, commitment: Any, salt: bytes, data: bytes) -> None:
    """Check that ``data`` and ``salt`` open ``commitment`` under ``field``.

    Args:
        commitment: ``[mode, h]``, already of that shape (:data:`edgeseal.schema.commit`).
        salt: untrusted; ignored in mode plain.
        data: untrusted.

    Raises:
        VerificationError: ``commitment_mismatch``. No other exception.
    """
    mode, expected = commitment
    if len(salt) != limits.DIGEST:
        raise VerificationError("commitment_mismatch", f"the opening of {field!r} has a salt of {len(salt)} bytes")
    if not hmac.compare_digest(_hash(field, mode, NO_SALT if mode == PLAIN else salt, data), expected):
        raise VerificationError("commitment_mismatch", f"the opening does not match the commitment {field!r}")


_OPENING = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "seq": schema.uint,
        "field": schema.text(64, 1),
        "salt": schema.digest,
    },
    {"data": schema.binary(0, limits.MAX_OPENING), "file": schema.digest},
)


@dataclass(frozen=True, slots=True)
class Opening:
    """What turns one commitment of one record back into data (``docs/format.md`` 3.1).

    Exactly one of ``data`` (the bytes) and ``file`` (the digest of a file in the bundle's ``inputs/``) is set.
    """

    log: bytes
    seq: int
    field: str
    salt: bytes
    data: bytes | None = None
    file: bytes | None = None

    def encode(self) -> bytes:
        """Return the opening's CBOR."""
        return cbor.encode(self.as_map())

    def as_map(self) -> dict[str, Any]:
        """Return the CBOR map."""
        fields: dict[str, Any] = {"v": 1, "log": self.log, "seq": self.seq, "field": self.field, "salt": self.salt}
        if self.data is not None:
            fields["data"] = self.data
        if self.file is not None:
            fields["file"] = self.file
        return fields

    @classmethod
    def decode(cls, data: bytes) -> Opening:
        """Return the opening in untrusted ``data``.

        Raises:
            FormatError: limit, CBOR, shape; ``opening_target`` if not exactly one of data and file is there.
        """
        return cls.from_map(cbor.decode(data, max_size=limits.MAX_OPENING))

    @classmethod
    def from_map(cls, fields: Any) -> Opening:
        """Return the opening in a decoded map (as in a bundle's ``openings/`` arrays). Raises as :meth:`decode`."""
        _OPENING(fields, "opening")
        if ("data" in fields) == ("file" in fields):
            raise FormatError("opening_target", "an opening holds exactly one of data and file")
        return cls(
            fields["log"], fields["seq"], fields["field"], fields["salt"], fields.get("data"), fields.get("file")
        )
