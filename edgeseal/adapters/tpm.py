"""How near a TPM 2.0 is to its dictionary-attack lock-out: one command to the chip, without TPM software.

Every wrong PIN, and every power cut after a login, counts one try; at the limit the TPM refuses everybody, the right
PIN included. The command is TPM2_GetCapability of the properties TPM_PT_PERMANENT to TPM_PT_LOCKOUT_RECOVERY (TPM 2.0
Library, part 3 section 30.2 and part 2 section 6.13); it needs no authorisation and changes nothing.
"""

from __future__ import annotations

import os
import select
import socket
import struct
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import Unavailable, UsageError

TIMEOUT_S: Final = 10.0
MAX_RESPONSE: Final = 4_096
"""Bytes of the largest response a TPM gives."""

_PERMANENT, _COUNTER, _MAX_TRIES, _INTERVAL, _RECOVERY = 0x200, 0x20E, 0x20F, 0x210, 0x211
_NO_SESSIONS, _GET_CAPABILITY, _TPM_PROPERTIES = 0x8001, 0x17A, 6
_HEADER: Final = struct.Struct(">HII")
_COMMAND: Final = _HEADER.pack(_NO_SESSIONS, 22, _GET_CAPABILITY) + struct.pack(
    ">III", _TPM_PROPERTIES, _PERMANENT, _RECOVERY - _PERMANENT + 1
)
_LOCKOUT_AUTH_SET, _IN_LOCKOUT = 1 << 2, 1 << 9


@dataclass(frozen=True, slots=True)
class Lockout:
    """The lock-out's state: tries counted, the limit, seconds after which one is forgiven (0: never by time) and after
    which a wrong lock-out authorisation may be tried again, and whether it is locked and has an authorisation.
    """

    counter: int
    max_tries: int
    interval_s: int
    recovery_s: int
    locked: bool
    has_authorisation: bool


def lockout(tcti: str) -> Lockout:
    """Return the lock-out state of the TPM that ``tcti`` names, as ``TPM2_PKCS11_TCTI`` does.

    ``device:/dev/tpmrm0`` or ``swtpm:host=HOST,port=PORT``. May block for ``TIMEOUT_S``. The answer is unauthenticated:
    good for an alarm, no evidence. Raises UsageError ``tpm_tcti`` for any other form, Unavailable ``tpm_failed`` when
    there is no TPM, or no sense in what it says.
    """
    kind, _, rest = tcti.partition(":")
    try:
        if kind == "device":
            response = _ask_device(rest or "/dev/tpmrm0")
        elif kind == "swtpm":
            response = _ask_simulator(rest)
        else:
            raise UsageError("tpm_tcti", f"{tcti} is neither device: nor swtpm:", "name the TPM in TPM2_PKCS11_TCTI")
        return _parse(response)
    except (OSError, ValueError, struct.error) as error:
        raise Unavailable(
            "tpm_failed", f"{tcti}: {error}", "is it there, and is this user in the group tss?"
        ) from error


def _ask_device(path: str) -> bytes:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        os.write(descriptor, _COMMAND)
        if not select.select([descriptor], [], [], TIMEOUT_S)[0]:
            raise TimeoutError(f"no answer within {TIMEOUT_S:.0f} s")
        return os.read(descriptor, MAX_RESPONSE)
    finally:
        os.close(descriptor)


def _ask_simulator(rest: str) -> bytes:
    words = dict(word.partition("=")[::2] for word in rest.split(",") if word)
    address = words.get("host", "127.0.0.1"), int(words.get("port", "2321"))
    with socket.create_connection(address, TIMEOUT_S) as channel:
        channel.sendall(_COMMAND)
        response = _receive(channel, _HEADER.size)
        size = _HEADER.unpack(response)[1]
        if not _HEADER.size <= size <= MAX_RESPONSE:
            raise ValueError(f"a response of {size} bytes")
        return response + _receive(channel, size - _HEADER.size)


def _receive(channel: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = channel.recv(size - len(data))
        if not part:
            raise ConnectionError("the connection was closed in the middle of a response")
        data += part
    return data


def _parse(response: bytes) -> Lockout:
    """Read TPMS_CAPABILITY_DATA of tagged properties. Raises ValueError or struct.error."""
    _, size, code = _HEADER.unpack_from(response)
    if code or size != len(response):
        raise ValueError(f"response code {code:#x}, {len(response)} of {size} bytes")
    _, capability, count = struct.unpack_from(">BII", response, _HEADER.size)
    start = _HEADER.size + 9
    if capability != _TPM_PROPERTIES or len(response) != start + 8 * count:
        raise ValueError("the response is no list of properties")
    found = dict(struct.iter_unpack(">II", response[start:]))
    if missing := {_PERMANENT, _COUNTER, _MAX_TRIES, _INTERVAL, _RECOVERY} - found.keys():
        raise ValueError(f"the TPM does not tell properties {sorted(missing)}")
    permanent = found[_PERMANENT]
    return Lockout(
        found[_COUNTER], found[_MAX_TRIES], found[_INTERVAL], found[_RECOVERY],
        bool(permanent & _IN_LOCKOUT), bool(permanent & _LOCKOUT_AUTH_SET),
    )  # fmt: skip
