"""What stands behind a device's assurance level: an operator's word, or evidence that a reader can check himself
(``docs/format.md`` 8.6, 16).

What each party can do to it: a bundle author can leave the evidence out, and the level is then the operator's word; a
gateway cannot make evidence that an enrolment names; an operator can answer a challenge of his own without a TPM, so
that even PROVED supposes that who signed the enrolment kept the challenge's secret until it was answered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from edgeseal import attestation
from edgeseal.attestation import Attested
from edgeseal.bundle import Bundle
from edgeseal.ekchain import ANY_TIME, Times
from edgeseal.errors import EvidenceError
from edgeseal.statements.enrolment import Enrolment
from edgeseal.trust import Trust
from edgeseal.verify.case import Case
from edgeseal.verify.verdict import ATTESTED, PROVED

VERIFIED = "tpm-ek-verified"


@dataclass(frozen=True, slots=True)
class Assurance:
    """A level and its ground. ``by`` is the operator who enrolled the device; ``reason`` says why it is not PROVED."""

    level: str
    ground: str
    by: str
    detail: str
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of format.md 16."""
        return {
            "level": self.level, "ground": self.ground, "by": self.by, "reason": self.reason, "detail": self.detail
        }  # fmt: skip


def read_evidence(enrolment: Enrolment, bundle: Bundle, case: Case) -> Attested | None:
    """Return the evidence that an enrolment names, once it holds and is of that device; None where it is not here.

    Evidence that does not hold, or is another device's, is a failure of ``case``: the operator signed its digest.
    Raises what Bundle raises.
    """
    data = None if enrolment.evidence is None else bundle.enrolment_evidence(enrolment.evidence)
    if data is None:
        return None
    try:
        shown = attestation.check(data)
    except EvidenceError as error:
        case.fail(error.code, f"the evidence that the enrolment names does not hold: {error.message}")
        return None
    offer = shown.offer
    if (offer.key, offer.genesis, offer.name) != (enrolment.key, enrolment.genesis, enrolment.name):
        case.fail("evidence_mismatch", "the evidence that the enrolment names is of another device")
        return None
    given = enrolment.assurance.startswith("tpm") if shown.ak is not None else enrolment.assurance == offer.kind
    if not given:
        detail = f"the enrolment says {enrolment.assurance}, its evidence is of kind {offer.kind}"
        case.fail("evidence_mismatch", detail)
        return None
    return shown


def assurance(
    enrolment: Enrolment, shown: Attested | None, operator: str, trust: Trust | None, doubt: str | None, times: Times
) -> Assurance:
    """Return the level of an enrolment and its ground.

    (1) PROVED takes evidence that holds; (2) of a TPM; (3) whose certificate leads to an authority of the trust file,
    by certificates that were valid at one of the ``times`` in which it was asked; (4) and an operator whose key counted
    there, unless there is a ``doubt``, since a transcript is worth what the asking of it was; else the level is
    ATTESTED by the operator. Raises nothing.
    """
    level, by = enrolment.assurance, f"operator {operator}"

    def word(reason: str, detail: str) -> Assurance:
        return Assurance(level, ATTESTED, by, f"assurance {level} is ATTESTED by {by}: {detail}", reason)

    # (1)
    if enrolment.evidence is None:
        return word("no_evidence", "the enrolment names no evidence")
    if shown is None:
        return word("evidence_withheld", "the evidence it names is not here, or does not hold")
    # (2)
    if shown.ak is None:
        return word("no_tpm", "the key is in no TPM")
    # (3)
    if level != VERIFIED:
        return word("ek_uncertified", "nobody certified the TPM's endorsement key to the operator")
    found = _authority(shown, trust, times)
    if found is None:
        dated = "" if _authority(shown, trust, ANY_TIME) is None else " by certificates that were valid then"
        return word("ek_untrusted", f"its endorsement key's certificate leads to no authority of the trust file{dated}")
    # (4)
    if doubt is not None:
        return word("operator_not_shown", doubt)
    detail = (
        f"assurance {level} is PROVED: the key was made in the TPM whose certificate authority {found.hex()} vouches "
        f"for, cannot leave it and only signs; supposing that {by} kept the challenge secret until it was answered"
    )
    return Assurance(level, PROVED, by, detail)


def _authority(shown: Attested, trust: Trust | None, times: Times) -> bytes | None:
    if trust is None:
        return None
    try:
        return shown.authority(trust.ek_authorities, times)
    except EvidenceError:
        return None


def judge_same_tpm(case: Case, shown: Attested, others: list[Attested]) -> None:
    """Fail where a device of the same name was enrolled with another TPM, or once with and once without one."""
    for other in others:
        if other.offer.name == shown.offer.name and other.ek != shown.ek:
            case.fail("tpm_differs", f"device {shown.offer.name!r} was enrolled with another TPM in another epoch")
