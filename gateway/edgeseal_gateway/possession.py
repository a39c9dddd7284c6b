"""``edgeseal-gateway possession``: the gateway key signs that it may be registered on chain, and nothing it was handed.

What is signed is built here from fields, under a domain of its own (``docs/adr/0010``). It changes no state and may run
beside the gateway.
"""

from __future__ import annotations

from pathlib import Path

from edgeseal import limits
from edgeseal.adapters.namedfile import read_named
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import UsageError
from edgeseal.possession import Possession, Proof, decode
from edgeseal_gateway.config import Config


def prove(config: Config, challenge_file: Path) -> Proof:
    """Return this gateway's answer to an untrusted challenge.

    Raises:
        FormatError: the file is no challenge. UsageError ``challenge_file``; ``challenge_foreign``: it asks another
        key, is of another tenant, log or registry than the network profile, or of another role than a gateway's; and
        what profile and token raise.
    """
    challenge = decode(read_named(challenge_file, limits.MAX_YAML, "challenge_file"))
    profile, signer = config.network(), Pkcs11Signer(config.key.token_key)
    ours = (profile.chain_id, profile.identity_registry, profile.tenant_root.kid, profile.fleet_log)
    place, kid = challenge.place, signer.public_key.kid
    role_fits = not isinstance(challenge, Possession) or challenge.role == "gateway"
    asked = (place.chain_id, place.registry, place.tenant, place.log)
    if kid not in challenge.signers or asked != ours or not role_fits:
        raise UsageError(
            "challenge_foreign",
            f"the challenge is not for key {kid.hex()} as the gateway of fleet log {profile.fleet_log.hex()}",
            "make one with: edgeseal identity challenge --role gateway --key gateway-key.cbor",
        )
    return Proof(challenge, signer.public_key, signer.sign(challenge.message()))
