"""``edgeseal-gateway key`` and ``init``: the signing key, the store, the first fleet head."""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Any

from edgeseal import statements
from edgeseal.adapters.pkcs11 import Pkcs11Signer, generate_key, provision_softhsm
from edgeseal.cose import PublicKey
from edgeseal.errors import TrustError, UsageError, VerificationError
from edgeseal.network import NetworkProfile
from edgeseal.statements import Statement
from edgeseal.statements.keyset import Keyset
from edgeseal_gateway.config import Config
from edgeseal_gateway.sequencer import found_log
from edgeseal_gateway.store import fleetlog
from edgeseal_gateway.store.database import Database, put_meta, sync_directory


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
    sync_directory(config.state_dir)
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
