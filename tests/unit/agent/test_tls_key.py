"""Which TLS key a device has: what is said of it, and what is no key of a TPM however it is named."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from edgeseal import tpmstruct
from edgeseal.adapters import tpmtls
from edgeseal.adapters.tpmtls import TpmKey
from edgeseal.errors import UsageError
from edgeseal_agent import checks
from edgeseal_agent.config import Config
from edgeseal_agent.configlink import MqttConfig
from edgeseal_agent.mqttlink import make_link, tpm_key
from tests.softtpm import AK_ATTRIBUTES, KEY_ATTRIBUTES, ecc_public, sized
from tests.vectors.encoding import Key

CONFIG = MqttConfig("broker", 8883, Path("ca"), Path("cert"), Path("key"), None, None, 30)
LOADABLE, IMPORTABLE = "2.23.133.10.1.3", "2.23.133.10.1.4"


def pem(public: bytes, kind: str = LOADABLE, name: bytes = b"TSS2 PRIVATE KEY") -> bytes:
    held = tpmtls._KeyFile(
        kind=ObjectIdentifier(kind), empty_auth=True, parent=0x81000001, public=sized(public), private=sized(bytes(126))
    )
    return b"-----BEGIN %s-----\n%s-----END %s-----\n" % (name, base64.encodebytes(asn1.encode_der(held)), name)


def public(attributes: int = KEY_ATTRIBUTES) -> bytes:
    return ecc_public(Key("tls").point, attributes)


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL's provider is installed."""
    (tmp_path / "tpm2.so").touch()
    monkeypatch.setattr(tpmtls, "PROVIDERS", (str(tmp_path / "tpm2.so"),))


def key(tmp_path: Path, data: bytes) -> TpmKey:
    (tmp_path / "key.pem").write_bytes(data)
    return TpmKey(tmp_path / "ca", tmp_path / "cert", tmp_path / "key.pem", "swtpm:port=1")


@pytest.mark.usefixtures("provider")
def test_a_key_that_stays_in_its_tpm(tmp_path: Path) -> None:
    key(tmp_path, pem(public())).check()


@pytest.mark.usefixtures("provider")
@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        pem(public(), name=b"PRIVATE KEY"),
        pem(public()) + b"-----BEGIN EC PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n",
        pem(public(), kind=IMPORTABLE),
        pem(public(KEY_ATTRIBUTES & ~tpmstruct.FIXED_TPM)),
        pem(public(KEY_ATTRIBUTES & ~tpmstruct.SENSITIVE_DATA_ORIGIN)),
        pem(public(AK_ATTRIBUTES)),
        pem(public()[:-1]),
        pem(public()).replace(b"MIH", b"!IH"),
        b"-----BEGIN TSS2 PRIVATE KEY-----\n" + b"A" * 20_000 + b"\n-----END TSS2 PRIVATE KEY-----\n",
    ],
)
def test_any_other_file_is_not_called_a_tpms(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(UsageError, match="tls_key_not_in_tpm") as caught:
        key(tmp_path, data).check()
    assert caught.value.remedy is not None and "mqtt.tls_key: file" in caught.value.remedy


@pytest.mark.usefixtures("provider")
def test_a_key_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="mqtt_tls_files"):
        TpmKey(tmp_path, tmp_path, tmp_path / "none", "").check()


def test_without_the_provider_nothing_starts_and_the_package_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tpmtls, "PROVIDERS", (str(tmp_path / "*/tpm2.so"),))
    found = key(tmp_path, pem(public()))
    config = replace(CONFIG, key_file=found.key_file, tls_key="tpm", host="127.0.0.1", port=1)
    with pytest.raises(UsageError, match="tls_provider_missing"):
        make_link(config, bytes(32), None)  # type: ignore[arg-type]
    finding = next(finding for finding in checks._mqtt(_of(config)) if finding.what == "tls key")
    assert finding.state == "fail" and finding.remedy is not None and "tpm2-openssl" in finding.remedy


def _of(mqtt: MqttConfig) -> Config:
    class Told:
        def __init__(self) -> None:
            self.mqtt = mqtt

    return cast(Config, Told())


def test_what_is_shown() -> None:
    assert CONFIG.shown_key() == "file key"
    assert replace(CONFIG, tls_key="tpm").shown_key() == "TPM (tpm2-openssl) key"
    assert replace(CONFIG, cert_file=None, key_file=None).shown_key().startswith("none: the broker knows")
    assert replace(CONFIG, ca_file=None).shown_key() == "none: no TLS"
    assert tpm_key(CONFIG) is None
