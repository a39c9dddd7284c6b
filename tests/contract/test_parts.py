"""The broker and the chain as parts: they start, keep their port over a kill, and die with whoever started them."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import sys
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID

from edgeseal.errors import Unavailable, UsageError
from edgeseal_console.demo import parts
from edgeseal_console.demo.authority import Authority
from edgeseal_console.demo.parts import Broker, Chain


def is_gone(pid: int) -> bool:
    """Tell whether a process has ended, within a minute; a zombie nobody waits for counts as ended."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except FileNotFoundError:
            return True
        if state == "Z":
            return True
        time.sleep(0.05)
    return False


def test_the_broker_comes_back_on_its_port(broker: Broker) -> None:
    first = broker.pid()
    assert first is not None and broker.start().pid() == first
    broker.kill()
    assert broker.pid() is None and not broker.answers()
    assert broker.start().pid() not in (None, first)
    assert broker.answers()


def test_the_broker_is_not_root_and_leaves_nothing_behind() -> None:
    with Broker() as part:
        pid, directory = part.pid(), part.directory
        status = Path(f"/proc/{pid}/status").read_text()
        uids = next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1:]
        assert "0" not in uids
    assert pid is not None and is_gone(pid) and not directory.exists()


def test_the_broker_wants_a_certificate_of_its_authority(shared_broker: Broker, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other").issue_client("gateway")
    for own in (None, stranger):
        context = ssl.create_default_context(cafile=str(shared_broker.authority.certificate))
        if own is not None:
            context.load_cert_chain(own.certificate, own.key)
        with (
            socket.create_connection((parts.ADDRESS, shared_broker.port), timeout=60) as plain,
            pytest.raises(OSError),  # which of TLS's alerts or a reset arrives first is not ours to say
            context.wrap_socket(plain, server_hostname=parts.ADDRESS) as secured,
        ):
            secured.sendall(b"\x10")
            if secured.recv(1) == b"":
                raise ConnectionResetError


def test_certificates_name_their_clients(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "authority")
    name = "ab" * 32  # a device log id is as long as a common name may be
    files = authority.issue_client(name)
    certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
    assert certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value == name
    certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(files.authority.read_bytes()))
    assert files.key.stat().st_mode & 0o777 == 0o600
    with pytest.raises(UsageError, match="authority_exists"):
        Authority(tmp_path / "authority")


def test_the_chain_answers_with_our_rules(shared_chain: Chain) -> None:
    shared_chain.fund("0x" + "11" * 20, 7)
    assert shared_chain.call("eth_getBalance", "0x" + "11" * 20, "latest") == "0x7"
    with pytest.raises(Unavailable, match="chain_call"):
        shared_chain.call("no_such_method")


def test_a_part_that_cannot_start_shows_its_log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part = Chain(tmp_path)
    monkeypatch.setattr(part, "command", lambda: ["/bin/sh", "-c", "echo no room >&2; exit 3"])
    with pytest.raises(Unavailable, match="no room"):
        part.start()
    assert part.pid() is None


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    with pytest.raises(UsageError, match="part_missing"):
        Broker()


STARTER = """
import sys, tempfile, time
from pathlib import Path
from edgeseal_console.demo.parts import Broker, Chain
broker, chain = Broker().start(), Chain(Path(tempfile.mkdtemp())).start()
print(broker.pid(), chain.pid(), broker.directory, chain.directory, flush=True)
time.sleep(600)
"""


def test_parts_die_with_a_killed_parent() -> None:
    with subprocess.Popen([sys.executable, "-c", STARTER], stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        broker, chain, *directories = starter.stdout.readline().split()
        starter.kill()
    assert is_gone(int(broker)) and is_gone(int(chain))
    for directory in directories:
        shutil.rmtree(directory)
    assert not any(os.path.exists(directory) for directory in directories)
