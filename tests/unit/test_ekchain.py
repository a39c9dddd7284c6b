"""Which issuers lead from an endorsement key's certificate to an authority, and which do not."""

from __future__ import annotations

import datetime
from hashlib import sha256
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from edgeseal import ekchain

IN_2020 = 1_590_000_000
"""Unix seconds; the certificates here are valid for that year."""
ROOT, MIDDLE, LEAF = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
EK = x509.ExtendedKeyUsage([ObjectIdentifier(ekchain.EK_CERTIFICATE)])


def certificate(
    subject: str, key: Any, issuer: str, by: Any, ca: bool,
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


@pytest.mark.parametrize(
    ("key", "leads"),
    [
        (rsa.generate_private_key(65_537, 1_024), False),
        (rsa.generate_private_key(65_537, 2_048), True),
        (ec.generate_private_key(ec.SECP384R1()), True),
        (ec.generate_private_key(ec.SECP256K1()), False),
        (ec.generate_private_key(ec.SECP224R1()), False),
    ],
    ids=lambda value: getattr(getattr(value, "curve", None), "name", None) or str(getattr(value, "key_size", value)),
)
def test_an_issuers_key_is_no_shorter_than_2048_bits_or_p256(key: Any, leads: bool) -> None:
    for weak in ("root", "middle"):
        top, between = (key, MIDDLE) if weak == "root" else (ROOT, key)
        root = certificate("root", top, "root", top, True)
        middle = certificate("middle", between, "root", top, True)
        leaf = certificate("ek", LEAF, "middle", between, False, (EK, False))
        wanted = sha256(root).digest()
        assert ekchain.authority(leaf, [middle, root], [wanted]) == (wanted if leads else None)


@pytest.mark.parametrize(
    ("times", "leads"),
    [
        (ekchain.Times(None, IN_2020), True),
        (ekchain.Times(IN_2020, None), True),
        (ekchain.Times(IN_2020 - 10**9, IN_2020 + 10**9), True),
        (ekchain.Times(None, IN_2020 - 10**8), False),
        (ekchain.Times(IN_2020 + 10**8, None), False),
    ],
)
def test_certificates_are_valid_at_one_of_the_times_the_authoritys_own_aside(times: ekchain.Times, leads: bool) -> None:
    root = certificate("root", ROOT, "root", ROOT, True)
    leaf = certificate("ek", LEAF, "root", ROOT, False, (EK, False))
    wanted = sha256(root).digest()
    assert ekchain.authority(leaf, [root], [wanted], times) == (wanted if leads else None)
