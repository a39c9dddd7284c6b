"""TPM 2.0 structures, read strictly: public areas, what a TPM attests, the public part of an NV index
(``docs/format.md`` 8.6, 4.5; TPM 2.0 Library part 2, sections 10 to 13).

Only what this project uses is read, everything else is refused: SHA-256 names, RSA and P-256 keys, five kinds of
attestation. Every parser takes untrusted bytes and raises FormatError only: ``too_large``, ``tpm_truncated``,
``tpm_trailing``, ``tpm_algorithm``, ``tpm_magic``, ``tpm_kind``, or ``range``.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from edgeseal import limits
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError

RSA, ECC, AES, SHA256, NULL = 0x0001, 0x0023, 0x0006, 0x000B, 0x0010
RSASSA, RSAPSS, OAEP, ECDSA, CFB, NIST_P256 = 0x0014, 0x0016, 0x0017, 0x0018, 0x0043, 0x0003
FIXED_TPM, FIXED_PARENT, SENSITIVE_DATA_ORIGIN = 1 << 1, 1 << 4, 1 << 5
RESTRICTED, DECRYPT, SIGN = 1 << 16, 1 << 17, 1 << 18
GENERATED: Final = 0xFF544347
NV, CERTIFY, QUOTE, TIME, CREATION = 0x8014, 0x8017, 0x8018, 0x8019, 0x801A
NV_COUNTER: Final = 1
_MAX_PCR_BANKS: Final = 16


class _Reader:
    """Takes big-endian fields off the front of untrusted bytes."""

    def __init__(self, data: bytes, what: str) -> None:
        if len(data) > limits.MAX_TPM_STRUCTURE:
            raise FormatError("too_large", f"{what}: {len(data)} bytes, the limit is {limits.MAX_TPM_STRUCTURE}")
        self._data, self._at, self._what = data, 0, what

    def take(self, size: int) -> bytes:
        """Return the next ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise FormatError("tpm_truncated", f"{self._what} ends at byte {len(self._data)}, inside a field")
        found, self._at = self._data[self._at : end], end
        return found

    def number(self, size: int) -> int:
        """Return the next ``size`` bytes as an unsigned integer."""
        return int.from_bytes(self.take(size), "big")

    def sized(self) -> bytes:
        """Return a TPM2B: its length in two bytes, then so many."""
        return self.take(self.number(2))

    def one_of(self, *allowed: int) -> int:
        """Return an algorithm identifier, one of ``allowed``."""
        found = self.number(2)
        if found not in allowed:
            raise FormatError("tpm_algorithm", f"{self._what}: algorithm {found:#06x} is not used here")
        return found

    def end(self) -> None:
        """Check that nothing is left."""
        if self._at != len(self._data):
            raise FormatError("tpm_trailing", f"{self._what} goes on after its last field")


@dataclass(frozen=True, slots=True)
class Public:
    """A key's public area, TPMT_PUBLIC. ``point`` is the P-256 key, or ``modulus`` and ``exponent`` the RSA one.

    ``symmetric_bits`` is the AES key size of a storage key, 0 where it protects nothing; ``scheme`` the fixed signing
    scheme or NULL.
    """

    raw: bytes
    attributes: int
    symmetric_bits: int
    scheme: int
    point: PublicKey | None
    modulus: int
    exponent: int

    @property
    def name(self) -> bytes:
        """The TPM's name of this very key, attributes and all: 34 bytes."""
        return SHA256.to_bytes(2, "big") + sha256(self.raw).digest()

    def has(self, wanted: int, unwanted: int) -> bool:
        """Say whether all bits of ``wanted`` are set and none of ``unwanted``."""
        return self.attributes & wanted == wanted and not self.attributes & unwanted


def public(data: bytes) -> Public:
    """Return the key in an untrusted TPMT_PUBLIC. Raises FormatError, ``key_invalid`` for a point off the curve."""
    reader = _Reader(data, "public area")
    kind = reader.one_of(RSA, ECC)
    reader.one_of(SHA256)
    attributes = reader.number(4)
    reader.sized()
    bits = 0
    if reader.one_of(AES, NULL) == AES:
        bits = reader.number(2)
        reader.one_of(CFB)
        if bits not in (128, 256):
            raise FormatError("tpm_algorithm", f"public area: AES with {bits} bits")
    scheme = reader.one_of(*((NULL, RSASSA, RSAPSS, OAEP) if kind == RSA else (NULL, ECDSA)))
    if scheme != NULL:
        reader.one_of(SHA256)
    point, modulus, exponent = None, 0, 0
    if kind == RSA:
        size, exponent = reader.number(2), reader.number(4) or 65_537
        unique = reader.sized()
        modulus = int.from_bytes(unique, "big")
        if not 2_048 <= size <= 4_096 or modulus.bit_length() != size or exponent < 3 or not exponent & modulus & 1:
            raise FormatError("range", "public area: no RSA key of 2,048 to 4,096 bits")
    else:
        reader.one_of(NIST_P256)
        reader.one_of(NULL)
        point = PublicKey.of(reader.sized().rjust(32, b"\0"), reader.sized().rjust(32, b"\0"))
    reader.end()
    return Public(bytes(data), attributes, bits, scheme, point, modulus, exponent)


@dataclass(frozen=True, slots=True)
class Clock:
    """TPMS_CLOCK_INFO. ``clock`` counts the milliseconds the TPM was powered, over its life; ``resets`` its resets,
    ``restarts`` its restarts and resumes since the last one. Not ``safe``: after a power cut the clock may have told
    this value before.
    """

    clock: int
    resets: int
    restarts: int
    safe: bool


@dataclass(frozen=True, slots=True)
class Attested:
    """What a TPM says of itself, TPMS_ATTEST; only a restricted key's signature makes it true.

    ``name`` is that of the key (certify, creation) or NV index; ``content`` the PCR digest, the NV contents or the
    creation hash; empty where the kind has none.
    """

    kind: int
    extra: bytes
    clock: Clock
    firmware: int
    name: bytes
    content: bytes


def attested(data: bytes, kind: int) -> Attested:
    """Return what an untrusted TPMS_ATTEST says; ``kind`` is the one that must stand there.

    Raises FormatError, ``tpm_magic`` where it does not begin as what only a TPM makes, ``tpm_kind`` for another kind.
    """
    reader = _Reader(data, "attestation")
    if reader.number(4) != GENERATED:
        raise FormatError("tpm_magic", "attestation: not made inside a TPM")
    if reader.number(2) != kind:
        raise FormatError("tpm_kind", "attestation: of another kind than must stand here")
    reader.sized()
    extra = reader.sized()
    clock = _clock(reader)
    firmware = reader.number(8)
    name, content = _KINDS[kind](reader)
    reader.end()
    return Attested(kind, extra, clock, firmware, name, content)


def _clock(reader: _Reader) -> Clock:
    clock, resets, restarts = reader.number(8), reader.number(4), reader.number(4)
    safe = reader.number(1)
    if safe > 1:
        raise FormatError("range", "attestation: neither yes nor no")
    return Clock(clock, resets, restarts, bool(safe))


def _two(reader: _Reader) -> tuple[bytes, bytes]:
    return reader.sized(), reader.sized()


def _quote(reader: _Reader) -> tuple[bytes, bytes]:
    banks = reader.number(4)
    if banks > _MAX_PCR_BANKS:
        raise FormatError("range", f"attestation: {banks} PCR banks")
    for _ in range(banks):
        reader.number(2)
        reader.take(reader.number(1))
    return b"", reader.sized()


def _time(reader: _Reader) -> tuple[bytes, bytes]:
    reader.number(8)
    _clock(reader)
    reader.number(8)
    return b"", b""


def _nv(reader: _Reader) -> tuple[bytes, bytes]:
    name = reader.sized()
    if reader.number(2):
        raise FormatError("range", "attestation: not the NV index from its first byte")
    return name, reader.sized()


_KINDS: Final = {CERTIFY: _two, CREATION: _two, QUOTE: _quote, TIME: _time, NV: _nv}


@dataclass(frozen=True, slots=True)
class NvIndex:
    """The public part of an NV index, TPMS_NV_PUBLIC."""

    raw: bytes
    index: int
    attributes: int
    size: int

    @property
    def name(self) -> bytes:
        """The TPM's name of this very index, attributes and all: 34 bytes."""
        return SHA256.to_bytes(2, "big") + sha256(self.raw).digest()

    @property
    def is_counter(self) -> bool:
        """Whether the TPM lets it rise and nothing else."""
        return self.attributes >> 4 & 0xF == NV_COUNTER and self.size == 8


def nv_index(data: bytes) -> NvIndex:
    """Return the NV index in an untrusted TPMS_NV_PUBLIC. Raises FormatError."""
    reader = _Reader(data, "NV public")
    index = reader.number(4)
    reader.one_of(SHA256)
    attributes = reader.number(4)
    reader.sized()
    size = reader.number(2)
    reader.end()
    return NvIndex(bytes(data), index, attributes, size)


def unwrapped(data: bytes) -> bytes:
    """Return what a TPM2B in an untrusted file holds. Raises FormatError ``tpm_truncated``, ``tpm_trailing``."""
    reader = _Reader(data, "TPM2B")
    found = reader.sized()
    reader.end()
    return found
