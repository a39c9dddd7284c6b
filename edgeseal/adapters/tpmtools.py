"""A TPM 2.0 through ``tpm2-tools`` (Debian package): enrolment's answer, quotes, the NV counter.

Only objects without authorisation are used, so no secret stands on a command line. The signing itself is PKCS#11's
(``edgeseal.adapters.pkcs11``). Each method runs a few short programs and may block for ``TIMEOUT_S`` each.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

from edgeseal import cose, tpmstruct
from edgeseal.errors import EvidenceError, Unavailable

TIMEOUT_S: Final = 60.0
EK_RSA, EK_ECC, AK, SRK = "0x81010001", "0x81010002", "0x81010003", "0x81000001"
"""Where ``provision-tpm.sh`` keeps endorsement key, attestation key and storage parent."""
PCRS: Final = "sha256:0,1,2,3,4,5,6,7"
_CREDENTIAL_MAGIC: Final = bytes.fromhex("badcc0de00000001")


@dataclass(frozen=True, slots=True)
class TpmTools:
    """The TPM that ``tcti`` names, as in ``TPM2TOOLS_TCTI``."""

    tcti: str

    @property
    def shared(self) -> bool:
        """Whether a resource manager keeps programs' objects apart; without one nobody else may use the TPM now."""
        return self.tcti.startswith("device:")

    def certify_creation(self, folder: Path, qualifier: bytes) -> tuple[bytes, bytes]:
        """Return (TPMS_ATTEST, signature): the attestation key says that this TPM made the key in ``folder``.

        ``folder`` holds ``key.pub key.priv creation.hash creation.ticket``, as provisioning left them. The signature is
        r ‖ s in its low-S form. Raises Unavailable ``tpm_failed``.
        """
        with _scratch() as work:
            self._run("tpm2_load", "-C", SRK, "-u", folder / "key.pub", "-r", folder / "key.priv", "-c", work / "key")
            self._run(
                "tpm2_certifycreation", "-C", AK, "-c", work / "key", "-d", folder / "creation.hash",
                "-t", folder / "creation.ticket", "-g", "sha256", "-q", qualifier.hex(), "-f", "plain",
                "-o", work / "sig", "--attestation", work / "attest",
            )  # fmt: skip
            return (work / "attest").read_bytes(), _signature(work / "sig")

    def activate(self, ek: tpmstruct.Public, blob: bytes, seed: bytes) -> bytes:
        """Return the secret of a credential made for ``ek`` and the attestation key.

        Raises Unavailable ``tpm_failed``, also where the credential is for another TPM or key: the TPM does not say.
        """
        sized = (len(part).to_bytes(2, "big") + part for part in (blob, seed))
        handle = EK_RSA if ek.point is None else EK_ECC
        with _scratch() as work:
            (work / "credential").write_bytes(_CREDENTIAL_MAGIC + b"".join(sized))
            try:
                self._run("tpm2_startauthsession", "--policy-session", "-S", work / "session", keep=True)
                self._run("tpm2_policysecret", "-S", work / "session", "-c", "e", keep=True)
                self._run(
                    "tpm2_activatecredential", "-c", AK, "-C", handle, "-i", work / "credential",
                    "-o", work / "secret", "-P", f"session:{work / 'session'}", keep=True,
                )  # fmt: skip
            finally:
                if (work / "session").exists():
                    self._run("tpm2_flushcontext", work / "session")
            return (work / "secret").read_bytes()

    def quote(self, qualifier: bytes) -> tuple[bytes, bytes]:
        """Return (TPMS_ATTEST, signature) of a quote over the boot PCRs. Raises Unavailable ``tpm_failed``."""
        with _scratch() as work:
            self._run(
                "tpm2_quote", "-c", AK, "-l", PCRS, "-g", "sha256", "-q", qualifier.hex(), "-f", "plain",
                "-m", work / "attest", "-s", work / "sig", keep=True,
            )  # fmt: skip
            return (work / "attest").read_bytes(), _signature(work / "sig")

    def certify_counter(self, index: str, qualifier: bytes) -> tuple[bytes, bytes, bytes]:
        """Return (TPMS_NV_PUBLIC, TPMS_ATTEST, signature) of the NV counter ``index``. Raises Unavailable."""
        with _scratch() as work:
            public = _nv_public(index, self._run("tpm2_nvreadpublic", index, keep=True))
            self._run(
                "tpm2_nvcertify", "-C", AK, "-c", "o", "-g", "sha256", "-q", qualifier.hex(), "-f", "plain",
                "--size", "8", "-o", work / "sig", "--attestation", work / "attest", index, keep=True,
            )  # fmt: skip
            return public, (work / "attest").read_bytes(), _signature(work / "sig")

    def increment(self, index: str) -> None:
        """Let the NV counter rise by one. Raises Unavailable ``tpm_failed``: then it may have risen or not."""
        self._run("tpm2_nvincrement", "-C", "o", index, keep=True)

    def _run(self, *words: str | Path, keep: bool = False) -> str:
        """Run a tool; without a resource manager its objects are flushed after it, unless it leaves none (``keep``)."""
        environment = {**os.environ, "TPM2TOOLS_TCTI": self.tcti, "TSS2_LOG": "all+ERROR", "LC_ALL": "C"}
        line = [str(word) for word in words]
        try:
            done = subprocess.run(
                line, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=TIMEOUT_S,
                check=False,
            )  # fmt: skip
        except FileNotFoundError:
            raise Unavailable(
                "tpm_tools_missing", f"there is no {line[0]}", "apt-get install --no-install-recommends tpm2-tools"
            ) from None
        except subprocess.TimeoutExpired:
            raise Unavailable("tpm_failed", f"{line[0]} gave no answer within {TIMEOUT_S:.0f} s") from None
        if not keep and not self.shared:
            subprocess.run(["tpm2_flushcontext", "-t"], env=environment, capture_output=True, check=False)
        if done.returncode:
            said = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
            raise Unavailable("tpm_failed", f"{line[0]}: {said[0]:.300}", "is the TPM there, and provisioned?")
        return done.stdout


def _scratch() -> _Scratch:
    return _Scratch(prefix="edgeseal-tpm-")


class _Scratch(tempfile.TemporaryDirectory[str]):
    def __enter__(self) -> Path:  # type: ignore[override]
        return Path(super().__enter__())


def _signature(path: Path) -> bytes:
    r, s = decode_dss_signature(path.read_bytes())
    return cose.low_s(r.to_bytes(32, "big") + s.to_bytes(32, "big"))


def _nv_public(index: str, printed: str) -> bytes:
    """Return TPMS_NV_PUBLIC from what tpm2_nvreadpublic prints, once its name is the one printed.

    Raises Unavailable ``tpm_failed``.
    """
    found: dict[str, str] = {}
    for line in printed.splitlines():
        key, _, value = line.strip().partition(":")
        found.setdefault(key if key != "value" else f"value{len(found)}", value.strip())
    try:
        values = [int(value, 16) for key, value in found.items() if key.startswith("value")]
        policy = bytes.fromhex(found.get("authorization policy", ""))
        attributes = next(value for value in values if value != tpmstruct.SHA256)
        public = (
            int(index, 16).to_bytes(4, "big") + tpmstruct.SHA256.to_bytes(2, "big") + attributes.to_bytes(4, "big")
            + len(policy).to_bytes(2, "big") + policy + int(found["size"]).to_bytes(2, "big")
        )  # fmt: skip
        if tpmstruct.nv_index(public).name.hex() != found["name"]:
            raise ValueError("another name than printed")
    except (KeyError, ValueError, StopIteration, EvidenceError) as error:
        raise Unavailable("tpm_failed", f"NV index {index}: {error!r}", "provision-tpm.sh makes the counter") from None
    return public
