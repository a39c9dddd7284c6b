"""The connection to the broker as the configuration describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgeseal import topics
from edgeseal_agent.configlink import MqttConfig
from edgeseal_agent.uplinkroles import Receiver

if TYPE_CHECKING:
    from edgeseal.adapters.mqtt import MqttLink


def make_link(config: MqttConfig, log: bytes, receiver: Receiver) -> MqttLink:
    """Return the connection to the broker, not yet started. Raises UsageError for TLS files and passwords."""
    from edgeseal.adapters.mqtt import Endpoint, MqttLink

    password = None if config.password is None else config.password.path().read_text().splitlines()[0]
    endpoint = Endpoint(
        config.host, config.port, log.hex(), config.ca_file, config.cert_file, config.key_file, config.username,
        password, config.keepalive_s, retry_min_s=0.5, retry_max_s=30.0,
    )  # fmt: skip
    return MqttLink(
        endpoint, [topics.all_down(log)], receiver.received, on_ready=receiver.connected, on_failed=receiver.failed
    )
