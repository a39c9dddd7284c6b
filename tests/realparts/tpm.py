"""Fixtures: a software TPM (swtpm), provisioned by ``firmware-config/provision-tpm.sh`` as a device's would be."""

from __future__ import annotations

import datetime
import os
import secrets
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier

from edgeseal.adapters.pkcs11 import TokenKey
from edgeseal_console.demo.parts import ADDRESS, CHECKOUT, Part, free_port

PROVISION = CHECKOUT / "firmware-config" / "provision-tpm.sh"
EK_CERTIFICATE = "0x1c0000a"
EK_PURPOSE = ObjectIdentifier("2.23.133.8.1")
MAX_TRIES = 200


class SoftwareTpm(Part):
    """A swtpm whose state lies in ``directory``: ``stop`` is a power cut, ``start`` the next boot."""

    name = "swtpm"

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        while not _is_free(self.port + 1):  # tools expect the control channel one port up
            self.port = free_port()
        (directory / "nv").mkdir()

    @property
    def tcti(self) -> str:
        """How TPM software reaches it."""
        return f"swtpm:host={ADDRESS},port={self.port}"

    def command(self) -> Sequence[str]:
        """Return the command line; it is powered on and started up at once."""
        return [
            "setpriv", "--pdeathsig", "KILL", "--", "swtpm", "socket", "--tpm2",
            "--tpmstate", f"dir={self.directory / 'nv'}",
            "--server", f"type=tcp,port={self.port},bindaddr={ADDRESS}",
            "--ctrl", f"type=tcp,port={self.port + 1},bindaddr={ADDRESS}",
            "--flags", "not-need-init,startup-clear",
        ]  # fmt: skip

    def tool(self, *words: str) -> str:
        """Run one of tpm2-tools, leave no object behind, and return what it printed."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti, "TSS2_LOG": "all+ERROR"}
        done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
        for kind in ("-t", "-l", "-s"):
            subprocess.run(["tpm2_flushcontext", kind], env=environment, capture_output=True, check=False)
        assert done.returncode == 0, f"{words}: {done.stderr}"
        return done.stdout

    def provision(self, state: Path, *more: str) -> subprocess.CompletedProcess[str]:
        """Run the provisioning script and return what it printed and its exit code."""
        return subprocess.run(
            [str(PROVISION), "--state", str(state), "--tcti", self.tcti, *more],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
        )  # fmt: skip


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind((ADDRESS, port))
        except OSError:
            return False
    return True


def key_of(printed: str) -> tuple[dict[str, Any], TokenKey]:
    """Return the ``key`` section that the script printed, and where the key is."""
    section: dict[str, Any] = yaml.safe_load(printed)["key"]
    environment = tuple({**section["environment"], "TSS2_LOG": "all+NONE"}.items())
    key = TokenKey(section["module"], section["token"], section["label"], Path(section["pin_file"]), environment)
    return section, key


class Maker:
    """Who makes TPMs: certifies endorsement keys, as chips carry it from the factory."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, "a maker of TPMs")])
        self.certificate = self._sign(self._name, self._key.public_key(), authority=True)

    def certify(self, tpm: SoftwareTpm, other: ec.EllipticCurvePublicKey | None = None) -> bytes:
        """Put a certificate of its ECC endorsement key, or of another key, into a TPM's memory; return it in DER."""
        pem = tpm.directory / "made.pem"
        tpm.tool("tpm2_createek", "-Q", "-G", "ecc", "-c", str(tpm.directory / "made.ctx"), "-u", str(pem), "-f", "pem")
        key = serialization.load_pem_public_key(pem.read_bytes())
        assert isinstance(key, ec.EllipticCurvePublicKey)
        file = tpm.directory / "made.der"
        data = self._sign(x509.Name([]), other or key, authority=False).public_bytes(serialization.Encoding.DER)
        file.write_bytes(data)
        attributes = "ppwrite|ppread|ownerread|authread|no_da|platformcreate|writedefine"
        tpm.tool("tpm2_nvdefine", "-Q", EK_CERTIFICATE, "-C", "p", "-s", str(len(data)), "-a", attributes)
        tpm.tool("tpm2_nvwrite", "-Q", EK_CERTIFICATE, "-C", "p", "-i", str(file))
        return data

    @property
    def der(self) -> bytes:
        """Its certificate in DER."""
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def sign_for(self, public: bytes) -> bytes:
        """Return a certificate of the endorsement key in a PEM file, in DER."""
        key: Any = serialization.load_pem_public_key(public)
        return self._sign(x509.Name([]), key, authority=False).public_bytes(serialization.Encoding.DER)

    def _sign(self, name: x509.Name, key: ec.EllipticCurvePublicKey, *, authority: bool) -> x509.Certificate:
        now = datetime.datetime.now(datetime.UTC)
        builder = x509.CertificateBuilder(self._name, name, key, secrets.randbits(64))
        builder = builder.not_valid_before(now - datetime.timedelta(1)).not_valid_after(now + datetime.timedelta(3650))
        basic = x509.BasicConstraints(ca=authority, path_length=None)
        builder = builder.add_extension(basic, critical=True)
        if not authority:
            builder = builder.add_extension(x509.ExtendedKeyUsage([EK_PURPOSE]), critical=False)
        return builder.sign(self._key, hashes.SHA256())


@pytest.fixture(scope="session")
def maker() -> Maker:
    """A maker of TPMs."""
    return Maker()


@pytest.fixture
def software_tpm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SoftwareTpm]:
    """A running TPM as it leaves the factory, without a certificate."""
    directory = tmp_path_factory.mktemp("tpm")
    with SoftwareTpm(directory) as tpm:
        yield tpm
    shutil.rmtree(directory)


@pytest.fixture(scope="session")
def provisioned_tpm(tmp_path_factory: pytest.TempPathFactory, maker: Maker) -> Iterator[tuple[SoftwareTpm, str]]:
    """A TPM with its maker's certificate, provisioned; and what the script printed. Tests only sign with it."""
    directory = tmp_path_factory.mktemp("tpm")
    with SoftwareTpm(directory) as tpm:
        maker.certify(tpm)
        done = tpm.provision(directory / "state")
        assert done.returncode == 0, done.stderr
        yield tpm, done.stdout
