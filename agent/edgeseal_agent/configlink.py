"""The sections ``mqtt`` and ``uplink``: the broker, and how patiently the gateway is told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseal import strictyaml
from edgeseal.errors import FormatError
from edgeseal_agent import configfields as fields


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The broker: address, TLS files (``ca_file`` null: no TLS), and optional user name with password.

    ``tls_key`` says what ``key_file`` is: a private key (``file``), or a key that only the TPM ``tls_tcti`` names can
    load (``tpm``), through OpenSSL's provider tpm2-openssl.
    """

    host: str
    port: int
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    username: str | None
    password: fields.Secret | None
    keepalive_s: int
    tls_key: str = "file"
    tls_tcti: str = "device:/dev/tpmrm0"

    def shown_key(self) -> str:
        """Return which TLS key this is, in the words that ``check`` and ``status`` show."""
        if self.ca_file is None:
            return "none: no TLS"
        if self.key_file is None:
            return "none: the broker knows this device by its password, or not at all"
        return f"{'TPM (tpm2-openssl)' if self.tls_key == 'tpm' else 'file'} {self.key_file}"


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """The way to the gateway: segments in flight without a receipt, patience and back-off, flush at the end."""

    inflight_segments: int
    receipt_timeout_s: int
    retry_min_s: int
    retry_max_s: int
    flush_s: int


def read_mqtt(section: strictyaml.Section, base: Path) -> MqttConfig:
    """Read the section ``mqtt``. Raises FormatError."""
    mqtt = MqttConfig(
        host=section.text("host", r"[A-Za-z0-9._:-]{1,253}"),
        port=section.integer("port", 1, 65_535, 8883),
        ca_file=fields.maybe_path(section, "ca_file", base),
        cert_file=fields.maybe_path(section, "cert_file", base),
        key_file=fields.maybe_path(section, "key_file", base),
        username=section.text("username", fields.TEXT) if "username" in section else None,
        password=fields.secret(section, "password", base) if fields.has_secret(section, "password") else None,
        keepalive_s=section.integer("keepalive_s", 5, 3_600, 30),
        tls_key=section.text("tls_key", "file|tpm", "file"),
        tls_tcti=section.text("tls_tcti", fields.TEXT, "device:/dev/tpmrm0"),
    )
    section.done()
    if (mqtt.cert_file is None) != (mqtt.key_file is None):
        raise FormatError("yaml_missing_key", "mqtt.cert_file and mqtt.key_file belong together")
    if mqtt.tls_key == "tpm" and (mqtt.ca_file is None or mqtt.key_file is None):
        raise FormatError("yaml_missing_key", "mqtt.tls_key tpm needs ca_file, cert_file and key_file")
    return mqtt


def read_uplink(section: strictyaml.Section) -> UplinkConfig:
    """Read the section ``uplink``. Raises FormatError."""
    uplink = UplinkConfig(
        inflight_segments=section.integer("inflight_segments", 1, 256, 16),
        receipt_timeout_s=section.integer("receipt_timeout_s", 1, 3_600, 30),
        retry_min_s=section.integer("retry_min_s", 1, 3_600, 1),
        retry_max_s=section.integer("retry_max_s", 1, 86_400, 60),
        flush_s=section.integer("flush_s", 0, 3_600, 10),
    )
    section.done()
    return uplink
