"""``edgeseal-agent possession``: the device key signs that it may be registered on chain, and nothing it was handed.

The command takes fields, never bytes or a digest: what is signed is built here, under a domain of its own
(``docs/adr/0010``). It changes no state and may run beside the agent.
"""

from __future__ import annotations

from edgeseal.errors import UsageError
from edgeseal.possession import Possession, Proof, decode
from edgeseal_agent.config import Config
from edgeseal_agent.identity import Identity, open_signer, open_store


def prove(config: Config, challenge_file: bytes) -> Proof:
    """Return this device's answer to an untrusted challenge.

    Raises:
        FormatError: the file is no challenge. UsageError ``challenge_foreign``: it asks another key, is of another
        tenant than genesis pins, or of another role than a device's; and what store and token raise.
    """
    challenge = decode(challenge_file)
    identity = Identity.of(open_store(config).meta())
    key = identity.key
    role_fits = not isinstance(challenge, Possession) or challenge.role == "device"
    if key.kid not in challenge.signers or challenge.place.tenant != identity.root.kid or not role_fits:
        raise UsageError(
            "challenge_foreign",
            f"the challenge is not for key {key.kid.hex()} as a device of tenant {identity.root.kid.hex()}",
            "make one with: edgeseal identity challenge --role device --request enrol-request.json",
        )
    return Proof(challenge, key, open_signer(config.key, key).sign(challenge.message()))
