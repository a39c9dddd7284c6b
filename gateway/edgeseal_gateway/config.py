"""The gateway's configuration: one strict YAML file into frozen values (``gateway/API.md``).

Reading builds no live object: no token is opened, no address resolved. Secrets are paths, read where they are used.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeseal import limits
from edgeseal.adapters.mqtt import Endpoint
from edgeseal.adapters.namedfile import read_named
from edgeseal.adapters.pkcs11 import TokenKey
from edgeseal.errors import EdgesealError, FormatError, UsageError
from edgeseal.network import NetworkProfile
from edgeseal.strictyaml import Section, load
from edgeseal_gateway.enforcement import ALWAYS, AUTO, NEVER, Policy

SCHEMA: Final = "edgeseal-gateway/1"
_TEXT, _PATH = r"[^\x00-\x1f\x7f]{1,200}", r"[^\x00-\x1f\x7f]{1,1000}"
_CREDENTIAL: Final = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_SOFTHSM_CONF: Final = "SOFTHSM2_CONF"
ETHER_GWEI: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Tls:
    """Certificate files in PEM. For the broker: CA, and certificate and key only where it asks for them."""

    ca_file: Path | None
    cert_file: Path | None
    key_file: Path | None


@dataclass(frozen=True, slots=True)
class KeyConfig:
    """Where the gateway's signing key is. ``softhsm_dir``: a SoftHSM store of our own, which ``key`` may create."""

    token_key: TokenKey
    softhsm_dir: Path | None


@dataclass(frozen=True, slots=True)
class MqttConfig:
    """The broker. ``password_file`` holds the password in its first line."""

    host: str
    port: int
    client_id: str
    tls: Tls | None
    username: str | None
    password_file: Path | None

    def endpoint(self) -> Endpoint:
        """Return the broker as the MQTT adapter takes it; reads the password. Raises UsageError ``password_file``."""
        ca, cert, key = (
            (None, None, None) if self.tls is None else (self.tls.ca_file, self.tls.cert_file, self.tls.key_file)
        )
        password = None if self.password_file is None else _first_line(self.password_file)
        return Endpoint(self.host, self.port, self.client_id, ca, cert, key, self.username, password)


@dataclass(frozen=True, slots=True)
class ChainConfig:
    """How to write to the chain, and from which account.

    Either ``keystore_file`` with one of the two sources of its passphrase, or ``account_key_file``. ``confirmations``:
    blocks until an anchor counts as confirmed, the including one counted. ``spend_*``: the most that is signed away
    within any hour and any 24 hours. ``balance_alarm_days``: with less than so many days' spending left it is said.
    ``stop_wait_secs``: how long a stopping gateway waits for a transaction under way to be mined.
    """

    account_key_file: Path | None
    allow_plain_key: bool
    keystore_file: Path | None
    passphrase_credential: str | None
    passphrase_file: Path | None
    confirmations: int
    poll_ms: int
    max_fee_gwei: int
    spend_per_hour_gwei: int
    spend_per_day_gwei: int
    balance_alarm_days: int
    stop_wait_secs: int


@dataclass(frozen=True, slots=True)
class ApiConfig:
    """Where the HTTP API listens. Without TLS and token only on a loopback address."""

    bind: str
    port: int
    tls: Tls | None
    token_file: Path | None


@dataclass(frozen=True, slots=True)
class Config:
    """Everything ``run`` needs. ``anchor_size`` and ``anchor_secs`` can only be stricter than the keyset's promise."""

    path: Path
    state_dir: Path
    network_profile: Path
    key: KeyConfig
    mqtt: MqttConfig
    chain: ChainConfig
    api: ApiConfig
    head_interval_ms: int
    anchor_size: int | None
    anchor_secs: int | None
    device_quota_bytes: int
    min_free_bytes: int
    enforce: Policy

    @property
    def store(self) -> Path:
        """The store's file."""
        return self.state_dir / "gateway.db"

    @property
    def index(self) -> Path:
        """The file of the index of records, which can be deleted and is built again."""
        return self.state_dir / "index.db"

    @property
    def packages(self) -> Path:
        """The folder of model packages' archives."""
        return self.state_dir / "packages"

    def network(self) -> NetworkProfile:
        """Read the network profile. Raises UsageError ``config_file`` or ``config_invalid``."""
        try:
            return NetworkProfile.decode(_read(self.network_profile))
        except FormatError as error:
            raise _invalid(self.network_profile, error) from error


def read_config(path: Path) -> Config:
    """Return the configuration in the file ``path``; relative paths in it are taken from the file's folder.

    Raises UsageError ``config_file`` (cannot be read) or ``config_invalid`` (with the place and the reason).
    """
    try:
        return _config(path.absolute(), Section(load(_read(path), limits.MAX_YAML)))
    except FormatError as error:
        raise _invalid(path, error) from error


def _read(path: Path) -> bytes:
    return read_named(path, limits.MAX_YAML, "config_file", "check the path and its permissions")


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0]
    except (OSError, UnicodeError) as error:
        raise UsageError("password_file", f"cannot read {path}: {error}") from error


def _invalid(path: Path, error: EdgesealError) -> UsageError:
    return UsageError("config_invalid", f"{path}: {error.message}", "gateway/API.md shows every key")


def _config(path: Path, top: Section) -> Config:
    top.text("schema", SCHEMA)
    folder = path.parent
    anchor = top.section("anchor") if "anchor" in top else Section({})
    config = Config(
        path,
        _path(top, "state_dir", folder),
        _path(top, "network_profile", folder),
        _key(top.section("key"), folder),
        _mqtt(top.section("mqtt"), folder),
        _chain(top.section("chain"), folder),
        _api(top.section("api") if "api" in top else Section({}), folder),
        top.integer("head_interval_ms", 1, 60_000, 500),
        _maybe_int(anchor, "size", 1 << 40),
        _maybe_int(anchor, "secs", 1 << 40),
        top.integer("device_quota_bytes", 1 << 20, 1 << 50, 16 << 30),
        top.integer("min_free_bytes", 0, 1 << 50, 256 << 20),
        _enforce(top.section("enforce") if "enforce" in top else Section({})),
    )
    anchor.done()
    top.done()
    return config


def _enforce(section: Section) -> Policy:
    choices = "|".join((AUTO, ALWAYS, NEVER))
    found = Policy(*(section.text(name, choices, AUTO) for name in ("devices", "operators", "models")))
    section.done()
    return found


def _maybe_int(section: Section, key: str, most: int) -> int | None:
    return section.integer(key, 1, most) if key in section else None


def _path(section: Section, key: str, folder: Path) -> Path:
    return folder / section.text(key, _PATH)


def _maybe_path(section: Section, key: str, folder: Path) -> Path | None:
    return _path(section, key, folder) if key in section else None


def _key(section: Section, folder: Path) -> KeyConfig:
    module, token = section.text("module", _PATH), section.text("token", _TEXT)
    label = section.text("label", _TEXT)
    store = _maybe_path(section, "softhsm_dir", folder)
    environment: dict[str, str] = {}
    if store is not None:
        pin_file = store / f"{token}.pin"
        environment[_SOFTHSM_CONF] = str(store / "softhsm2.conf")
    else:
        pin_file = _path(section, "pin_file", folder)
        if "environment" in section:
            names = section.section("environment")
            for name in (_SOFTHSM_CONF, "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI"):
                if name in names:
                    environment[name] = names.text(name, _PATH)
            names.done()
    section.done()
    return KeyConfig(TokenKey(module, token, label, pin_file, tuple(sorted(environment.items()))), store)


def _tls(section: Section, folder: Path) -> Tls | None:
    if "tls" not in section:
        return None
    files = section.section("tls")
    found = Tls(*(_maybe_path(files, name, folder) for name in ("ca_file", "cert_file", "key_file")))
    files.done()
    if (found.cert_file is None) != (found.key_file is None):
        raise FormatError("yaml_missing_key", f"{section.path('tls')}: cert_file and key_file belong together")
    return found


def _mqtt(section: Section, folder: Path) -> MqttConfig:
    found = MqttConfig(
        section.text("host", _TEXT),
        section.integer("port", 1, 65_535),
        section.text("client_id", r"[A-Za-z0-9._-]{1,64}", "edgeseal-gateway"),
        _tls(section, folder),
        section.text("username", _TEXT) if "username" in section else None,
        _maybe_path(section, "password_file", folder),
    )
    section.done()
    return found


def _chain(section: Section, folder: Path) -> ChainConfig:
    found = ChainConfig(
        _maybe_path(section, "account_key_file", folder),
        section.boolean("allow_plain_key", False),
        _maybe_path(section, "keystore_file", folder),
        section.text("passphrase_credential", _CREDENTIAL) if "passphrase_credential" in section else None,
        _maybe_path(section, "passphrase_file", folder),
        section.integer("confirmations", 1, 10_000, 1),
        section.integer("poll_ms", 10, 600_000, 1_000),
        section.integer("max_fee_gwei", 1, 1_000_000, 500),
        section.integer("spend_per_hour_gwei", 1, 10**15, ETHER_GWEI),
        section.integer("spend_per_day_gwei", 1, 10**15, 5 * ETHER_GWEI),
        section.integer("balance_alarm_days", 0, 3_650, 7),
        section.integer("stop_wait_secs", 0, 600, 15),
    )
    section.done()
    if (found.account_key_file is None) == (found.keystore_file is None):
        raise FormatError(
            "yaml_missing_key", f"{section.path('keystore_file')}: name this or account_key_file, and not both"
        )
    if found.keystore_file is not None and (found.passphrase_credential is None) == (found.passphrase_file is None):
        raise FormatError(
            "yaml_missing_key",
            f"{section.path('passphrase_file')}: a keystore needs this or passphrase_credential, and not both",
        )
    return found


def _api(section: Section, folder: Path) -> ApiConfig:
    found = ApiConfig(
        section.text("bind", r"[0-9a-fA-F.:]{2,45}", "127.0.0.1"),
        section.integer("port", 0, 65_535, 8420),
        _tls(section, folder),
        _maybe_path(section, "token_file", folder),
    )
    section.done()
    try:
        loopback = ipaddress.ip_address(found.bind).is_loopback
    except ValueError:
        raise FormatError("yaml_range", f"{section.path('bind')} is no IP address") from None
    if not loopback and (found.tls is None or found.tls.cert_file is None or found.token_file is None):
        raise FormatError(
            "yaml_range",
            f"{section.path('bind')}: beyond loopback the API needs tls (cert_file, key_file) and token_file",
        )
    return found
