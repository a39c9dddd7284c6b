"""The agent's configuration: one strict YAML file into frozen dataclasses. Reading it builds nothing and has no side
effect.

Unknown keys are errors, every number carries its unit in its name, and a secret is a path or the name of a systemd
credential, never a value. Relative paths are relative to the configuration file.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from edgeseal import limits, strictyaml
from edgeseal.errors import FormatError, UsageError

SCHEMA: Final = "edgeseal-agent/1"
MAX_HEAD_EVERY: Final = 256
"""Most records one head may cover: with it a segment always fits its limits."""

MIN_BODY_RETENTION_DAYS: Final = 184
"""Shortest time after which retention may erase a record's body: half a year."""
INCIDENT_CAUSES: Final = ("tamper", "fault", "gap", "denied", "model.rejected", "command.refused")
"""What may open an incident by itself."""
RETENTION_CLASSES: Final = ("telemetry", "inference", "decision")
"""Classes of records whose bodies retention may erase."""

_NAME: Final = r"[a-z0-9][a-z0-9._-]{0,63}"
_TEXT: Final = r"[^\x00-\x1f]{1,512}"
_TOKEN_ENVIRONMENT: Final = ("SOFTHSM2_CONF", "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI", "TSS2_LOG")


@dataclass(frozen=True, slots=True)
class Secret:
    """Where a secret stands: a file, or the name of a credential in systemd's ``$CREDENTIALS_DIRECTORY``."""

    file: Path | None
    credential: str | None

    def path(self) -> Path:
        """Return the file to read.

        Raises:
            UsageError: ``credential_missing``: a credential is named and systemd handed none to this process.
        """
        if self.file is not None:
            return self.file
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        if not directory:
            raise UsageError(
                "credential_missing",
                f"credential {self.credential} is configured and CREDENTIALS_DIRECTORY is not set",
                "start under systemd with LoadCredential=, or name a file instead",
            )
        return Path(directory) / str(self.credential)


@dataclass(frozen=True, slots=True)
class KeyConfig:
    """The device key: a PKCS#11 module, the token's label, the key's label, and the PIN.

    With ``create`` ``init`` makes a SoftHSM token and key in ``store_dir``, and PIN and environment follow from it. A
    TPM's are made by provisioning; then ``pin`` says where the PIN is, and ``environment`` holds the variables that
    the module reads (SOFTHSM2_CONF, TPM2_PKCS11_STORE, TPM2_PKCS11_TCTI, TSS2_LOG).
    """

    module: Path
    token: str
    label: str
    create: bool
    store_dir: Path
    pin: Secret
    environment: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class TpmConfig:
    """The TPM that holds the device key: what provisioning left in ``evidence_dir``, how to reach it, seconds between
    ``attest`` records, and the NV counter's index (None: none is kept).
    """

    evidence_dir: Path
    tcti: str
    attest_s: int
    counter: str | None


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The broker: address, TLS files (``ca_file`` null: no TLS), and optional user name with password."""

    host: str
    port: int
    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None
    username: str | None
    password: Secret | None
    keepalive_s: int


@dataclass(frozen=True, slots=True)
class SealConfig:
    """When a head is cut: after ``head_every`` records or ``head_max_ms`` after the first one not covered."""

    head_every: int
    head_max_ms: int
    heartbeat_s: int


@dataclass(frozen=True, slots=True)
class StorageConfig:
    """The disk: the store's quota, what happens when it is reached, and how long inputs are kept.

    At the quota ``when_full`` either stops the agent (``stop``) or goes on without keeping inputs and openings
    (``drop_inputs``, a ``gap`` record says so), or also takes the bodies of records, lowest class first, from nine
    tenths of the quota on (``thin``, ``thinned`` records say which). Below ``min_free_mb`` of free disk it always
    stops. Inputs and openings are deleted ``retention_days`` after they were recorded, and never before the gateway's
    receipt covers their record; 0 keeps them for ever. Bodies of records are erased, with a ``tombstone`` record,
    ``body_retention_days`` after they were recorded (at least half a year) and never before a receipt; 0 keeps them.
    ``class_retention_days`` says so for one class of records (``telemetry inference decision``) alone. Headers are
    never deleted. When nothing can be recorded ``on_failure`` either ends the agent (``stop``) or lets the model go on,
    counts, and records a ``gap`` with the count as soon as that is possible again (``degrade``). With ``ring_records``
    inputs and openings are kept only of the newest records, so many, and of those that an incident holds.
    """

    quota_mb: int
    when_full: str
    min_free_mb: int
    retain_inputs: bool
    retention_days: int
    body_retention_days: int = 0
    class_retention_days: tuple[tuple[str, int], ...] = ()
    on_failure: str = "stop"
    ring_records: int = 0

    def retention_of(self) -> dict[str, int]:
        """Return the days after which bodies go, by class; 0: never."""
        return dict.fromkeys(RETENTION_CLASSES, self.body_retention_days) | dict(self.class_retention_days)


@dataclass(frozen=True, slots=True)
class IncidentConfig:
    """What opens an incident by itself: causes ``on`` (kinds of records, or ``denied``), and the window in records."""

    on: tuple[str, ...] = ()
    before: int = 1_000
    after: int = 1_000


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """The model: the package to start with (or none), where others lie or are fetched to, and the runtime's settings.

    ``runtime`` null takes the family that is installed; ``delegate`` is the path of an external delegate's library. The
    active package's files are hashed again when they change and every ``rehash_s``; where they are not what was
    activated a ``tamper`` record says so, and the agent ends (``stop``), goes on with the model in memory and says so
    in every inference (``continue-flagged``), or activates the package in ``safe_package`` (``safe-model``).
    """

    package: Path | None
    packages_dir: Path
    max_package_mb: int
    runtime: str | None
    resolver: str
    delegate: Path | None
    threads: int
    on_tamper: str = "continue-flagged"
    rehash_s: int = 3_600
    safe_package: Path | None = None


@dataclass(frozen=True, slots=True)
class SourceConfig:
    """Where inputs come from: ``watch`` a folder, one ``list``, or ``none``.

    A watched file counts as complete when neither size nor time changed for ``settle_ms``; better is to write it
    under a name that begins with a dot and rename it. What was recorded moves to ``done_dir``, what could not be read
    as an input to ``failed_dir``. ``input_mode`` is the commitment mode of the raw input: ``salted`` or ``plain``.
    """

    kind: str
    path: Path | None
    done_dir: Path | None
    failed_dir: Path | None
    poll_ms: int
    settle_ms: int
    input_mode: str


@dataclass(frozen=True, slots=True)
class UplinkConfig:
    """The way to the gateway: segments in flight without a receipt, patience and back-off, flush at the end."""

    inflight_segments: int
    receipt_timeout_s: int
    retry_min_s: int
    retry_max_s: int
    flush_s: int


@dataclass(frozen=True, slots=True)
class Config:
    """Everything the agent is told. ``digest`` is the SHA-256 of the file's bytes; records carry it."""

    name: str
    epoch: int
    groups: tuple[str, ...]
    state_dir: Path
    provisioning: Path
    clock: str
    key: KeyConfig
    mqtt: MqttConfig | None
    seal: SealConfig
    storage: StorageConfig
    model: ModelConfig
    source: SourceConfig
    uplink: UplinkConfig
    digest: bytes
    incidents: IncidentConfig = IncidentConfig()
    tpm: TpmConfig | None = None


def load(path: Path) -> Config:
    """Return the configuration in ``path``.

    Raises:
        UsageError: ``config_unreadable`` when there is no such file, ``config_invalid`` with the dotted name of the key
            that is wrong, unknown or missing.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "config_unreadable", f"{path}: {error.strerror}", "give --config the agent's YAML file"
        ) from error
    try:
        return _config(data, path.resolve().parent)
    except FormatError as error:
        raise UsageError(
            "config_invalid", f"{path}: {error.message}", "see agent/README.md for every key and its default"
        ) from error


def _config(data: bytes, base: Path) -> Config:
    top = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
    top.text("schema", SCHEMA)
    state_dir = _path(top, "state_dir", base)
    config = Config(
        name=top.text("name", _NAME),
        epoch=top.integer("epoch", 1, 2**32, 1),
        groups=tuple(_words(top, "groups")),
        state_dir=state_dir,
        provisioning=_path(top, "provisioning", base),
        clock=top.text("clock", "auto|none|rtc|ntp|ptp|gnss", "auto"),
        key=_key(top.section("key"), base, state_dir),
        mqtt=_mqtt(top.section("mqtt"), base) if "mqtt" in top else None,
        seal=_seal(_optional(top, "seal")),
        storage=_storage(_optional(top, "storage")),
        model=_model(_optional(top, "model"), base, state_dir),
        source=_source(_optional(top, "source"), base),
        uplink=_uplink(_optional(top, "uplink")),
        digest=sha256(data).digest(),
        incidents=_incidents(_optional(top, "incidents")),
        tpm=_tpm(top.section("tpm"), base) if "tpm" in top else None,
    )
    top.done()
    return config


def _key(section: strictyaml.Section, base: Path, state_dir: Path) -> KeyConfig:
    module = _path(section, "module", base, "/usr/lib/softhsm/libsofthsm2.so")
    token, label = section.text("token", r"[A-Za-z0-9._-]{1,32}"), section.text("label", r"[A-Za-z0-9._-]{1,64}")
    create = section.boolean("create", False)
    store_dir = _maybe_path(section, "store_dir", base) or state_dir / "token"
    if create:
        pin = Secret(store_dir / f"{token}.pin", None)
        environment = {"SOFTHSM2_CONF": str(store_dir / "softhsm2.conf")}
    else:
        pin = _secret(section, "pin", base)
        variables = _optional(section, "environment")
        environment = {name: variables.text(name, _TEXT) for name in _TOKEN_ENVIRONMENT if name in variables}
        variables.done()
    section.done()
    return KeyConfig(module, token, label, create, store_dir, pin, tuple(environment.items()))


def _tpm(section: strictyaml.Section, base: Path) -> TpmConfig:
    tpm = TpmConfig(
        evidence_dir=_path(section, "evidence_dir", base),
        tcti=section.text("tcti", _TEXT, "device:/dev/tpmrm0"),
        attest_s=section.integer("attest_s", 1, 604_800, 3_600),
        counter=section.text("counter", "0x0*1[0-9a-fA-F]{6}") if "counter" in section else None,
    )
    section.done()
    return tpm


def _mqtt(section: strictyaml.Section, base: Path) -> MqttConfig:
    mqtt = MqttConfig(
        host=section.text("host", r"[A-Za-z0-9._:-]{1,253}"),
        port=section.integer("port", 1, 65_535, 8883),
        ca_file=_maybe_path(section, "ca_file", base),
        cert_file=_maybe_path(section, "cert_file", base),
        key_file=_maybe_path(section, "key_file", base),
        username=section.text("username", _TEXT) if "username" in section else None,
        password=_secret(section, "password", base) if _has_secret(section, "password") else None,
        keepalive_s=section.integer("keepalive_s", 5, 3_600, 30),
    )
    section.done()
    if (mqtt.cert_file is None) != (mqtt.key_file is None):
        raise FormatError("yaml_missing_key", "mqtt.cert_file and mqtt.key_file belong together")
    return mqtt


def _seal(section: strictyaml.Section) -> SealConfig:
    seal = SealConfig(
        head_every=section.integer("head_every", 1, MAX_HEAD_EVERY, 64),
        head_max_ms=section.integer("head_max_ms", 10, 3_600_000, 1_000),
        heartbeat_s=section.integer("heartbeat_s", 1, 86_400, 60),
    )
    section.done()
    return seal


def _storage(section: strictyaml.Section) -> StorageConfig:
    storage = StorageConfig(
        quota_mb=section.integer("quota_mb", 1, 2**24, 4_096),
        when_full=section.text("when_full", "stop|drop_inputs|thin", "stop"),
        min_free_mb=section.integer("min_free_mb", 0, 2**24, 64),
        retain_inputs=section.boolean("retain_inputs", True),
        retention_days=section.integer("retention_days", 0, 36_500, 0),
        body_retention_days=section.integer("body_retention_days", 0, 36_500, 0),
        class_retention_days=_class_days(_optional(section, "class_retention_days")),
        on_failure=section.text("on_failure", "stop|degrade", "stop"),
        ring_records=section.integer("ring_records", 0, 2**31, 0),
    )
    section.done()
    for days in (storage.body_retention_days, *dict(storage.class_retention_days).values()):
        if 0 < days < MIN_BODY_RETENTION_DAYS:
            raise FormatError(
                "yaml_range", f"{section.path('body_retention_days')}: 0 or at least {MIN_BODY_RETENTION_DAYS} days"
            )
    return storage


def _class_days(section: strictyaml.Section) -> tuple[tuple[str, int], ...]:
    found = [(name, section.integer(name, 0, 36_500)) for name in RETENTION_CLASSES if name in section]
    section.done()
    return tuple(found)


def _incidents(section: strictyaml.Section) -> IncidentConfig:
    causes = section.sequence("on", len(INCIDENT_CAUSES), [])
    holder = strictyaml.Section({str(number): cause for number, cause in enumerate(causes)}, section.path("on"))
    incidents = IncidentConfig(
        on=tuple(holder.text(str(number), "|".join(INCIDENT_CAUSES)) for number in range(len(causes))),
        before=section.integer("before", 0, 1_000_000, 1_000),
        after=section.integer("after", 0, 1_000_000, 1_000),
    )
    section.done()
    return incidents


def _model(section: strictyaml.Section, base: Path, state_dir: Path) -> ModelConfig:
    model = ModelConfig(
        package=_maybe_path(section, "package", base),
        packages_dir=_maybe_path(section, "packages_dir", base) or state_dir / "packages",
        max_package_mb=section.integer("max_package_mb", 1, 4_096, 64),
        runtime=section.text("runtime", "ai-edge-litert|tflite-runtime") if "runtime" in section else None,
        resolver=section.text("resolver", "auto|builtin|reference", "auto"),
        delegate=_maybe_path(section, "delegate", base),
        threads=section.integer("threads", 1, 64, 1),
        on_tamper=section.text("on_tamper", "stop|continue-flagged|safe-model", "continue-flagged"),
        rehash_s=section.integer("rehash_s", 1, 604_800, 3_600),
        safe_package=_maybe_path(section, "safe_package", base),
    )
    section.done()
    if model.on_tamper == "safe-model" and model.safe_package is None:
        raise FormatError("yaml_missing_key", f"{section.path('on_tamper')} safe-model needs safe_package")
    return model


def _source(section: strictyaml.Section, base: Path) -> SourceConfig:
    kind = section.text("kind", "watch|list|none", "none")
    path = _maybe_path(section, "path", base)
    source = SourceConfig(
        kind=kind,
        path=path,
        done_dir=_maybe_path(section, "done_dir", base) or _beside(path, "done"),
        failed_dir=_maybe_path(section, "failed_dir", base) or _beside(path, "failed"),
        poll_ms=section.integer("poll_ms", 5, 60_000, 100),
        settle_ms=section.integer("settle_ms", 0, 60_000, 200),
        input_mode=section.text("input_mode", "salted|plain", "salted"),
    )
    section.done()
    if kind != "none" and path is None:
        raise FormatError("yaml_missing_key", f"source.path is missing for source.kind {kind}")
    return source


def _uplink(section: strictyaml.Section) -> UplinkConfig:
    uplink = UplinkConfig(
        inflight_segments=section.integer("inflight_segments", 1, 256, 16),
        receipt_timeout_s=section.integer("receipt_timeout_s", 1, 3_600, 30),
        retry_min_s=section.integer("retry_min_s", 1, 3_600, 1),
        retry_max_s=section.integer("retry_max_s", 1, 86_400, 60),
        flush_s=section.integer("flush_s", 0, 3_600, 10),
    )
    section.done()
    return uplink


def _optional(section: strictyaml.Section, key: str) -> strictyaml.Section:
    return section.section(key) if key in section else strictyaml.Section({}, section.path(key))


def _path(section: strictyaml.Section, key: str, base: Path, default: str | None = None) -> Path:
    text = section.text(key, _TEXT) if default is None else section.text(key, _TEXT, default)
    return base / Path(text).expanduser()


def _maybe_path(section: strictyaml.Section, key: str, base: Path) -> Path | None:
    return _path(section, key, base) if key in section else None


def _beside(path: Path | None, name: str) -> Path | None:
    return None if path is None else path.parent / f"{path.name}.{name}"


def _has_secret(section: strictyaml.Section, key: str) -> bool:
    return f"{key}_file" in section or f"{key}_credential" in section


def _secret(section: strictyaml.Section, key: str, base: Path) -> Secret:
    file = _maybe_path(section, f"{key}_file", base)
    name = f"{key}_credential"
    credential = section.text(name, r"[A-Za-z0-9._-]{1,64}") if name in section else None
    if (file is None) == (credential is None):
        raise FormatError("yaml_missing_key", f"give exactly one of {section.path(key)}_file and {section.path(name)}")
    return Secret(file, credential)


def _words(section: strictyaml.Section, key: str) -> list[str]:
    words = section.sequence(key, limits.MAX_GROUPS, [])
    holder = strictyaml.Section({str(number): word for number, word in enumerate(words)}, section.path(key))
    return [holder.text(str(number), _NAME) for number in range(len(words))]
