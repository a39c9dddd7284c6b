"""A key in a token, that signs."""

from __future__ import annotations

from hashlib import sha256

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from pkcs11 import Mechanism

from edgeseal import cose
from edgeseal.adapters.pkcs11.sessions import OPEN, close_all, find_key, session_of, with_recovery
from edgeseal.adapters.pkcs11.thread import THREAD
from edgeseal.adapters.pkcs11.tokenkey import TokenKey
from edgeseal.errors import InvariantBroken, Unavailable, UsageError

RECYCLE_AFTER = 20_000
"""Signatures after which a module's sessions are closed and opened anew: TPM software fails a session that lives too
long (at some 65,000 signatures, tpm2-pkcs11 issue 843)."""


class Pkcs11Signer:
    """A P-256 key in a token. Safe to use from any thread; never after a fork."""

    def __init__(self, key: TokenKey, public_key: cose.PublicKey | None = None) -> None:
        """Find the key and read its public half; with ``public_key``, known from before, do neither until it signs.

        May block for ``CALL_TIMEOUT_S``. Raises UsageError (``token_module token_pin token_pin_file token_pin_locked
        token_unknown token_key_unknown token_key_type token_after_fork``), which no retry mends, or Unavailable
        (``token_failed token_store token_timeout``).
        """
        self._key = key
        self.public_key = public_key or THREAD.run(lambda: _read_public(key))
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
        raw = THREAD.run(lambda: _sign(self._key, self.public_key, digest))
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
    return THREAD.run(lambda: with_recovery(key, lambda: str(session_of(key).token.model).strip()))


def release(key: TokenKey) -> None:
    """Close what is open in the key's module, so that another program may use the token. The next call opens it anew.

    Raises UsageError ``token_after_fork``, Unavailable ``token_timeout``.
    """
    THREAD.run(lambda: close_all(key.module))


def _read_public(key: TokenKey) -> cose.PublicKey:
    return with_recovery(key, lambda: find_key(key)[1])


def _sign(key: TokenKey, public_key: cose.PublicKey, digest: bytes) -> bytes:
    """Return the token's raw signature, once more where the token failed and may answer now."""

    def sign() -> bytes:
        """Sign once, with the key that is ours, and count it."""
        private, found = find_key(key)
        if found != public_key:
            raise InvariantBroken("token_key_changed", f"label {key.key_label} names another key than ours")
        # The mechanism is named: some modules have no default, and SoftHSM knows none that hashes.
        signature = bytes(private.sign(digest, mechanism=Mechanism.ECDSA))
        module = OPEN[key.module]
        module.signatures += 1
        if module.signatures >= RECYCLE_AFTER:
            close_all(key.module)
        return signature

    return with_recovery(key, sign)
