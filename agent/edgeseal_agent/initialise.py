"""``edgeseal-agent init``: key, epoch secret, and a device log of two records under its first signed head, offline.

Everything is made beside its final place; the last step is one rename, so a device is initialised or it is not. A run
that was cut off is taken up where it stood: a payload that may have been signed is signed again, never made anew.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from edgeseal import cbor, limits
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError, UsageError
from edgeseal.merkle import leaf_hash
from edgeseal.pack import Pack
from edgeseal.record import decode_body
from edgeseal.statements.enrolment import device_log_id
from edgeseal_agent import identity, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.config import Config
from edgeseal_agent.journal import Journal
from edgeseal_agent.predecessor import LOST, Predecessor
from edgeseal_agent.sealer import Sealer, Signer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.store import Store, set_meta

REQUEST_NAME: Final = identity.REQUEST_NAME
SIGN_TIMEOUT_S: Final = 120.0
_DRAFT_NAME: Final = identity.STORE_NAME + ".new"


@dataclass(frozen=True, slots=True)
class EnrolRequest:
    """What an operator needs to enrol this device. Not signed: the operator reads it off the device it stands
    before.
    """

    name: str
    log: bytes
    kid: bytes
    x: bytes
    y: bytes
    genesis: bytes
    assurance: str
    groups: tuple[str, ...]
    cadence: int

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of the request file; bytes in lower-case hex."""
        return {
            "schema": "edgeseal-enrol-request/1", "name": self.name, "log": self.log.hex(), "kid": self.kid.hex(),
            "x": self.x.hex(), "y": self.y.hex(), "genesis": self.genesis.hex(), "assurance": self.assurance,
            "groups": list(self.groups), "cadence": self.cadence,
        }  # fmt: skip


Before = Callable[[PublicKey], Predecessor]
"""Tells the log that this one succeeds, once the new key is there. May be asked again after a crash, and then has to
tell the same."""


def initialise(config: Config, before: Before | None = None) -> EnrolRequest:
    """Make the device's state and return what its enrolment needs; also written to ``enrol-request.json`` there.

    Args:
        before: tells the predecessor of an epoch after the first; called with the new public key, which is durable.

    Raises:
        UsageError: ``state_exists``, ``store_lost``, ``predecessor_missing``, ``predecessor_differs``,
            ``pack_unreadable``, ``token_exists``, and the token's.
        EvidenceError: the provisioning pack does not hold (:meth:`edgeseal.pack.Pack.verify`).
        Unavailable: token or disk.
    """
    state = config.state_dir
    identity.make_folder(state)
    if (state / identity.STORE_NAME).exists():
        raise UsageError(
            "state_exists", f"{state} holds a device log already", "run it, or choose another state_dir for a new epoch"
        )
    identity.refuse_lost(state)
    if config.epoch > 1 and before is None:
        raise UsageError(
            "predecessor_missing",
            f"epoch {config.epoch} comes after a log that its genesis has to name",
            "edgeseal-agent rotate, or edgeseal-agent init --successor FILE with what edgeseal-agent lost wrote",
        )
    pack = read_pack(config.provisioning)
    with identity.exclusive(state):
        if not _can_resume(state):
            _begin(config, pack)
        store = Store.open(state / _DRAFT_NAME)
        signer = identity.open_signer(config.key, identity.Identity.of(store.meta()).key)
        predecessor = None if before is None else before(signer.public_key)
        _write_log(config, store, pack, signer, predecessor)
        request = _request(config, store)
        _finish(state, request)
    return request


def read_pack(path: Path) -> Pack:
    """Return the provisioning pack in a file, once it is shown to hold together.

    Raises UsageError ``pack_unreadable`` and what :meth:`Pack.decode` and :meth:`Pack.verify` raise.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "pack_unreadable",
            f"{path}: {error.strerror}",
            "edgeseal provision writes it; put it where provisioning: says",
        ) from error
    if len(data) > limits.MAX_PACK:
        raise UsageError("pack_unreadable", f"{path} has {len(data)} bytes, a pack has at most {limits.MAX_PACK}")
    try:
        pack = Pack.decode(data)
        pack.verify()
    except EvidenceError as error:
        error.remedy = error.remedy or "get a fresh pack from the operator: edgeseal provision"
        raise
    return pack


def _can_resume(state: Path) -> bool:
    """Say whether an earlier run got as far as a store with its key's facts: from there on nothing is made twice."""
    try:
        Store.open(state / _DRAFT_NAME)
    except UsageError as error:
        if error.code == "state_missing":
            return False
        raise
    return True


def _begin(config: Config, pack: Pack) -> None:
    """Make key, secret and the draft store. Until the store is there the key has signed nothing and may be thrown
    away.
    """
    state, key = config.state_dir, config.key
    mark = state / identity.MARK_NAME
    if mark.exists():
        for path in state.glob(_DRAFT_NAME + "*"):
            path.unlink()
        if key.create:
            shutil.rmtree(key.store_dir, ignore_errors=True)
    identity.write_file(mark, b"")
    # Durable: an init is under way; a restart that finds no draft store clears what this one left.
    if key.create:
        from edgeseal.adapters.pkcs11 import provision_softhsm

        provision_softhsm(
            key.store_dir, str(key.module), key.token, key.label, (secrets.token_hex(16), secrets.token_hex(16))
        )
    public = identity.open_signer(key).public_key
    identity.write_file(state / identity.SECRET_NAME, os.urandom(identity.SECRET_SIZE))
    keyset, head = pack.verify()
    draft = state / (_DRAFT_NAME + ".making")
    draft.unlink(missing_ok=True)
    store = Store.create(
        draft,
        {
            "name": config.name, "epoch": config.epoch, "log": device_log_id(public.kid), "key": public.x + public.y,
            "root": pack.root.x + pack.root.y, "home": pack.log, "first_fleet_size": head.size, "boot": 1,
            "chain": str(pack.chain), "contract": pack.contract,
        },
    )  # fmt: skip
    with closing(store.connect()) as connection:
        seen = cbor.encode([head.log, head.size, head.root])
        connection.execute("UPDATE log SET seen = ?", (seen,))
        connection.execute("INSERT INTO keysets VALUES (?, ?)", (keyset.version, pack.keyset))
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    draft.rename(state / _DRAFT_NAME)
    identity.sync_folder(state)
    # Durable: key, secret and an empty log of that key; a restart goes on with writing and signing it.


def _write_log(config: Config, store: Store, pack: Pack, signer: Signer, predecessor: Predecessor | None) -> None:
    """Append what is missing of genesis and key.bound, and sign the head of size 2: the key's first signature."""
    if predecessor is not None:
        predecessor.check_successor(config.name, config.epoch)
    store.settle()
    size = recovery.check(store)
    _note_predecessor(store, size, predecessor)
    sealer = Sealer(store, signer)
    journal = Journal(
        store, boot=1, clock=DeviceClock(config.clock), policy=SealPolicy(2, 3_600_000), on_head=sealer.offer
    )
    try:
        sealer.start(journal)
        for kind, fields in _first_records(config, pack, signer, predecessor)[size:]:
            journal.append(kind, fields)
            # Durable, perhaps under a head payload too; a restart appends what is missing and signs that payload.
        sealer.wait_for(2, SIGN_TIMEOUT_S)
    finally:
        sealer.stop()
        journal.close()
    if sealer.failure is not None:
        raise sealer.failure


def _note_predecessor(store: Store, size: int, predecessor: Predecessor | None) -> None:
    """Keep what was lost for the first run to record; a genesis that is there already has to name the same log."""
    if size:
        with closing(store.reader()) as connection:
            (body,) = connection.execute("SELECT body FROM records WHERE seq = 0").fetchone()
        named = None if predecessor is None else predecessor.named()
        if decode_body("genesis", body)["prev"] != named:
            raise UsageError(
                "predecessor_differs", "an earlier init wrote a genesis that names another predecessor",
                "give the same --successor again",
            )  # fmt: skip
    elif predecessor is not None and predecessor.lost is not None:
        with closing(store.connect()) as connection:
            set_meta(connection, LOST, predecessor.lost)


def _first_records(
    config: Config, pack: Pack, signer: Signer, predecessor: Predecessor | None
) -> list[tuple[str, dict[str, Any]]]:
    keyset, _ = pack.verify()
    genesis = {
        "device": config.name, "epoch": config.epoch,
        "prev": None if predecessor is None else predecessor.named(), "root": pack.root.kid, "home": pack.log,
        "fleet": pack.head,
    }  # fmt: skip
    bound = {"key": signer.public_key.point, "keyset": [keyset.version, sha256(pack.keyset).digest()]}
    return [("genesis", genesis), ("key.bound", bound)]


def _request(config: Config, store: Store) -> EnrolRequest:
    from edgeseal.adapters.pkcs11 import token_model

    known = identity.Identity.of(store.meta())
    with closing(store.reader()) as connection:
        (genesis,) = connection.execute("SELECT header FROM records WHERE seq = 0").fetchone()
    model = token_model(identity.token_key(config.key))
    return EnrolRequest(
        known.name, known.log, known.key.kid, known.key.x, known.key.y, leaf_hash(genesis),
        "softhsm" if "softhsm" in model.lower() else "tpm-unverified", config.groups, config.seal.heartbeat_s,
    )  # fmt: skip


def _finish(state: Path, request: EnrolRequest) -> None:
    identity.write_file(state / REQUEST_NAME, json.dumps(request.as_json(), indent=2).encode() + b"\n", 0o644)
    with closing(Store.open(state / _DRAFT_NAME).connect()) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (state / _DRAFT_NAME).rename(state / identity.STORE_NAME)
    identity.sync_folder(state)
    # Durable: the device is initialised; a restart refuses to do it again.
    (state / identity.MARK_NAME).unlink(missing_ok=True)
