"""The letter box of enrolment: who may apply, once, with what; and the transcripts that are kept."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest

from edgeseal import attestation
from edgeseal.errors import EdgesealError
from edgeseal_gateway import enrolling
from edgeseal_gateway.store import enrolling as store
from tests.enrolments import TOKEN, evidence_of, offer_of
from tests.gatewaystore import Founded
from tests.softtpm import SoftTpm
from tests.vectors.encoding import token
from tests.world import Device

NOW, DAY = 1_000_000, 86_400


@pytest.fixture
def box(founded: Founded) -> Founded:
    with founded.database.write() as connection:
        store.prepare(connection)
        enrolling.new_claim(connection, TOKEN, ("all", "line-1"), NOW, DAY)
    return founded


def leave(box: Founded, offer: attestation.Offer, key: bytes = TOKEN, now: int = NOW) -> attestation.Offer:
    with box.database.write() as connection:
        return enrolling.offered(connection, key, offer.raw, now)


def refusal(box: Founded, offer: attestation.Offer, key: bytes = TOKEN, now: int = NOW) -> str:
    with pytest.raises(EdgesealError) as caught:
        leave(box, offer, key, now)
    return caught.value.code


def device_of(box: Founded, name: str = "cam") -> Device:
    return box.tenant.device_of(name)


def test_a_claim_is_good_for_one_offer_which_may_come_again(box: Founded) -> None:
    offer = offer_of(device_of(box), SoftTpm("one"))
    assert leave(box, offer).digest == leave(box, offer, now=NOW + 1_000 * DAY).digest
    assert refusal(box, offer_of(device_of(box, "other"), SoftTpm("two"))) == "claim_used"
    with box.database.read() as connection:
        (claim,) = store.claims(connection)
        assert (claim.state, claim.offer) == (store.USED, offer.digest)
        assert enrolling.shown(connection, enrolling.of_operator(connection, offer.digest))["state"] == "offered"


def test_claims_that_are_not_good(box: Founded) -> None:
    offer = offer_of(device_of(box), SoftTpm("one"))
    assert refusal(box, offer, now=NOW + 1_000 * DAY) == "claim_expired"
    assert refusal(box, offer, b"") == "claim_unknown"
    assert refusal(box, offer, bytes(32)) == "claim_unknown"
    other = token("another claim")
    with box.database.write() as connection:
        enrolling.new_claim(connection, other, (), NOW, DAY)
    assert refusal(box, offer, other) == "claim_unknown", "made with another claim than it comes with"
    assert refusal(box, offer_of(device_of(box), None, groups=["line-2"])) == "claim_groups"
    with box.database.write() as connection:
        assert store.set_claim(connection, attestation.claim_digest(TOKEN), store.REVOKED)
        assert not store.set_claim(connection, attestation.claim_digest(TOKEN), store.USED)
    assert refusal(box, offer) == "claim_revoked"


@pytest.mark.parametrize(("seconds", "code"), [(0, "claim_seconds"), (enrolling.MAX_SECONDS + 1, "claim_seconds")])
def test_a_claim_ends(box: Founded, seconds: int, code: str) -> None:
    with pytest.raises(EdgesealError, match=code), box.database.write() as connection:
        enrolling.new_claim(connection, bytes(32), (), NOW, seconds)


def test_claims_that_were_used_take_no_room_from_new_ones(box: Founded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolling, "MAX_CLAIMS", 1)
    leave(box, offer_of(device_of(box), SoftTpm("one")))
    with box.database.write() as connection:
        enrolling.new_claim(connection, token("another claim"), (), NOW, DAY)
        assert sorted(one.state for one in store.claims(connection)) == [store.NEW, store.USED]


def test_claims_that_ended_make_room_for_new_ones(box: Founded, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(enrolling, "MAX_CLAIMS", 1)
    with box.database.write() as connection:
        with pytest.raises(EdgesealError, match="too_many_claims"):
            enrolling.new_claim(connection, token("next"), (), NOW, DAY)
        enrolling.new_claim(connection, token("next"), (), NOW + 1_000 * DAY, DAY)
        assert [claim.digest for claim in store.claims(connection)] == [attestation.claim_digest(token("next"))]


def test_an_offer_that_does_not_hold_uses_no_claim_up(box: Founded) -> None:
    device = device_of(box)
    tpm = SoftTpm("one")
    assert refusal(box, offer_of(device, tpm, genesis=bytes(32), key=box.tenant.outsider.public.point)) == "wrong_key"
    leave(box, offer_of(device, tpm))


def test_letters_go_both_ways_and_answers_stay(box: Founded) -> None:
    offer = leave(box, offer_of(device_of(box), SoftTpm("one")))
    with box.database.write() as connection:
        store.reply(connection, offer.digest, b"unasked")
        assert enrolling.of_operator(connection, offer.digest).reply is None
        enrolling.asked(connection, offer.digest, b"first")
        store.reply(connection, offer.digest, b"answer")
        store.reply(connection, offer.digest, b"another")
        found = enrolling.of_device(connection, TOKEN, offer.digest)
        assert (found.ask, found.reply) == (b"first", b"answer")
        enrolling.asked(connection, offer.digest, b"second")
        assert enrolling.of_operator(connection, offer.digest).reply is None, "an answer to another question"
        with pytest.raises(EdgesealError, match="claim_unknown"):
            enrolling.of_device(connection, bytes(32), offer.digest)
        with pytest.raises(EdgesealError, match="offer_unknown"):
            enrolling.asked(connection, bytes(32), b"")


def test_a_transcript_is_kept_once_and_only_if_it_holds(box: Founded) -> None:
    device = device_of(box)
    offer = leave(box, offer_of(device, SoftTpm("one")))
    good = evidence_of(device, SoftTpm("one"))
    assert attestation.check(good).offer.digest == offer.digest
    with box.database.write() as connection:
        for _ in range(2):
            assert enrolling.accepted(connection, offer.digest, good) == sha256(good).digest()
        assert store.evidence(connection, b"", 64) == [(sha256(good).digest(), good)]
        assert store.evidence(connection, sha256(good).digest(), 64) == []
        for bad in (good[:-1], evidence_of(device, SoftTpm("one"), cadence=31)):
            with pytest.raises(EdgesealError, match=r"cbor_truncated|transcript_mismatch"):
                enrolling.accepted(connection, offer.digest, bad)


@pytest.mark.parametrize("tpm", [SoftTpm("another"), None])
def test_the_same_name_with_another_tpm_is_refused(box: Founded, tpm: SoftTpm | None) -> None:
    device = device_of(box)
    offer = leave(box, offer_of(device, SoftTpm("one")))
    fresh: dict[str, Any] = {"claim": attestation.claim_digest(token("next"))}
    with box.database.write() as connection:
        enrolling.accepted(connection, offer.digest, evidence_of(device, SoftTpm("one")))
        enrolling.new_claim(connection, token("next"), ("all",), NOW, DAY)
    assert refusal(box, offer_of(device, tpm, **fresh), token("next")) == "tpm_differs"
    assert leave(box, offer_of(device, SoftTpm("one"), **fresh), token("next")), "the same TPM, its next epoch"


def test_an_enrolled_device_is_not_asked_again(box: Founded) -> None:
    device = device_of(box)
    offer = leave(box, offer_of(device, SoftTpm("one")))
    box.hand_in(box.tenant.enrolment(device))
    with box.database.write() as connection:
        with pytest.raises(EdgesealError, match="already_enrolled"):
            enrolling.asked(connection, offer.digest, b"?")
        assert enrolling.shown(connection, enrolling.of_operator(connection, offer.digest))["state"] == "enrolled"
        enrolling.new_claim(connection, token("next"), ("all",), NOW, DAY)
    again = offer_of(device, SoftTpm("one"), claim=attestation.claim_digest(token("next")))
    assert refusal(box, again, token("next")) == "already_enrolled"


def test_an_older_store_gets_the_tables(founded: Founded) -> None:
    for _ in range(2):
        with founded.database.write() as connection:
            store.prepare(connection)
            assert store.claims(connection) == []
