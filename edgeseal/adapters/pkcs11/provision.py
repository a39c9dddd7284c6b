"""Keys made in tokens, and destroyed there."""

from __future__ import annotations

import os
from pathlib import Path

import pkcs11
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass

from edgeseal.adapters import softhsm
from edgeseal.adapters.pkcs11.sessions import P256, close_all, explained, session_of
from edgeseal.adapters.pkcs11.thread import THREAD
from edgeseal.adapters.pkcs11.tokenkey import TokenKey
from edgeseal.errors import UsageError


def generate_key(key: TokenKey) -> None:
    """Make a P-256 key pair inside the token, not extractable, under the key's label.

    Durable when it returns, as far as the token is. Raises UsageError ``token_key_exists`` when the label is taken,
    and what ``Pkcs11Signer`` raises.
    """
    THREAD.run(lambda: _generate(key))


def destroy_key(key: TokenKey) -> None:
    """Destroy both halves of the key in its token, and, for SoftHSM, in the copy of its store. Idempotent.

    Durable when it returns, as far as the token is; what it is worth against whoever reads the medium is the token's
    affair. Raises what ``Pkcs11Signer`` raises, but for ``token_key_unknown``.
    """
    THREAD.run(lambda: _destroy(key))
    config = dict(key.environment).get(softhsm.CONFIG_VARIABLE)
    if config is not None:
        softhsm.seal_copy(Path(config))


def provision_softhsm(
    directory: Path, module: str, token_label: str, key_label: str, pins: tuple[str, str]
) -> TokenKey:
    """Make a SoftHSM token with one key in the store ``directory``; return where the key is.

    ``pins`` are user PIN and security officer PIN (4 to 255 characters; the caller draws them at random); they are
    written to ``<token label>.pin`` and ``<token label>.so-pin`` in the store, mode 0600. A copy of the finished store
    is kept (see ``edgeseal.adapters.softhsm``). Not idempotent: UsageError ``token_exists`` when the label is there.
    Raises what ``generate_key`` raises.
    """
    config = softhsm.create_store(directory)
    user_file, officer_file = directory / f"{token_label}.pin", directory / f"{token_label}.so-pin"
    key = TokenKey(module, token_label, key_label, user_file, ((softhsm.CONFIG_VARIABLE, str(config)),))
    if user_file.exists():
        raise UsageError(
            "token_exists", f"{directory} already has a token {token_label}", "choose another label or folder"
        )
    for path, pin in ((user_file, pins[0]), (officer_file, pins[1])):
        _write_secret(path, pin)
    user_pin, so_pin = (pin.encode() for pin in pins)
    THREAD.run(lambda: _init_token(key, config, so_pin, user_pin))
    generate_key(key)
    THREAD.run(lambda: close_all(module))
    softhsm.seal_copy(config)
    return key


def _generate(key: TokenKey) -> None:
    """Make the pair; a module that failed is closed."""
    try:
        _make_pair(key)
    except pkcs11.PKCS11Error as error:
        close_all(key.module)
        raise explained(key, error) from error


def _make_pair(key: TokenKey) -> None:
    session = session_of(key)
    for _ in session.get_objects({Attribute.LABEL: key.key_label}):
        raise UsageError("token_key_exists", f"the token already has an object labelled {key.key_label}")
    with session.token.open(rw=True) as writing:  # the process is logged in already
        domain = writing.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256}, local=True)
        domain.generate_keypair(
            mechanism=Mechanism.EC_KEY_PAIR_GEN,
            store=True,
            label=key.key_label,
            id=os.urandom(8),
            private_template={Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
        )


def _destroy(key: TokenKey) -> None:
    try:
        session = session_of(key)
        with session.token.open(rw=True) as writing:
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for found in list(writing.get_objects({Attribute.LABEL: key.key_label, Attribute.CLASS: kind})):
                    found.destroy()
    except pkcs11.PKCS11Error as error:
        raise explained(key, error) from error
    finally:
        close_all(key.module)


def _init_token(key: TokenKey, config: Path, so_pin: bytes, user_pin: bytes) -> None:
    """Add a token while the module is closed: SoftHSM cannot be initialised twice in one process."""
    close_all(key.module)
    softhsm.init_token(key.module, config, key.token_label, so_pin, user_pin)


def _write_secret(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as secret:
            secret.write(text + "\n")
            secret.flush()
            os.fsync(secret.fileno())
    except OSError as error:
        raise UsageError("token_pin_file", f"cannot write {path}: {error}") from error
