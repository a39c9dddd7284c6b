"""TLS whose client key is in a TPM, through OpenSSL's provider tpm2-openssl (Debian package of that name).

The provider must not be active in a process that speaks to the TPM through tpm2-tss itself, as the PKCS#11 module does
(tpm2-tools#3470). So each connection has a small process of its own (``edgeseal.adapters.tlspipe``), which alone has
the configuration ``tpm2-openssl.cnf``. docs/adr/0014.
"""

from __future__ import annotations

import base64
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from glob import glob
from pathlib import Path
from typing import IO, Annotated, Final

from cryptography.hazmat import asn1
from cryptography.x509 import ObjectIdentifier

from edgeseal import tpmstruct
from edgeseal.adapters import tlspipe
from edgeseal.errors import FormatError, UsageError

PROVIDERS: Final = ("/usr/lib/*/ossl-modules/tpm2.so", "/usr/lib*/ossl-modules/tpm2.so")
"""Where distributions put the provider."""
MAKE: Final = "firmware-config/provision-tpm.sh --tls makes one"
PROGRAM: Final = Path(tlspipe.__file__)
SETTINGS: Final = PROGRAM.with_name("tpm2-openssl.cnf")
MAX_KEY_FILE: Final = 16_384
"""Bytes of a key file; one for a P-256 key has some 500."""
MAX_WORDS: Final = 500
"""Bytes of what a process says of its end."""
_BEGIN, _END = b"-----BEGIN TSS2 PRIVATE KEY-----", b"-----END TSS2 PRIVATE KEY-----"
_LOADABLE: Final = ObjectIdentifier("2.23.133.10.1.3")
_INSIDE: Final = tpmstruct.FIXED_TPM | tpmstruct.FIXED_PARENT | tpmstruct.SENSITIVE_DATA_ORIGIN | tpmstruct.SIGN


@asn1.sequence
class _KeyFile:
    """TPMKey of the ASN.1 specification for TPM 2.0 key files: a loadable key without policy."""

    kind: ObjectIdentifier
    empty_auth: Annotated[bool | None, asn1.Explicit(0)]
    parent: int
    public: bytes
    private: bytes


@dataclass(frozen=True, slots=True)
class TpmKey:
    """What a TLS client shows of itself: its certificate, and a key file that only the TPM ``tcti`` names can load."""

    ca_file: Path
    cert_file: Path
    key_file: Path
    tcti: str

    def check(self) -> None:
        """Look whether this can work, without asking the TPM.

        Raises UsageError ``tls_provider_missing``; ``mqtt_tls_files`` where the key file cannot be read;
        ``tls_key_not_in_tpm`` where it holds a key of another kind, or one that has been or could be outside the TPM.
        """
        _provider()
        try:
            with self.key_file.open("rb") as file:
                data = file.read(MAX_KEY_FILE + 1)
        except OSError as error:
            raise UsageError("mqtt_tls_files", f"{self.key_file}: {error.strerror}", MAKE) from error
        _check_key(self.key_file, data)

    def load(self) -> str:
        """Have the TPM load the key, beside its certificate, and return the version of OpenSSL that did it.

        May block for ``tlspipe.HANDSHAKE_ALARM_S``. Raises what ``check`` raises, and UsageError ``tls_key_failed``.
        """
        self.check()
        done = subprocess.run(  # ends by itself: its own alarm bounds it
            self._command(), env=self._environment("ERROR"), stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
        if done.returncode:
            said = _said(done.stderr) or f"the process ended with {done.returncode}"
            raise UsageError(
                "tls_key_failed", f"OpenSSL cannot use {self.key_file} with {self.cert_file}: {said}",
                "is the TPM there, is this user in the group tss, was this key made in this TPM, and is the "
                "certificate of this very key?",
            )  # fmt: skip
        return _said(done.stdout)

    def dialer(self, host: str, port: int) -> TpmDialer:
        """Return who connects to a broker with this key. Starts nothing. Raises what ``check`` raises."""
        return TpmDialer(host, port, self)

    def start(self, host: str, port: int, clear: socket.socket, errors: IO[bytes]) -> subprocess.Popen[bytes]:
        """Start a process that connects to a broker and speaks for ``clear``. Raises OSError."""
        return subprocess.Popen(
            [*self._command(), host, str(port)], env=self._environment("NONE"), stdin=clear.fileno(),
            stdout=subprocess.DEVNULL, stderr=errors,
        )  # fmt: skip

    def _command(self) -> list[str]:
        return [sys.executable, "-I", "-S", str(PROGRAM), str(self.ca_file), str(self.cert_file), str(self.key_file)]

    def _environment(self, tss_log: str) -> dict[str, str]:
        """Return all that the process is told: nothing of ours, so that nothing of ours can talk it into anything."""
        return {
            "OPENSSL_CONF": str(SETTINGS),
            "OPENSSL_MODULES": str(_provider().parent),
            "TPM2OPENSSL_TCTI": self.tcti,
            "TSS2_LOG": f"all+{tss_log}",
            "LC_ALL": "C",
        }


class TpmDialer:
    """Connects to one broker, each time through a process of its own; an earlier one is ended first.

    For one thread at a time.
    """

    def __init__(self, host: str, port: int, key: TpmKey) -> None:
        """Start nothing. Raises what ``TpmKey.check`` raises."""
        key.check()
        self._host, self._port, self._key = host, port, key
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] = os.fdopen(os.memfd_create("why"), "w+b")  # in memory: a full disk is no reason
        self._why = ""

    def dial(self) -> socket.socket:
        """Return a connection whose other end speaks TLS with the broker. Raises OSError.

        It returns before the broker has answered; where that fails the connection is closed, and ``why`` says why.
        """
        self._end(0)
        self._errors.seek(0)
        self._errors.truncate()
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                self._process = self._key.start(self._host, self._port, theirs, self._errors)
            except (OSError, UsageError) as error:
                ours.close()
                raise ConnectionError(str(error)) from error
        return ours

    def why(self) -> str:
        """Return what the last process said of its end, in words for people; empty where it said nothing."""
        if not self._errors.closed:
            self._why = _said(os.pread(self._errors.fileno(), MAX_WORDS, 0))
        return self._why

    def close(self, timeout_s: float) -> None:
        """Let the last process send what it has, for at most so long, then end it. Idempotent; raises nothing."""
        self._end(timeout_s)
        self.why()
        self._errors.close()

    def _end(self, timeout_s: float) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _provider() -> Path:
    for pattern in PROVIDERS:
        for found in sorted(glob(pattern)):
            return Path(found)
    raise UsageError(
        "tls_provider_missing", f"OpenSSL has no provider for keys in a TPM: there is no {PROVIDERS[0]}",
        "apt-get install --no-install-recommends tpm2-openssl, or mqtt.tls_key: file with a key of its own",
    )  # fmt: skip


def _check_key(path: Path, data: bytes) -> None:
    """See that a key file is what OpenSSL's provider gives to the TPM, and that the key cannot leave it."""
    lines = data.strip().splitlines()
    if len(data) > MAX_KEY_FILE or len(lines) < 3 or (lines[0], lines[-1]) != (_BEGIN, _END):
        raise _not_in_tpm(path, "it does not hold one TSS2 PRIVATE KEY")
    try:
        held = asn1.decode_der(_KeyFile, base64.b64decode(b"".join(lines[1:-1]), validate=True))
        public = tpmstruct.public(held.public[2:])  # without its length, which the TPM reads
    except (ValueError, FormatError) as error:
        raise _not_in_tpm(path, str(error)) from error
    if held.kind != _LOADABLE:
        raise _not_in_tpm(path, "it is no loadable key")
    if not public.has(_INSIDE, tpmstruct.RESTRICTED | tpmstruct.DECRYPT) or public.point is None:
        raise _not_in_tpm(path, "its key is no P-256 signing key that was made in a TPM and stays there")


def _not_in_tpm(path: Path, why: str) -> UsageError:
    return UsageError("tls_key_not_in_tpm", f"{path}: {why}", f"{MAKE}; or say what it is: mqtt.tls_key: file")


def _said(data: bytes) -> str:
    """Return what a process of ours printed, as one line."""
    return " ".join(data[:MAX_WORDS].decode("utf-8", "replace").split())
