"""provision-tpm.sh, the signer and the lock-out's reader over a real (software) TPM 2.0 and tpm2-pkcs11."""

from __future__ import annotations

import dataclasses
import os
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from edgeseal.adapters import pkcs11 as adapter
from edgeseal.adapters import tpm as tpm_adapter
from edgeseal.adapters.pkcs11 import Pkcs11Signer, TokenKey, sessions, token_model
from edgeseal.adapters.pkcs11 import signer as signing
from edgeseal.adapters.tpm import lockout
from edgeseal.errors import Unavailable, UsageError
from tests.realparts.tpm import MAX_TRIES, PROVISION, Maker, SoftwareTpm, key_of

Provisioned = tuple[SoftwareTpm, str]


@pytest.fixture
def tpm_key(provisioned_tpm: Provisioned) -> Iterator[TokenKey]:
    key = key_of(provisioned_tpm[1])[1]
    yield key
    adapter.release(key)


def test_the_same_signer_signs_with_a_tpm(tpm_key: TokenKey, provisioned_tpm: Provisioned) -> None:
    signer = Pkcs11Signer(tpm_key)
    for number in range(20):
        message = number.to_bytes(4, "big")
        signer.public_key.verify(message, signer.sign(message))
    certified = load_pem_public_key((provisioned_tpm[0].directory / "state/evidence/key.pem").read_bytes())
    assert signer.public_key.x == certified.public_numbers().x.to_bytes(32, "big")  # type: ignore[union-attr]
    assert "TPM" in token_model(tpm_key)


def test_the_key_signs_and_does_nothing_else(provisioned_tpm: Provisioned) -> None:
    tpm, _ = provisioned_tpm
    evidence = tpm.directory / "state/evidence"
    loaded = str(tpm.directory / "key.ctx")
    tpm.tool("tpm2_load", "-Q", "-C", "0x81000001", "-u", str(evidence / "key.pub"), "-r", str(evidence / "key.priv"),
             "-c", loaded)  # fmt: skip
    said = tpm.tool("tpm2_readpublic", "-c", loaded)
    assert "value: fixedtpm|fixedparent|sensitivedataorigin|userwithauth|noda|sign\n" in said
    name = b"\x00\x0b" + sha256((evidence / "key.pub").read_bytes()[2:]).digest()
    assert (evidence / "key.name").read_bytes() == name
    assert name in (evidence / "certify.attest").read_bytes()


def test_secrets_are_private_and_the_authorisation_of_the_key_does_not_stay(provisioned_tpm: Provisioned) -> None:
    state = provisioned_tpm[0].directory / "state"
    for path in [state, *state.rglob("*")]:
        assert not path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO), path
    assert not (state / "key.new").exists() and not list(state.rglob("auth"))
    assert {path.name for path in (state / "secrets").iterdir()} == {"device.pin", "device.so-pin", "lockout.auth"}


def test_a_certificate_of_the_maker_is_kept(provisioned_tpm: Provisioned) -> None:
    state = provisioned_tpm[0].directory / "state"
    assert (state / "evidence/ek.crt").read_bytes() == (provisioned_tpm[0].directory / "made.der").read_bytes()


def test_lockout_is_set_up_and_read(provisioned_tpm: Provisioned) -> None:
    found = lockout(provisioned_tpm[0].tcti)
    assert (found.max_tries, found.interval_s, found.recovery_s) == (MAX_TRIES, 60, 86_400)
    assert found.has_authorisation and not found.locked and found.counter < MAX_TRIES


def test_provisioning_again_changes_nothing(provisioned_tpm: Provisioned, tpm_key: TokenKey) -> None:
    tpm, printed = provisioned_tpm
    state = tpm.directory / "state"
    before = {path: path.read_bytes() for path in (state / "secrets").iterdir()}
    key = Pkcs11Signer(tpm_key).public_key
    adapter.release(tpm_key)
    again = tpm.provision(state)
    assert again.returncode == 0, again.stderr
    assert again.stdout == printed
    assert {path: path.read_bytes() for path in (state / "secrets").iterdir()} == before
    assert Pkcs11Signer(tpm_key).public_key == key


def test_a_wrong_pin_and_a_power_cut_count_and_never_lock(software_tpm: SoftwareTpm, tmp_path: Path) -> None:
    done = software_tpm.provision(tmp_path / "state", "--token", "edge", "--key", "audit")
    assert done.returncode == 0, done.stderr
    assert "no endorsement key certificate" in done.stderr
    _, key = key_of(done.stdout)
    wrong = tmp_path / "wrong.pin"
    wrong.write_text("0000\n")
    with pytest.raises(UsageError, match="token_pin"):
        Pkcs11Signer(dataclasses.replace(key, pin_file=wrong))
    assert lockout(software_tpm.tcti).counter == 1, "one wrong PIN, one try"
    signer = Pkcs11Signer(key)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    for _ in range(4):  # more than the limit of three that a TPM ships with
        software_tpm.kill()
        with pytest.raises(Unavailable, match="token_failed"):
            signer.sign(b"nobody there")
        software_tpm.start()
        signer.public_key.verify(b"back", signer.sign(b"back"))
    found = lockout(software_tpm.tcti)
    assert found.counter > 1 and not found.locked
    adapter.release(key)


def test_a_run_that_was_cut_off_is_taken_up(software_tpm: SoftwareTpm, tmp_path: Path) -> None:
    """Killed at every tool it calls in turn: each repetition gets further, the last finds everything made once."""
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("tpm2_changeauth", "tpm2_evictcontrol", "tpm2_certify", "tpm2_ptool"):
        real = subprocess.run(["which", name], capture_output=True, text=True, check=True).stdout.strip()
        # Runs the tool, and the first time it does so ends the script that called it.
        (tools / name).write_text(
            f'#!/bin/sh\n"{real}" "$@" || exit\n'
            f'mark="{tools}/{name}.$1"; [ -e "$mark" ] && exit; touch "$mark"; kill -9 "$SCRIPT" $PPID\n'
        )
        (tools / name).chmod(0o755)
    state = tmp_path / "state"
    command = f'SCRIPT=$$ exec "{PROVISION}" --state "{state}" --tcti "{software_tpm.tcti}"'
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    cut_off = 0
    while True:
        done = subprocess.run(["bash", "-c", command], env=environment, capture_output=True, text=True, check=False)
        if done.returncode == 0:
            break
        cut_off += 1
        assert done.returncode == -9 and cut_off < 12, done.stderr
    assert cut_off >= 5
    _, key = key_of(done.stdout)
    signer = Pkcs11Signer(key)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    adapter.release(key)
    assert not (state / "key.new").exists()


def test_what_a_person_has_to_look_at_is_refused(software_tpm: SoftwareTpm, maker: Maker, tmp_path: Path) -> None:
    usage = subprocess.run([str(PROVISION)], capture_output=True, text=True, check=False)
    assert usage.returncode == 1 and "usage" in usage.stderr
    software_tpm.tool("tpm2_changeauth", "-c", "lockout", "somebody-elses")
    done = software_tpm.provision(tmp_path / "state")
    assert done.returncode == 3 and "set by somebody else" in done.stderr
    software_tpm.tool("tpm2_changeauth", "-c", "lockout", "-p", "somebody-elses")
    maker.certify(software_tpm, ec.generate_private_key(ec.SECP256R1()).public_key())
    done = software_tpm.provision(tmp_path / "state")
    assert done.returncode == 3 and "not that of its endorsement key" in done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_the_account_that_signs_gets_the_store_and_no_secret(software_tpm: SoftwareTpm, tmp_path: Path) -> None:
    state = tmp_path / "state"
    for _ in range(2):
        done = software_tpm.provision(state, "--owner", "nobody")
        assert done.returncode == 0, done.stderr
    assert f"pin_credential: device-pin   # LoadCredential=device-pin:{state}/secrets/device.pin" in done.stdout
    owners = {path.relative_to(state).parts[0]: path.owner() for path in state.rglob("*")}
    assert owners == {".provision.lock": "root", "secrets": "root", "store": "nobody", "evidence": "nobody"}
    assert all(not path.stat().st_mode & 0o077 for path in state.rglob("*"))


def test_missing_packages_are_named(tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("bash", "env"):
        (tools / name).symlink_to(subprocess.run(["which", name], capture_output=True, text=True).stdout.strip())
    done = subprocess.run(
        [str(PROVISION), "--state", str(tmp_path / "state")],
        env={"PATH": str(tools)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 4
    assert "apt-get install --no-install-recommends tpm2-tools libtpm2-pkcs11-tools" in done.stderr


def test_no_tpm_is_unavailable_and_a_strange_address_is_usage(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="tpm_failed"):
        lockout(f"device:{tmp_path}/tpmrm0")
    with pytest.raises(UsageError, match="tpm_tcti"):
        lockout("tabrmd:bus_type=session")


GOOD = bytes.fromhex("8001 0000000a 00000000")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        GOOD[:9],
        GOOD,
        bytes.fromhex("8001 0000000a 00000101"),
        bytes.fromhex("8001 7fffffff 00000000"),
        bytes.fromhex("8001 00000013 00000000 01 00000006 00000010"),
        bytes.fromhex("8001 0000001b 00000000 00 00000006 00000001 00000200 00000000"),
        bytes.fromhex("8001 00000013 00000000 00 00000001 00000000"),
    ],
)
def test_an_answer_without_sense_is_unavailable(answer: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer_once() -> None:
            channel, _ = server.accept()
            with channel:
                channel.recv(64)
                channel.sendall(answer)

        thread = threading.Thread(target=answer_once)
        thread.start()
        with pytest.raises(Unavailable, match="tpm_failed"):
            lockout(f"swtpm:host=127.0.0.1,port={server.getsockname()[1]}")
        thread.join()
    assert tpm_adapter.MAX_RESPONSE == 4_096


def test_sessions_are_recycled_on_a_count(tpm_key: TokenKey, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signing, "RECYCLE_AFTER", 5)
    signer, opened, use = Pkcs11Signer(tpm_key), 0, sessions.use

    def counted(key: TokenKey) -> sessions.Module:
        nonlocal opened
        opened += key.module not in sessions.OPEN
        return use(key)

    monkeypatch.setattr(sessions, "use", counted)
    for number in range(12):
        message = bytes([number])
        signer.public_key.verify(message, signer.sign(message))
    assert opened == 2


def test_a_key_that_is_destroyed_is_gone(software_tpm: SoftwareTpm, tmp_path: Path) -> None:
    done = software_tpm.provision(tmp_path / "state")
    assert done.returncode == 0, done.stderr
    key = key_of(done.stdout)[1]
    signer = Pkcs11Signer(key)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    for _ in range(2):
        adapter.destroy_key(key)
        with pytest.raises(UsageError, match="token_key_unknown"):
            Pkcs11Signer(key)
    with pytest.raises(UsageError, match="token_key_unknown"):
        signer.sign(b"m")
    adapter.release(key)


HOLD = """
import sys
from pathlib import Path
from edgeseal.adapters.pkcs11 import Pkcs11Signer, TokenKey
module, token, label, pin, store, tcti = sys.argv[1:]
key = TokenKey(module, token, label, Path(pin), (("TPM2_PKCS11_STORE", store), ("TPM2_PKCS11_TCTI", tcti)))
signer = Pkcs11Signer(key)
signer.sign(b"a second session")
print("open", flush=True)
sys.stdin.readline()
signer.public_key.verify(b"still", signer.sign(b"still"))
"""


def hold_second_session(key: TokenKey) -> subprocess.Popen[str]:
    environment = dict(key.environment)
    return subprocess.Popen(
        [sys.executable, "-c", HOLD, key.module, key.token_label, key.key_label, str(key.pin_file),
         environment["TPM2_PKCS11_STORE"], environment["TPM2_PKCS11_TCTI"]],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip


TOLD_EVERY = 5_000


def sign_beside_a_second_session(key: TokenKey, count: int, capsys: pytest.CaptureFixture[str]) -> None:
    begun = time.monotonic()
    with hold_second_session(key) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "open\n"
            signer = Pkcs11Signer(key)
            for number in range(count):
                signer.sign(number.to_bytes(4, "big"))  # the signer checks each signature itself
                if number % TOLD_EVERY == TOLD_EVERY - 1:
                    with capsys.disabled():
                        seconds = time.monotonic() - begun
                        print(f"\n{number + 1} of {count} signatures, {seconds:.0f} s", end="", flush=True)
            holder.communicate("\n", timeout=120)
            assert holder.returncode == 0
        finally:
            holder.kill()


def test_signatures_beside_a_second_session(tpm_key: TokenKey, capsys: pytest.CaptureFixture[str]) -> None:
    sign_beside_a_second_session(tpm_key, 60, capsys)


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_seventy_thousand_signatures_beside_a_second_session(
    tpm_key: TokenKey, capsys: pytest.CaptureFixture[str]
) -> None:
    sign_beside_a_second_session(tpm_key, 70_000, capsys)
