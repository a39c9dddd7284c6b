"""The error tree: which handling each error falls under, and that it survives a process boundary."""

from __future__ import annotations

import pickle

import pytest

from edgeseal import errors


@pytest.mark.parametrize("kind", [errors.FormatError, errors.VerificationError, errors.TrustError])
def test_bad_evidence_is_one_family(kind: type[errors.EvidenceError]) -> None:
    assert issubclass(kind, errors.EvidenceError)


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.InvariantBroken, errors.UsageError])
def test_other_handlings_are_not_evidence(kind: type[errors.EdgesealError]) -> None:
    assert issubclass(kind, errors.EdgesealError)
    assert not issubclass(kind, errors.EvidenceError)


def test_pickle_keeps_code_message_and_remedy() -> None:
    error = pickle.loads(pickle.dumps(errors.FormatError("cbor_trailing", "3 bytes follow", "send one object")))
    assert type(error) is errors.FormatError
    assert (error.code, error.message, error.remedy) == ("cbor_trailing", "3 bytes follow", "send one object")
    assert str(error) == "cbor_trailing: 3 bytes follow"
