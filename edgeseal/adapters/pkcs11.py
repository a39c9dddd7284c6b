"""Signing keys in PKCS#11 tokens (SoftHSM, TPM 2.0 through tpm2-pkcs11), all through one thread of the process.

python-pkcs11 initialises modules without locking and releases the GIL around every call, so two threads in it crash the
process. Here exactly one daemon thread touches PKCS#11, whoever calls; calls wait for their turn. One store a module is
open at a time: a key of another store (another environment) makes the thread close the one and open the other.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeVar

import pkcs11
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11 import Attribute, KeyType, Mechanism, ObjectClass
from pkcs11.util.ec import encode_named_curve_parameters

from edgeseal import cose
from edgeseal.adapters import softhsm
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError

CALL_TIMEOUT_S = 120.0
"""How long a call waits for the token, its turn included, before it is called unavailable."""

RECYCLE_AFTER = 20_000
"""Signatures after which a module's sessions are closed and opened anew: TPM software fails a session that lives too
long (at some 65,000 signatures, tpm2-pkcs11 issue 843)."""

_Result = TypeVar("_Result")
_P256 = encode_named_curve_parameters("secp256r1")
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


class Pkcs11Signer:
    """A P-256 key in a token. Safe to use from any thread; never after a fork."""

    def __init__(self, key: TokenKey, public_key: cose.PublicKey | None = None) -> None:
        """Find the key and read its public half; with ``public_key``, known from before, do neither until it signs.

        May block for ``CALL_TIMEOUT_S``. Raises UsageError (``token_module token_pin token_pin_file token_pin_locked
        token_unknown token_key_unknown token_key_type token_after_fork``), which no retry mends, or Unavailable
        (``token_failed token_store token_timeout``).
        """
        self._key = key
        self.public_key = public_key or _thread.run(lambda: _read_public(key))
        numbers = ec.EllipticCurvePublicNumbers(
            int.from_bytes(self.public_key.x, "big"), int.from_bytes(self.public_key.y, "big"), ec.SECP256R1()
        )
        self._verifier = numbers.public_key()

    def sign(self, message: bytes) -> bytes:
        """Return the ES256 signature over ``message``: ``sign_digest`` of its SHA-256."""
        return self.sign_digest(sha256(message).digest())

    def sign_digest(self, digest: bytes) -> bytes:
        """Return the ES256 signature of a 32-byte SHA-256 digest: 64 bytes r || s, low-S, checked with the public key.

        A token that fails is initialised anew and asked once more; nothing that a PIN or a label causes is tried again.
        Raises UsageError ``token_digest`` (not 32 bytes) and what the constructor raises, Unavailable
        ``token_signature`` for an answer that is no signature of the digest, and InvariantBroken ``token_key_changed``
        when the label names another key than ours.
        """
        if type(digest) is not bytes or len(digest) != 32:
            raise UsageError("token_digest", "a token signs 32-byte SHA-256 digests only")
        raw = _thread.run(lambda: _sign(self._key, self.public_key, digest))
        if len(raw) != cose.SIGNATURE_SIZE:
            form = "DER instead of r and s" if raw[:1] == b"\x30" else f"{len(raw)} bytes"
            raise Unavailable("token_signature", f"the module returned {form}", "use another release of the module")
        signature = cose.low_s(raw)
        encoded = utils.encode_dss_signature(
            int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
        )
        try:
            self._verifier.verify(encoded, digest, ec.ECDSA(utils.Prehashed(SHA256())))
        except InvalidSignature as error:
            raise Unavailable("token_signature", "the token's signature does not verify") from error
        return signature


def token_model(key: TokenKey) -> str:
    """Return what the token says it is, such as ``SoftHSM v2``. Raises what ``Pkcs11Signer`` raises."""
    return _thread.run(lambda: _with_recovery(key, lambda: str(_session(key).token.model).strip()))


def generate_key(key: TokenKey) -> None:
    """Make a P-256 key pair inside the token, not extractable, under the key's label.

    Durable when it returns, as far as the token is. Raises UsageError ``token_key_exists`` when the label is taken,
    and what ``Pkcs11Signer`` raises.
    """
    _thread.run(lambda: _generate(key))


def destroy_key(key: TokenKey) -> None:
    """Destroy both halves of the key in its token, and, for SoftHSM, in the copy of its store. Idempotent.

    Durable when it returns, as far as the token is; what it is worth against whoever reads the medium is the token's
    affair. Raises what ``Pkcs11Signer`` raises, but for ``token_key_unknown``.
    """
    _thread.run(lambda: _destroy(key))
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
    _thread.run(lambda: _init_token(key, config, so_pin, user_pin))
    generate_key(key)
    _thread.run(lambda: _close_all(module))
    softhsm.seal_copy(config)
    return key


class _TokenThread:
    """Runs jobs one after another on a thread of its own, started with the first job."""

    def __init__(self) -> None:
        self._start = threading.Lock()
        self._jobs: queue.SimpleQueue[tuple[Callable[[], Any], Future[Any]]] = queue.SimpleQueue()
        self._process = 0

    def run(self, job: Callable[[], _Result]) -> _Result:
        """Run ``job`` on the thread; return what it returns, raise what it raises, or Unavailable ``token_timeout``."""
        with self._start:
            if not self._process:
                threading.Thread(target=self._work, name="pkcs11", daemon=True).start()
                self._process = os.getpid()
            if self._process != os.getpid():
                # A token library does not survive a fork: on a TPM the child's first call would break the parent.
                raise UsageError("token_after_fork", "a forked process may not use its parent's token", "use spawn")
        future: Future[_Result] = Future()
        self._jobs.put((job, future))
        try:
            return future.result(CALL_TIMEOUT_S)
        except TimeoutError as error:
            raise Unavailable("token_timeout", f"the token did not answer within {CALL_TIMEOUT_S:.0f} s") from error

    def _work(self) -> None:
        while True:
            job, future = self._jobs.get()
            try:
                future.set_result(job())
            except BaseException as error:
                future.set_exception(error)
            del job, future


_thread = _TokenThread()


# ---- Everything below runs on the token thread only ---------------------------------------------------------------


@dataclass
class _Module:
    """A loaded PKCS#11 module: what is open in it, under which environment."""

    environment: Mapping[str, str]
    signatures: int = 0
    sessions: dict[str, pkcs11.Session] = field(default_factory=dict)
    keys: dict[tuple[str, str], tuple[Any, cose.PublicKey]] = field(default_factory=dict)


_open: dict[str, _Module] = {}


def _use(key: TokenKey) -> _Module:
    """Return the key's module, initialised under its environment; every other use of that module is closed."""
    environment = dict(key.environment)
    module = _open.get(key.module)
    if module is not None and module.environment == environment:
        return module
    _close_all(key.module)
    os.environ.update(environment)
    if softhsm.CONFIG_VARIABLE in environment:
        softhsm.mend(Path(environment[softhsm.CONFIG_VARIABLE]))
    pkcs11.lib(key.module)
    _open[key.module] = module = _Module(environment)
    return module


def _close_all(path: str) -> None:
    """Close the sessions of a module and finalise it. Never raises: what is broken is gone either way."""
    module = _open.pop(path, None)
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


def _session(key: TokenKey) -> pkcs11.Session:
    """Return the logged-in session of the key's token; a process logs in once to a token."""
    module = _use(key)
    session = module.sessions.get(key.token_label)
    if session is None:
        token = pkcs11.lib(key.module).get_token(token_label=key.token_label)
        session = module.sessions[key.token_label] = token.open(rw=False, user_pin=key.read_pin())
    return session


def _find(key: TokenKey) -> tuple[Any, cose.PublicKey]:
    """Return the private key and its public half."""
    session = _session(key)
    found = _open[key.module].keys.get((key.token_label, key.key_label))
    if found is None:
        private = _only(session, ObjectClass.PRIVATE_KEY, key)
        public = _only(session, ObjectClass.PUBLIC_KEY, key)
        found = _open[key.module].keys[key.token_label, key.key_label] = private, _public_key(public)
    return found


def _only(session: pkcs11.Session, object_class: ObjectClass, key: TokenKey) -> Any:
    return session.get_key(object_class=object_class, key_type=KeyType.EC, label=key.key_label)


def _public_key(public: Any) -> cose.PublicKey:
    """Return the key of a public key object; modules give its point bare or inside a DER octet string."""
    if public[Attribute.EC_PARAMS] != _P256:
        raise UsageError("token_key_type", "the key is not on P-256", "provision a P-256 key")
    raw = bytes(public[Attribute.EC_POINT])
    point = raw[2:] if len(raw) == 67 and raw[:2] == b"\x04\x41" else raw
    if len(point) != 65 or point[0] != 4:
        raise UsageError("token_key_type", "the module gives the public key in an unknown form")
    return cose.PublicKey.of(point[1:33], point[33:])


def _read_public(key: TokenKey) -> cose.PublicKey:
    return _with_recovery(key, lambda: _find(key)[1])


def _sign(key: TokenKey, public_key: cose.PublicKey, digest: bytes) -> bytes:
    def sign() -> bytes:
        private, found = _find(key)
        if found != public_key:
            raise InvariantBroken("token_key_changed", f"label {key.key_label} names another key than ours")
        # The mechanism is named: some modules have no default, and SoftHSM knows none that hashes.
        signature = bytes(private.sign(digest, mechanism=Mechanism.ECDSA))
        module = _open[key.module]
        module.signatures += 1
        if module.signatures >= RECYCLE_AFTER:
            _close_all(key.module)
        return signature

    return _with_recovery(key, sign)


def _generate(key: TokenKey) -> None:
    def generate() -> None:
        session = _session(key)
        for _ in session.get_objects({Attribute.LABEL: key.key_label}):
            raise UsageError("token_key_exists", f"the token already has an object labelled {key.key_label}")
        with session.token.open(rw=True) as writing:  # the process is logged in already
            domain = writing.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: _P256}, local=True)
            domain.generate_keypair(
                mechanism=Mechanism.EC_KEY_PAIR_GEN,
                store=True,
                label=key.key_label,
                id=os.urandom(8),
                private_template={Attribute.EXTRACTABLE: False, Attribute.SENSITIVE: True},
            )

    try:
        generate()
    except pkcs11.PKCS11Error as error:
        _close_all(key.module)
        raise _explained(key, error) from error


def _destroy(key: TokenKey) -> None:
    try:
        session = _session(key)
        with session.token.open(rw=True) as writing:
            for kind in (ObjectClass.PRIVATE_KEY, ObjectClass.PUBLIC_KEY):
                for found in list(writing.get_objects({Attribute.LABEL: key.key_label, Attribute.CLASS: kind})):
                    found.destroy()
    except pkcs11.PKCS11Error as error:
        raise _explained(key, error) from error
    finally:
        _close_all(key.module)


def _init_token(key: TokenKey, config: Path, so_pin: bytes, user_pin: bytes) -> None:
    """Add a token while the module is closed: SoftHSM cannot be initialised twice in one process."""
    _close_all(key.module)
    softhsm.init_token(key.module, config, key.token_label, so_pin, user_pin)


def _with_recovery(key: TokenKey, attempt: Callable[[], _Result]) -> _Result:
    """Return what ``attempt`` returns; after a failure that may pass, initialise the module anew and try once more."""
    try:
        return attempt()
    except pkcs11.PKCS11Error as error:
        _close_all(key.module)
        if _is_final(error):
            raise _explained(key, error) from error
    try:
        return attempt()
    except pkcs11.PKCS11Error as error:
        _close_all(key.module)
        raise _explained(key, error) from error


def _is_final(error: pkcs11.PKCS11Error) -> bool:
    return type(error) in _EXPLAINED


def _explained(key: TokenKey, error: pkcs11.PKCS11Error) -> EdgesealError:
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


def _write_secret(path: Path, text: str) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as secret:
            secret.write(text + "\n")
            secret.flush()
            os.fsync(secret.fileno())
    except OSError as error:
        raise UsageError("token_pin_file", f"cannot write {path}: {error}") from error
