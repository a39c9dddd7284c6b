"""The connection to the broker as the configuration describes it: with a key file, or the TPM's key."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edgeseal import topics
from edgeseal.errors import UsageError
from edgeseal_agent.configlink import MqttConfig
from edgeseal_agent.uplinkroles import Receiver

if TYPE_CHECKING:
    from edgeseal.adapters.mqtt import MqttLink
    from edgeseal.adapters.tpmtls import TpmKey


def make_link(config: MqttConfig, log: bytes, receiver: Receiver) -> MqttLink:
    """Return the connection to the broker, not yet started.

    Raises UsageError for TLS files and passwords, and what ``TpmKey.check`` raises.
    """
    from edgeseal.adapters.mqtt import Endpoint, MqttLink

    key = tpm_key(config)
    password = None if config.password is None else _first_line(config.password.path())
    endpoint = Endpoint(
        config.host, config.port, log.hex(), config.ca_file, config.cert_file, config.key_file, config.username,
        password, config.keepalive_s, retry_min_s=0.5, retry_max_s=30.0,
        dialer=None if key is None else key.dialer(config.host, config.port),
    )  # fmt: skip
    return MqttLink(
        endpoint, [topics.all_down(log)], receiver.received, on_ready=receiver.connected, on_failed=receiver.failed
    )


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError("password_file", f"cannot read {path}: {error}") from error


def tpm_key(config: MqttConfig) -> TpmKey | None:
    """Return the TLS key that is in a TPM, None where it is a file or there is none. Looks at nothing."""
    if config.tls_key != "tpm" or config.ca_file is None or config.cert_file is None or config.key_file is None:
        return None
    from edgeseal.adapters.tpmtls import TpmKey

    return TpmKey(config.ca_file, config.cert_file, config.key_file, config.tls_tcti)
