"""``edgeseal-agent check``: looks at everything a run needs, and says of what is wrong how to mend it. Changes
nothing.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from edgeseal.errors import EdgesealError, UsageError
from edgeseal_agent import identity, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.config import Config
from edgeseal_agent.disk import MB, DiskGuard
from edgeseal_agent.initialise import read_pack
from edgeseal_agent.store import Store

CONNECT_TIMEOUT_S = 5.0


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
        yield _try("disk", lambda: _disk(config, Store(config.state_dir / identity.STORE_NAME)))
    else:
        yield Finding("store", "warn", "not initialised yet", "edgeseal-agent init")
        yield _try("provisioning pack", lambda: f"fleet log {read_pack(config.provisioning).log.hex()}")
    if store is not None or not config.key.create:
        yield _try("device key", lambda: _key(config, store))
    yield _try("model", lambda: _model(config))
    yield _try("source", lambda: _source(config))
    yield from _mqtt(config)
    yield _clock(config)


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, "ok", look())
    except EdgesealError as error:
        return Finding(what, "fail", str(error), error.remedy)
    except OSError as error:
        return Finding(what, "fail", f"{error.filename}: {error.strerror}")


def _store(config: Config) -> str:
    store = identity.open_store(config)
    return f"{recovery.check(store)} records, tail hashes to its tree"


def _disk(config: Config, store: Store) -> str:
    guard = DiskGuard(store, config.storage)
    guard.check()
    return f"{store.bytes_on_disk() // MB} of {config.storage.quota_mb} MB used, {guard.free_bytes() // MB} MB free"


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

    endpoint = Endpoint(mqtt.host, mqtt.port, "check", mqtt.ca_file, mqtt.cert_file, mqtt.key_file)
    yield _try("broker TLS", lambda: "no TLS: loopback only" if endpoint.tls() is None else "certificates load")
    try:
        socket.create_connection((mqtt.host, mqtt.port), CONNECT_TIMEOUT_S).close()
        yield Finding("broker", "ok", f"{mqtt.host}:{mqtt.port} answers")
    except OSError as error:
        yield Finding(
            "broker", "warn", f"{mqtt.host}:{mqtt.port}: {error}", "records wait on the device until it answers"
        )


def _clock(config: Config) -> Finding:
    belief = DeviceClock(config.clock).belief()
    if belief.source == "none":
        return Finding("clock", "warn", "not synchronised; records say so", "run chrony or systemd-timesyncd")
    known = "unknown" if belief.uncertainty_ms is None else f"{belief.uncertainty_ms} ms"
    return Finding("clock", "ok", f"{belief.source}, uncertainty {known}")
