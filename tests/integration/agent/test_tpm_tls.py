"""The TLS key in a TPM, with a real swtpm, tpm2-openssl and mosquitto; and servers that are not who they should be."""

from __future__ import annotations

import datetime
import json
import shutil
import signal
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.x509.oid import NameOID

from edgeseal import topics
from edgeseal.adapters import tpmtls
from edgeseal.adapters.mqtt import Endpoint, MqttLink
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.adapters.tpmtls import TpmKey
from edgeseal.errors import UsageError
from edgeseal_agent.configlink import MqttConfig
from edgeseal_agent.mqttlink import make_link, tpm_key
from edgeseal_console.demo.parts import ADDRESS, CHECKOUT, Broker
from tests.agentrig import AGENT, MODEL, AgentRig, Gateway, wait
from tests.contract.test_mqtt import Inbox, endpoint, linked
from tests.realparts import sandbox
from tests.realparts.tpm import SoftwareTpm, key_of

LOG = bytes(31) + b"\7"
WAIT_S = 120.0
DIGITS = MODEL / "package"
UNIT = CHECKOUT / "systemd" / "edgeseal-agent.service"


@dataclass
class Held:
    """A device's TLS key in a TPM, its certificate and its broker."""

    tpm: SoftwareTpm
    printed: str
    folder: Path
    made: dict[str, bytes]
    broker: Broker
    config: MqttConfig

    @property
    def key(self) -> TpmKey:
        found = tpm_key(self.config)
        assert found is not None
        return found


class Receiver:
    """What an uplink is to a link."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.ready = threading.Semaphore(0)

    def connected(self) -> None:
        self.ready.release()

    def received(self, topic: str, payload: bytes, ack: object) -> None:
        self.inbox(topic, payload, ack)  # type: ignore[arg-type]

    def failed(self, error: BaseException) -> None:
        raise error


@pytest.fixture(scope="module")
def held(provisioned_tpm: tuple[SoftwareTpm, str]) -> Iterator[Held]:
    """A key that the provisioning script made, and the broker's authority certified."""
    tpm, _ = provisioned_tpm
    done = tpm.provision(tpm.directory / "state", "--tls", LOG.hex())
    assert done.returncode == 0, done.stderr
    folder = tpm.directory / "state" / "tls"
    made = contents(folder)
    with Broker() as broker:
        certificate = broker.authority.sign_request(folder / "request.csr")
        config = MqttConfig(
            ADDRESS, broker.port, broker.authority.certificate, certificate, folder / "key.pem", None, None, 5, "tpm",
            tpm.tcti,
        )  # fmt: skip
        yield Held(tpm, done.stdout, folder, made, broker, config)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_the_script_makes(held: Held) -> None:
    assert set(held.made) == {"key.pem", "key.pub", "key.priv", "certify.attest", "certify.sig", "request.csr"}
    assert f"#   key_file: {held.folder / 'key.pem'}\n" in held.printed and "#   tls_key: tpm\n" in held.printed
    request = x509.load_pem_x509_csr(held.made["request.csr"])
    assert request.is_signature_valid and request.subject.rfc4514_string() == f"CN={LOG.hex()}"


def test_a_device_publishes_and_receives_through_it(held: Held) -> None:
    """With the token of the same TPM in use in the same process, and a broker that goes away and comes back."""
    signer = Pkcs11Signer(key_of(held.printed)[1])
    assert len(signer.sign(b"the boot record's head")) == 64  # as an agent does; it also loads the key into its slot
    receiver, gateway_inbox = Receiver(), Inbox()
    gateway = MqttLink(endpoint(held.broker, "gateway"), [topics.ALL_UP], gateway_inbox)
    device = make_link(held.config, LOG, receiver)
    with linked(gateway), linked(device):
        device.publish(topics.up(LOG, "hello"), b"before")
        assert gateway_inbox.next()[:2] == (topics.up(LOG, "hello"), b"before")
        assert len(signer.sign(b"while the connection is open")) == 64
        held.broker.stop()
        held.broker.start()
        assert receiver.ready.acquire(timeout=WAIT_S) and receiver.ready.acquire(timeout=WAIT_S), device.trouble
        assert gateway.wait_ready(WAIT_S), gateway.trouble
        gateway.publish(topics.down(LOG, "receipt"), b"y" * 300_000)
        assert receiver.inbox.next()[1] == b"y" * 300_000
        device.publish(topics.up(LOG, "segment"), b"x" * 300_000)
        assert gateway_inbox.next()[1] == b"x" * 300_000
        assert len(signer.sign(b"and after it came back")) == 64


def test_it_is_said_which_key_it_is(held: Held) -> None:
    assert held.config.shown_key() == f"TPM (tpm2-openssl) {held.folder / 'key.pem'}"
    assert held.key.load().startswith("OpenSSL 3.")


def test_there_is_no_key_file_to_copy(held: Held, software_tpm: SoftwareTpm, tmp_path: Path) -> None:
    """The file is of no use without the provider, nor with another TPM; and no private key lies beside it."""
    key, config = held.key, held.config
    without = Endpoint(ADDRESS, 1, "check", config.ca_file, config.cert_file, config.key_file)
    with pytest.raises(UsageError, match="mqtt_tls_files"):
        without.tls()
    elsewhere = Path(shutil.copy(key.key_file, tmp_path))
    software_tpm.tool("tpm2_createprimary", "-Q", "-C", "o", "-G", "ecc256", "-c", str(tmp_path / "srk"))
    software_tpm.tool("tpm2_evictcontrol", "-Q", "-C", "o", "-c", str(tmp_path / "srk"), "0x81000001")
    with pytest.raises(UsageError, match="tls_key_failed"):
        replace(key, key_file=elsewhere, tcti=software_tpm.tcti).load()
    with pytest.raises(UsageError, match=r"tls_key_failed.* Cannot connect to swtpm"):
        replace(key, tcti="swtpm:host=127.0.0.1,port=1").load()
    texts = [path.read_bytes() for path in held.folder.parent.rglob("*") if path.is_file()]
    assert not any(b"-----BEGIN PRIVATE" in text or b"-----BEGIN EC PRIVATE" in text for text in texts)


@pytest.mark.skipif(not sandbox.is_possible(), reason="needs root")
def test_an_agent_in_its_units_sandbox(held: Held, tmp_path: Path) -> None:
    """The whole agent, with a key in SoftHSM for its heads: receipts come back, and nothing outlives a killed agent."""
    with Gateway(held.broker) as gateway:
        rig = AgentRig.enrolled(tmp_path / "device", gateway, held.broker, extra=[f"model: {{package: {DIGITS}}}"])
        done = held.tpm.provision(held.folder.parent, "--tls", rig.log.hex())
        assert done.returncode == 0, done.stderr
        now = contents(held.folder)
        assert {name for name in now if now[name] != held.made[name]} == {"request.csr"}
        certificate = held.broker.authority.sign_request(held.folder / "request.csr")
        for name, path in (("cert.pem", certificate), ("ca.pem", held.broker.authority.certificate)):
            shutil.copyfile(path, rig.folder / name)  # the sandbox's root has no way into the broker's folder
        lines = rig.config.read_text().splitlines()[:-1]
        rig.config.write_text("\n".join([*lines, (
            f"mqtt: {{host: {ADDRESS}, port: {held.broker.port}, ca_file: ca.pem, cert_file: cert.pem, "
            f"key_file: {held.folder / 'key.pem'}, tls_key: tpm, tls_tcti: '{held.tpm.tcti}'}}\n"
        )]))  # fmt: skip
        rig.drop(3)
        rig.start(program=sandbox.command(UNIT, rig.folder, AGENT))
        try:
            wait(lambda: rig.status()["acknowledged"] >= 6 or rig.process is None or rig.process.poll() is not None)
            assert rig.status()["acknowledged"] >= 6, rig.said()
            assert f"\ntls key     TPM (tpm2-openssl) {held.folder / 'key.pem'}\n" in rig.run("status")
            assert rig.process is not None
            (own,) = children(rig.process.pid)
            rig.stop(signal.SIGKILL, code=None)
            wait(lambda: not Path(f"/proc/{own}").exists())
            # Only now: a simulator without a resource manager has no room for this and the tests' token at once.
            found = {finding["what"]: finding for finding in json.loads(rig.run("check", "--json"))["findings"]}
            assert found["tls key"]["state"] == "ok" and "loaded by OpenSSL 3." in found["tls key"]["detail"]
        finally:
            rig.close()


def children(parent: int) -> list[int]:
    """The processes that hold a TLS connection for an agent."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            mine = f"\nPPid:\t{parent}\n" in (folder / "status").read_text()
            if mine and tpmtls.PROGRAM.name in (folder / "cmdline").read_text():
                found.append(int(folder.name))
        except OSError:
            continue  # it ended meanwhile
    return found


def test_a_tpm_that_is_away_is_waited_for(held: Held) -> None:
    away = replace(held.config, tls_tcti="swtpm:host=127.0.0.1,port=1")
    link = make_link(away, LOG, Receiver())
    link.start()
    try:
        deadline = time.monotonic() + WAIT_S
        while "[SSL]" not in link.trouble and time.monotonic() < deadline:
            assert not link.wait_ready(0.1)
        assert "[SSL]" in link.trouble
    finally:
        link.stop()


class Server:
    """A TLS server that wants a client's certificate and sends back what it is sent, under an RSA root of 4096 bits."""

    def __init__(self, folder: Path, device: Path, name: str) -> None:
        root = rsa.generate_private_key(65_537, 4_096)
        own = ec.generate_private_key(ec.SECP256R1())
        self.ca = folder / "root.pem"
        self.ca.write_bytes(self._pem("root", root.public_key(), root, True, []))
        alternatives: list[x509.GeneralName] = [x509.DNSName(name)]
        (folder / "own.pem").write_bytes(self._pem(name, own.public_key(), root, False, alternatives))
        secret = own.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "own.key").write_bytes(secret)
        self.settings = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.settings.load_cert_chain(folder / "own.pem", folder / "own.key")
        self.settings.load_verify_locations(device)
        self.settings.verify_mode = ssl.CERT_REQUIRED

    @staticmethod
    def _pem(name: str, key: object, issuer: rsa.RSAPrivateKey, ca: bool, names: list[x509.GeneralName]) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        issued = x509.CertificateBuilder(
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "root")]),
            x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]),
            key,  # type: ignore[arg-type]
            x509.random_serial_number(), now - datetime.timedelta(1), now + datetime.timedelta(1),
        )  # fmt: skip
        issued = issued.add_extension(x509.BasicConstraints(ca, None), critical=True)
        if names:
            issued = issued.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return issued.sign(issuer, SHA256()).public_bytes(serialization.Encoding.PEM)

    def answer(self, listener: socket.socket, said: list[str]) -> None:
        with listener.accept()[0] as plain:
            try:
                with self.settings.wrap_socket(plain, server_side=True) as secure:
                    secure.sendall(str(secure.version()).encode() + b" " + secure.recv(100))
            except OSError as error:
                said.append(str(error))


@pytest.fixture(scope="module")
def server(held: Held, tmp_path_factory: pytest.TempPathFactory) -> Server:
    """A server that is ``localhost``."""
    return Server(tmp_path_factory.mktemp("server"), held.broker.authority.certificate, "localhost")


def talk(server: Server, key: TpmKey, host: str) -> tuple[bytes, str]:
    """Connect once; return what came back and what the dialer says of the end."""
    with socket.create_server((ADDRESS, 0)) as listener:
        listener.settimeout(WAIT_S)
        answering = threading.Thread(target=server.answer, args=(listener, []))
        answering.start()
        dialer = key.dialer(host, listener.getsockname()[1])
        try:
            with dialer.dial() as connection:
                connection.settimeout(WAIT_S)
                try:
                    connection.sendall(b"hello")
                    came = connection.recv(100)
                except OSError:
                    came = b""
        finally:
            dialer.close(WAIT_S)
        answering.join()
    return came, dialer.why()


@pytest.mark.parametrize("version", ["TLSv1.2", "TLSv1.3"])
def test_an_authority_with_a_large_key_is_no_trouble(held: Held, server: Server, version: str) -> None:
    server.settings.maximum_version = ssl.TLSVersion.TLSv1_2 if version == "TLSv1.2" else ssl.TLSVersion.TLSv1_3
    assert talk(server, replace(held.key, ca_file=server.ca), "localhost") == (f"{version} hello".encode(), "")


def test_the_broker_is_checked_as_strictly_as_with_a_file(held: Held, server: Server) -> None:
    came, why = talk(server, replace(held.key, ca_file=server.ca), ADDRESS)
    assert came == b"" and "certificate is refused: IP address mismatch" in why
    came, why = talk(server, held.key, "localhost")  # another authority than the one it trusts
    assert came == b"" and "certificate is refused: " in why
