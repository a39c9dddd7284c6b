"""Attested enrolments of the devices of ``tests/world.py``, with TPMs in software."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from edgeseal import attestation, tpmstate
from edgeseal.attestation import Offer
from tests.softtpm import KEY_ATTRIBUTES, Maker, SoftTpm, ecc_public
from tests.vectors.encoding import token
from tests.world import Device

MAKER = Maker("maker")
AUTHORITY = sha256(MAKER.certificate).digest()
TOKEN = token("claim")


def offer_of(device: Device, tpm: SoftTpm | None, maker: Maker | None = MAKER, **changes: Any) -> Offer:
    """What a device offers; without ``maker`` its TPM has no certificate, without ``tpm`` its key is in SoftHSM."""
    shown = None if tpm is None else {
        "ek": tpm.ek_public(), "chain": [] if maker is None else [maker.certify(tpm.ek)], "ak": tpm.ak_public(),
        "pub": ecc_public(device.key.public.point, KEY_ATTRIBUTES),
    }  # fmt: skip
    fields = {
        "claim": attestation.claim_digest(TOKEN), "name": device.name, "key": device.key.public.point,
        "genesis": device.records[0].leaf, "head": device.heads[0], "groups": ["all"], "cadence": 30,
        "kind": "softhsm" if tpm is None else "tpm", "tpm": shown,
    }  # fmt: skip
    return attestation.make_offer(fields | changes)


def answer_of(offer: Offer, challenge: attestation.Challenge, tpm: SoftTpm) -> bytes:
    """What a TPM answers."""
    made = challenge.credential
    secret = tpm.activate(offer.tpm.ak.name if offer.tpm else b"", made.blob, made.seed)
    assert offer.tpm is not None
    attest = tpm.creation(attestation.qualifier(offer.digest, challenge.digest, secret), offer.tpm.signing.raw)
    return attestation.make_answer(challenge, secret, attest, tpm.ak.sign(attest))


def evidence_of(device: Device, tpm: SoftTpm | None, maker: Maker | None = MAKER, **changes: Any) -> bytes:
    """The whole transcript between a device and an operator who adds the maker's certificate."""
    offer = offer_of(device, tpm, maker, **changes)
    if tpm is None:
        return attestation.make_evidence(offer)
    secret, random = token("secret"), token("scalar")
    challenge = attestation.make_challenge(offer, token("nonce"), secret, random)
    issuers = () if maker is None else (maker.certificate,)
    return attestation.make_evidence(offer, (challenge, answer_of(offer, challenge, tpm), random), issuers)


def attest(device: Device, tpm: SoftTpm, *, head: tuple[int, bytes] | None = None, **changes: Any) -> int:
    """Append an attest record over the device's last head, and let the counter rise."""
    size, root = head or device.last
    extra = tpmstate.nonce(device.log, size, root)
    made = tpmstate.encode(size, root, tpm.quoted(extra), tpm.counted(extra))
    seq = device.add("attest", **{"type": tpmstate.TYPE, "evidence": made, **changes})
    device.seal()
    tpm.counter += 1
    return seq
