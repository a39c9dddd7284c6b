"""Ethereum keystore files, version 3 (the Web3 Secret Storage Definition): the only importer of eth-keyfile.

A private key under a passphrase. What a file asks for in memory and rounds is bounded before it is done, so that a file
put in the place of the right one can waste no more than a second or two.
"""

from __future__ import annotations

import json
import sys
from typing import Any, Final

from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json

from edgeseal.errors import UsageError

# py_ecc, which eth_keyfile imports, raises Python's recursion limit to 100,000: see adapters/evm.
sys.setrecursionlimit(1_000)

MAX_FILE: Final = 16_384
"""The largest keystore file read, in bytes."""
MAX_MEMORY: Final = 512 << 20
"""The most memory that opening one may take (scrypt: 128 · n · r · p bytes)."""
MAX_ROUNDS: Final = 10_000_000
"""The most rounds of PBKDF2."""
MIN_SCRYPT, MIN_ROUNDS = 1 << 12, 100_000
"""Less work than this protects no passphrase that a person can remember."""
WORK: Final = 1 << 18
"""scrypt's n for new files: 256 MiB and about a second."""
_KEY_BYTES: Final = 32


def encrypt(key: bytes, passphrase: bytes, work: int = WORK) -> bytes:
    """Return the file of a secp256k1 private key (32 bytes) under a passphrase, with a fresh salt.

    ``work`` is scrypt's n, a power of two of at least MIN_SCRYPT; other work makes a file that :func:`decrypt` refuses.
    """
    made = create_keyfile_json(key, passphrase, kdf="scrypt", iterations=work)
    return json.dumps(made, indent=1).encode() + b"\n"


def address(data: bytes) -> bytes | None:
    """Return the 20-byte address that a file names, None where it names none. Nothing vouches for it before
    :func:`decrypt`. Raises UsageError ``keystore_format``.
    """
    named = _fields(data).get("address")
    if named is None:
        return None
    try:
        found = bytes.fromhex(named.removeprefix("0x"))
    except (AttributeError, ValueError) as error:
        raise _format("its address is no hexadecimal text") from error
    if len(found) != 20:
        raise _format("its address has not 20 bytes")
    return found


def decrypt(data: bytes, passphrase: bytes) -> bytes:
    """Return the 32-byte private key in a file.

    Raises:
        UsageError: ``keystore_format``: no version-3 file of the known kinds, or one that asks for more than
            MAX_MEMORY or MAX_ROUNDS, or for less than MIN_SCRYPT or MIN_ROUNDS.
            ``keystore_passphrase``: the passphrase is another one, or the file was changed.
    """
    fields = _fields(data)
    _check_work(fields["crypto"])
    try:
        key = bytes(decode_keyfile_json(fields, passphrase))
    except ValueError as error:
        if "MAC" in str(error):
            raise UsageError(
                "keystore_passphrase", "the passphrase does not open the keystore", "is it the passphrase of this file?"
            ) from error
        raise _format("it does not decode") from error
    except (KeyError, TypeError, AttributeError, AssertionError) as error:
        raise _format("it does not decode") from error
    if len(key) != _KEY_BYTES:
        raise _format(f"it holds {len(key)} bytes, a key has {_KEY_BYTES}")
    return key


def _fields(data: bytes) -> dict[str, Any]:
    if len(data) > MAX_FILE:
        raise _format(f"more than {MAX_FILE} bytes")
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _format("it is no JSON") from error
    if type(found) is not dict or found.get("version") != 3:
        raise _format("it is no keystore of version 3")
    found = {str(key).lower(): value for key, value in found.items()}
    if type(found.get("crypto")) is not dict:
        raise _format("it holds no encrypted key")
    return found


def _check_work(crypto: dict[str, Any]) -> None:
    parameters = crypto.get("kdfparams")
    if type(parameters) is not dict or parameters.get("dklen") != _KEY_BYTES:
        raise _format("its key derivation is not described")
    if crypto.get("kdf") == "scrypt":
        n, r, p = (_positive(parameters.get(name)) for name in "nrp")
        if 128 * n * r * p > MAX_MEMORY:
            raise _format(f"its scrypt asks for more than {MAX_MEMORY >> 20} MiB")
        if n < MIN_SCRYPT or n & (n - 1):
            raise _format(f"its scrypt does less work than n = {MIN_SCRYPT}, or n is no power of two")
    elif crypto.get("kdf") == "pbkdf2" and parameters.get("prf") == "hmac-sha256":
        rounds = parameters.get("c")
        if type(rounds) is not int or not MIN_ROUNDS <= rounds <= MAX_ROUNDS:
            raise _format(f"its PBKDF2 does not do {MIN_ROUNDS} to {MAX_ROUNDS} rounds")
    else:
        raise _format("its key derivation is neither scrypt nor PBKDF2 with HMAC-SHA-256")


def _positive(value: Any) -> int:
    """Return a number of the file, one far above every bound in the place of what is none."""
    return value if type(value) is int and value > 0 else 1 << 64


def _format(what: str) -> UsageError:
    return UsageError("keystore_format", f"the keystore: {what}", "edgeseal-gateway account new writes a good one")
