"""The operator's home: a folder with the console's configuration and its keys.

``edgeseal init`` makes it: one SoftHSM store for the tenant root key (to be kept offline), one for the operator key, an
EVM account, and ``console.yaml``, which names them. A token or an HSM of another make goes in by editing that file.
"""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from edgeseal import limits, strictyaml
from edgeseal.adapters.pkcs11 import Pkcs11Signer, TokenKey, provision_softhsm
from edgeseal.errors import FormatError, UsageError
from edgeseal.network import NetworkProfile

if TYPE_CHECKING:
    from edgeseal.adapters.evm import Account  # web3 takes a second to load: most commands never touch the chain

SCHEMA: Final = "edgeseal-console/1"
CONFIG_NAME: Final = "console.yaml"
SOFTHSM_MODULE: Final = "/usr/lib/softhsm/libsofthsm2.so"
_TEXT: Final = r"[^\x00-\x1f]{1,512}"
_KEY_NAME: Final = re.compile(r"[a-z][a-z0-9-]{0,31}")
MAX_KEYS: Final = 32
"""The most keys one ``console.yaml`` may name."""
_ENVIRONMENT: Final = ("SOFTHSM2_CONF", "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI")


@dataclass(frozen=True, slots=True)
class Home:
    """An operator's home, read from its ``console.yaml``. Opening keys is left to the methods."""

    folder: Path
    gateway_url: str
    token_file: Path | None
    ca_file: Path | None
    network_file: Path
    account_file: Path
    root_key: TokenKey
    operator_key: TokenKey
    further_keys: tuple[tuple[str, TokenKey], ...] = ()

    def root(self) -> Pkcs11Signer:
        """Open the tenant root key. Raises UsageError or Unavailable (:class:`Pkcs11Signer`)."""
        return Pkcs11Signer(self.root_key)

    def operator(self) -> Pkcs11Signer:
        """Open the operator key. Raises UsageError or Unavailable (:class:`Pkcs11Signer`)."""
        return Pkcs11Signer(self.operator_key)

    def signer(self, name: str) -> Pkcs11Signer:
        """Open the key that ``console.yaml`` calls ``name``: ``root``, ``operator``, or one of the further ones.

        Raises UsageError ``key_unknown``, and as :class:`Pkcs11Signer`.
        """
        named = {"root": self.root_key, "operator": self.operator_key, **dict(self.further_keys)}
        if name not in named:
            raise UsageError(
                "key_unknown", f"console.yaml names no key {name!r:.60}", f"it names: {', '.join(sorted(named))}"
            )
        return Pkcs11Signer(named[name])

    def account(self) -> Account:
        """Return the EVM account that pays. Raises UsageError ``account_key``."""
        from edgeseal.adapters.evm import Account

        return Account.from_file(self.account_file)

    def network(self) -> NetworkProfile:
        """Return the network profile. Raises UsageError ``no_network`` before ``edgeseal chain deploy``."""
        try:
            data = self.network_file.read_bytes()
        except FileNotFoundError:
            raise UsageError(
                "no_network", f"there is no network profile {self.network_file}", "run: edgeseal chain deploy"
            ) from None
        return NetworkProfile.decode(data)


def create(folder: Path, *, module: str, gateway_url: str, account_key: Path | None) -> Home:
    """Make an operator's home in an empty or new ``folder`` and return it.

    Durable in this order: tokens, account, then ``console.yaml``; a folder without that file is an unfinished one,
    and a second try refuses it, so that no key is made twice behind one name.

    Raises:
        UsageError: ``home_exists``, and what :func:`provision_softhsm` raises.
    """
    if folder.exists() and any(folder.iterdir()):
        raise UsageError("home_exists", f"{folder} is not empty", "choose a new folder, or remove an unfinished one")
    from edgeseal.adapters.evm import Account

    if account_key is not None:
        Account.from_file(account_key)  # a file that is no key is refused before any key is made
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    for name, token in (("root", "tenant-root"), ("operator", "operator")):
        pins = (secrets.token_hex(8), secrets.token_hex(8))
        provision_softhsm(folder / name, module, token, name, pins)
    account = folder / "account.key"
    text = secrets.token_hex(32) if account_key is None else account_key.read_text("ascii").strip()
    account.touch(0o600)
    account.write_text(text + "\n", "ascii")
    Account.from_file(account)
    lines = [f"schema: {SCHEMA}", f"gateway: {{url: {gateway_url}}}", "network_profile: network.yaml"]
    lines += ["account_key_file: account.key", "keys:"]
    for name, token in (("root", "tenant-root"), ("operator", "operator")):
        lines += _key_lines(name, token, module)
    (folder / CONFIG_NAME).write_text("\n".join(lines) + "\n")
    return load(folder)


def add_key(folder: Path, name: str, module: str) -> Home:
    """Make a further key in a SoftHSM token of its own, name it in ``console.yaml``, and return the home.

    The token is durable before the configuration names it; a second try after a stop in between refuses its folder.

    Raises:
        UsageError: ``key_exists``, ``key_name``, and what :func:`provision_softhsm` raises.
    """
    home = load(folder)
    if _KEY_NAME.fullmatch(name) is None:
        raise UsageError("key_name", f"{name!r:.60} is no name of a key", "a-z, 0-9 and -, at most 32")
    if name in ("root", "operator", *dict(home.further_keys)) or (folder / name).exists():
        raise UsageError("key_exists", f"there is a key, or a folder, {name} already", "choose another name")
    provision_softhsm(folder / name, module, name, name, (secrets.token_hex(8), secrets.token_hex(8)))
    path = folder / CONFIG_NAME
    draft = path.with_name(f".{CONFIG_NAME}.new")
    text = path.read_text("utf-8")
    if not text.rstrip().rpartition("\n")[2].startswith("    "):
        raise UsageError(
            "config_invalid", f"{path} does not end in its keys section", "its token is made: name the key there"
        )
    draft.write_text(text.rstrip() + "\n" + "\n".join(_key_lines(name, name, module)) + "\n", "utf-8")
    _read(folder.resolve(), draft.read_bytes())
    draft.replace(path)
    # Durable: token and configuration. Nothing is left to do.
    return load(folder)


def _key_lines(name: str, token: str, module: str) -> list[str]:
    return [
        f"  {name}:",
        f"    module: {module}",
        f"    token: {token}",
        f"    label: {name}",
        f"    pin_file: {name}/{token}.pin",
        f"    environment: {{SOFTHSM2_CONF: {name}/softhsm2.conf}}",
    ]


def load(folder: Path) -> Home:
    """Return the home in ``folder``.

    Raises:
        UsageError: ``no_home``, or ``config_invalid`` naming the key that is wrong, unknown or missing.
    """
    path = folder / CONFIG_NAME
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UsageError(
            "no_home", f"cannot read {path}: {error.strerror}", f"make one with: edgeseal init --home {folder}"
        ) from error
    try:
        return _read(folder.resolve(), data)
    except FormatError as error:
        raise UsageError("config_invalid", f"{path}: {error.message}", "see docs/operating.md for every key") from error


def _read(folder: Path, data: bytes) -> Home:
    top = strictyaml.Section(strictyaml.load(data, limits.MAX_YAML))
    top.text("schema", SCHEMA)
    gateway, keys = top.section("gateway"), top.section("keys")
    root, operator = _key(keys.section("root"), folder), _key(keys.section("operator"), folder)
    home = Home(
        folder,
        gateway.text("url", r"https?://[^\s]{1,200}").rstrip("/"),
        _optional(gateway, "token_file", folder),
        _optional(gateway, "ca_file", folder),
        folder / top.text("network_profile", _TEXT),
        folder / top.text("account_key_file", _TEXT),
        root,
        operator,
        _further(keys, folder),
    )
    for section in (top, gateway, keys):
        section.done()
    return home


def _further(keys: strictyaml.Section, folder: Path) -> tuple[tuple[str, TokenKey], ...]:
    names = keys.left()
    if len(names) > MAX_KEYS or not all(_KEY_NAME.fullmatch(name) for name in names):
        raise FormatError("yaml_range", f"keys: at most {MAX_KEYS} names of a-z, 0-9 and -")
    return tuple((name, _key(keys.section(name), folder)) for name in names)


def _optional(section: strictyaml.Section, key: str, folder: Path) -> Path | None:
    return folder / section.text(key, _TEXT) if key in section else None


def _key(section: strictyaml.Section, folder: Path) -> TokenKey:
    environment: list[tuple[str, str]] = []
    if "environment" in section:
        variables = section.section("environment")
        for name in _ENVIRONMENT:
            if name in variables:
                value = variables.text(name, _TEXT)
                environment.append((name, value if name == "TPM2_PKCS11_TCTI" else str(folder / value)))
        variables.done()
    key = TokenKey(
        section.text("module", _TEXT),
        section.text("token", _TEXT),
        section.text("label", _TEXT),
        folder / section.text("pin_file", _TEXT),
        tuple(environment),
    )
    section.done()
    return key
