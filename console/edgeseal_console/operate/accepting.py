"""An attested enrolment, from the operator's side: who applied, what their TPM answers, what is signed for it
(``docs/format.md`` 8.6).

The challenge is made here and its secret stays here until the answer has come: neither the gateway nor whoever carries
letters for it can answer in a TPM's place. What an operator then signs names the digest of the whole transcript.
"""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from edgeseal import attestation, cbor, credential, limits, schema
from edgeseal.attestation import Attested, Challenge, Offer
from edgeseal.errors import EvidenceError, Unavailable, UsageError, VerificationError
from edgeseal.possession import Possession, Proof, encode
from edgeseal.statements.enrolment import Enrolment
from edgeseal_console.gateway import GatewayClient

MIN_FINGERPRINT: Final = 32
"""Hex digits of a fingerprint that must be given: fewer could be matched by trying."""
FOLDER: Final = "enrolments"
POLL_S: Final = 0.3
MAX_PAGE: Final = 64 << 20
MAX_LISTED: Final = 1_024
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What came out of an exchange: the transcript, what it shows, and the device's signature for the registry."""

    evidence: bytes
    shown: Attested
    proof: Proof | None


def applicants(gateway: GatewayClient) -> list[dict[str, Any]]:
    """Return who applied, as the gateway lists it: untrusted."""
    found: list[dict[str, Any]] = gateway.get("/v1/enrolments")["enrolments"]
    return found


def offer_of(gateway: GatewayClient, fingerprint: str) -> Offer:
    """Return the offer whose fingerprint begins as a person read it off the device; it is checked as far as it can be
    alone.

    Raises UsageError ``fingerprint_short``, ``no_applicant``; EvidenceError: what :func:`attestation.check_offer`
    raises, ``fingerprint_differs`` when the gateway hands out other bytes.
    """
    wanted = "".join(fingerprint.split()).replace("-", "").lower()
    if len(wanted) < MIN_FINGERPRINT or len(wanted) > 64 or set(wanted) - set("0123456789abcdef"):
        raise UsageError("fingerprint_short", f"a fingerprint has {MIN_FINGERPRINT} to 64 hexadecimal digits here")
    found = [one["offer"] for one in applicants(gateway) if one["offer"].startswith(wanted)]
    if len(found) != 1:
        raise UsageError("no_applicant", f"no device with fingerprint {wanted} applied", "edgeseal identity applicants")
    offer = attestation.read_offer(bytes.fromhex(gateway.get(f"/v1/enrolments/{found[0]}")["data"]))
    if not offer.digest.hex().startswith(wanted):
        raise VerificationError("fingerprint_differs", "the gateway hands out another offer than the one named")
    attestation.check_offer(offer)
    return offer


def exchange(
    gateway: GatewayClient, offer: Offer, possession: Possession | None, issuers: tuple[bytes, ...], wait_s: float,
    say: Say,
) -> Accepted:  # fmt: skip
    """Ask the device and return what it answered, once the transcript holds.

    Raises UsageError ``no_answer`` when the device is silent for ``wait_s``; EvidenceError: the answer does not hold.
    """
    challenge, secret, random = None, b"", b""
    if offer.tpm is not None:
        secret, random = secrets.token_bytes(32), _randomness(offer)
        challenge = attestation.make_challenge(offer, secrets.token_bytes(32), secret, random)
    asked = None if challenge is None else challenge.raw.hex()
    letter = {"challenge": asked, "possession": None if possession is None else encode(possession).decode()}
    where = f"/v1/enrolments/{offer.digest.hex()}"
    gateway.post(f"{where}/ask", letter)
    say("waiting for the device: it answers while edgeseal-agent enrol runs there")
    reply = _reply(gateway, where, asked, time.monotonic() + wait_s)
    proof = None if possession is None else _proof(reply, possession)
    evidence = _evidence(offer, challenge, secret, random, issuers, reply)
    return Accepted(evidence, attestation.check(evidence), proof)


def _randomness(offer: Offer) -> bytes:
    assert offer.tpm is not None
    while True:
        random = secrets.token_bytes(credential.random_size(offer.tpm.ek))
        try:
            credential.make(offer.tpm.ek, offer.tpm.ak.name, bytes(32), random)
        except EvidenceError:
            continue  # one in 2**32 is no private number
        return random


def _evidence(
    offer: Offer, challenge: Challenge | None, secret: bytes, random: bytes, issuers: tuple[bytes, ...],
    reply: dict[str, Any],
) -> bytes:  # fmt: skip
    """Return the transcript. The secret that came back must be ours before our own randomness is shown to anybody."""
    if challenge is None:
        return attestation.make_evidence(offer)
    try:
        answer = bytes.fromhex(reply["answer"])
        opened = cbor.decode(answer, max_size=len(answer))["secret"]
    except (KeyError, TypeError, ValueError) as error:
        raise VerificationError("transcript_mismatch", f"no answer to a challenge: {error!r:.200}") from None
    if opened != secret:
        raise VerificationError("credential_mismatch", "the device could not open what was meant for its TPM")
    return attestation.make_evidence(offer, (challenge, answer, random), issuers)


def _reply(gateway: GatewayClient, where: str, asked: str | None, deadline: float) -> dict[str, Any]:
    while True:
        data = gateway.get(where)["reply"]
        if data is not None:
            try:
                fields = json.loads(bytes.fromhex(data))
                if fields["challenge"] != asked:
                    raise VerificationError("transcript_mismatch", "the answer is to another challenge")
                return dict(fields)
            except (ValueError, KeyError, TypeError, RecursionError) as error:
                raise VerificationError("transcript_mismatch", f"no answer of a device: {error!r:.200}") from None
        if time.monotonic() > deadline:
            raise UsageError("no_answer", "the device did not answer", "run edgeseal-agent enrol there, and this again")
        time.sleep(POLL_S)


def _proof(reply: dict[str, Any], possession: Possession) -> Proof:
    proof = Proof.decode(str(reply.get("possession")).encode())
    if proof.challenge != possession:
        raise VerificationError("transcript_mismatch", "the device signed for another registration")
    return proof


def level_of(shown: Attested, authorities: frozenset[bytes]) -> str:
    """Return the assurance level that a transcript and the operator's own authorities give. Raises EvidenceError."""
    if shown.ak is None:
        return shown.offer.kind
    return "tpm-unverified" if shown.authority(authorities) is None else "tpm-ek-verified"


def check_name(gateway: GatewayClient, shown: Attested) -> None:
    """Refuse a device whose name was enrolled with another TPM, by the transcripts that the gateway keeps.

    A gateway may keep some back; the verifier, who may have them from elsewhere, looks again. Raises UsageError
    ``tpm_differs``.
    """
    for data in _transcripts(gateway):
        known = attestation.check(data)
        if known.offer.name == shown.offer.name and known.ek != shown.ek:
            raise UsageError(
                "tpm_differs", f"{shown.offer.name} was enrolled with another TPM",
                "a device with another TPM takes a new name",
            )  # fmt: skip


def _transcripts(gateway: GatewayClient) -> Iterator[bytes]:
    """Yield all transcripts that the gateway exports, by rising digest. Raises Unavailable ``gateway_answer``."""
    last = ""
    while True:
        data = gateway.get_bytes("/v1/export/enrolments", {"after": last} if last else {})
        page = cbor.decode(data, max_size=MAX_PAGE)
        schema.items(schema.binary(1, limits.MAX_ENROLMENT), MAX_LISTED)(page, "transcripts")
        if not page:
            return
        yield from page
        before, last = last, attestation.evidence_digest(page[-1]).hex()
        if last <= before:
            raise Unavailable("gateway_answer", "transcripts whose digests do not rise: the list would never end")


def enrolment(shown: Attested, evidence: bytes, level: str, groups: list[str], cadence_s: int) -> Enrolment:
    """Return what the operator signs. Raises FormatError where a group is not of the format."""
    offer = shown.offer
    content = Enrolment(
        offer.key, offer.genesis, offer.name, level, attestation.evidence_digest(evidence), tuple(groups), cadence_s
    )  # fmt: skip
    return Enrolment.from_payload(content.payload())


def keep(home: Path, offer: Offer, accepted: Accepted) -> None:
    """Keep a transcript whose challenge was ours, so that a second try need not ask again."""
    folder = home / FOLDER
    folder.mkdir(mode=0o700, exist_ok=True)
    draft = folder / f".{offer.digest.hex()}.new"
    draft.write_bytes(accepted.evidence)
    draft.rename(folder / f"{offer.digest.hex()}.cbor")


def kept(home: Path, offer: Offer) -> Accepted | None:
    """Return the transcript that an earlier try kept, None where there is none. Raises EvidenceError."""
    path = home / FOLDER / f"{offer.digest.hex()}.cbor"
    if not path.exists():
        return None
    evidence = path.read_bytes()
    return Accepted(evidence, attestation.check(evidence), None)


def certificates(paths: list[Path]) -> tuple[bytes, ...]:
    """Return the certificates in PEM or DER files, in DER. Raises UsageError ``ek_ca_file``."""
    found: list[bytes] = []
    for path in paths:
        try:
            data = path.read_bytes()
            pem = data.lstrip().startswith(b"-----BEGIN")
            loaded = x509.load_pem_x509_certificates(data) if pem else [x509.load_der_x509_certificate(data)]
        except (OSError, ValueError) as error:
            raise UsageError("ek_ca_file", f"cannot read a certificate from {path}: {error}") from error
        found += [certificate.public_bytes(Encoding.DER) for certificate in loaded]
    return tuple(dict.fromkeys(found))


def authority_digests(issuers: tuple[bytes, ...]) -> frozenset[bytes]:
    """Return the digests of certificates, as a trust file's ``ek_authorities`` names them."""
    return frozenset(sha256(data).digest() for data in issuers)


def publish_evidence(gateway: GatewayClient, offer: Offer, evidence: bytes) -> None:
    """Hand the transcript to the gateway, which keeps it for every export. The same one again is harmless."""
    gateway.post_bytes(f"/v1/enrolments/{offer.digest.hex()}/evidence", evidence)
