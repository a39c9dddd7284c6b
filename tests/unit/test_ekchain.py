"""Which issuers lead from an endorsement key's certificate to an authority, and which do not."""

from __future__ import annotations

import datetime
from hashlib import sha256

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from edgeseal import ekchain

ROOT, MIDDLE, LEAF = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
EK = x509.ExtendedKeyUsage([ObjectIdentifier(ekchain.EK_CERTIFICATE)])


def certificate(
    subject: str, key: ec.EllipticCurvePrivateKey, issuer: str, by: ec.EllipticCurvePrivateKey, ca: bool,
    *more: tuple[x509.ExtensionType, bool],
) -> bytes:  # fmt: skip
    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    made = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(name(issuer))
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2021, 1, 1))
        .add_extension(x509.BasicConstraints(ca, None), critical=True)
    )
    for value, critical in more:
        made = made.add_extension(value, critical=critical)
    return made.sign(by, hashes.SHA256()).public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("more", "leads"),
    [
        ([], True),
        ([(EK, True)], True),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE]), False)], True),
        ([(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CODE_SIGNING]), False)], False),
        ([(x509.NameConstraints([x509.DNSName("example.org")], None), True)], False),
        ([(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True)], False),
        ([(x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00"), False)], True),
    ],
)
def test_an_issuer_certifies_what_its_own_certificate_lets_it(
    more: list[tuple[x509.ExtensionType, bool]], leads: bool
) -> None:
    root = certificate("root", ROOT, "root", ROOT, True)
    middle = certificate("middle", MIDDLE, "root", ROOT, True, *more)
    leaf = certificate("ek", LEAF, "middle", MIDDLE, False, (EK, False))
    wanted = sha256(root).digest()
    assert ekchain.authority(leaf, [middle, root], [wanted]) == (wanted if leads else None)
    forged = certificate("ek", LEAF, "middle", LEAF, False, (EK, False))
    assert ekchain.authority(forged, [middle, root], [wanted]) is None
