"""A TPM's structures made in software, and a maker who certifies it: for vectors and tests in which a TPM must lie.

Written from the TPM 2.0 Library specification (parts 1 and 2); it imports nothing of edgeseal, so it is a second
implementation. Everything is deterministic.
"""

from __future__ import annotations

import datetime
import hmac
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from tests.vectors.encoding import Key, token

FIXED_TPM, FIXED_PARENT, ORIGIN, USER_AUTH, ADMIN_POLICY = 1 << 1, 1 << 4, 1 << 5, 1 << 6, 1 << 7
NO_DA, RESTRICTED, DECRYPT, SIGN = 1 << 10, 1 << 16, 1 << 17, 1 << 18
INSIDE = FIXED_TPM | FIXED_PARENT | ORIGIN
EK_ATTRIBUTES = INSIDE | ADMIN_POLICY | RESTRICTED | DECRYPT
AK_ATTRIBUTES = INSIDE | USER_AUTH | RESTRICTED | SIGN
KEY_ATTRIBUTES = INSIDE | USER_AUTH | NO_DA | SIGN
NV_ATTRIBUTES = 1 << 29 | 1 << 25 | 1 << 17 | 1 << 18 | 1 << 4 | 1 << 1 | 1 << 2
NV, CERTIFY, QUOTE, TIME, CREATION = 0x8014, 0x8017, 0x8018, 0x8019, 0x801A


def sized(data: bytes) -> bytes:
    """TPM2B."""
    return len(data).to_bytes(2, "big") + data


def ecc_public(
    point: list[bytes], attributes: int, *, scheme: bytes = bytes.fromhex("0010"), aes: int = 0, name: int = 0x0B
) -> bytes:
    """TPMT_PUBLIC of a P-256 key; ``scheme`` TPMT_ECC_SCHEME, ``aes`` bits of a storage key's cipher."""
    symmetric = bytes.fromhex("0006") + aes.to_bytes(2, "big") + bytes.fromhex("0043") if aes else bytes.fromhex("0010")
    head = bytes.fromhex("0023") + name.to_bytes(2, "big") + attributes.to_bytes(4, "big") + sized(b"")
    return head + symmetric + scheme + bytes.fromhex("0003 0010") + sized(point[0]) + sized(point[1])


def name_of(public: bytes) -> bytes:
    """The name of a key or NV index."""
    return b"\x00\x0b" + sha256(public).digest()


def _kdfa(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    return hmac.digest(key, b"\0\0\0\x01" + label + b"\0" + context + bits.to_bytes(4, "big"), "sha256")[: bits // 8]


def _cfb(key: bytes, data: bytes, decrypt: bool) -> bytes:
    from cryptography.hazmat.decrepit.ciphers.modes import CFB

    cipher = Cipher(algorithms.AES(key), CFB(bytes(16)))
    return (cipher.decryptor() if decrypt else cipher.encryptor()).update(data)


def _seed(scalar: ec.EllipticCurvePrivateKey, theirs: ec.EllipticCurvePublicKey, u: bytes, v: bytes) -> bytes:
    return sha256(b"\0\0\0\x01" + scalar.exchange(ec.ECDH(), theirs) + b"IDENTITY\0" + u + v).digest()


def make_credential(ek: Key, name: bytes, secret: bytes, scalar: bytes) -> tuple[bytes, bytes]:
    """TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET for an ECC endorsement key, without their lengths."""
    private = ec.derive_private_key(int.from_bytes(scalar, "big"), ec.SECP256R1())
    numbers = private.public_key().public_numbers()
    x, y = numbers.x.to_bytes(32, "big"), numbers.y.to_bytes(32, "big")
    seed = _seed(private, ek._private.public_key(), x, ek.x)
    hidden = _cfb(_kdfa(seed, b"STORAGE", name, 128), sized(secret), False)
    mac = hmac.digest(_kdfa(seed, b"INTEGRITY", b"", 256), hidden + name, "sha256")
    return sized(mac) + hidden, sized(x) + sized(y)


@dataclass
class SoftTpm:
    """One TPM with an endorsement key, an attestation key, a clock and a counter."""

    label: str
    clock: int = 1_000_000
    resets: int = 3
    restarts: int = 0
    safe: bool = True
    counter: int = 7
    nv_attributes: int = NV_ATTRIBUTES
    ek: Key = field(init=False)
    ak: Key = field(init=False)

    def __post_init__(self) -> None:
        self.ek, self.ak = Key(f"ek of {self.label}"), Key(f"ak of {self.label}")

    def ek_public(self, attributes: int = EK_ATTRIBUTES, aes: int = 128) -> bytes:
        return ecc_public(self.ek.point, attributes, aes=aes)

    def ak_public(self, attributes: int = AK_ATTRIBUTES, scheme: str = "0018000b") -> bytes:
        return ecc_public(self.ak.point, attributes, scheme=bytes.fromhex(scheme))

    def activate(self, name: bytes, blob: bytes, seed: bytes) -> bytes:
        """The secret of a credential for the key called ``name``; raises ValueError as the TPM refuses."""
        x, y = seed[2:34], seed[36:68]
        point = ec.EllipticCurvePublicNumbers(int.from_bytes(x, "big"), int.from_bytes(y, "big"), ec.SECP256R1())
        key = _seed(self.ek._private, point.public_key(), x, self.ek.x)
        mac, hidden = blob[2:34], blob[34:]
        if hmac.digest(_kdfa(key, b"INTEGRITY", b"", 256), hidden + name, "sha256") != mac:
            raise ValueError("TPM_RC_INTEGRITY")
        return _cfb(_kdfa(key, b"STORAGE", name, 128), hidden, True)[2:]

    def clock_info(self) -> bytes:
        return (
            self.clock.to_bytes(8, "big") + self.resets.to_bytes(4, "big") + self.restarts.to_bytes(4, "big")
            + bytes([self.safe])
        )  # fmt: skip

    def attested(self, kind: int, extra: bytes, content: bytes, magic: int = 0xFF544347) -> bytes:
        """TPMS_ATTEST."""
        return (
            magic.to_bytes(4, "big") + kind.to_bytes(2, "big") + sized(name_of(self.ak_public())) + sized(extra)
            + self.clock_info() + bytes.fromhex("2020010100120003") + content
        )  # fmt: skip

    def creation(self, extra: bytes, public: bytes) -> bytes:
        return self.attested(CREATION, extra, sized(name_of(public)) + sized(token("creation hash")))

    def quoted(self, extra: bytes) -> tuple[bytes, bytes]:
        """A quote and its signature."""
        selection = bytes.fromhex("00000001 000b 03 ff0000")
        data = self.attested(QUOTE, extra, selection + sized(token("pcrs")))
        return data, self.ak.sign(data)

    def nv_public(self) -> bytes:
        return bytes.fromhex("01500010000b") + self.nv_attributes.to_bytes(4, "big") + sized(b"") + b"\0\x08"

    def counted(self, extra: bytes) -> tuple[bytes, bytes, bytes]:
        """The NV counter's public part, its certificate and the signature."""
        content = sized(name_of(self.nv_public())) + b"\0\0" + sized(self.counter.to_bytes(8, "big"))
        data = self.attested(NV, extra, content)
        return self.nv_public(), data, self.ak.sign(data)

    # What edgeseal_agent asks of a TPM (its AttestWatch)

    def quote(self, qualifier: bytes) -> tuple[bytes, bytes]:
        self.clock += 1_000
        return self.quoted(qualifier)

    def certify_counter(self, index: str, qualifier: bytes) -> tuple[bytes, bytes, bytes]:
        return self.counted(qualifier)

    def increment(self, index: str) -> None:
        self.counter += 1


class Maker:
    """A certificate authority with an Ed25519 (or RSA) key, whose certificates are the same in every run."""

    EK_PURPOSE = x509.ObjectIdentifier("2.23.133.8.1")
    years = (2024, 2049)
    """First days of the years in which what it issues begins and ends to be valid."""

    def __init__(
        self, label: str, parent: Maker | None = None, key: rsa.RSAPrivateKey | None = None, **options: Any
    ) -> None:
        self.key = key or ed25519.Ed25519PrivateKey.from_private_bytes(token(f"maker {label}"))
        self.name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, label)])
        issuer = parent or self
        self.certificate = issuer.issue(self.key.public_key(), self.name, **{"ca": True, **options})

    def certify(self, key: Key, **options: Any) -> bytes:
        """A certificate of an endorsement key."""
        return self.issue(key._private.public_key(), x509.Name([]), **{"purpose": self.EK_PURPOSE, **options})

    def issue(
        self, key: Any, name: x509.Name, *, ca: bool = False, length: int | None = None, signs: bool = True,
        purpose: x509.ObjectIdentifier | None = None,
    ) -> bytes:  # fmt: skip
        builder = x509.CertificateBuilder(self.name, name, key, 4_711)
        start, end = (datetime.datetime(year, 1, 1) for year in self.years)
        builder = builder.not_valid_before(start).not_valid_after(end)
        builder = builder.add_extension(x509.BasicConstraints(ca, length if ca else None), critical=True)
        if purpose is not None:
            builder = builder.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        if ca:
            uses = (False, False, False, False, False, signs, not signs, False, False)
            builder = builder.add_extension(x509.KeyUsage(*uses), critical=True)
        hashed = hashes.SHA256() if isinstance(self.key, rsa.RSAPrivateKey) else None
        return builder.sign(self.key, hashed).public_bytes(Encoding.DER)
