"""A small certificate authority for the broker: its own certificate, the broker's, and one for each client name."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgeseal.errors import UsageError

VALID_FOR = timedelta(days=825)


@dataclass(frozen=True)
class CertificateFiles:
    """Where a certificate, its private key (mode 0600) and the authority that issued it lie, all PEM."""

    authority: Path
    certificate: Path
    key: Path


class Authority:
    """Issues certificates into one directory. The authority's own key never leaves this object's memory."""

    def __init__(self, directory: Path) -> None:
        """Make a new authority and write ``ca.pem``. Raises UsageError ``authority_exists`` if one was made here
        before.
        """
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "edgeseal broker authority")])
        builder = self._builder(self._name, self._key.public_key())
        builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
        certificate = builder.add_extension(usage, critical=True).sign(self._key, SHA256())
        self.certificate = directory / "ca.pem"
        if self.certificate.exists():
            raise UsageError("authority_exists", f"{directory} already holds an authority", "choose an empty folder")
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    def issue_server(self, *addresses: str) -> CertificateFiles:
        """Issue the broker's certificate, good for these host names and IP addresses."""
        names = [_general_name(address) for address in addresses]
        return self._issue("server", ExtendedKeyUsageOID.SERVER_AUTH, x509.SubjectAlternativeName(names))

    def issue_client(self, name: str) -> CertificateFiles:
        """Issue a client certificate; ``name`` (at most 64 characters) becomes the client's user name at the broker."""
        return self._issue(name, ExtendedKeyUsageOID.CLIENT_AUTH, None)

    def sign_request(self, request: Path) -> Path:
        """Issue a client certificate of a certificate request (PEM), under the name it asks for; return its file.

        Raises ValueError for a request that is none, or not signed by the P-256 key it names.
        """
        asked = x509.load_pem_x509_csr(request.read_bytes())
        key = asked.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not asked.is_signature_valid:
            raise ValueError(f"{request}: not signed by the P-256 key it names")
        name = str(asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        certificate = self._certify(name, key, ExtendedKeyUsageOID.CLIENT_AUTH, None)
        path = self._directory / f"{name}.pem"
        path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        return path

    def _issue(
        self, name: str, usage: x509.ObjectIdentifier, alternative: x509.SubjectAlternativeName | None
    ) -> CertificateFiles:
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = self._certify(name, key.public_key(), usage, alternative)
        files = CertificateFiles(self.certificate, self._directory / f"{name}.pem", self._directory / f"{name}.key")
        files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        secret = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        descriptor = os.open(files.key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as output:
            output.write(secret)
        return files

    def _certify(
        self, name: str, key: ec.EllipticCurvePublicKey, usage: x509.ObjectIdentifier,
        alternative: x509.SubjectAlternativeName | None,
    ) -> x509.Certificate:  # fmt: skip
        builder = self._builder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        builder = builder.add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        if alternative is not None:
            builder = builder.add_extension(alternative, critical=False)
        return builder.sign(self._key, SHA256())

    def _builder(self, subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        now = datetime.now(UTC)
        authority = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))  # for clients whose clock is a little behind
            .not_valid_after(now + VALID_FOR)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(authority, critical=False)
        )


def _general_name(address: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(address))
    except ValueError:
        return x509.DNSName(address)
