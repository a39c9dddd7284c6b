"""The account that pays for anchors: an encrypted keystore and its passphrase, or a plain key where that is allowed.

The passphrase is the first line of a systemd credential (``$CREDENTIALS_DIRECTORY``) or of a file that nobody else can
read. It never comes from the command line or the environment, where other processes and core dumps would find it.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final

from edgeseal.adapters import keystore
from edgeseal.adapters.evm import Account
from edgeseal.adapters.namedfile import read_named
from edgeseal.errors import UsageError
from edgeseal_gateway.config import ChainConfig
from edgeseal_gateway.store.database import sync_directory

MAX_SECRET: Final = 4_096
"""The longest passphrase file read, in bytes."""
MIN_PASSPHRASE: Final = 12
_CREDENTIALS: Final = "CREDENTIALS_DIRECTORY"
_ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
_IMPORT: Final = (
    "edgeseal-gateway account import --config … --key-file …, then name chain.keystore_file and its passphrase in the "
    "place of chain.account_key_file; or say chain.allow_plain_key: true if you mean it"
)


def open_account(config: ChainConfig, kind: str) -> Account:
    """Return the account of the configuration, for a chain of ``kind`` ``operator`` or ``public``. Takes a second.

    Raises UsageError: ``account_key_plain``: a plain key on a chain that is not the operator's; ``account_key``,
    ``keystore_file``, ``keystore_format``, ``keystore_passphrase``, and what :func:`passphrase` raises.
    """
    if config.keystore_file is not None:
        return Account(keystore.decrypt(read_keystore(config), passphrase(config)))
    assert config.account_key_file is not None  # the configuration has one of the two
    if kind != "operator" and not config.allow_plain_key:
        raise UsageError(
            "account_key_plain",
            f"{config.account_key_file} holds the account's key in the clear, and the chain is public",
            _IMPORT,
        )
    return Account.from_file(config.account_key_file)


def read_keystore(config: ChainConfig) -> bytes:
    """Return the keystore file's bytes. Raises UsageError ``keystore_file``."""
    remedy = "edgeseal-gateway account new makes it"
    return read_named(_keystore_path(config), keystore.MAX_FILE, "keystore_file", remedy)


def passphrase(config: ChainConfig) -> bytes:
    """Return the passphrase of the keystore.

    Raises UsageError: ``credential_missing``: systemd gave this process no such credential; ``passphrase_file``: it
    cannot be read, others can read it too, or it holds no passphrase of MIN_PASSPHRASE bytes.
    """
    if config.passphrase_credential is None:
        assert config.passphrase_file is not None  # the configuration has one of the two
        return _first_line(config.passphrase_file, private=True)
    folder = os.environ.get(_CREDENTIALS)
    if folder is None:
        raise UsageError(
            "credential_missing",
            f"systemd gave this process no credentials, and chain.passphrase_credential names "
            f"{config.passphrase_credential}",
            f"in the unit: LoadCredential={config.passphrase_credential}:/path; by hand: --passphrase-file",
        )
    return _first_line(Path(folder) / config.passphrase_credential, private=False)


def _first_line(path: Path, private: bool) -> bytes:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | (os.O_NOFOLLOW if private else 0))
        try:
            found = os.fstat(descriptor)
            data = os.read(descriptor, MAX_SECRET + 1)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise UsageError("passphrase_file", f"cannot read {path}: {error.strerror}") from error
    if private and (found.st_mode & 0o077 or found.st_uid not in (0, os.geteuid()) or not stat.S_ISREG(found.st_mode)):
        raise UsageError(
            "passphrase_file",
            f"{path} (mode {stat.S_IMODE(found.st_mode):04o}, owner {found.st_uid}) is not this user's alone",
            f"chown it to the gateway's user and chmod 600 {path}",
        )
    line = data.split(b"\n", 1)[0]
    if len(data) > MAX_SECRET or len(line) < MIN_PASSPHRASE:
        raise UsageError(
            "passphrase_file", f"{path}: its first line is the passphrase, of at least {MIN_PASSPHRASE} bytes",
            f"openssl rand -hex 32 > {path}",
        )  # fmt: skip
    return line


def create(config: ChainConfig, key: bytes | None = None, work: int = keystore.WORK) -> Account:
    """Write a keystore with ``key``, or with a fresh one, and return its account. Durable when it returns.

    A passphrase file that is not there is made first, with 256 random bits.

    Raises UsageError: ``keystore_exists``, ``keystore_file``, ``account_key`` (no key of secp256k1), and what
    :func:`passphrase` raises.
    """
    path = _keystore_path(config)
    if path.exists():
        raise UsageError(
            "keystore_exists", f"there is a keystore at {path}", "move it away first: its account may hold funds"
        )
    if config.passphrase_file is not None and not config.passphrase_file.exists():
        _write(config.passphrase_file, secrets.token_hex(32).encode() + b"\n")
        # Durable: the passphrase. Interrupted here, the next call takes it.
    key = secrets.token_bytes(32) if key is None else key
    account = _account(key)
    _write(path, keystore.encrypt(key, passphrase(config), work))
    # Durable: the keystore, whole or not at all. Interrupted before this, nothing of the key is left anywhere.
    return account


def _account(key: bytes) -> Account:
    if not 0 < int.from_bytes(key, "big") < _ORDER:
        raise UsageError("account_key", "these 32 bytes are no key of secp256k1")
    return Account(key)


def _keystore_path(config: ChainConfig) -> Path:
    if config.keystore_file is None:
        raise UsageError(
            "keystore_file", "the configuration names no chain.keystore_file", "gateway/API.md shows every key"
        )
    return config.keystore_file


def _write(path: Path, data: bytes) -> None:
    """Write a new file of mode 0600, whole or not at all, never over another."""
    half = path.with_name(path.name + ".new")
    try:
        half.unlink(missing_ok=True)
        descriptor = os.open(half, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.link(half, path)
        half.unlink()
        sync_directory(path.parent)
    except OSError as error:
        raise UsageError("keystore_file", f"cannot write {path}: {error.strerror}") from error
