"""What the TPM shows of itself in an enrolment, as ``provision-tpm.sh`` left it on disk (``docs/format.md`` 8.6)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgeseal import tpmstruct
from edgeseal.errors import FormatError, UsageError
from edgeseal_agent.configkey import TpmConfig


def shown(config: TpmConfig) -> dict[str, Any]:
    """Return the TPM part of an offer, from the files of ``provision-tpm.sh``.

    Raises UsageError ``tpm_evidence``: a file is missing or not what it should be.
    """
    folder = config.evidence_dir
    try:
        keys = {name: (folder / f"{name}.pub").read_bytes() for name in ("ek", "ak", "key")}
        certificate = folder / "ek.crt"
        chain = [certificate.read_bytes()] if certificate.exists() else []
        ek, ak, key = (tpmstruct.unwrapped(data) for data in keys.values())
    except (OSError, FormatError) as error:
        raise UsageError(
            "tpm_evidence", f"{folder}: {error}", "provision-tpm.sh --owner USER makes it, for the agent's user"
        ) from error
    return {"ek": ek, "chain": chain + _issuers(folder), "ak": ak, "pub": key}


def _issuers(folder: Path) -> list[bytes]:
    """Return the issuers' certificates that somebody has put beside the TPM's own, in DER."""
    return [path.read_bytes() for path in sorted(folder.glob("ek-issuer*.crt"))]
