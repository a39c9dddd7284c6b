"""The configuration: strict, documented defaults, secrets only by path or credential."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal.errors import UsageError
from edgeseal_agent import config
from edgeseal_agent.configfields import Secret
from edgeseal_agent.configkey import TpmConfig
from edgeseal_agent.configlog import SealConfig

LEAST = """\
schema: edgeseal-agent/1
name: cam-1
state_dir: state
provisioning: pack.cbor
key: {token: edge, label: device, create: true}
"""


def load(tmp_path: Path, text: str) -> config.Config:
    path = tmp_path / "agent.yaml"
    path.write_text(text)
    return config.load(path)


def test_the_least_configuration_and_its_defaults(tmp_path: Path) -> None:
    found = load(tmp_path, LEAST)
    assert found.state_dir == tmp_path / "state" and found.provisioning == tmp_path / "pack.cbor"
    assert (found.epoch, found.groups, found.mqtt, found.clock) == (1, (), None, "auto")
    assert found.seal == SealConfig(64, 1_000, 60)
    assert found.key.environment == (("SOFTHSM2_CONF", str(tmp_path / "state/token/softhsm2.conf")),)
    assert found.key.pin.path() == tmp_path / "state/token/edge.pin"
    assert found.model.packages_dir == tmp_path / "state/packages"
    assert found.source.kind == "none" and found.storage.when_full == "stop"
    assert len(found.digest) == 32


def test_where_the_tpm_is(tmp_path: Path) -> None:
    found = load(tmp_path, LEAST + "tpm: {evidence_dir: shown}\n").tpm
    assert found == TpmConfig(tmp_path / "shown", "device:/dev/tpmrm0", 3_600, None)
    said = 'tpm: {evidence_dir: /shown, tcti: "swtpm:port=1", attest_s: 60, counter: "0x1500010"}\n'
    assert load(tmp_path, LEAST + said).tpm == TpmConfig(Path("/shown"), "swtpm:port=1", 60, "0x1500010")
    assert load(tmp_path, LEAST).tpm is None
    for wrong in ("{}", "{evidence_dir: x, attest_s: 0}", '{evidence_dir: x, counter: "0x81010003"}'):
        with pytest.raises(UsageError, match="config_invalid"):
            load(tmp_path, LEAST + f"tpm: {wrong}\n")


def test_everything_said(tmp_path: Path) -> None:
    found = load(
        tmp_path,
        """\
schema: edgeseal-agent/1
name: cam-1
epoch: 2
groups: [line-1, eu]
state_dir: /var/lib/x
provisioning: /etc/x/pack.cbor
clock: ntp
key:
  module: /usr/lib/tpm.so
  token: edge
  label: device
  pin_credential: pkcs11-pin
  environment: {TPM2_PKCS11_STORE: /var/lib/tpm}
mqtt: {host: gw.example, port: 8884, ca_file: ca.pem, cert_file: c.pem, key_file: k.pem, username: u,
       password_file: pw, keepalive_s: 60}
seal: {head_every: 1, head_max_ms: 10, heartbeat_s: 5}
storage: {quota_mb: 10, when_full: drop_inputs, min_free_mb: 0, retain_inputs: false, retention_days: 3}
model: {package: p, packages_dir: q, max_package_mb: 1, runtime: tflite-runtime, resolver: builtin, delegate: d.so,
        threads: 4}
source: {kind: watch, path: in, done_dir: out, failed_dir: bad, poll_ms: 10, settle_ms: 0, input_mode: plain}
uplink: {inflight_segments: 1, receipt_timeout_s: 2, retry_min_s: 1, retry_max_s: 9, flush_s: 0}
""",
    )
    assert found.groups == ("line-1", "eu") and found.key.environment == (("TPM2_PKCS11_STORE", "/var/lib/tpm"),)
    assert found.mqtt is not None and found.mqtt.ca_file == tmp_path / "ca.pem"
    assert found.model.delegate == tmp_path / "d.so" and found.source.done_dir == tmp_path / "out"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("colour: red\n", "colour"),
        ("seal: {head_evry: 3}\n", "seal.head_evry"),
        ("seal: {head_every: 257}\n", "seal.head_every"),
        ("seal: {head_every: '64'}\n", "seal.head_every"),
        ("name: Cam\n", "name"),
        ("groups: [Bad]\n", "groups"),
        ("storage: {when_full: degrade}\n", "storage.when_full"),
        ("source: {kind: watch}\n", "source.path"),
        ("mqtt: {port: 8883}\n", "mqtt.host"),
        ("mqtt: {host: h, cert_file: c}\n", "key_file"),
        ("mqtt: {host: h, password: hunter2}\n", "mqtt.password"),
        ("key: {token: t, label: l, pin: '1234'}\n", "pin_file"),
        ("key: {token: t, label: l, pin_file: a, pin_credential: b}\n", "pin_file"),
        ("key: {token: t, label: l, pin_file: a, environment: {LD_PRELOAD: x}}\n", "LD_PRELOAD"),
        ("schema: edgeseal-agent/2\n", "schema"),
        ("a: &x 1\n", "anchor"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, change: str, said: str) -> None:
    key = change.partition(":")[0]
    kept = "".join(line for line in LEAST.splitlines(keepends=True) if not line.startswith(f"{key}:"))
    with pytest.raises(UsageError) as caught:
        load(tmp_path, kept + change)
    assert caught.value.code == "config_invalid" and said in caught.value.message


def test_which_tls_key(tmp_path: Path) -> None:
    files = "ca_file: ca, cert_file: cert, key_file: key"
    found = load(tmp_path, LEAST + f"mqtt: {{host: h, {files}}}\n").mqtt
    assert found is not None and (found.tls_key, found.tls_tcti) == ("file", "device:/dev/tpmrm0")
    found = load(tmp_path, LEAST + f'mqtt: {{host: h, {files}, tls_key: tpm, tls_tcti: "swtpm:port=1"}}\n').mqtt
    assert found is not None and (found.tls_key, found.tls_tcti) == ("tpm", "swtpm:port=1")
    for wrong in ("tls_key: tpm", f"{files}, tls_key: pkcs11", "cert_file: cert, key_file: key, tls_key: tpm"):
        with pytest.raises(UsageError, match="config_invalid"):
            load(tmp_path, LEAST + f"mqtt: {{host: h, {wrong}}}\n")


def test_a_missing_file_says_so(tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        config.load(tmp_path / "none.yaml")
    assert caught.value.code == "config_unreadable"


def test_a_credential_stands_where_systemd_put_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = Secret(None, "pin")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(UsageError) as caught:
        secret.path()
    assert caught.value.code == "credential_missing"
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert secret.path() == tmp_path / "pin"
