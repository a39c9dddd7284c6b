"""Certificates of endorsement keys: does a chain lead from this key to an authority that somebody believes
(``docs/format.md`` 8.6; TCG EK Credential Profile)?

No clock is read here: dates are judged against times that the caller knows from elsewhere, where he knows any.
Revocation lists are not judged.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa

from edgeseal.errors import FormatError, VerificationError
from edgeseal.tpmstruct import Public

EK_CERTIFICATE: Final = "2.23.133.8.1"
"""tcg-kp-EKCertificate: the purpose that a certificate of an endorsement key names."""
_ANY_PURPOSE: Final = "2.5.29.37.0"
_JUDGED: Final = (
    x509.BasicConstraints, x509.KeyUsage, x509.CertificatePolicies, x509.PolicyConstraints, x509.InhibitAnyPolicy,
)  # fmt: skip
"""Critical extensions that are judged here, or limit policies only, which nobody asks for."""
_HASHES: Final = frozenset({"sha256", "sha384", "sha512"})
MIN_RSA_BITS: Final = 2_048
_CURVES: Final = frozenset({"secp256r1", "secp384r1", "secp521r1"})
_ODD: Final = (
    ValueError, TypeError, InvalidSignature, UnsupportedAlgorithm, x509.DuplicateExtension, x509.InvalidVersion,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Times:
    """Between which times, Unix seconds, something was done; None where nothing bounds it."""

    after: int | None = None
    by: int | None = None

    def overlap(self, certificate: x509.Certificate) -> bool:
        """Say whether a certificate's dates have at least one of these times."""
        try:
            start, end = certificate.not_valid_before_utc.timestamp(), certificate.not_valid_after_utc.timestamp()
        except _ODD:
            return False
        return (self.by is None or start <= self.by) and (self.after is None or self.after <= end)


ANY_TIME: Final = Times()


def load(data: bytes) -> x509.Certificate:
    """Return the certificate in untrusted DER. Raises FormatError ``ek_certificate``."""
    try:
        return x509.load_der_x509_certificate(data)
    except _ODD as error:
        raise FormatError("ek_certificate", f"no X.509 certificate in DER: {error!r:.200}") from None


def check_leaf(data: bytes, ek: Public) -> None:
    """Check that an untrusted certificate is one of an endorsement key, and of this one.

    Raises FormatError ``ek_certificate``, VerificationError ``ek_mismatch``.
    """
    certificate = load(data)
    try:
        key = certificate.public_key()
        purposes = certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    except (*_ODD, x509.ExtensionNotFound) as error:
        raise FormatError("ek_certificate", f"no certificate of an endorsement key: {error!r:.200}") from None
    if all(purpose.dotted_string != EK_CERTIFICATE for purpose in purposes):
        raise FormatError("ek_certificate", "the certificate is not made out for an endorsement key")
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        same = ek.point is None and (numbers.n, numbers.e) == (ek.modulus, ek.exponent)
    elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        point = key.public_numbers()
        same = ek.point is not None and (point.x.to_bytes(32, "big"), point.y.to_bytes(32, "big")) == (
            ek.point.x, ek.point.y,
        )  # fmt: skip
    else:
        same = False
    if not same:
        raise VerificationError("ek_mismatch", "the certificate is of another key than the endorsement key shown")


def authority(
    leaf: bytes, others: Sequence[bytes], authorities: Iterable[bytes], times: Times = ANY_TIME
) -> bytes | None:
    """Return the digest of the authority that certifies ``leaf``, over any of ``others``; None where none does.

    An authority is named by the SHA-256 of its certificate's DER bytes, as they stand among ``others``. Every issuer on
    the way must be a certificate authority, allowed to sign certificates and so long a chain, for endorsement keys
    where it names purposes, without critical extensions that are not judged here, with a key of RSA with 2,048 bits or
    more, P-256, P-384, P-521, Ed25519 or Ed448; every signature be over SHA-256 or longer; and the dates of the leaf
    and of every issuer short of the authority, whom somebody named, have one of ``times``. Raises FormatError
    ``ek_certificate``.
    """
    wanted = frozenset(authorities)
    waiting = [(load(data), sha256(data).digest()) for data in dict.fromkeys(others)]
    reached, below = [load(leaf)], 0
    while reached:
        reached = [certificate for certificate in reached if times.overlap(certificate)]
        issuers = [one for one in waiting if any(_issued(certificate, one[0], below) for certificate in reached)]
        for _, digest in issuers:
            if digest in wanted:
                return digest
        waiting = [one for one in waiting if one not in issuers]
        reached, below = [certificate for certificate, _ in issuers], below + 1
    return None


def _issued(certificate: x509.Certificate, issuer: x509.Certificate, below: int) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
        hashed = certificate.signature_hash_algorithm
        basic = issuer.extensions.get_extension_for_class(x509.BasicConstraints).value
        length = basic.path_length
        may = basic.ca and (length is None or length >= below) and (hashed is None or hashed.name in _HASHES)
        return may and _strong(issuer) and _may_sign(issuer) and _understood(issuer)
    except (*_ODD, x509.ExtensionNotFound):
        return False


def _strong(issuer: x509.Certificate) -> bool:
    key = issuer.public_key()
    if isinstance(key, rsa.RSAPublicKey):
        return key.key_size >= MIN_RSA_BITS
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.curve.name in _CURVES
    return isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey)


def _may_sign(issuer: x509.Certificate) -> bool:
    try:
        return issuer.extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    except x509.ExtensionNotFound:
        return True


def _understood(issuer: x509.Certificate) -> bool:
    """Say whether nothing in an issuer's certificate keeps it from certifying endorsement keys, as far as can be told:
    purposes are for them, no critical extension is one that is not judged here.
    """
    for extension in issuer.extensions:
        if isinstance(extension.value, x509.ExtendedKeyUsage):
            if not any(purpose.dotted_string in (EK_CERTIFICATE, _ANY_PURPOSE) for purpose in extension.value):
                return False
        elif extension.critical and not isinstance(extension.value, _JUDGED):
            return False
    return True
