"""The agent's configuration: one strict YAML file into frozen dataclasses. Reading it builds nothing and has no side
effect.

Unknown keys are errors, every number carries its unit in its name, and a secret is a path or the name of a systemd
credential, never a value. Relative paths are relative to the configuration file.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from edgeseal import limits, strictyaml
from edgeseal.adapters.namedfile import read_named
from edgeseal.errors import FormatError, UsageError
from edgeseal_agent import configfields as fields
from edgeseal_agent.configkey import KeyConfig, TpmConfig, read_key, read_tpm
from edgeseal_agent.configlink import MqttConfig, UplinkConfig, read_mqtt, read_uplink
from edgeseal_agent.configlog import IncidentConfig, SealConfig, StorageConfig, read_incidents, read_seal, read_storage
from edgeseal_agent.configmodel import ModelConfig, SourceConfig, read_model, read_source

SCHEMA: Final = "edgeseal-agent/1"


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
    incidents: IncidentConfig
    tpm: TpmConfig | None = None


def load(path: Path) -> Config:
    """Return the configuration in ``path``.

    Raises:
        UsageError: ``config_unreadable`` when there is no such file, ``config_invalid`` with the dotted name of the key
            that is wrong, unknown or missing.
    """
    data = read_named(path, limits.MAX_YAML, "config_unreadable", "give --config the agent's YAML file")
    try:
        return _config(data, path.resolve().parent)
    except FormatError as error:
        raise UsageError(
            "config_invalid", f"{path}: {error.message}", "see agent/README.md for every key and its default"
        ) from error


def _config(data: bytes, base: Path) -> Config:
    top = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
    top.text("schema", SCHEMA)
    state_dir = fields.path(top, "state_dir", base)
    config = Config(
        name=top.text("name", fields.NAME),
        epoch=top.integer("epoch", 1, 2**32, 1),
        groups=tuple(fields.words(top, "groups")),
        state_dir=state_dir,
        provisioning=fields.path(top, "provisioning", base),
        clock=top.text("clock", "auto|none|rtc|ntp|ptp|gnss", "auto"),
        key=read_key(top.section("key"), base, state_dir),
        mqtt=read_mqtt(top.section("mqtt"), base) if "mqtt" in top else None,
        seal=read_seal(fields.optional(top, "seal")),
        storage=read_storage(fields.optional(top, "storage")),
        model=read_model(fields.optional(top, "model"), base, state_dir),
        source=read_source(fields.optional(top, "source"), base),
        uplink=read_uplink(fields.optional(top, "uplink")),
        digest=sha256(data).digest(),
        incidents=read_incidents(fields.optional(top, "incidents")),
        tpm=read_tpm(top.section("tpm"), base) if "tpm" in top else None,
    )
    top.done()
    return config
