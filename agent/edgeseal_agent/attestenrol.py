"""``edgeseal-agent enrol``: ask to be enrolled with a claim token, show what the TPM can show, wait for the operator
(``docs/format.md`` 8.6).

Nothing of the device's history is touched. The offer is kept on disk before it goes out, so that a run that was cut off
goes on with the same one: a claim is good for one offer only.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from typing import Any, Final

from edgeseal import attestation
from edgeseal.adapters.tpmtools import TpmTools
from edgeseal.attestation import Challenge, Offer
from edgeseal.errors import Unavailable, UsageError, VerificationError
from edgeseal.merkle import leaf_hash
from edgeseal_agent import identity
from edgeseal_agent.attestlink import LetterBox
from edgeseal_agent.attestoffer import shown
from edgeseal_agent.config import Config

OFFER_NAME: Final = "enrol-offer.cbor"
ENROLLED: Final = "enrolled"
LOOK_S: Final = 20
RETRY_S: Final = 2.0

Say = Callable[[str], None]


class Enrolling:
    """One device's application."""

    def __init__(self, config: Config, box: LetterBox, say: Say) -> None:
        self._config = config
        self._box = box
        self._say = say

    def run(self, wait_s: float) -> dict[str, Any]:
        """Offer, answer what is asked, and return once enrolled: log id, fingerprint, state.

        A gateway that is away is tried again. Raises:
            UsageError: with the gateway's reason; ``not_enrolled_yet`` when the operator took longer than ``wait_s``:
            the same command goes on later; ``state_missing``, ``wrong_account``. Unavailable: TPM, disk.
            VerificationError: what the operator asks is of another exchange, or what our own TPM shows does not hold.
        """
        offer = self._offer()
        self._say(f"fingerprint {fingerprint(offer.digest)}")
        self._say("compare it where you accept:  edgeseal identity accept " + offer.digest.hex())
        deadline = time.monotonic() + wait_s
        self._patiently(lambda: self._box.offer(offer.raw), deadline)
        state, answered = None, b""
        while state != ENROLLED:
            left = deadline - time.monotonic()
            if left <= 0:
                raise UsageError("not_enrolled_yet", "nobody has accepted this device", "run the same command again")
            seconds = max(1, min(LOOK_S, int(left)))
            found = self._patiently(lambda: self._box.look(offer.digest, state, seconds), deadline)  # noqa: B023
            state, ask = found["state"], found["ask"]
            if ask is not None and ask != answered and state != ENROLLED:
                reply = self._answer(offer, ask)
                self._patiently(lambda: self._box.reply(offer.digest, reply), deadline)  # noqa: B023
                answered = ask
        return {"log": offer.log.hex(), "fingerprint": offer.digest.hex(), "kind": offer.kind, "state": state}

    def _patiently(self, act: Callable[[], Any], deadline: float) -> Any:
        while True:
            try:
                return act()
            except Unavailable as error:
                if time.monotonic() + RETRY_S > deadline:
                    raise
                self._say(f"{error}; trying again")
                time.sleep(RETRY_S)

    def _offer(self) -> Offer:
        """Return the offer that this claim was used for, or make one."""
        identity.refuse_stranger(self._config.state_dir)
        path = self._config.state_dir / OFFER_NAME
        claim = attestation.claim_digest(self._box.token)
        known = identity.Identity.of(identity.open_store(self._config).meta())
        if path.exists():
            offer = attestation.read_offer(path.read_bytes())
            if offer.claim == claim and offer.key == known.key:
                return offer
        offer = attestation.make_offer(self._fields(claim, known))
        attestation.check_offer(offer)
        identity.write_file(path, offer.raw)
        # Durable: the offer, before anybody has seen it; a restart offers the same bytes.
        return offer

    def _fields(self, claim: bytes, known: identity.Identity) -> dict[str, Any]:
        with closing(identity.open_store(self._config).reader()) as connection:
            (genesis,) = connection.execute("SELECT header FROM records WHERE seq = 0").fetchone()
            (head,) = connection.execute(
                "SELECT signed FROM heads WHERE signed IS NOT NULL ORDER BY size LIMIT 1"
            ).fetchone()
        config = self._config
        tpm = None if config.tpm is None else shown(config.tpm)
        return {
            "claim": claim, "name": known.name, "key": known.key.point, "genesis": leaf_hash(genesis), "head": head,
            "groups": list(config.groups), "cadence": config.seal.heartbeat_s,
            "kind": attestation.TPM if tpm is not None else _kind(config), "tpm": tpm,
        }  # fmt: skip

    def _answer(self, offer: Offer, ask: bytes) -> bytes:
        """Return the answer to what the operator asks, JSON as he asks it."""
        try:
            fields = json.loads(ask)
            asked = fields["challenge"]
            challenge = None if asked is None else attestation.read_challenge(bytes.fromhex(asked))
            possession = fields["possession"]
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise VerificationError("transcript_mismatch", f"no question of an operator: {error!r:.200}") from None
        answer = None if challenge is None else self._ask_tpm(offer, challenge).hex()
        proof = None if possession is None else self._possession(str(possession))
        return json.dumps({"challenge": asked, "answer": answer, "possession": proof}).encode()

    def _ask_tpm(self, offer: Offer, challenge: Challenge) -> bytes:
        if challenge.offer != offer.digest or offer.tpm is None or self._config.tpm is None:
            raise VerificationError("transcript_mismatch", "the operator asks about another offer than ours")
        tools = TpmTools(self._config.tpm.tcti)
        with ExitStack() as stack:
            if not tools.shared:
                stack.enter_context(identity.exclusive(self._config.state_dir))
            made = challenge.credential
            secret = tools.activate(offer.tpm.ek, made.blob, made.seed)
            qualifier = attestation.qualifier(offer.digest, challenge.digest, secret)
            attest, signature = tools.certify_creation(self._config.tpm.evidence_dir, qualifier)
        return attestation.make_answer(challenge, secret, attest, signature)

    def _possession(self, challenge: str) -> str:
        from edgeseal_agent.possession import prove

        return prove(self._config, challenge.encode()).encode().decode()


def fingerprint(digest: bytes) -> str:
    """Return a digest as people compare it: groups of four digits."""
    text = digest.hex()
    return " ".join(text[at : at + 4] for at in range(0, len(text), 4))


def _kind(config: Config) -> str:
    from edgeseal.adapters.pkcs11 import token_model

    model = token_model(identity.token_key(config.key)).lower()
    return attestation.SOFTHSM if "softhsm" in model else attestation.FILE
