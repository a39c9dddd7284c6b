"""Signing keys in PKCS#11 tokens (SoftHSM, TPM 2.0 through tpm2-pkcs11), all through one thread of the process.

python-pkcs11 initialises modules without locking and releases the GIL around every call, so two threads in it crash the
process. Here exactly one daemon thread touches PKCS#11, whoever calls; calls wait for their turn. One store a module is
open at a time: a key of another store (another environment) makes the thread close the one and open the other.
"""

from edgeseal.adapters.pkcs11.provision import destroy_key, generate_key, provision_softhsm
from edgeseal.adapters.pkcs11.signer import Pkcs11Signer, release, token_model
from edgeseal.adapters.pkcs11.thread import CALL_TIMEOUT_S
from edgeseal.adapters.pkcs11.tokenkey import TokenKey

__all__ = [
    "CALL_TIMEOUT_S",
    "Pkcs11Signer",
    "TokenKey",
    "destroy_key",
    "generate_key",
    "provision_softhsm",
    "release",
    "token_model",
]
