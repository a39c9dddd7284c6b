"""The acts of ``edgeseal-gateway`` that come before and beside running: the key, the store, the check, the backup."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edgeseal import statements
from edgeseal.adapters.evm import Account, EvmClient
from edgeseal.adapters.pkcs11 import Pkcs11Signer, generate_key, provision_softhsm
from edgeseal.cose import PublicKey
from edgeseal.errors import EdgesealError, TrustError, UsageError, VerificationError
from edgeseal.network import NetworkProfile
from edgeseal.statements import Statement
from edgeseal.statements.keyset import Keyset
from edgeseal_gateway.chain.mirror import Mirror
from edgeseal_gateway.config import Config
from edgeseal_gateway.sequencer import found_log
from edgeseal_gateway.store import fleetlog
from edgeseal_gateway.store.database import Database, get_meta, named_errors, put_meta


def make_key(config: Config) -> PublicKey:
    """Return the gateway's public key, making token and key first where they are missing. Idempotent.

    Raises UsageError or Unavailable with the token's codes.
    """
    key, store = config.key.token_key, config.key.softhsm_dir
    if store is not None and not key.pin_file.exists():
        pins = secrets.token_hex(8), secrets.token_hex(8)
        provision_softhsm(store, key.module, key.token_label, key.key_label, pins)
    try:
        return Pkcs11Signer(key).public_key
    except UsageError as error:
        if error.code != "token_key_unknown":
            raise
    generate_key(key)
    return Pkcs11Signer(key).public_key


def create(config: Config, keyset_file: Path) -> dict[str, Any]:
    """Create the state directory and the store with keyset 1 and the first snapshot; sign the head of size 2.

    Raises:
        UsageError: ``store_exists``, ``state_dir``, ``keyset_file``, the token's codes. EvidenceError: the keyset is
        not one
            that may found this log. Unavailable.
    """
    profile = config.network()
    signer = Pkcs11Signer(config.key.token_key)
    keyset = _first_keyset(keyset_file, profile, signer.public_key)
    try:
        config.state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        config.packages.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise UsageError("state_dir", f"cannot make {config.state_dir}: {error}") from error
    half = config.store.with_suffix(".new")
    if config.store.exists():
        raise UsageError("store_exists", f"there is a store at {config.store}", "`init` is for a new gateway only")
    _remove(half)
    Database.create(half)
    database = Database(half)
    with database.write() as connection:
        put_meta(connection, "fleet_log", profile.fleet_log)
        put_meta(connection, "gateway_kid", signer.public_key.kid)
        found_log(connection, signer, profile.fleet_log, keyset)
    with database.read() as connection:
        decided = fleetlog.unsigned_head(connection, profile.fleet_log)
    assert decided is not None
    signature = signer.sign(decided.unsigned.to_be_signed)
    with database.write() as connection:
        fleetlog.set_signature(connection, decided.head.size, signature)
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    os.replace(half, config.store)
    _sync(config.state_dir)
    # Durable: the store under its name. An init that was interrupted before this starts from nothing.
    return {
        "fleet_log": profile.fleet_log.hex(),
        "size": decided.head.size,
        "root": decided.head.root.hex(),
        "gateway_kid": signer.public_key.kid.hex(),
    }


def _first_keyset(path: Path, profile: NetworkProfile, key: PublicKey) -> Statement:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError("keyset_file", f"cannot read {path}: {error}") from error
    statement = statements.decode(data)
    content = statement.content
    if not isinstance(content, Keyset):
        raise VerificationError("wrong_typ", f"{path} holds a {statement.name}, not a keyset")
    statement.signed.verify(profile.tenant_root)
    if content.root != profile.tenant_root or content.log != profile.fleet_log:
        raise VerificationError("wrong_log", "the keyset is of another tenant or fleet log than the network profile")
    if content.version != 1:
        raise VerificationError("keyset_version", f"a log begins with keyset 1, this is {content.version}")
    if all(member.key.kid != key.kid for member in content.with_role("gateway")):
        raise TrustError(
            "gateway_key_missing", f"the keyset does not name this gateway's key {key.kid.hex()}", "sign one that does"
        )
    return statement


def _remove(path: Path) -> None:
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def check(config: Config) -> Iterator[tuple[str, EdgesealError | None]]:
    """Yield (what was looked at, what is wrong with it or None), most basic first. Changes nothing."""
    found: dict[str, Any] = {}

    def look(what: str, act: Any) -> tuple[str, EdgesealError | None]:
        try:
            found[what] = act()
        except EdgesealError as error:
            return what, error
        return what, None

    yield look("network profile", config.network)
    yield look("gateway key", lambda: Pkcs11Signer(config.key.token_key).public_key)
    yield look("account key", lambda: Account.from_file(config.chain.account_key_file))
    yield look("store", lambda: open_store(config))
    profile, key = found.get("network profile"), found.get("gateway key")
    if profile is None:
        return
    database = found.get("store")
    if database is None or key is None:
        return
    yield look("store fits key and profile", lambda: check_store(database, profile, key))
    for url in profile.endpoints:
        yield look(f"chain at {url}", lambda url=url: _check_endpoint(url, profile, database, key))


def _check_endpoint(url: str, profile: NetworkProfile, database: Database, key: PublicKey) -> None:
    Mirror(EvmClient(url), profile, database, key.kid).check_endpoint()


def open_store(config: Config) -> Database:
    """Open the store. Raises as :class:`edgeseal_gateway.store.database.Database`."""
    return Database(config.store)


def check_store(database: Database, profile: NetworkProfile, key: PublicKey) -> None:
    """Check that the store is of this fleet log and this key. Raises UsageError ``store_other_log``,
    ``store_other_key``.
    """
    with database.read() as connection:
        log, kid = get_meta(connection, "fleet_log"), get_meta(connection, "gateway_kid")
    if log != profile.fleet_log:
        raise UsageError("store_other_log", "the store holds another fleet log than the network profile names")
    if kid != key.kid:
        raise UsageError("store_other_key", "the store's heads are signed by another key than the token holds")


def backup(config: Config, target: Path) -> dict[str, Any]:
    """Write a consistent copy of store and packages into the new directory ``target`` while the gateway may run.

    The copy is read back and checked before this returns. Raises UsageError ``backup_exists``, Unavailable, and
    InvariantBroken ``store_corrupt`` when the copy is damaged.
    """
    database = open_store(config)
    if target.exists():
        raise UsageError("backup_exists", f"{target} exists", "name a folder that does not")
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(mode=0o700, parents=True)
        with named_errors(), contextlib.closing(sqlite3.connect(partial / config.store.name)) as copy:
            database.connection.backup(copy)
            copy.execute("PRAGMA journal_mode=DELETE")
        if config.packages.is_dir():
            shutil.copytree(config.packages, partial / config.packages.name)
    except OSError as error:
        raise UsageError("backup_failed", f"cannot write {partial}: {error}") from error
    size = _verify(partial / config.store.name)
    os.rename(partial, target)
    _sync(target.absolute().parent)
    return {"backup": str(target), "size": size}


def _verify(path: Path) -> int:
    """Return the fleet size of a copied store after checking it page by page and its newest head against its leaves."""
    copy = Database(path)
    try:
        with copy.read() as connection:
            answer = connection.execute("PRAGMA integrity_check").fetchone()[0]
            if answer != "ok":
                raise UsageError("backup_failed", f"the copy is damaged: {answer}")
            log = get_meta(connection, "fleet_log") or b""
            head = fleetlog.newest_head(connection, log)
            if head is None or fleetlog.root_at(connection, head.head.size) != head.head.root:
                raise UsageError("backup_failed", "the copy's newest head is not that of its leaves")
            return head.head.size
    finally:
        copy.close()
