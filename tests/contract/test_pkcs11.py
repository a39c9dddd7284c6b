"""adapters.pkcs11 over a real SoftHSM: signatures, one thread, recovery, and what each failure is called."""

from __future__ import annotations

import dataclasses
import multiprocessing
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pkcs11
import pytest

from edgeseal import cose
from edgeseal.adapters import softhsm
from edgeseal.adapters.pkcs11 import (
    Pkcs11Signer,
    TokenKey,
    destroy_key,
    generate_key,
    provision_softhsm,
    release,
    sessions,
    token_model,
)
from edgeseal.adapters.pkcs11 import signer as signing
from edgeseal.adapters.pkcs11.thread import THREAD
from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from tests.realparts.tokens import make_key


def test_signatures_are_low_s_and_verify(signer: Pkcs11Signer) -> None:
    for number in range(40):  # half of what a token returns is high-S
        message = number.to_bytes(4, "big")
        signature = signer.sign(message)
        assert len(signature) == 64
        signer.public_key.verify(message, signature)
        signer.public_key.verify(message, signer.sign_digest(sha256(message).digest()))


def test_the_token_says_what_it_is(shared_key: TokenKey) -> None:
    assert token_model(shared_key) == "SoftHSM v2"


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33), bytearray(32), "0" * 32])
def test_only_a_digest_is_signed(signer: Pkcs11Signer, digest: object) -> None:
    """SoftHSM itself would sign any length."""
    with pytest.raises(UsageError, match="token_digest"):
        signer.sign_digest(digest)  # type: ignore[arg-type]


def test_many_threads_share_one(signer: Pkcs11Signer, token_key: TokenKey) -> None:
    """Two stores and eight callers at once: without the one thread this crashes the process."""
    other = Pkcs11Signer(token_key)
    messages = [number.to_bytes(2, "big") for number in range(200)]
    with ThreadPoolExecutor(8) as pool:
        ours = list(pool.map(signer.sign, messages))
        mixed = list(pool.map(lambda message: (signer.sign(message), other.sign(message)), messages[:20]))
    for message, signature in zip(messages, ours, strict=True):
        signer.public_key.verify(message, signature)
    for message, (first, second) in zip(messages, mixed, strict=False):
        signer.public_key.verify(message, first)
        other.public_key.verify(message, second)
    assert [thread.name for thread in threading.enumerate()].count("pkcs11") == 1


def test_two_tokens_and_two_keys_in_one_store(tmp_path: Path) -> None:
    first = make_key(tmp_path, "first")
    second = make_key(tmp_path, "second")
    third = dataclasses.replace(first, key_label="next")
    generate_key(third)
    kids = {Pkcs11Signer(key).public_key.kid for key in (first, second, third)}
    assert len(kids) == 3
    with pytest.raises(UsageError, match="token_key_exists"):
        generate_key(third)
    with pytest.raises(UsageError, match="token_exists"):
        make_key(tmp_path, "first")


def test_the_private_key_cannot_leave(token_key: TokenKey) -> None:
    attribute = pkcs11.Attribute

    def flags() -> tuple[bool, ...]:
        private = sessions.find_key(token_key)[0]
        return tuple(bool(private[flag]) for flag in (attribute.EXTRACTABLE, attribute.SENSITIVE, attribute.LOCAL))

    def value() -> object:
        return sessions.find_key(token_key)[0][attribute.VALUE]

    assert THREAD.run(flags) == (False, True, True)
    with pytest.raises(pkcs11.AttributeSensitive):
        THREAD.run(value)


def test_secrets_are_private_files(token_key: TokenKey) -> None:
    store = token_key.pin_file.parent
    assert store.stat().st_mode & 0o777 == 0o700
    for path in store.rglob("*"):
        if path.name != softhsm.CONFIG_NAME:
            assert path.stat().st_mode & 0o077 == 0, path


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("token_unknown", {"token_label": "nobody"}),
        ("token_key_unknown", {"key_label": "nothing"}),
        ("token_module", {"module": "/nowhere/lib.so"}),
    ],
)
def test_what_no_retry_mends_is_a_usage_error(shared_key: TokenKey, code: str, change: dict[str, object]) -> None:
    with pytest.raises(UsageError) as refusal:
        Pkcs11Signer(dataclasses.replace(shared_key, **change))  # type: ignore[arg-type]
    assert refusal.value.code == code
    Pkcs11Signer(shared_key).sign(b"the failure leaves nothing behind")


def test_a_wrong_pin_is_tried_once_only(token_key: TokenKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "wrong.pin"
    wrong.write_text("0000\n")
    tried: list[str] = []
    read_pin = TokenKey.read_pin

    def noted(key: TokenKey) -> str:
        tried.append(read_pin(key))
        return tried[-1]

    monkeypatch.setattr(TokenKey, "read_pin", noted)
    with pytest.raises(UsageError, match="token_pin") as refusal:
        Pkcs11Signer(dataclasses.replace(token_key, pin_file=wrong))
    assert refusal.value.code == "token_pin" and tried == ["0000"]
    Pkcs11Signer(token_key).sign(b"and the right one still works")


def test_an_empty_or_missing_pin_file_is_named(token_key: TokenKey) -> None:
    token_key.pin_file.write_text("\n")
    with pytest.raises(UsageError, match="token_pin_file"):
        Pkcs11Signer(token_key)
    token_key.pin_file.unlink()
    with pytest.raises(UsageError, match="token_pin_file"):
        Pkcs11Signer(token_key)


def test_a_store_that_went_away_is_unavailable_and_comes_back(token_key: TokenKey, tmp_path: Path) -> None:
    signer = Pkcs11Signer(token_key)
    store, elsewhere = token_key.pin_file.parent, tmp_path / "elsewhere"
    store.rename(elsewhere)
    with pytest.raises((Unavailable, UsageError)):
        for _ in range(3):
            signer.sign(b"lost")
    elsewhere.rename(store)
    signer.public_key.verify(b"found", signer.sign(b"found"))


def test_sessions_that_died_are_opened_anew(token_key: TokenKey) -> None:
    signer = Pkcs11Signer(token_key)
    THREAD.run(lambda: pkcs11.lib(token_key.module).reinitialize())
    signer.public_key.verify(b"again", signer.sign(b"again"))


def test_a_known_public_key_needs_no_token_to_start(token_key: TokenKey) -> None:
    public_key = Pkcs11Signer(token_key).public_key
    store = token_key.pin_file.parent
    away = store.rename(store.with_name("away"))
    later = Pkcs11Signer(token_key, public_key)
    away.rename(store)
    later.public_key.verify(b"later", later.sign(b"later"))


def test_another_key_under_our_label_is_never_signed_with(token_key: TokenKey, signer: Pkcs11Signer) -> None:
    with pytest.raises(InvariantBroken, match="token_key_changed"):
        Pkcs11Signer(token_key, signer.public_key).sign(b"by whom?")


@pytest.mark.parametrize("answer", [b"", bytes(63), bytes.fromhex("3045022100") + bytes(67), bytes(64), b"\x01" * 64])
def test_an_answer_that_is_no_signature_fails_closed(
    signer: Pkcs11Signer, answer: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(signing, "_sign", lambda *_: answer)
    with pytest.raises(Unavailable, match="token_signature"):
        signer.sign(b"m")


def test_high_s_is_turned_into_low_s(signer: Pkcs11Signer, monkeypatch: pytest.MonkeyPatch) -> None:
    signature = signer.sign(b"m")
    high = signature[:32] + (cose.ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    monkeypatch.setattr(signing, "_sign", lambda *_: high)
    assert signer.sign(b"m") == signature


def _sign_in_child(key: TokenKey, outcome: multiprocessing.SimpleQueue[str]) -> None:
    try:
        Pkcs11Signer(key).sign(b"child")
        outcome.put("signed")
    except UsageError as error:
        outcome.put(error.code)


# A fork of a process with threads is what is tested; Python 3.12 and later warn of any.
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_may_not_use_its_parents_token_and_a_spawned_one_may(
    signer: Pkcs11Signer, shared_key: TokenKey
) -> None:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            signer.sign(b"m")
        except UsageError as error:
            os.write(write, error.code.encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with os.fdopen(read) as told:
        assert told.read() == "token_after_fork"
    context = multiprocessing.get_context("spawn")
    outcome = context.SimpleQueue()
    process = context.Process(target=_sign_in_child, args=(shared_key, outcome))
    process.start()
    assert outcome.get() == "signed"
    process.join(60)
    assert process.exitcode == 0


def test_a_store_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="token_store"):
        provision_softhsm(tmp_path / "file", softhsm.find_module(), "edge", "audit", ("1234", "5678"))


def test_an_emptied_token_object_is_put_back(token_key: TokenKey) -> None:
    """What a kill between SoftHSM's truncate and write leaves. Without the copy, the token is gone."""
    public_key = Pkcs11Signer(token_key).public_key
    release(token_key)
    store = token_key.pin_file.parent
    (token_object,) = (store / "tokens").rglob("token.object")
    copy = store / "tokens.copy"
    intact = token_object.read_bytes()
    for damage in (b"", bytes(len(intact)), intact[:100], intact[:-1] + b"\x00"):
        token_object.write_bytes(damage)
        assert Pkcs11Signer(token_key).public_key == public_key
        release(token_key)
    shutil.rmtree(copy)
    token_object.write_bytes(b"")
    with pytest.raises(UsageError, match="token_unknown"):
        Pkcs11Signer(token_key)


def test_a_lost_key_file_is_put_back_and_an_intact_store_is_left_alone(token_key: TokenKey) -> None:
    signer = Pkcs11Signer(token_key)
    release(token_key)
    config = token_key.pin_file.parent / softhsm.CONFIG_NAME
    assert softhsm.mend(config) == []  # the login just now changed the generation number and nothing else
    lost = [path for path in (config.parent / "tokens").rglob("*.object") if path.name != "token.object"]
    for path in lost:
        path.unlink()
    assert sorted(softhsm.mend(config)) == sorted(lost)
    signer.public_key.verify(b"m", signer.sign(b"m"))


def test_a_key_that_is_destroyed_is_gone_and_no_other(token_key: TokenKey) -> None:
    second = dataclasses.replace(token_key, key_label="second")
    generate_key(second)
    signer = Pkcs11Signer(second)
    signer.public_key.verify(b"m", signer.sign(b"m"))
    for _ in range(2):
        destroy_key(second)
        with pytest.raises(UsageError, match="token_key_unknown"):
            Pkcs11Signer(second)
    with pytest.raises(UsageError, match="token_key_unknown"):
        signer.sign(b"m")
    Pkcs11Signer(token_key).sign(b"m")
    destroy_key(token_key)
    store = Path(dict(token_key.environment)["SOFTHSM2_CONF"]).parent
    assert [path.name for path in store.rglob("*.object")] == ["token.object"] * 2, "nor in the copy"
