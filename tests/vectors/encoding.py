"""A second, small implementation of the format's encodings, for the vectors: CBOR, COSE_Sign1, ES256, Merkle paths.

Written from docs/format.md and the RFCs alone; it imports nothing of edgeseal. It can also write what the format
forbids, since most vectors are wrong on purpose: ``Raw`` and ``Pairs`` stand for bytes and maps taken as they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
ZEROS = bytes(32)


@dataclass(frozen=True)
class Raw:
    """Bytes that stand in an encoding as they are."""

    data: bytes


@dataclass(frozen=True)
class Pairs:
    """A map whose keys are neither sorted nor checked."""

    items: tuple[tuple[Any, Any], ...]


def head(major: int, argument: int) -> bytes:
    """The shortest head of a CBOR item."""
    if argument < 24:
        return bytes([major << 5 | argument])
    for code, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if argument < 1 << 8 * size:
            return bytes([major << 5 | code]) + argument.to_bytes(size, "big")
    raise ValueError(argument)


def cbor(value: Any) -> bytes:
    """The deterministic encoding (RFC 8949 section 4.2.1)."""
    match value:
        case Raw():
            return value.data
        case Pairs():
            return head(5, len(value.items)) + b"".join(cbor(k) + cbor(v) for k, v in value.items)
        case None:
            return b"\xf6"
        case bool():
            return b"\xf5" if value else b"\xf4"
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list() | tuple():
            return head(4, len(value)) + b"".join(map(cbor, value))
        case dict():
            pairs = sorted((cbor(k), cbor(v)) for k, v in value.items())
            return head(5, len(pairs)) + b"".join(k + v for k, v in pairs)
    raise TypeError(type(value))


def domain(name: str) -> bytes:
    """D(name), format 1.1."""
    return b"edgeseal/v1/" + name.encode() + b"\x00"


def hashed(*parts: bytes) -> bytes:
    """SHA-256 of the parts, one after the other."""
    return sha256(b"".join(parts)).digest()


def be64(number: int) -> bytes:
    """Eight bytes, big-endian."""
    return number.to_bytes(8, "big")


def token(label: str, size: int = 32) -> bytes:
    """Bytes that look random and are the same in every run."""
    return sha256(b"edgeseal vectors/" + label.encode()).digest()[:size]


class Key:
    """A P-256 key made from a label; its signatures are deterministic (RFC 6979)."""

    def __init__(self, label: str) -> None:
        number = int.from_bytes(token("key/" + label), "big") % (ORDER - 1) + 1
        self._private = ec.derive_private_key(number, ec.SECP256R1())
        point = self._private.public_key().public_numbers()
        self.x, self.y = point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")
        self.kid = hashed(bytes.fromhex("a40102200121 5820"), self.x, bytes.fromhex("225820"), self.y)

    @property
    def point(self) -> list[bytes]:
        """[x, y], format 2.1."""
        return [self.x, self.y]

    def sign(self, message: bytes, high: bool = False) -> bytes:
        """r || s with s low, or high where asked."""
        algorithm = ec.ECDSA(hashes.SHA256(), deterministic_signing=True)
        r, s = decode_dss_signature(self._private.sign(message, algorithm))
        low = min(s, ORDER - s)
        return r.to_bytes(32, "big") + (ORDER - low if high else low).to_bytes(32, "big")


def protected(kid: bytes, name: str, sub: str, **claims: Any) -> dict[int, Any]:
    """The protected header of format 1.5; ``size``, ``log`` and ``prev`` are its private claims."""
    labels = {"size": -70001, "log": -70002, "prev": -70003}
    found: dict[int, Any] = {1: kid.hex(), 2: sub} | {labels[name]: value for name, value in claims.items()}
    header: dict[int, Any] = {1: -7, 4: kid, 15: found, 16: f"application/vnd.edgeseal.{name}+cose"}
    return header | {395: 1} if "prev" in claims else header


def to_be_signed(header: bytes, payload: bytes) -> bytes:
    """The Sig_structure of RFC 9052 section 4.4."""
    return cbor(["Signature1", header, b"", payload])


def sign1(key: Key, header: Any, payload: bytes, high: bool = False) -> bytes:
    """A tagged COSE_Sign1 with empty unprotected header."""
    raw = cbor(header)
    return envelope(raw, {}, payload, key.sign(to_be_signed(raw, payload), high))


def envelope(*parts: Any) -> bytes:
    """Tag 18 around the four parts as given."""
    return b"\xd2" + cbor(list(parts))


def leaf_hash(entry: bytes) -> bytes:
    """RFC 9162 section 2.1.1."""
    return hashed(b"\x00", entry)


def split(size: int) -> int:
    """The largest power of two below size."""
    return 1 << (size - 1).bit_length() - 1


def root(leaves: list[bytes]) -> bytes:
    """The Merkle tree hash of leaf hashes (RFC 9162 section 2.1.1)."""
    if len(leaves) < 2:
        return leaves[0] if leaves else hashed()
    k = split(len(leaves))
    return hashed(b"\x01", root(leaves[:k]), root(leaves[k:]))


def inclusion(index: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D_n) of RFC 9162 section 2.1.3.1."""
    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if index < k:
        return [*inclusion(index, leaves[:k]), root(leaves[k:])]
    return [*inclusion(index - k, leaves[k:]), root(leaves[:k])]


def consistency(old: int, leaves: list[bytes], whole: bool = True) -> list[bytes]:
    """SUBPROOF(m, D_n, b) of RFC 9162 section 2.1.4.1."""
    if old == len(leaves):
        return [] if whole else [root(leaves)]
    k = split(len(leaves))
    if old <= k:
        return [*consistency(old, leaves[:k], whole), root(leaves[k:])]
    return [*consistency(old - k, leaves[k:], False), root(leaves[:k])]
