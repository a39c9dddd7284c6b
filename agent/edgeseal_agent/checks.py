"""``edgeseal-agent check``: looks at everything a run needs, and says of what is wrong how to mend it. Changes
nothing, but that opening a token with a wrong PIN counts one try of a TPM's lock-out.
"""

from __future__ import annotations

import os
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal_agent import identity, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.config import Config
from edgeseal_agent.configkey import TpmConfig
from edgeseal_agent.disk import MB, DiskGuard
from edgeseal_agent.freshness import Freshness, freshness
from edgeseal_agent.initialise import read_pack
from edgeseal_agent.mqttlink import tpm_key
from edgeseal_agent.store import Store

CONNECT_TIMEOUT_S: Final = 5.0
DISK_WARN_SHARE: Final = 0.8
"""Share of the quota from which on the disk is worth a look."""
WAITING_WARN_MS: Final = 900_000
"""Age of the oldest record without a receipt from which on the gateway is worth a look: 15 minutes."""
METADATA_WARN_MS: Final = 7 * 86_400_000
"""Age of the gateway's newest word from which on keysets and commands may be missing: a week."""
LOCKOUT_MIN_TRIES: Final = 32
"""A TPM's limit below which a few power cuts lock a device out."""
TCTI_VARIABLE: Final = "TPM2_PKCS11_TCTI"
PROVISION: Final = "run /usr/share/edgeseal/firmware-config/provision-tpm.sh"
REMEDIES: Final = {
    "store": "keep the whole state_dir as it is: it is evidence; restore the disk, or begin the next epoch: "
    "edgeseal-agent lost",
    "epoch secret": "chmod 600 it, for the agent's user; if it is gone, begin the next epoch: edgeseal-agent rotate",
    "disk": "mount it, read-write, for the agent's user",
    "provisioning pack": "get a fresh pack from the operator: edgeseal provision",
    "device key": "see key: in agent.yaml; run this as the agent's user: runuser -u edgeseal -- edgeseal-agent …",
    "model": "see model: in the configuration; edgeseal model inspect PACKAGE --check says more",
    "source": "see source: in the configuration; the agent's user must read it and move what is in it",
    "broker TLS": "see mqtt: in the configuration; the agent's user must read the three files",
    "tls key": "see mqtt: in the configuration; /usr/share/edgeseal/firmware-config/README.md, A TLS key in the TPM",
}
"""What to do where an error brings no remedy of its own."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. ``state`` is ``ok``, ``warn`` (works, but look at it) or ``fail`` (a run would not work)."""

    what: str
    state: str
    detail: str
    remedy: str | None = None


def check(config: Config) -> Iterator[Finding]:
    """Yield a finding for each thing a run needs, in the order in which a run needs it. Raises nothing of its own."""
    store: Store | None = None
    if (config.state_dir / identity.STORE_NAME).exists():
        yield _try("store", lambda: _store(config))
        store = Store(config.state_dir / identity.STORE_NAME)
        yield _try("epoch secret", lambda: f"{len(identity.read_secret(config.state_dir))} bytes, mode 0600")
        yield _disk(config, Store(config.state_dir / identity.STORE_NAME))
    else:
        yield Finding("store", "warn", "not initialised yet", "edgeseal-agent init")
        yield _try("provisioning pack", lambda: f"fleet log {read_pack(config.provisioning).log.hex()}")
    locked = False
    if (tcti := dict(config.key.environment).get(TCTI_VARIABLE)) is not None:
        lock_out = _lock_out(tcti)
        locked = lock_out.state == "fail"
        yield lock_out
    if not locked and (store is not None or not config.key.create):
        yield _try("device key", lambda: _key(config, store))
    if config.tpm is not None:
        yield attestation(config.tpm)
    yield _try("model", lambda: _model(config))
    yield _try("source", lambda: _source(config))
    yield from _mqtt(config)
    found = None if store is None else _freshness(store)
    if config.mqtt is not None and found is not None:
        yield from _gateway(found)
    yield _clock(config, found)


def attestation(config: TpmConfig) -> Finding:
    """Let the TPM attest once: a run goes on without, and records a fault. Raises nothing of its own."""
    from edgeseal import tpmstruct
    from edgeseal.adapters.tpmtools import TpmTools

    what, tools, nothing = "TPM attestation", TpmTools(config.tcti), bytes(32)
    try:
        clock = tpmstruct.attested(tools.quote(nothing)[0], tpmstruct.QUOTE).clock
        counter = "no counter"
        if config.counter is not None:
            said = tpmstruct.attested(tools.certify_counter(config.counter, nothing)[1], tpmstruct.NV)
            counter = f"counter {int.from_bytes(said.content, 'big')}"
    except EdgesealError as error:
        return Finding(what, "warn", error.message, error.remedy or PROVISION)
    counts = f"{clock.resets} resets, {clock.restarts} restarts, {counter}"
    return Finding(what, "ok", f"{counts}, every {config.attest_s} s")


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except EdgesealError as error:
        return Finding(what, "fail", str(error), error.remedy or REMEDIES[what])
    except OSError as error:
        return Finding(what, "fail", f"{error.filename}: {error.strerror}", REMEDIES[what])
    except sqlite3.Error as error:
        return Finding(what, "fail", f"the store cannot be read: {error}", REMEDIES[what])


def _store(config: Config) -> str:
    store = identity.open_store(config)
    return f"{recovery.check(store)} records, tail hashes to its tree"


def _disk(config: Config, store: Store) -> Finding:
    guard = DiskGuard(store, config.storage)
    try:
        guard.check()
        used, free = store.bytes_on_disk() // MB, guard.free_bytes() // MB
    except EdgesealError as error:
        return Finding("disk", "fail", str(error), error.remedy or REMEDIES["disk"])
    except OSError as error:
        return Finding("disk", "fail", f"{error.filename}: {error.strerror}", REMEDIES["disk"])
    except sqlite3.Error as error:
        return Finding("disk", "fail", f"the store cannot be read: {error}", REMEDIES["store"])
    quota = config.storage.quota_mb
    said = f"{used} of {quota} MB used, {free} MB free"
    if used >= DISK_WARN_SHARE * quota:
        return Finding("disk", "warn", said, "raise storage.quota_mb or shorten storage.retention_days")
    if not os.access(config.state_dir, os.W_OK):
        return Finding("disk", "fail", f"{config.state_dir} cannot be written", "remount it read-write, or chown it")
    return Finding("disk", "ok", said)


def _lock_out(tcti: str) -> Finding:
    """Look at a TPM's lock-out before anything tries a PIN."""
    from edgeseal.adapters.tpm import lockout

    what = "TPM lock-out"
    try:
        found = lockout(tcti)
    except UsageError as error:
        return Finding(what, "warn", error.message, error.remedy or PROVISION)
    except Unavailable as error:
        return Finding(what, "fail", str(error), error.remedy or PROVISION)
    said = f"counter at {found.counter} of {found.max_tries} tries, one forgiven every {found.interval_s} s"
    if found.locked:
        remedy = "wait, or tpm2_dictionarylockout --clear-lockout with the lock-out authorisation"
        return Finding(what, "fail", f"the TPM is locked: {said}", remedy)
    if found.max_tries < LOCKOUT_MIN_TRIES or not found.has_authorisation:
        return Finding(what, "warn", f"{said}: a few power cuts, or anybody with root, lock this device out", PROVISION)
    if 2 * found.counter >= found.max_tries:
        return Finding(what, "warn", f"{said}: who tries PINs, or cuts the power?", "find the cause; the counter falls")
    return Finding(what, "ok", said)


def _key(config: Config, store: Store | None) -> str:
    public = identity.open_signer(config.key).public_key
    if store is not None:
        known = identity.Identity.of(store.meta())
        if public != known.key:
            raise UsageError(
                "token_key_changed",
                f"the token's key is {public.kid.hex()}, this log belongs to {known.key.kid.hex()}",
                "point key: at the token that init used; one key has one log",
            )
    return f"kid {public.kid.hex()}"


def _model(config: Config) -> str:
    if config.model.package is None:
        return "none configured; one may come by command"
    from edgeseal.adapters.packagedir import read_package
    from edgeseal_agent.inference import load_model

    loaded = load_model(read_package(config.model.package), config.model)
    manifest, info = loaded.package.manifest, loaded.runner.info
    return f"{manifest.name} {manifest.version}, golden vectors pass on {info.family} {info.version}, {info.delegate}"


def _source(config: Config) -> str:
    source = config.source
    if source.kind == "none" or source.path is None:
        return "none configured"
    if not source.path.exists():
        remedy = "make the folder" if source.kind == "watch" else "write the list"
        raise UsageError("source_missing", f"{source.path} does not exist", remedy)
    if source.kind == "watch" and not os.access(source.path, os.R_OK | os.W_OK | os.X_OK):
        raise UsageError("source_folder", f"{source.path}: files must be readable and movable", "chown or chmod it")
    return f"{source.kind} {source.path}"


def _mqtt(config: Config) -> Iterator[Finding]:
    mqtt = config.mqtt
    if mqtt is None:
        yield Finding("broker", "warn", "no mqtt section: records stay on the device", "add mqtt: to the configuration")
        return
    from edgeseal.adapters.mqtt import Endpoint

    if (key := tpm_key(mqtt)) is None:
        endpoint = Endpoint(mqtt.host, mqtt.port, "check", mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
        yield _try("broker TLS", lambda: "no TLS: loopback only" if endpoint.tls() is None else "certificates load")
        yield Finding("tls key", "ok", mqtt.shown_key())
    else:
        yield _try("tls key", lambda: f"{mqtt.shown_key()}, loaded by {key.load()} with its certificate")
    try:
        socket.create_connection((mqtt.host, mqtt.port), CONNECT_TIMEOUT_S).close()
        yield Finding("broker", "ok", f"{mqtt.host}:{mqtt.port} answers")
    except OSError as error:
        yield Finding(
            "broker", "warn", f"{mqtt.host}:{mqtt.port}: {error}", "records wait on the device until it answers"
        )


def _freshness(store: Store) -> Freshness | None:
    """Return how old the fleet's words are, None for a store that the finding before has called damaged."""
    try:
        with closing(store.reader()) as connection:
            return freshness(connection, time.time_ns() // 1_000_000)
    except (sqlite3.Error, EdgesealError, TypeError):
        return None


def _gateway(found: Freshness) -> Iterator[Finding]:
    known = f"keyset {found.keyset}, fleet log of {found.fleet_size} statements"
    if found.heard_ms is None:
        remedy = "enrol the device: edgeseal identity enrol; then run the agent"
        yield Finding("gateway", "warn", f"no receipt yet, {found.unsent} records wait", remedy)
        yield Finding("metadata", "warn", f"{known}, as provisioned", "it renews itself with the first receipt")
        return
    late = (found.waiting_ms or 0) >= WAITING_WARN_MS
    waiting = "" if found.waiting_ms is None else f", the oldest for {_duration(found.waiting_ms)}"
    yield Finding(
        "gateway", "warn" if late else "ok", f"{found.unsent} records wait for a receipt{waiting}",
        "see last_refusal in edgeseal-agent status --json; is the gateway running, is this key revoked?",
    )  # fmt: skip
    yield Finding(
        "metadata", "warn" if found.heard_ms >= METADATA_WARN_MS else "ok",
        f"{known}, newest word of the gateway {_duration(found.heard_ms)} ago",
        "keysets and commands issued since then are not known here: connect the device",
    )  # fmt: skip


def _clock(config: Config, found: Freshness | None) -> Finding:
    now_ms = time.time_ns() // 1_000_000
    if found is not None and now_ms < found.newest_ms:
        said = f"the clock stands {_duration(found.newest_ms - now_ms)} before the newest record"
        return Finding("clock", "warn", said, "synchronise it: firmware-config/chrony; records keep their order")
    belief = DeviceClock(config.clock).belief()
    if belief.source == "none":
        return Finding("clock", "warn", "not synchronised; records say so", "run chrony or systemd-timesyncd")
    known = "unknown" if belief.uncertainty_ms is None else f"{belief.uncertainty_ms} ms"
    return Finding("clock", "ok", f"{belief.source}, uncertainty {known}")


def _duration(milliseconds: int) -> str:
    """Return a duration in its largest whole unit."""
    seconds = milliseconds // 1000
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds // size} {unit}"
    return f"{seconds} s"
