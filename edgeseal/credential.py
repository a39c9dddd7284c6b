"""TPM2_MakeCredential without a TPM: a secret that only one TPM opens, and only beside one attestation key
(``docs/format.md`` 8.6; TPM 2.0 Library part 1, section 24 and annexes B and C).

Who knows the random numbers that went in can make the credential again and compare: so a reader of the transcript can
check afterwards what was asked of the TPM.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from edgeseal.cose import ORDER
from edgeseal.errors import FormatError
from edgeseal.tpmstruct import Public

RANDOM_RSA, RANDOM_ECC = 64, 32
"""Bytes of randomness for an RSA key (seed, then OAEP's), and for an elliptic one (a private number)."""
_LABEL: Final = b"IDENTITY\0"
_BLOCK: Final = 16


@dataclass(frozen=True, slots=True)
class Credential:
    """TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET, each without its length."""

    blob: bytes
    seed: bytes


def make(ek: Public, name: bytes, secret: bytes, random: bytes) -> Credential:
    """Return the credential that gives ``secret`` to the TPM of ``ek`` if it holds the key called ``name``.

    Args:
        ek: the endorsement key; a storage key with AES (``ek_attributes`` is the caller's to check).
        name: the attestation key's name, 34 bytes.
        secret: at most 32 bytes.
        random: ``RANDOM_RSA`` or ``RANDOM_ECC`` fresh random bytes, as the key needs: see :func:`random_size`.

    Raises:
        FormatError: ``range`` for randomness of another length, or no private number; ``tpm_algorithm`` for a key
            without AES.
    """
    if len(random) != random_size(ek):
        raise FormatError("range", f"the randomness of a credential has {random_size(ek)} bytes here")
    if not ek.symmetric_bits:
        raise FormatError("tpm_algorithm", "the endorsement key protects nothing: it names no AES")
    if ek.point is None:
        seed, sent = random[:32], _oaep(ek, random[:32], random[32:])
    else:
        seed, sent = _agree(ek, random)
    cipher_key = _kdfa(seed, b"STORAGE", name, ek.symmetric_bits)
    hidden = _cfb(cipher_key, len(secret).to_bytes(2, "big") + secret)
    mac = hmac.digest(_kdfa(seed, b"INTEGRITY", b"", 256), hidden + name, "sha256")
    return Credential(len(mac).to_bytes(2, "big") + mac + hidden, sent)


def random_size(ek: Public) -> int:
    """Return how many random bytes a credential for this key takes."""
    return RANDOM_RSA if ek.point is None else RANDOM_ECC


def _kdfa(key: bytes, label: bytes, context: bytes, bits: int) -> bytes:
    """SP 800-108 in counter mode with HMAC-SHA-256, for at most 256 bits."""
    made = hmac.digest(key, (1).to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big"), "sha256")
    return made[: bits // 8]


def _cfb(key: bytes, data: bytes) -> bytes:
    """AES-CFB over full blocks from an initial vector of zeros: each is masked by the one before, enciphered."""
    block_cipher = Cipher(algorithms.AES(key), modes.ECB()).encryptor()
    last, made = bytes(_BLOCK), b""
    for at in range(0, len(data), _BLOCK):
        mask = block_cipher.update(last)
        last = bytes(a ^ b for a, b in zip(data[at : at + _BLOCK], mask, strict=False))
        made += last
    return made


def _oaep(ek: Public, seed: bytes, random: bytes) -> bytes:
    """RSAES-OAEP (RFC 8017 section 7.1.1) with SHA-256 and given randomness, which no library takes."""
    size = (ek.modulus.bit_length() + 7) // 8
    padded = sha256(_LABEL).digest() + bytes(size - len(seed) - 66) + b"\x01" + seed
    masked = _xor(padded, _mgf1(random, len(padded)))
    encoded = _xor(random, _mgf1(masked, 32)) + masked
    return pow(int.from_bytes(encoded, "big"), ek.exponent, ek.modulus).to_bytes(size, "big")


def _mgf1(seed: bytes, size: int) -> bytes:
    blocks = (sha256(seed + count.to_bytes(4, "big")).digest() for count in range(-(-size // 32)))
    return b"".join(blocks)[:size]


def _xor(one: bytes, two: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, two, strict=True))


def _agree(ek: Public, random: bytes) -> tuple[bytes, bytes]:
    """One-pass ECDH: return the seed that both sides derive, and our point for the other side."""
    scalar = int.from_bytes(random, "big")
    if not 0 < scalar < ORDER:
        raise FormatError("range", "the randomness of a credential is no private number of P-256")
    assert ek.point is not None
    theirs = ec.EllipticCurvePublicNumbers(
        int.from_bytes(ek.point.x, "big"), int.from_bytes(ek.point.y, "big"), ec.SECP256R1()
    )
    private = ec.derive_private_key(scalar, ec.SECP256R1())
    shared = private.exchange(ec.ECDH(), theirs.public_key())
    ours = private.public_key().public_numbers()
    x, y = ours.x.to_bytes(32, "big"), ours.y.to_bytes(32, "big")
    seed = sha256((1).to_bytes(4, "big") + shared + _LABEL + x + ek.point.x).digest()
    return seed, b"".join(len(part).to_bytes(2, "big") + part for part in (x, y))
