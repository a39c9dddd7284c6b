"""The device's identity on disk: where state lies, the key in its token, the epoch secret, the fixed facts.

``init`` makes it, every other command only reads it.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from edgeseal.cose import PublicKey
from edgeseal.errors import EdgesealError, InvariantBroken, UsageError
from edgeseal_agent.config import Config
from edgeseal_agent.configkey import KeyConfig
from edgeseal_agent.store import Store, store_error

if TYPE_CHECKING:
    from edgeseal.adapters.pkcs11 import Pkcs11Signer, TokenKey

STORE_NAME: Final = "journal.db"
SECRET_NAME: Final = "epoch.secret"
LOCK_NAME: Final = "lock"
REQUEST_NAME: Final = "enrol-request.json"
MARK_NAME: Final = "init.started"
"""There while an ``init`` is under way."""
SECRET_SIZE: Final = 32
PATIENCE_S: Final = 1.0
"""How long one that is to write waits for the lock."""
POLL_S: Final = 0.02
SECRET_REMEDY: Final = (
    "chmod 600, or bring the file back; without it this log's commitments cannot be made or opened: `edgeseal-agent "
    "rotate` begins the next epoch with a secret of its own"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """The fixed facts of one device log, as ``init`` stored them.

    ``root`` is the tenant root key that genesis pins, ``first_fleet_size`` the size of the fleet head in genesis: no
    statement about this device can stand below it.
    """

    name: str
    epoch: int
    log: bytes
    key: PublicKey
    root: PublicKey
    first_fleet_size: int

    @classmethod
    def of(cls, meta: dict[str, Any]) -> Identity:
        """Return the identity in a store's facts."""
        key, root = meta["key"], meta["root"]
        return cls(
            meta["name"], meta["epoch"], meta["log"], PublicKey.of(key[:32], key[32:]),
            PublicKey.of(root[:32], root[32:]), meta["first_fleet_size"],
        )  # fmt: skip


def open_store(config: Config) -> Store:
    """Return the device's store.

    Raises UsageError ``state_missing``, ``store_lost``, ``schema_unknown``; Unavailable: the disk; InvariantBroken
    ``store_damaged``.
    """
    refuse_lost(config.state_dir)
    return Store.open(config.state_dir / STORE_NAME)


def refuse_lost(state_dir: Path) -> None:
    """Refuse to go on where a device log was and its store is gone: a second history under its key would be a fork.

    Raises UsageError ``store_lost``.
    """
    left = [name for name in (SECRET_NAME, REQUEST_NAME) if (state_dir / name).exists()]
    if left and not (state_dir / STORE_NAME).exists() and not (state_dir / MARK_NAME).exists():
        raise UsageError(
            "store_lost",
            f"there is no store at {state_dir / STORE_NAME}, but {' and '.join(left)} of the log that was there",
            "bring the disk back; or let `edgeseal-agent lost` ask the gateway how far that log reached, and begin the "
            "next epoch with a new key: `edgeseal-agent init --successor`, then an operator's enrolment",
        )


@contextmanager
def exclusive(state_dir: Path) -> Iterator[None]:
    """Hold the state directory's lock: one writing process at a time. The kernel drops it when the process dies.

    One that holds it for a moment only, to see whether somebody does (``status``), is waited for.

    Raises:
        UsageError: ``already_running`` when another process holds it, ``state_missing`` when there is no directory,
            ``wrong_account``. Unavailable: the disk.
    """
    refuse_stranger(state_dir)
    with _locked(state_dir, os.O_CREAT, PATIENCE_S):
        yield


@contextmanager
def _locked(state_dir: Path, create: int, patience_s: float) -> Iterator[None]:
    try:
        descriptor = os.open(state_dir / LOCK_NAME, os.O_RDWR | create | os.O_CLOEXEC, 0o600)
    except FileNotFoundError as error:
        raise UsageError("state_missing", f"{state_dir}: {error.strerror}", "edgeseal-agent init makes it") from error
    except OSError as error:
        raise store_error(error) from error
    try:
        if not _lock(descriptor, time.monotonic() + patience_s):
            raise UsageError("already_running", f"another edgeseal-agent works in {state_dir}", "stop it first")
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int, until_s: float) -> bool:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except OSError:
            if time.monotonic() >= until_s:
                return False
            time.sleep(POLL_S)


def refuse_stranger(state_dir: Path) -> None:
    """Refuse to be root where the state is another account's: what root makes there, the agent could not use.

    Raises UsageError ``wrong_account``.
    """
    try:
        owner = state_dir.stat().st_uid
    except OSError:
        return
    if os.geteuid() == 0 and owner != 0:
        name = _account(owner)
        raise UsageError(
            "wrong_account",
            f"this is root, and {state_dir} belongs to {name}",
            f"runuser -u {name} -- edgeseal-agent …",
        )


def _account(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"#{number}"


def is_running(state_dir: Path) -> bool:
    """Say whether some process holds the state directory's lock."""
    try:
        with _locked(state_dir, 0, 0.0):
            return False
    except EdgesealError as error:
        return error.code == "already_running"


def read_secret(state_dir: Path) -> bytes:
    """Return the epoch secret, from which the salts of this log's commitments derive.

    Raises:
        InvariantBroken: ``epoch_secret`` when the file is missing, of another length, or readable by others.
    """
    path = state_dir / SECRET_NAME
    try:
        secret = path.read_bytes()
        mode = path.stat().st_mode & 0o777
    except OSError as error:
        raise InvariantBroken("epoch_secret", f"{path}: {error.strerror}", SECRET_REMEDY) from error
    if len(secret) != SECRET_SIZE or mode & 0o077:
        raise InvariantBroken("epoch_secret", f"{path} must hold {SECRET_SIZE} bytes under mode 0600", SECRET_REMEDY)
    return secret


def write_file(path: Path, data: bytes, mode: int = 0o600) -> None:
    """Write a small file so that it is there whole and durable, or not at all."""
    draft = path.with_name(f".{path.name}.new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(path)
    sync_folder(path.parent)


def make_folder(folder: Path) -> None:
    """Make a folder for this account alone, and those above it that are missing; durable when it returns.

    Raises OSError.
    """
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for place in missing:
        sync_folder(place.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def token_key(key: KeyConfig) -> TokenKey:
    """Return where the device key is, for the PKCS#11 adapter. Raises UsageError ``credential_missing``."""
    from edgeseal.adapters.pkcs11 import TokenKey

    return TokenKey(str(key.module), key.token, key.label, key.pin.path(), key.environment)


def open_signer(key: KeyConfig, expected: PublicKey | None = None) -> Pkcs11Signer:
    """Return the device key. With ``expected`` the token is not touched before the first signature.

    Raises what :class:`edgeseal.adapters.pkcs11.Pkcs11Signer` raises.
    """
    from edgeseal.adapters.pkcs11 import Pkcs11Signer

    return Pkcs11Signer(token_key(key), expected)


def destroy_key(key: KeyConfig) -> None:
    """Destroy the device key in its token. Idempotent. Raises what the PKCS#11 adapter raises."""
    from edgeseal.adapters.pkcs11 import destroy_key as destroy

    destroy(token_key(key))
