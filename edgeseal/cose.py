"""COSE_Sign1 with ES256, P-256 keys and their thumbprints (``docs/format.md`` 1.4, 1.5, 2).

Signing itself happens elsewhere, in a token: this module gives the bytes to be signed, puts the envelope together,
and takes untrusted envelopes apart. A signature is good only in its low-S form, so that one signature has one encoding.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from edgeseal import cbor, limits, schema
from edgeseal.errors import FormatError, UsageError, VerificationError

ORDER: Final = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
"""Order n of the P-256 group."""
ES256: Final = -7
ALG, CRIT, KID, CLAIMS, TYP, VDS, VDP = 1, 2, 4, 15, 16, 395, 396
ISS, SUB, SIZE, LOG, PREV = 1, 2, -70001, -70002, -70003
RFC9162_SHA256: Final = 1
SIGNATURE_SIZE: Final = 64
_TYP_PREFIX, _TYP_SUFFIX = "application/vnd.edgeseal.", "+cose"
_ES256: Final = ec.ECDSA(SHA256())


def thumbprint(x: bytes, y: bytes) -> bytes:
    """Return the kid of a P-256 key: its 32-byte RFC 9679 SHA-256 thumbprint. ``x`` and ``y`` are 32 bytes each."""
    return sha256(b"\xa4\x01\x02\x20\x01\x21\x58\x20" + x + b"\x22\x58\x20" + y).digest()


@dataclass(frozen=True, slots=True)
class PublicKey:
    """A point on P-256, as 32-byte big-endian coordinates. Made by :meth:`of`, which checks it."""

    x: bytes
    y: bytes
    kid: bytes = field(compare=False)

    @classmethod
    def of(cls, x: bytes, y: bytes) -> PublicKey:
        """Return the key with these untrusted coordinates.

        Raises:
            FormatError: ``key_invalid`` if they are not 32 bytes each or not a point on the curve.
        """
        if type(x) is not bytes or type(y) is not bytes or len(x) != 32 or len(y) != 32:
            raise FormatError("key_invalid", "a P-256 key has two coordinates of 32 bytes")
        _load(x, y)
        return cls(x, y, thumbprint(x, y))

    @classmethod
    def from_point(cls, point: Any) -> PublicKey:
        """Return the key in a decoded ``[x, y]``. Raises FormatError: shape, ``key_invalid``."""
        schema.point(point, "key")
        return cls.of(point[0], point[1])

    @property
    def point(self) -> list[bytes]:
        """``[x, y]``, as keys stand in payloads."""
        return [self.x, self.y]

    def encode(self) -> bytes:
        """Return the COSE_Key ``{1: 2, -1: 1, -2: x, -3: y}``, as in a bundle's ``keys/``."""
        return cbor.encode({1: 2, -1: 1, -2: self.x, -3: self.y})

    @classmethod
    def decode(cls, data: bytes) -> PublicKey:
        """Return the key in an untrusted COSE_Key. Raises FormatError: CBOR, shape, ``key_invalid``."""
        fields = cbor.decode(data, max_size=256)
        schema.closed({1: schema.one_of(2), -1: schema.one_of(1), -2: schema.digest, -3: schema.digest})(fields, "key")
        return cls.of(fields[-2], fields[-3])

    def verify(self, message: bytes, signature: bytes) -> None:
        """Check an ES256 signature over ``message``; both untrusted.

        Raises:
            VerificationError: ``signature_size``, ``signature_range``, ``high_s`` or ``bad_signature``.
        """
        r, s = split(signature)
        try:
            _load(self.x, self.y).verify(encode_dss_signature(r, s), message, _ES256)
        except InvalidSignature:
            raise VerificationError("bad_signature", f"not a signature by key {self.kid.hex()}") from None


@lru_cache(maxsize=4096)
def _load(x: bytes, y: bytes) -> ec.EllipticCurvePublicKey:
    numbers = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
    try:
        return numbers.public_key()
    except ValueError:
        raise FormatError("key_invalid", "the coordinates are not a point on P-256") from None


def split(signature: bytes) -> tuple[int, int]:
    """Return (r, s) of a 64-byte low-S signature.

    Raises:
        VerificationError: ``signature_size``, ``signature_range``, ``high_s``.
    """
    if len(signature) != SIGNATURE_SIZE:
        raise VerificationError("signature_size", f"an ES256 signature has 64 bytes, this one {len(signature)}")
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    if not (0 < r < ORDER and 0 < s < ORDER):
        raise VerificationError("signature_range", "r and s must lie within 1 and n-1")
    if s > ORDER // 2:
        raise VerificationError("high_s", "the signature is in its high-S form")
    return r, s


def low_s(signature: bytes) -> bytes:
    """Return the low-S form of a 64-byte r ‖ s made by our own token. Raises UsageError ``signature_size``."""
    if len(signature) != SIGNATURE_SIZE:
        raise UsageError("signature_size", "the token did not return 64 bytes r ‖ s")
    s = int.from_bytes(signature[32:], "big")
    return signature if s <= ORDER // 2 else signature[:32] + (ORDER - s).to_bytes(32, "big")


def media_type(name: str) -> str:
    """Return the typ header of objects called ``name``: ``application/vnd.edgeseal.<name>+cose``."""
    return _TYP_PREFIX + name + _TYP_SUFFIX


def protected_header(
    kid: bytes, name: str, sub: str, *, size: int | None = None, log: bytes | None = None, prev: Any = None
) -> bytes:
    """Return the protected header bytes of an object of ours (``docs/format.md`` 1.5).

    ``size``, ``log`` and ``prev`` are the private claims of heads; ``prev`` makes it a fleet head, with header 395.
    """
    claims: dict[int, Any] = {ISS: kid.hex(), SUB: sub}
    for label, value in ((SIZE, size), (LOG, log), (PREV, prev)):
        if value is not None:
            claims[label] = value
    header: dict[int, Any] = {ALG: ES256, KID: kid, CLAIMS: claims, TYP: media_type(name)}
    if prev is not None:
        header[VDS] = RFC9162_SHA256
    return cbor.encode(header)


def to_be_signed(protected: bytes, payload: bytes) -> bytes:
    """Return the Sig_structure of RFC 9052 section 4.4; SHA-256 of it is what a token signs."""
    return sig_structure(cbor.encode(protected), cbor.encode(payload))


def sig_structure(protected: bytes, payload: bytes) -> bytes:
    """Return the same of the two as they stand in an object: as encoded byte strings."""
    return b"\x84\x6aSignature1" + protected + b"\x40" + payload


def assemble(protected: bytes, payload: bytes, signature: bytes) -> bytes:
    """Return the tagged COSE_Sign1 with an empty unprotected header."""
    return b"\xd2\x84" + cbor.encode(protected) + b"\xa0" + cbor.encode(payload) + cbor.encode(signature)


_PROTECTED = schema.closed(
    {ALG: schema.one_of(ES256), KID: schema.digest, CLAIMS: schema.closed(
        {ISS: schema.text(64, 64), SUB: schema.text(128, 1)},
        {SIZE: schema.uint, LOG: schema.digest, PREV: schema.size_root},
    ), TYP: schema.text(128, 1)},
    {VDS: schema.one_of(RFC9162_SHA256)},
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sign1:
    """One COSE_Sign1 of ours, taken apart and not yet believed: only :meth:`verify` says who signed it.

    ``raw`` are the received bytes; ``payload`` is None where it travels apart (receipts).
    """

    raw: bytes
    protected: bytes
    unprotected: dict[int, Any]
    payload: bytes | None
    signature: bytes
    kid: bytes
    name: str
    sub: str
    size: int | None
    log: bytes | None
    prev: tuple[int, bytes] | None
    vds: bool

    def verify(self, key: PublicKey, payload: bytes | None = None) -> None:
        """Check that ``key`` signed this, over its own payload or over the detached one given.

        Raises:
            VerificationError: ``wrong_key`` if the kid is another key's; else as :meth:`PublicKey.verify`.
        """
        if key.kid != self.kid:
            raise VerificationError("wrong_key", f"signed as {self.kid.hex()}, not by {key.kid.hex()}")
        content = self.payload if payload is None else payload
        if content is None:
            raise VerificationError("receipt_payload", "the payload is detached and was not supplied")
        key.verify(to_be_signed(self.protected, content), self.signature)

    @property
    def content(self) -> tuple[bytes, bytes | None]:
        """Protected header and payload: what makes two signed objects the same (``docs/format.md`` 1.4)."""
        return self.protected, self.payload


def decode(data: bytes, *, limit: int, names: tuple[str, ...] = (), detached: bool = False) -> Sign1:
    """Take an untrusted COSE_Sign1 apart.

    Args:
        data: the received bytes.
        limit: the object's limit, in bytes.
        names: the typ names allowed here; empty for any of ours.
        detached: a receipt: payload nil, unprotected header left to the caller.

    Raises:
        FormatError: ``too_large``, CBOR codes, ``cose_structure``, ``cose_header``, ``cose_unprotected``,
            ``cose_alg``, ``receipt_payload``, ``wrong_typ``, ``claims_mismatch``, or a shape code.
    """
    if len(data) > limit:
        raise FormatError("too_large", f"{len(data)} bytes, the limit is {limit}")
    if data[:1] != b"\xd2":
        raise FormatError("cose_structure", "not a tagged COSE_Sign1 (tag 18)")
    parts = cbor.decode(data[1:], max_size=limit)
    if type(parts) is not list or len(parts) != 4:
        raise FormatError("cose_structure", "a COSE_Sign1 is an array of four")
    protected, unprotected, payload, signature = parts
    if type(protected) is not bytes or type(unprotected) is not dict or type(signature) is not bytes:
        raise FormatError("cose_structure", "protected header, unprotected header or signature has the wrong type")
    if not detached and unprotected:
        raise FormatError("cose_unprotected", "the unprotected header must be the empty map")
    if detached != (payload is None):
        raise FormatError("receipt_payload", "the payload must be nil in a receipt and a byte string elsewhere")
    if payload is not None and type(payload) is not bytes:
        raise FormatError("cose_structure", "the payload must be a byte string")
    if len(signature) != SIGNATURE_SIZE:
        raise FormatError("signature_size", f"an ES256 signature has 64 bytes, this one {len(signature)}")
    return _read(data, protected, unprotected, payload, signature, names)


def _read(
    raw: bytes,
    protected: bytes,
    unprotected: dict[int, Any],
    payload: bytes | None,
    signature: bytes,
    names: tuple[str, ...],
) -> Sign1:
    header = cbor.decode(protected, max_size=limits.MAX_HEAD)
    if type(header) is not dict:
        raise FormatError("cose_structure", "the protected header must be a map")
    if header.get(ALG) != ES256 and ALG in header:
        raise FormatError("cose_alg", "the algorithm must be ES256 (-7)")
    unknown = [label for label in header if label not in (ALG, KID, CLAIMS, TYP, VDS)]
    if unknown:
        raise FormatError("cose_header", f"header label {unknown[0]!r:.70} is not allowed here")
    _PROTECTED(header, "header")
    name = header[TYP].removeprefix(_TYP_PREFIX).removesuffix(_TYP_SUFFIX)
    if media_type(name) != header[TYP] or (names and name not in names):
        raise FormatError("wrong_typ", f"typ {header[TYP]!r:.140} is not allowed here")
    claims = header[CLAIMS]
    if claims[ISS] != header[KID].hex():
        raise FormatError("claims_mismatch", "iss is not the signer's kid")
    prev = claims.get(PREV)
    return Sign1(
        raw, protected, unprotected, payload, signature, header[KID], name, claims[SUB],
        claims.get(SIZE), claims.get(LOG), None if prev is None else (prev[0], prev[1]), VDS in header,
    )  # fmt: skip
