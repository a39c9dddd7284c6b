"""Modules, sessions and keys that are open, and what the errors of modules mean. For the token thread only."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from pkcs11 import Attribute, KeyType, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from edgeseal import cose
from edgeseal.adapters import softhsm
from edgeseal.adapters.pkcs11.tokenkey import TokenKey
from edgeseal.errors import EdgesealError, Unavailable, UsageError

_Result = TypeVar("_Result")
P256 = encode_named_curve_parameters("secp256r1")
_EXPLAINED: dict[type[pkcs11.PKCS11Error], tuple[str, str, str]] = {
    pkcs11.PinIncorrect: (
        "token_pin",
        "the token refused the PIN",
        "check the PIN file; a TPM locks after too many tries",
    ),
    pkcs11.PinInvalid: ("token_pin", "the token refused the PIN", "check the PIN file"),
    pkcs11.PinLenRange: ("token_pin", "the PIN has a length the token refuses", "check the PIN file"),
    pkcs11.PinLocked: ("token_pin_locked", "the token is locked", "clear it: tpm2_dictionarylockout --clear-lockout"),
    pkcs11.UserPinNotInitialized: ("token_pin", "the token has no user PIN", "provision the token"),
    pkcs11.NoSuchToken: ("token_unknown", "there is no token of this label", "check token label, module and store"),
    pkcs11.MultipleTokensReturned: ("token_unknown", "several tokens have this label", "give each token its own label"),
    pkcs11.NoSuchKey: (
        "token_key_unknown",
        "there is no such key in the token",
        "check the key label; provision the key",
    ),
    pkcs11.MultipleObjectsReturned: (
        "token_key_unknown",
        "several keys have this label",
        "give each key its own label",
    ),
}
"""What a retry cannot mend, and must not try: a second wrong PIN brings a TPM nearer to its lock-out."""


@dataclass
class Module:
    """A loaded PKCS#11 module: what is open in it, under which environment."""

    environment: Mapping[str, str]
    signatures: int = 0
    sessions: dict[str, pkcs11.Session] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[Any, cose.PublicKey]] = field(default_factory=dict)


OPEN: dict[str, Module] = {}
"""The modules that are open, by path."""


def use(key: TokenKey) -> Module:
    """Return the key's module, initialised under its environment; every other use of that module is closed."""
    environment = dict(key.environment)
    module = OPEN.get(key.module)
    if module is not None and module.environment == environment:
        return module
    close_all(key.module)
    os.environ.update(environment)
    if softhsm.CONFIG_VARIABLE in environment:
        softhsm.mend(Path(environment[softhsm.CONFIG_VARIABLE]))
    pkcs11.lib(key.module)
    OPEN[key.module] = module = Module(environment)
    return module


def close_all(path: str) -> None:
    """Close the sessions of a module and finalise it. Never raises: what is broken is gone either way."""
    module = OPEN.pop(path, None)
    if module is None:
        return
    module.keys.clear()
    for session in module.sessions.values():
        try:
            session.close()
        except pkcs11.PKCS11Error:
            continue
    module.sessions.clear()
    try:
        pkcs11.lib(path).finalize()
    except pkcs11.PKCS11Error:
        return


def session_of(key: TokenKey) -> pkcs11.Session:
    """Return the logged-in session of the key's token; a process logs in once to a token."""
    module = use(key)
    session = module.sessions.get(key.token_label)
    if session is None:
        token = pkcs11.lib(key.module).get_token(token_label=key.token_label)
        session = module.sessions[key.token_label] = token.open(rw=False, user_pin=key.read_pin())
    return session


def find_key(key: TokenKey) -> tuple[Any, cose.PublicKey]:
    """Return the private key and its public half."""
    session = session_of(key)
    found = OPEN[key.module].keys.get((key.token_label, key.key_label))
    if found is None:
        private = _only(session, ObjectClass.PRIVATE_KEY, key)
        public = _only(session, ObjectClass.PUBLIC_KEY, key)
        found = OPEN[key.module].keys[key.token_label, key.key_label] = private, _public_key(public)
    return found


def _only(session: pkcs11.Session, object_class: ObjectClass, key: TokenKey) -> Any:
    return session.get_key(object_class=object_class, key_type=KeyType.EC, label=key.key_label)


def _public_key(public: Any) -> cose.PublicKey:
    """Return the key of a public key object; modules give its point bare or inside a DER octet string."""
    if public[Attribute.EC_PARAMS] != P256:
        raise UsageError("token_key_type", "the key is not on P-256", "provision a P-256 key")
    raw = bytes(public[Attribute.EC_POINT])
    point = raw[2:] if len(raw) == 67 and raw[:2] == b"\x04\x41" else raw
    if len(point) != 65 or point[0] != 4:
        raise UsageError("token_key_type", "the module gives the public key in an unknown form")
    return cose.PublicKey.of(point[1:33], point[33:])


def with_recovery(key: TokenKey, attempt: Callable[[], _Result]) -> _Result:
    """Return what ``attempt`` returns; after a failure that may pass, initialise the module anew and try once more."""
    try:
        return attempt()
    except pkcs11.PKCS11Error as error:
        close_all(key.module)
        if _is_final(error):
            raise explained(key, error) from error
    try:
        return attempt()
    except pkcs11.PKCS11Error as error:
        close_all(key.module)
        raise explained(key, error) from error


def _is_final(error: pkcs11.PKCS11Error) -> bool:
    return type(error) in _EXPLAINED


def explained(key: TokenKey, error: pkcs11.PKCS11Error) -> EdgesealError:
    """Translate a PKCS#11 error, whose text is usually empty, into ours."""
    where = f"token {key.token_label}, key {key.key_label}"
    if _is_final(error):
        code, message, remedy = _EXPLAINED[type(error)]
        return UsageError(code, f"{message} ({where})", remedy)
    if "loading" in str(error):
        return UsageError("token_module", f"cannot load the PKCS#11 module {key.module}", "install it; check the path")
    return Unavailable(
        "token_failed", f"{error!r} ({where})", "is the token there, its store readable, its daemon running?"
    )
