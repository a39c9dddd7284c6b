"""S49: the account's key rests encrypted, and its passphrase comes from a credential or a file of the user's own."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from edgeseal.adapters import keystore as files
from edgeseal.adapters.evm import read_private_key
from edgeseal.errors import UsageError
from edgeseal_gateway import account
from edgeseal_gateway.chain import keystore
from edgeseal_gateway.config import ChainConfig, Config, read_config
from tests.tenant import profile_for
from tests.world import Key

WORK = files.MIN_SCRYPT
KEY = bytes(31) + b"\x01"
ADDRESS = bytes.fromhex("7e5f4552091a69125d5dfcb7b8c2659029395bdf")
"""Of the private key 1, as every client computes it."""
GETH = {
    "crypto": {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "6087dab2f9fdbbfaddc31a909735c1e6"},
        "ciphertext": "5318b4d5bcd28de64ee5559e671353e16f075ecae9f99c7a79a38af5f869aa46",
        "kdf": "pbkdf2",
        "kdfparams": {
            "c": 262144, "dklen": 32, "prf": "hmac-sha256",
            "salt": "ae3cd4e7013836a3df6bd7241b12db061dbe2c6785853cce422d148a624ce0bd",
        },
        "mac": "517ead924a9d0dc3124507e3393d175ce3ff7c1e96529c6c555ce9e51205e9b2",
    },
    "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
    "version": 3,
}  # fmt: skip
"""The example of the Web3 Secret Storage Definition; its passphrase is "testpassword"."""
GETH_KEY = bytes.fromhex("7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d")


YAML = """\
schema: edgeseal-gateway/1
state_dir: state
network_profile: network.yaml
key: {module: m.so, token: gw, label: gateway, softhsm_dir: token}
mqtt: {host: broker, port: 8883}
chain: {keystore_file: account.json, passphrase_file: passphrase}
"""


def chain(folder: Path, **changes: Any) -> ChainConfig:
    path = folder.with_suffix(".yaml")
    path.write_text(YAML)
    config = read_config(path).chain
    assert config.keystore_file == folder.parent / "account.json"
    found = replace(config, keystore_file=folder / "account.json", passphrase_file=folder / "passphrase")
    return replace(found, **changes)


def refused(code: str, act: Any, *args: Any) -> UsageError:
    with pytest.raises(UsageError) as caught:
        act(*args)
    assert caught.value.code == code, caught.value
    return caught.value


def test_S49_a_new_account_can_be_opened_and_its_key_is_nowhere_in_the_clear(tmp_path: Path) -> None:
    config = chain(tmp_path)
    made = keystore.create(config, work=WORK)
    assert keystore.open_account(config, "public").address == made.address
    assert files.address(keystore.read_keystore(config)) == made.address
    assert {path.name for path in tmp_path.iterdir()} == {"account.json", "passphrase"}
    for path in tmp_path.iterdir():
        assert path.stat().st_mode & 0o777 == 0o600
    secret = files.decrypt(keystore.read_keystore(config), keystore.passphrase(config))
    assert secret.hex() not in "".join(path.read_text() for path in tmp_path.iterdir())


def test_S49_an_imported_key_keeps_its_address_and_is_never_written_over(tmp_path: Path) -> None:
    plain = tmp_path / "account.key"
    plain.write_text("0x" + KEY.hex() + "\n")
    config = chain(tmp_path)
    assert keystore.create(config, read_private_key(plain), WORK).address == ADDRESS
    before = keystore.read_keystore(config)
    error = refused("keystore_exists", keystore.create, config, None, WORK)
    assert error.remedy is not None and keystore.read_keystore(config) == before


def test_S49_the_example_of_the_definition_opens(tmp_path: Path) -> None:
    assert files.decrypt(json.dumps(GETH).encode(), b"testpassword") == GETH_KEY
    assert files.address(json.dumps(GETH).encode()) is None


def test_S49_the_passphrase_is_a_systemd_credential(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = chain(tmp_path)
    made = keystore.create(file, work=WORK)
    config = chain(tmp_path, passphrase_file=None, passphrase_credential="account-passphrase")
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    error = refused("credential_missing", keystore.open_account, config, "public")
    assert error.remedy is not None and "LoadCredential=account-passphrase" in error.remedy
    given = tmp_path / "credentials"
    given.mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(given))
    refused("passphrase_file", keystore.open_account, config, "public")
    (given / "account-passphrase").write_bytes((tmp_path / "passphrase").read_bytes())
    assert keystore.open_account(config, "public").address == made.address


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_S49_a_passphrase_that_others_can_read_is_refused(tmp_path: Path, mode: int) -> None:
    config = chain(tmp_path)
    keystore.create(config, work=WORK)
    (tmp_path / "passphrase").chmod(mode)
    error = refused("passphrase_file", keystore.open_account, config, "public")
    assert error.remedy is not None and "chmod 600" in error.remedy


def test_S49_a_passphrase_behind_a_link_is_refused(tmp_path: Path) -> None:
    config = chain(tmp_path)
    keystore.create(config, work=WORK)
    (tmp_path / "passphrase").rename(tmp_path / "elsewhere")
    (tmp_path / "passphrase").symlink_to(tmp_path / "elsewhere")
    refused("passphrase_file", keystore.open_account, config, "public")


def test_S49_a_short_or_another_passphrase_is_refused(tmp_path: Path) -> None:
    config = chain(tmp_path)
    keystore.create(config, work=WORK)
    (tmp_path / "passphrase").write_text("short\n")
    refused("passphrase_file", keystore.open_account, config, "public")
    (tmp_path / "passphrase").write_text("another passphrase\n")
    error = refused("keystore_passphrase", keystore.open_account, config, "public")
    assert "another passphrase" not in str(error)


def test_S49_a_plain_key_is_for_the_operators_own_chain(tmp_path: Path) -> None:
    plain = tmp_path / "account.key"
    plain.write_text(KEY.hex())
    config = chain(tmp_path, keystore_file=None, passphrase_file=None, account_key_file=plain)
    assert keystore.open_account(config, "operator").address == ADDRESS
    error = refused("account_key_plain", keystore.open_account, config, "public")
    assert error.remedy is not None and "account import" in error.remedy and KEY.hex() not in str(error)
    assert keystore.open_account(replace(config, allow_plain_key=True), "public").address == ADDRESS


def changed(**parameters: Any) -> bytes:
    crypto: dict[str, Any] = {**GETH["crypto"]}  # type: ignore[dict-item]
    kdf = parameters.pop("kdf", "scrypt")
    return json.dumps({**GETH, "crypto": {**crypto, "kdf": kdf, "kdfparams": parameters}}).encode()


SCRYPT = {"dklen": 32, "n": 1 << 18, "r": 8, "p": 1, "salt": "00" * 32}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"[" * 5_000,
        b"{}",
        b" " * (files.MAX_FILE + 1),
        json.dumps({**GETH, "version": 4}).encode(),
        json.dumps({**GETH, "crypto": None}).encode(),
        changed(**{**SCRYPT, "n": 1 << 30}),
        changed(**{**SCRYPT, "p": 1 << 20}),
        changed(**{**SCRYPT, "r": -8}),
        changed(**{**SCRYPT, "n": 2}),
        changed(**{**SCRYPT, "n": (1 << 18) + 1}),
        changed(**{**SCRYPT, "n": float(1 << 18)}),
        changed(**{**SCRYPT, "dklen": 1 << 20}),
        changed(**{**SCRYPT, "salt": 7, "n": WORK}),
        changed(kdf="pbkdf2", c=10**12, dklen=32, prf="hmac-sha256", salt="00" * 32),
        changed(kdf="pbkdf2", c=1, dklen=32, prf="hmac-sha256", salt="00" * 32),
        changed(kdf="pbkdf2", c=200_000, dklen=32, prf="hmac-md5", salt="00" * 32),
        changed(kdf="argon2", dklen=32),
    ],
)
def test_S49_a_file_that_asks_for_too_much_or_makes_no_sense_is_refused_unread(data: bytes) -> None:
    refused("keystore_format", files.decrypt, data, b"testpassword")


def test_S49_no_secret_comes_from_the_command_line() -> None:
    from edgeseal_gateway.cli import parser

    options = {
        option
        for action in parser()._subparsers._group_actions  # type: ignore[union-attr]
        for command in action.choices.values()  # type: ignore[union-attr]
        for one in command._actions
        for option in one.option_strings
    }
    assert not {"--passphrase", "--password", "--key", "--private-key", "--secret"} & options


@pytest.fixture
def configured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Config:
    """A configuration with a network profile; keystores made with little work."""
    path = tmp_path / "gateway.yaml"
    path.write_text(YAML)
    (tmp_path / "network.yaml").write_bytes(profile_for(Key(4242)).encode())
    monkeypatch.setattr(keystore, "create", partial(keystore.create, work=WORK))
    return read_config(path)


def test_S49_accounts_are_made_and_shown_by_command_without_a_secret(configured: Config) -> None:
    made = account.run(configured, account.NEW, None, None)
    shown = account.run(configured, account.SHOW, None, None)
    assert shown["address"] == made["address"] and shown["verified"]
    refused("keystore_exists", account.run, configured, account.NEW, None, None)
    folder = configured.path.parent
    secret = (folder / "passphrase").read_text().strip()
    assert secret not in str(made) + str(shown)
    (folder / "passphrase").unlink()
    unopened = account.run(configured, account.SHOW, None, None)
    assert unopened["address"] == made["address"] and not unopened["verified"], "what the file says of itself"
    (folder / "kept-elsewhere").write_text(secret + "\n")
    (folder / "kept-elsewhere").chmod(0o600)
    assert account.run(configured, account.SHOW, folder / "kept-elsewhere", None)["verified"]


def test_S49_a_key_is_imported_by_command(configured: Config) -> None:
    plain = configured.path.parent / "old.key"
    refused("key_file", account.run, configured, account.IMPORT, None, None)
    plain.write_text("no key\n")
    refused("account_key", account.run, configured, account.IMPORT, None, plain)
    for bad in ("00" * 32, "ff" * 32):
        plain.write_text(bad)
        refused("account_key", account.run, configured, account.IMPORT, None, plain)
    plain.write_text(KEY.hex())
    made = account.run(configured, account.IMPORT, None, plain)
    assert made["address"] == "0x" + ADDRESS.hex() and str(plain) in made["next"]
