"""The transcript of an attested enrolment: what the device offered, what it was asked, what its TPM answered
(``docs/format.md`` 8.6).

Every part names the digest of the one before, and the TPM's own signature names them all, so that no part of one
exchange fits into another. Making the parts and checking them; asking and sending is the programs'.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, credential, ekchain, limits, schema, tpmstruct
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError, VerificationError
from edgeseal.head import SignedDeviceHead
from edgeseal.statements.enrolment import device_log_id
from edgeseal.tpmstruct import FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN, Public

TPM, SOFTHSM, FILE = "tpm", "softhsm", "file"
"""Where a device says that its key is."""
INSIDE: Final = FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN
"""Attributes of a key that was made in its TPM and cannot leave it."""

_structure = schema.binary(1, limits.MAX_TPM_STRUCTURE)
_certificates = schema.items(schema.binary(1, limits.MAX_CERTIFICATE), limits.MAX_CERTIFICATES)
_signature = schema.binary(64, 64)
_TPM: Final = schema.closed({"ek": _structure, "chain": _certificates, "ak": _structure, "pub": _structure})
_OFFER: Final = schema.closed(
    {
        "v": schema.one_of(1),
        "claim": schema.digest,
        "name": schema.name,
        "key": schema.point,
        "genesis": schema.digest,
        "head": schema.binary(1, limits.MAX_HEAD),
        "groups": schema.items(schema.name, limits.MAX_GROUPS),
        "cadence": schema.positive,
        "kind": schema.one_of(FILE, SOFTHSM, TPM),
        "tpm": schema.maybe(_TPM),
    }
)
_CHALLENGE: Final = schema.closed(
    {"v": schema.one_of(1), "offer": schema.digest, "nonce": schema.digest, "cred": _structure, "seed": _structure}
)
_ANSWER: Final = schema.closed(
    {
        "v": schema.one_of(1),
        "challenge": schema.digest,
        "secret": schema.digest,
        "attest": _structure,
        "sig": _signature,
    }
)
_ASKED: Final = schema.closed(
    {"challenge": schema.binary(1, limits.MAX_OFFER), "answer": schema.binary(1, limits.MAX_OFFER),
     "random": schema.binary(32, 64), "issuers": _certificates}
)  # fmt: skip
_EVIDENCE: Final = schema.closed(
    {"v": schema.one_of(1), "offer": schema.binary(1, limits.MAX_OFFER), "tpm": schema.maybe(_ASKED)}
)


@dataclass(frozen=True, slots=True)
class TpmOffer:
    """What a TPM shows: endorsement key with its certificate and perhaps its issuers', attestation key, signing key."""

    ek: Public
    chain: tuple[bytes, ...]
    ak: Public
    signing: Public


@dataclass(frozen=True, slots=True)
class Offer:
    """What a device asks to be enrolled as. Its digest is the fingerprint that people compare."""

    raw: bytes
    claim: bytes
    name: str
    key: PublicKey
    genesis: bytes
    head: bytes
    groups: tuple[str, ...]
    cadence_s: int
    kind: str
    tpm: TpmOffer | None

    @property
    def digest(self) -> bytes:
        """The fingerprint, 32 bytes."""
        return sha256(self.raw).digest()

    @property
    def log(self) -> bytes:
        """The id of the device log that is to be enrolled."""
        return device_log_id(self.key.kid)


@dataclass(frozen=True, slots=True)
class Challenge:
    """What only the TPM of the endorsement key, holding the attestation key, can answer."""

    raw: bytes
    offer: bytes
    nonce: bytes
    credential: credential.Credential

    @property
    def digest(self) -> bytes:
        """What the answer names."""
        return sha256(self.raw).digest()


@dataclass(frozen=True, slots=True)
class Attested:
    """Evidence that holds: who was enrolled, and for a TPM its attestation key and the issuers' certificates."""

    offer: Offer
    ak: PublicKey | None
    issuers: tuple[bytes, ...]

    @property
    def ek(self) -> bytes | None:
        """The digest of the endorsement key's public area, by which a TPM is told from another; None without one."""
        return None if self.offer.tpm is None else sha256(self.offer.tpm.ek.raw).digest()

    def authority(self, authorities: frozenset[bytes], times: ekchain.Times = ekchain.ANY_TIME) -> bytes | None:
        """Return which of the authorities certifies the endorsement key; None: none of them, or there is no TPM.

        ``times`` are those between which it was asked. Raises FormatError ``ek_certificate``.
        """
        tpm = self.offer.tpm
        if tpm is None or not tpm.chain:
            return None
        return ekchain.authority(tpm.chain[0], (*tpm.chain[1:], *self.issuers), authorities, times)


def evidence_digest(evidence: bytes) -> bytes:
    """Return the digest by which an enrolment names its evidence."""
    return sha256(evidence).digest()


def claim_digest(token: bytes) -> bytes:
    """Return the digest under which a claim token stands in an offer: the token itself stays secret."""
    return sha256(domain("claim") + token).digest()


def make_offer(fields: dict[str, Any]) -> Offer:
    """Return the offer of these fields (without ``v``). Raises FormatError as :func:`read_offer`."""
    return read_offer(cbor.encode({"v": 1, **fields}))


def read_offer(data: bytes) -> Offer:
    """Return the offer in untrusted bytes, its shape checked and nothing more.

    Raises FormatError: CBOR, shape, TPM structure, ``key_invalid``; ``enum`` where kind and TPM part disagree.
    """
    fields = cbor.decode(data, max_size=limits.MAX_OFFER)
    _OFFER(fields, "offer")
    if (fields["tpm"] is None) == (fields["kind"] == TPM):
        raise FormatError("enum", "offer: a TPM part belongs to kind tpm, and to no other")
    shown = fields["tpm"]
    tpm = None if shown is None else TpmOffer(
        tpmstruct.public(shown["ek"]), tuple(shown["chain"]), tpmstruct.public(shown["ak"]),
        tpmstruct.public(shown["pub"]),
    )  # fmt: skip
    return Offer(
        bytes(data), fields["claim"], fields["name"], PublicKey.from_point(fields["key"]), fields["genesis"],
        fields["head"], tuple(fields["groups"]), fields["cadence"], fields["kind"], tpm,
    )  # fmt: skip


def check_offer(offer: Offer) -> None:
    """Check all of an offer that needs no challenge: (1) its head is signed by its key; (2) the endorsement key is one,
    and of its certificate; (3) the attestation key signs only what the TPM makes; (4) the signing key is this key, was
    made in a TPM, cannot leave it and can only sign.

    Raises:
        FormatError, VerificationError: of the head; ``wrong_key``, ``ek_attributes``, ``ek_certificate``,
        ``ek_mismatch``, ``ak_attributes``, ``key_attributes``.
    """
    # (1)
    if SignedDeviceHead.decode(offer.head).verify(offer.key).log != offer.log:
        raise VerificationError("log_id", "the head is of another log than its key's")
    if offer.tpm is None:
        return
    # (2)
    ek, ak, signing = offer.tpm.ek, offer.tpm.ak, offer.tpm.signing
    if not ek.has(INSIDE | RESTRICTED | tpmstruct.DECRYPT, SIGN) or not ek.symmetric_bits:
        raise VerificationError("ek_attributes", "the endorsement key is no storage key bound to its TPM")
    if offer.tpm.chain:
        ekchain.check_leaf(offer.tpm.chain[0], ek)
    # (3)
    if not ak.has(INSIDE | RESTRICTED | SIGN, tpmstruct.DECRYPT) or ak.point is None or ak.scheme != tpmstruct.ECDSA:
        raise VerificationError("ak_attributes", "the attestation key is no restricted P-256 signing key of a TPM")
    # (4)
    if not signing.has(INSIDE | SIGN, RESTRICTED | tpmstruct.DECRYPT):
        raise VerificationError("key_attributes", "the signing key can leave its TPM, or do more than sign")
    if signing.point != offer.key:
        raise VerificationError("wrong_key", "the TPM's signing key is not the key of the log")


def make_challenge(offer: Offer, nonce: bytes, secret: bytes, random: bytes) -> Challenge:
    """Return the challenge to the TPM of a checked offer.

    ``nonce``, ``secret`` (32 bytes each) and ``random`` (:func:`edgeseal.credential.random_size`) must be fresh, and
    the last two kept from everybody until the answer is there: whoever knows them can answer without a TPM.
    """
    assert offer.tpm is not None
    made = credential.make(offer.tpm.ek, offer.tpm.ak.name, secret, random)
    fields = {"v": 1, "offer": offer.digest, "nonce": nonce, "cred": made.blob, "seed": made.seed}
    return read_challenge(cbor.encode(fields))


def read_challenge(data: bytes) -> Challenge:
    """Return the challenge in untrusted bytes. Raises FormatError: CBOR or shape."""
    fields = cbor.decode(data, max_size=limits.MAX_OFFER)
    _CHALLENGE(fields, "challenge")
    made = credential.Credential(fields["cred"], fields["seed"])
    return Challenge(bytes(data), fields["offer"], fields["nonce"], made)


def qualifier(offer: bytes, challenge: bytes, secret: bytes) -> bytes:
    """Return what the attestation key signs beside the signing key: one hash of the whole transcript, 32 bytes."""
    return sha256(domain("attested-enrolment") + offer + challenge + secret).digest()


def make_answer(challenge: Challenge, secret: bytes, attest: bytes, signature: bytes) -> bytes:
    """Return the answer's bytes: the opened secret, and TPMS_ATTEST (creation) with its signature, r ‖ s, low-S."""
    fields = {"v": 1, "challenge": challenge.digest, "secret": secret, "attest": attest, "sig": signature}
    _ANSWER(fields, "answer")
    return cbor.encode(fields)


def make_evidence(
    offer: Offer, asked: tuple[Challenge, bytes, bytes] | None = None, issuers: tuple[bytes, ...] = ()
) -> bytes:
    """Return the evidence, whose digest an enrolment names; ``asked`` is (challenge, answer, randomness) for a TPM."""
    tpm = None if asked is None else {
        "challenge": asked[0].raw, "answer": asked[1], "random": asked[2], "issuers": list(issuers),
    }  # fmt: skip
    return cbor.encode({"v": 1, "offer": offer.raw, "tpm": tpm})


def check(evidence: bytes) -> Attested:
    """Return what untrusted evidence shows, once it holds as one transcript.

    (1) offer, challenge and answer name one another; (2) the offer holds by itself; (3) the credential, made again from
    the secret and the randomness disclosed, is the one that was asked: for this endorsement and this attestation key;
    (4) the attestation key signed, over the whole transcript, that its TPM made the signing key.

    What no transcript shows is that the challenger kept the secret until it was answered: that stays his word.

    Raises:
        FormatError: CBOR, shape, TPM structures.
        VerificationError: ``transcript_mismatch``, ``credential_mismatch``, ``attest_nonce``, ``key_not_certified``,
            ``bad_signature`` and the like, and what :func:`check_offer` raises.
    """
    fields = cbor.decode(evidence, max_size=limits.MAX_ENROLMENT)
    _EVIDENCE(fields, "evidence")
    # (1)
    offer, asked = read_offer(fields["offer"]), fields["tpm"]
    if (offer.tpm is None) != (asked is None):
        raise VerificationError("transcript_mismatch", "a TPM that was not asked, or an answer of none")
    if offer.tpm is None or asked is None:
        check_offer(offer)
        return Attested(offer, None, ())
    challenge = read_challenge(asked["challenge"])
    answer = cbor.decode(asked["answer"], max_size=limits.MAX_OFFER)
    _ANSWER(answer, "answer")
    if challenge.offer != offer.digest or answer["challenge"] != challenge.digest:
        raise VerificationError("transcript_mismatch", "parts of different exchanges")
    # (2)
    check_offer(offer)
    # (3)
    made = credential.make(offer.tpm.ek, offer.tpm.ak.name, answer["secret"], asked["random"])
    if made != challenge.credential:
        raise VerificationError("credential_mismatch", "another secret, or asked of another TPM or attestation key")
    # (4)
    ak = _check_certified(offer, challenge, answer)
    return Attested(offer, ak, tuple(asked["issuers"]))


def _check_certified(offer: Offer, challenge: Challenge, answer: dict[str, Any]) -> PublicKey:
    assert offer.tpm is not None and offer.tpm.ak.point is not None
    ak = offer.tpm.ak.point
    said = tpmstruct.attested(answer["attest"], tpmstruct.CREATION)
    ak.verify(answer["attest"], answer["sig"])
    if said.extra != qualifier(offer.digest, challenge.digest, answer["secret"]):
        raise VerificationError("attest_nonce", "the TPM signed for another exchange")
    if said.name != offer.tpm.signing.name:
        raise VerificationError("key_not_certified", "the attestation key certified another key")
    return ak
