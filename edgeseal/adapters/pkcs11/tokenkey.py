"""Where a key is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edgeseal.errors import UsageError


@dataclass(frozen=True)
class TokenKey:
    """Where a key is: nothing is opened by making one.

    ``environment`` is set before the module is loaded: ``SOFTHSM2_CONF`` for SoftHSM, ``TPM2_PKCS11_STORE`` and
    ``TPM2_PKCS11_TCTI`` for a TPM. The PIN is the first line of ``pin_file``.
    """

    module: str
    token_label: str
    key_label: str
    pin_file: Path
    environment: tuple[tuple[str, str], ...] = ()

    def read_pin(self) -> str:
        """Return the PIN. Raises UsageError ``token_pin_file`` when the file is missing, unreadable or empty."""
        try:
            lines = self.pin_file.read_text().splitlines()
        except (OSError, UnicodeError) as error:
            raise UsageError("token_pin_file", f"cannot read the PIN file {self.pin_file}: {error}") from error
        if not lines or not lines[0]:
            raise UsageError("token_pin_file", f"the PIN file {self.pin_file} is empty")
        return lines[0]
