"""The sections ``key`` and ``tpm``: where the device key is, and the chip that holds it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgeseal import strictyaml
from edgeseal_agent import configfields as fields

_TOKEN_ENVIRONMENT: Final = ("SOFTHSM2_CONF", "TPM2_PKCS11_STORE", "TPM2_PKCS11_TCTI", "TSS2_LOG")


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
    pin: fields.Secret
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


def read_key(section: strictyaml.Section, base: Path, state_dir: Path) -> KeyConfig:
    """Read the section ``key``. Raises FormatError."""
    module = fields.path(section, "module", base, "/usr/lib/softhsm/libsofthsm2.so")
    token, label = section.text("token", r"[A-Za-z0-9._-]{1,32}"), section.text("label", r"[A-Za-z0-9._-]{1,64}")
    create = section.boolean("create", False)
    store_dir = fields.maybe_path(section, "store_dir", base) or state_dir / "token"
    if create:
        pin = fields.Secret(store_dir / f"{token}.pin", None)
        environment = {"SOFTHSM2_CONF": str(store_dir / "softhsm2.conf")}
    else:
        pin = fields.secret(section, "pin", base)
        variables = fields.optional(section, "environment")
        environment = {name: variables.text(name, fields.TEXT) for name in _TOKEN_ENVIRONMENT if name in variables}
        variables.done()
    section.done()
    return KeyConfig(module, token, label, create, store_dir, pin, tuple(environment.items()))


def read_tpm(section: strictyaml.Section, base: Path) -> TpmConfig:
    """Read the section ``tpm``. Raises FormatError."""
    tpm = TpmConfig(
        evidence_dir=fields.path(section, "evidence_dir", base),
        tcti=section.text("tcti", fields.TEXT, "device:/dev/tpmrm0"),
        attest_s=section.integer("attest_s", 1, 604_800, 3_600),
        counter=section.text("counter", "0x0*1[0-9a-fA-F]{6}") if "counter" in section else None,
    )
    section.done()
    return tpm
