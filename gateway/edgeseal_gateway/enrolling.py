"""Enrolment's letter box: a device with a claim token leaves its offer, an operator asks, the device answers
(``docs/format.md`` 8.6).

The gateway decides who may apply, and nothing else: it asks no question of its own, since whoever asks must keep the
answer's secret, and nobody has to believe the gateway. Every function works in the caller's transaction.
"""

from __future__ import annotations

import sqlite3
from typing import Any, Final

from edgeseal import attestation, limits
from edgeseal.attestation import Offer
from edgeseal.errors import UsageError, VerificationError
from edgeseal.statements.enrolment import Enrolment
from edgeseal_gateway.store import enrolling as store
from edgeseal_gateway.store import fleetlog, orders

TOKEN_SIZE: Final = 32
MAX_LETTER: Final = 2 * limits.MAX_ENROLMENT
"""Bytes of what an operator asks, or a device answers."""
MAX_CLAIMS: Final = 10_000
"""Claims that nobody has used."""
MAX_SECONDS: Final = 366 * 86_400
OFFERED, ASKED, ANSWERED, ENROLLED = "offered", "asked", "answered", "enrolled"


def new_claim(connection: sqlite3.Connection, token: bytes, groups: tuple[str, ...], now_ms: int, seconds: int) -> None:
    """Keep a claim for ``token``, 32 fresh random bytes: good once, for ``seconds``, to ask for these groups.

    Raises UsageError ``claim_seconds`` or ``too_many_claims``.
    """
    if not 0 < seconds <= MAX_SECONDS:
        raise UsageError("claim_seconds", f"a claim lasts 1 to {MAX_SECONDS} seconds")
    if store.open_claims(connection) >= MAX_CLAIMS:
        store.forget_expired(connection, now_ms)
    if store.open_claims(connection) >= MAX_CLAIMS:
        text = f"{MAX_CLAIMS} claims are kept that nobody has used"
        raise UsageError("too_many_claims", text, "wait until some have ended")
    store.add_claim(connection, attestation.claim_digest(token), groups, now_ms + 1_000 * seconds)


def offered(connection: sqlite3.Connection, token: bytes, data: bytes, now_ms: int) -> Offer:
    """Take a device's untrusted offer in, and use its claim up; the same offer again is one.

    Raises:
        EvidenceError: the offer does not hold (:func:`edgeseal.attestation.check_offer`).
        UsageError: ``claim_unknown claim_used claim_expired claim_revoked claim_groups``, ``already_enrolled``,
        ``tpm_differs``: the name was enrolled with another TPM.
    """
    claim = _claim(connection, token)
    offer = attestation.read_offer(data)
    if offer.claim != claim.digest:
        raise UsageError("claim_unknown", "the offer was made with another claim")
    if claim.offer == offer.digest:
        return offer
    if claim.state == store.REVOKED:
        raise UsageError("claim_revoked", "the claim was revoked", "ask the operator for another")
    if claim.state == store.USED:
        raise UsageError("claim_used", "the claim was used for another offer", "ask the operator for another")
    if claim.expires_ms <= now_ms:
        raise UsageError("claim_expired", "the claim has expired", "ask the operator for another")
    if not set(offer.groups) <= set(claim.groups):
        raise UsageError("claim_groups", f"the claim is for groups {', '.join(claim.groups) or 'none'}")
    attestation.check_offer(offer)
    if is_enrolled(connection, offer.log):
        raise UsageError("already_enrolled", f"log {offer.log.hex()} is enrolled", "a new epoch takes a new key")
    attested = attestation.Attested(offer, None, ())
    if store.other_tpm(connection, offer.name, attested.ek):
        raise UsageError(
            "tpm_differs", f"{offer.name} was enrolled with another TPM", "a device with another TPM takes a new name"
        )
    store.set_claim(connection, claim.digest, store.USED, offer.digest)
    store.add_exchange(connection, offer.digest, claim.digest, offer.raw, now_ms)
    return offer


def of_device(connection: sqlite3.Connection, token: bytes, offer: bytes) -> store.Exchange:
    """Return the enrolment under way of a device that still has its claim token. Raises UsageError."""
    found = of_operator(connection, offer)
    if found.claim != _claim(connection, token).digest:
        raise UsageError("claim_unknown", "the claim is not the one of this offer")
    return found


def of_operator(connection: sqlite3.Connection, offer: bytes) -> store.Exchange:
    """Return the enrolment under way of an offer's digest. Raises UsageError ``offer_unknown``."""
    found = store.exchange(connection, offer)
    if found is None:
        raise UsageError("offer_unknown", f"nobody offered {offer.hex()}", "see: edgeseal identity applicants")
    return found


def asked(connection: sqlite3.Connection, offer: bytes, data: bytes) -> None:
    """Keep what an operator asks of a device. Raises UsageError ``offer_unknown``, ``already_enrolled``."""
    found = of_operator(connection, offer)
    if is_enrolled(connection, attestation.read_offer(found.data).log):
        raise UsageError("already_enrolled", "the device is enrolled")
    store.ask(connection, offer, data)


def accepted(connection: sqlite3.Connection, offer: bytes, data: bytes) -> bytes:
    """Keep the untrusted evidence of an enrolment that an operator accepts; return its digest.

    It must hold and be of this offer. Raises EvidenceError, ``transcript_mismatch`` for another offer; UsageError.
    """
    of_operator(connection, offer)
    shown = attestation.check(data)
    if shown.offer.digest != offer:
        raise VerificationError("transcript_mismatch", "the evidence is of another offer")
    digest = attestation.evidence_digest(data)
    store.add_evidence(connection, digest, shown.offer.log, shown.offer.name, shown.ek, data)
    return digest


def is_enrolled(connection: sqlite3.Connection, log: bytes) -> bool:
    """Say whether an enrolment of this log stands in the fleet log, or in the queue for it."""
    sub = log.hex()
    if fleetlog.last_of_subject(connection, sub, Enrolment.NAME) is not None:
        return True
    return orders.last_pending(connection, sub, Enrolment.NAME) is not None


def shown(connection: sqlite3.Connection, one: store.Exchange) -> dict[str, Any]:
    """Return an enrolment under way as the API shows it, without its bytes."""
    offer = attestation.read_offer(one.data)
    state = OFFERED if one.ask is None else ASKED if one.reply is None else ANSWERED
    return {
        "offer": one.offer.hex(), "log": offer.log.hex(), "kid": offer.key.kid.hex(), "name": offer.name,
        "groups": list(offer.groups), "cadence": offer.cadence_s, "kind": offer.kind, "at": one.at_ms,
        "certified": offer.tpm is not None and bool(offer.tpm.chain),
        "state": ENROLLED if is_enrolled(connection, offer.log) else state,
    }  # fmt: skip


def _claim(connection: sqlite3.Connection, token: bytes) -> store.Claim:
    found = None if len(token) != TOKEN_SIZE else store.claim(connection, attestation.claim_digest(token))
    if found is None:
        raise UsageError("claim_unknown", "no such claim here", "ask the operator for one")
    return found
