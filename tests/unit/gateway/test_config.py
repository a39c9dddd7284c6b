"""The configuration file: what it means, and what is refused with its place named."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal.errors import UsageError
from edgeseal_gateway.config import read_config
from edgeseal_gateway.enforcement import Policy

GOOD = """\
schema: edgeseal-gateway/1
state_dir: state
network_profile: /etc/edgeseal/network.yaml
key: {module: /usr/lib/softhsm/libsofthsm2.so, token: gw, label: gateway, softhsm_dir: token}
mqtt: {host: broker, port: 8883, tls: {ca_file: ca.pem, cert_file: c.pem, key_file: k.pem}}
chain: {account_key_file: account.key}
"""


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "gateway.yaml"
    path.write_text(text)
    return path


def test_paths_are_taken_from_the_files_folder(tmp_path: Path) -> None:
    config = read_config(write(tmp_path, GOOD))
    assert config.store == tmp_path / "state" / "gateway.db"
    assert config.network_profile == Path("/etc/edgeseal/network.yaml")
    assert config.mqtt.tls is not None and config.mqtt.tls.ca_file == tmp_path / "ca.pem"
    assert config.key.token_key.pin_file == tmp_path / "token" / "gw.pin"
    assert dict(config.key.token_key.environment) == {"SOFTHSM2_CONF": str(tmp_path / "token" / "softhsm2.conf")}
    assert (config.api.bind, config.api.port, config.chain.confirmations) == ("127.0.0.1", 8420, 1)
    assert (config.anchor_size, config.anchor_secs) == (None, None)


def test_a_token_that_is_there_already(tmp_path: Path) -> None:
    text = GOOD.replace("softhsm_dir: token", "pin_file: pin, environment: {TPM2_PKCS11_STORE: /var/lib/tpm}")
    key = read_config(write(tmp_path, text)).key
    assert key.softhsm_dir is None and key.token_key.pin_file == tmp_path / "pin"
    assert dict(key.token_key.environment) == {"TPM2_PKCS11_STORE": "/var/lib/tpm"}


def test_beyond_loopback_it_takes_tls_and_tokens(tmp_path: Path) -> None:
    public = "api: {bind: 0.0.0.0, tls: {cert_file: c, key_file: k}, token_file: t}\n"
    assert read_config(write(tmp_path, GOOD + public)).api.bind == "0.0.0.0"
    for lacking in (
        "api: {bind: 0.0.0.0}\n",
        "api: {bind: 0.0.0.0, tls: {cert_file: c, key_file: k}}\n",
        "api: {bind: '::', token_file: t}\n",
        "api: {bind: 192.0.2.1, tls: {ca_file: c}, token_file: t}\n",
        "api: {bind: somewhere}\n",
    ):
        with pytest.raises(UsageError, match="api"):
            read_config(write(tmp_path, GOOD + lacking))


@pytest.mark.parametrize(
    ("old", "new", "place"),
    [
        ("schema: edgeseal-gateway/1", "schema: other", "schema"),
        ("state_dir: state\n", "", "state_dir"),
        ("port: 8883", "port: 0", "mqtt.port"),
        ("port: 8883", "port: '8883'", "mqtt.port"),
        ("host: broker", "hots: broker", "mqtt.host"),
        ("key_file: k.pem", "key: k.pem", "mqtt.tls"),
        (", key_file: k.pem", "", "mqtt.tls"),
        ("softhsm_dir: token", "pin: 1234", "key.pin_file"),
        ("chain: {", "chain: {confirmations: 0, ", "chain.confirmations"),
        ("account_key_file: account.key", "", "chain.keystore_file"),
        ("account_key_file: account.key", "account_key_file: a, keystore_file: b, passphrase_file: c", "keystore_file"),
        ("account_key_file: account.key", "keystore_file: b", "chain.passphrase_file"),
        ("account_key_file: account.key", "keystore_file: b, passphrase: secret", "chain.passphrase"),
        (
            "account_key_file: account.key",
            "keystore_file: b, passphrase_file: c, passphrase_credential: d",
            "chain.passphrase_file",
        ),
        (
            "account_key_file: account.key",
            "keystore_file: b, passphrase_credential: ../../etc/shadow",
            "chain.passphrase_credential",
        ),
        ("chain: {", "chain: {spend_per_hour_gwei: 0, ", "chain.spend_per_hour_gwei"),
        ("chain: {", "chain: {allow_plain_key: 1, ", "chain.allow_plain_key"),
        ("schema:", "extra: 1\nschema:", "extra"),
        ("schema:", "head_interval_ms: 0\nschema:", "head_interval_ms"),
        ("schema:", "anchor: {secs: 1, minutes: 2}\nschema:", "anchor.minutes"),
        ("schema:", "enforce: {models: perhaps}\nschema:", "enforce.models"),
        ("schema:", "enforce: {scopes: auto}\nschema:", "enforce.scopes"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, old: str, new: str, place: str) -> None:
    assert old in GOOD
    with pytest.raises(UsageError) as caught:
        read_config(write(tmp_path, GOOD.replace(old, new, 1)))
    assert caught.value.code == "config_invalid" and place in caught.value.message


def test_what_the_registries_enforce(tmp_path: Path) -> None:
    assert read_config(write(tmp_path, GOOD)).enforce == Policy("auto", "auto", "auto")
    chosen = GOOD.replace("schema:", "enforce: {devices: never, models: always}\nschema:", 1)
    assert read_config(write(tmp_path, chosen)).enforce == Policy("never", "auto", "always")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="config_file"):
        read_config(tmp_path / "none.yaml")
