"""What the verifier says of a device's assurance, and of its history by what the TPM attested."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from edgeseal import attestation, bundlewriter, segment, tpmstate
from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.head import Anchored
from edgeseal.trust import Trust
from edgeseal.verify import QUESTIONS, ChainView, Interval, RegistryKey, Verdict, verify
from tests.enrolments import AUTHORITY, MAKER, attest, evidence_of
from tests.softtpm import Maker, SoftTpm
from tests.tamper.evidence import partial, state_of
from tests.world import CHAIN, Device, World

LEVEL = "tpm-ek-verified"


class Site:
    """A world with one device that was enrolled with a transcript."""

    def __init__(self, tpm: SoftTpm | None = None, evidence: bytes | None = None, level: str = LEVEL) -> None:
        self.world = World()
        self.world.anchor(tell=False)
        self.tpm = tpm or SoftTpm("one")
        self.device = self.world.device("cam-1", enrol=False)
        self.evidence = evidence or evidence_of(self.device, self.tpm)
        self.world.enrol(self.device, assurance=level, evidence=sha256(self.evidence).digest())
        self.kept = [self.evidence]
        self.items: dict[bytes, list[segment.Item]] = {}

    def verdict(
        self, authorities: frozenset[bytes] = frozenset({AUTHORITY}), ask: Iterable[str] = QUESTIONS
    ) -> Verdict:
        for device in self.world.devices:
            if device.last[0] < device.size:
                device.seal()
            self.world.deliver(device)
        self.world.anchor()
        files = self.world.files(items=self.items)
        files |= {f"enrolments/{sha256(data).hexdigest()}.cbor": data for data in self.kept}
        trust = replace(self.world.trust(), ek_authorities=authorities)
        return verify(Bundle(MemorySource(files)), trust, ask=ask)

    def assurance(self, authorities: frozenset[bytes] = frozenset({AUTHORITY})) -> tuple[str, str | None]:
        found = self.verdict(authorities).as_json()["devices"][0]["assurance"]
        assert found["level"] in attestation.FILE + LEVEL + "softhsm tpm-unverified" and found["by"]
        return found["ground"], found["reason"]


def answer(verdict: Verdict, question: str) -> str:
    found = verdict.questions[question]
    return found.reason or found.answer


def test_evidence_that_leads_to_a_trusted_authority_is_proof() -> None:
    site = Site()
    verdict = site.verdict()
    (device,) = verdict.as_json()["devices"]
    assert (device["assurance"]["level"], device["assurance"]["ground"]) == (LEVEL, "PROVED")
    assert answer(verdict, "attribution") == "ok"
    assert "supposing that operator" in verdict.questions["attribution"].detail


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda site: site.kept.clear(), "evidence_withheld"),
        (lambda site: site.__setattr__("kept", [evidence_of(site.device, SoftTpm("other"))]), "evidence_withheld"),
    ],
)
def test_without_its_evidence_it_is_the_operators_word(change: Callable[[Site], None], reason: str) -> None:
    site = Site()
    change(site)
    assert site.assurance() == ("ATTESTED", reason)


def test_an_authority_that_nobody_trusts_proves_nothing() -> None:
    assert Site().assurance(authorities=frozenset()) == ("ATTESTED", "ek_untrusted")
    assert Site().assurance(authorities=frozenset({bytes(32)})) == ("ATTESTED", "ek_untrusted")


def level(bundle: Bundle, trust: Trust, chain: ChainView | None = None) -> tuple[str, str | None]:
    verdict = verify(bundle, trust, chain)
    assert answer(verdict, "attribution") in ("keysets_incomplete", "key_revoked")
    found = verdict.as_json()["devices"][0]["assurance"]
    return found["ground"], found["reason"]


def test_who_was_an_operator_once_proves_no_level() -> None:
    """He knows the challenge's secret, so that he needs no TPM to answer; a bundle can leave out what retired him."""
    site = Site()
    site.verdict()
    world, device = site.world, site.device
    trust = replace(world.trust(), ek_authorities=frozenset({AUTHORITY}))
    files = {f"enrolments/{sha256(site.evidence).hexdigest()}.cbor": site.evidence}
    options = partial(world, device, set()) | {"snapshots": []}
    shown = Bundle(MemorySource(world.files([device], **options) | files))
    assert level(shown, trust) == ("ATTESTED", "operator_not_shown")
    told = state_of(world, device)
    assert told.state is not None
    ended = RegistryKey("operator", (Interval(0, 1, 1),))
    chain = replace(told, state=replace(told.state, keys={**told.state.keys, world.operator.kid: ended}))
    assert level(Bundle(MemorySource(world.files() | files)), trust, chain) == ("ATTESTED", "operator_not_shown")


def test_on_the_gateways_word_alone_no_level_is_proved() -> None:
    """It could hide the keyset that removed an operator, who then makes a transcript without a TPM."""
    site = Site()
    site.verdict()
    world, device = site.world, site.device
    trust = replace(world.trust(), ek_authorities=frozenset({AUTHORITY}))
    files = {f"enrolments/{sha256(site.evidence).hexdigest()}.cbor": site.evidence}
    without: dict[str, Any] = {"anchors": []}
    for options in (partial(world, device, set()), without):
        verdict = verify(Bundle(MemorySource(world.files([device], **options) | files)), trust)
        assert answer(verdict, "attribution") == "ok"
        found = verdict.as_json()["devices"][0]["assurance"]
        assert (found["ground"], found["reason"]) == ("ATTESTED", "operator_not_shown"), options


@pytest.mark.parametrize(
    ("years", "found"),
    [
        ((2024, 2049), ("PROVED", None)),
        ((2024, 9999), ("PROVED", None)),
        ((2024, 2025), ("ATTESTED", "ek_untrusted")),
        ((2026, 2049), ("ATTESTED", "ek_untrusted")),
    ],
)
def test_a_certificate_that_was_not_valid_then_leads_nowhere(
    years: tuple[int, int], found: tuple[str, str | None]
) -> None:
    """The blocks of this chain are of October 2025; one of them is named below the fleet head of the genesis."""
    maker = Maker("maker")
    maker.years = years
    site = Site()
    site.verdict()
    first, site.world.devices = site.world.devices, []
    first[0].heartbeat()
    first[0].anchored = Anchored(site.world.log, site.world.size, site.world.root_hash(), CHAIN, block_of(site.world))
    first[0].seal()
    site.world.deliver(first[0])
    site.world.anchor()
    device = site.world.device("cam-2", enrol=False)
    evidence = evidence_of(device, SoftTpm("two"), maker)
    site.world.enrol(device, assurance=LEVEL, evidence=sha256(evidence).digest())
    site.kept = [evidence]
    assert site.assurance() == found


def block_of(world: World) -> bytes:
    return world.anchors[-1].block


def test_levels_below_are_the_operators_word() -> None:
    world = World()
    device = world.device("cam-1", enrol=False)
    soft, bare = evidence_of(device, None), evidence_of(device, SoftTpm("one"), None)
    assert attestation.check(soft).ek is None
    assert Site(evidence=bare, level="tpm-unverified").assurance() == ("ATTESTED", "evidence_withheld")


def made(level: str, make: Callable[[Device], bytes]) -> Site:
    """A site whose evidence is made for its own device."""
    site = Site()
    site.world = World()
    site.world.anchor(tell=False)
    site.device = site.world.device("cam-1", enrol=False)
    site.evidence = make(site.device)
    site.kept = [site.evidence]
    site.world.enrol(site.device, assurance=level, evidence=sha256(site.evidence).digest())
    return site


@pytest.mark.parametrize(
    ("level", "make", "reason"),
    [
        ("softhsm", lambda device: evidence_of(device, None), "no_tpm"),
        ("tpm-unverified", lambda device: evidence_of(device, SoftTpm("one"), None), "ek_uncertified"),
        (LEVEL, lambda device: evidence_of(device, SoftTpm("one"), Maker("stranger")), "ek_untrusted"),
        (LEVEL, lambda device: evidence_of(device, SoftTpm("one"), None), "ek_untrusted"),
    ],
)
def test_why_a_level_is_not_proved(level: str, make: Callable[[Device], bytes], reason: str) -> None:
    assert made(level, make).assurance() == ("ATTESTED", reason)


@pytest.mark.parametrize(
    ("level", "make", "reason"),
    [
        (LEVEL, lambda device: evidence_of(device, SoftTpm("one"), name="cam-2"), "evidence_mismatch"),
        (LEVEL, lambda device: evidence_of(device, SoftTpm("one"), genesis=bytes(32)), "evidence_mismatch"),
        (LEVEL, lambda device: evidence_of(device, None), "evidence_mismatch"),
        ("softhsm", lambda device: evidence_of(device, SoftTpm("one")), "evidence_mismatch"),
        ("softhsm", lambda device: evidence_of(device, None, kind="file"), "evidence_mismatch"),
        (LEVEL, lambda device: spoiled(evidence_of(device, SoftTpm("one"))), "bad_signature"),
    ],
)
def test_evidence_that_does_not_fit_fails_attribution(level: str, make: Callable[[Device], bytes], reason: str) -> None:
    verdict = made(level, make).verdict()
    assert answer(verdict, "attribution") == reason
    assert verdict.as_json()["devices"][0]["assurance"]["ground"] == "ATTESTED"


def spoiled(evidence: bytes) -> bytes:
    """Spoil the attestation key's signature."""
    at = evidence.index(b"csig\x58\x40") + 20
    return evidence[:at] + bytes([evidence[at] ^ 1]) + evidence[at + 1 :]


@pytest.mark.parametrize("other", [SoftTpm("other"), None])
def test_the_same_name_with_another_tpm_fails(other: SoftTpm | None) -> None:
    site = Site()
    second = site.world.device("cam-1", enrol=False, epoch=2)
    evidence = evidence_of(second, other)
    level = "softhsm" if other is None else LEVEL
    site.world.enrol(second, assurance=level, evidence=sha256(evidence).digest())
    site.kept.append(evidence)
    site.world.deliver(second)
    assert answer(site.verdict(), "attribution") == "tpm_differs"


def test_the_same_tpm_may_come_again() -> None:
    site = Site()
    second = site.world.device("cam-1", enrol=False, epoch=2)
    evidence = evidence_of(second, site.tpm)
    site.world.enrol(second, assurance=LEVEL, evidence=sha256(evidence).digest())
    site.kept.append(evidence)
    site.world.deliver(second)
    assert answer(site.verdict(), "attribution") == "ok"


# ---- Attest records --------------------------------------------------------------------------------------------------


def lived() -> Site:
    """A device whose TPM attested at two starts, a reset between them, and once more."""
    site = Site()
    device, tpm = site.device, site.tpm
    attest(device, tpm)
    pass_time(site, 20)
    device.boot, device.mono, tpm.resets = 2, 5, tpm.resets + 1
    device.add("boot", reason="start", clean=False, build="1.0", config=bytes(32))
    device.seal()
    attest(device, tpm)
    pass_time(site, 60)
    return site


def pass_time(site: Site, seconds: int, wall_s: int | None = None) -> None:
    """Let time go by: for the TPM, and for the wall clock perhaps another."""
    site.tpm.clock += 1_000 * seconds
    site.device.t += 1_000 * (seconds if wall_s is None else wall_s)


def test_a_history_that_the_tpm_confirms_is_dated_by_it() -> None:
    site = lived()
    attest(site.device, site.tpm)
    site.device.heartbeat(1)
    site.device.seal()
    verdict = site.verdict()
    assert verdict.as_json()["devices"][0]["assurance"]["ground"] == "PROVED"
    for question in ("append_only", "completeness", "cadence", "integrity"):
        assert answer(verdict, question) == "ok", verdict.questions[question]
    assert "3 attest records by the TPM" in verdict.questions["append_only"].detail
    assert "the TPM was started 1 times and powered 80 s" in verdict.questions["cadence"].detail


def test_attest_records_of_a_key_that_nobody_certified_are_not_called_a_tpms() -> None:
    site = lived()
    verdict = site.verdict(authorities=frozenset())
    assert answer(verdict, "append_only") == "ok"
    assert "that it is one is the operator's word" in verdict.questions["append_only"].detail
    assert "that it is one" not in site.verdict().questions["append_only"].detail


def test_a_repeated_counter_is_a_power_cut_and_no_defect() -> None:
    site = lived()
    site.tpm.counter -= 1
    attest(site.device, site.tpm)
    verdict = site.verdict()
    assert (answer(verdict, "append_only"), answer(verdict, "completeness")) == ("ok", "ok")


@pytest.mark.parametrize(
    ("change", "question", "reason"),
    [
        (lambda site: setattr(site.tpm, "resets", 3), "append_only", "tpm_resets_fell"),
        (lambda site: setattr(site.tpm, "clock", 900_000), "append_only", "tpm_clock_fell"),
        (lambda site: setattr(site.tpm, "counter", 2), "append_only", "tpm_counter_fell"),
        (lambda site: setattr(site.tpm, "counter", 12), "completeness", "attests_missing"),
        (lambda site: setattr(site.tpm, "resets", 7), "cadence", "boots_missing"),
        (lambda site: pass_time(site, 86_400, 60), "cadence", "clock_contradicts_tpm"),
        (lambda site: pass_time(site, 60, 86_400), "cadence", "clock_contradicts_tpm"),
        (lambda site: setattr(site, "tpm", SoftTpm("other", resets=9)), "append_only", "bad_signature"),
    ],
)
def test_what_the_tpm_contradicts(change: Callable[[Site], None], question: str, reason: str) -> None:
    site = lived()
    change(site)
    attest(site.device, site.tpm)
    verdict = site.verdict()
    assert answer(verdict, question) == reason, verdict.questions[question]


def test_append_only_asked_alone_reads_attest_records_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundlewriter, "CHUNK_BYTES", 1)
    site = lived()
    site.tpm.counter = 2
    attest(site.device, site.tpm)
    assert answer(site.verdict(ask=["append_only"]), "append_only") == "tpm_counter_fell"


def test_a_clock_that_is_not_safe_after_a_power_cut_contradicts_nothing() -> None:
    site = lived()
    site.tpm.resets, site.tpm.clock, site.tpm.safe = site.tpm.resets + 1, 900_000, False
    site.device.boot, site.device.mono = 3, 5
    site.device.add("boot", reason="start", clean=False, build="1.0", config=bytes(32))
    site.device.seal()
    attest(site.device, site.tpm)
    assert answer(site.verdict(), "append_only") == "ok"


@pytest.mark.parametrize(
    "head",
    [
        lambda device: (2, bytes(32)),
        lambda device: (device.size + 1, device.root()),
        lambda device: (2, device.root(2)),
    ],
)
def test_an_attest_record_over_another_head_fails(head: Callable[[Device], tuple[int, bytes]]) -> None:
    site = lived()
    attest(site.device, site.tpm, head=head(site.device))
    assert answer(site.verdict(), "append_only") == "attest_head"


def test_an_attest_record_over_a_head_that_nobody_shows_says_nothing() -> None:
    """Else whoever has the TPM could let it attest today what he records as of today next week."""
    site = lived()
    device, tpm = site.device, site.tpm
    for _ in range(2):
        device.add("state", name="unsealed", pub={})
    made_up = (device.size - 1, bytes(32))
    attest(device, tpm, head=made_up)
    pass_time(site, 20)
    attest(device, tpm)
    verdict = site.verdict()
    assert "1 attest records are not judged" in verdict.questions["append_only"].detail
    assert answer(verdict, "completeness") == "ok", "nor is its count held against the next one"


def test_a_counter_that_is_no_longer_shown_may_have_risen() -> None:
    """Who put an older image back leaves the counter out, once or from then on."""
    for again in (False, True):
        site = lived()
        device, tpm = site.device, site.tpm
        tpm.counter += 3
        extra = tpmstate.nonce(device.log, *device.last)
        device.add("attest", type=tpmstate.TYPE, evidence=tpmstate.encode(*device.last, tpm.quoted(extra), None))
        device.seal()
        if again:
            pass_time(site, 20)
            attest(device, tpm)
        assert answer(site.verdict(), "completeness") == "attests_missing"


def test_another_counter_of_the_same_tpm_takes_nobodys_place() -> None:
    """Who has the machine can keep a second counter that stands where the first one stood when he took the image."""
    site = lived()
    site.tpm.nv_attributes ^= 1
    attest(site.device, site.tpm)
    assert answer(site.verdict(), "completeness") == "attests_missing"


def test_records_over_heads_that_nobody_shows_explain_no_leap_of_the_counter() -> None:
    site = lived()
    device, tpm = site.device, site.tpm
    tpm.counter += 3
    for _ in range(3):
        device.add("state", name="unsealed", pub={})
        device.add("state", name="unsealed", pub={})
        attest(device, tpm, head=(device.size - 1, bytes(32)))
        tpm.counter -= 1
        pass_time(site, 20)
    attest(device, tpm)
    assert answer(site.verdict(), "completeness") == "attests_missing"


def test_attest_records_that_cannot_be_judged_leave_open_what_they_would_tell() -> None:
    """Else whoever makes the bundle leaves the transcript out, or the body that shows that an older image came back."""
    site = lived()
    site.tpm.counter += 3
    attest(site.device, site.tpm)
    assert answer(site.verdict(), "completeness") == "attests_missing"
    site.kept.clear()
    verdict = site.verdict()
    assert (answer(verdict, "append_only"), answer(verdict, "integrity")) == ("ok", "ok")
    assert (answer(verdict, "completeness"), answer(verdict, "cadence")) == ("evidence_withheld", "evidence_withheld")
    site.kept.append(site.evidence)
    items = site.device.items()
    for number, made in enumerate(site.device.records):
        if b"attest" in made.header:
            items[number] = segment.header_only(made.header, "withheld")
    site.items = {site.device.log: items}
    verdict = site.verdict()
    assert (answer(verdict, "completeness"), answer(verdict, "cadence")) == ("body_withheld", "body_withheld")


def test_attest_records_whose_bodies_the_device_dropped_are_not_missing() -> None:
    site = lived()
    for _ in range(3):
        pass_time(site, 5)
        attest(site.device, site.tpm)
    hidden = [number for number, made in enumerate(site.device.records) if b"attest" in made.header][2:4]
    site.device.add("thinned", ranges=[[number, number + 1] for number in hidden], form=1, reason="quota")
    site.device.seal()
    items = site.device.items()
    for number in hidden:
        items[number] = segment.header_only(site.device.records[number].header, "withheld")
    site.items = {site.device.log: items}
    verdict = site.verdict()
    assert (answer(verdict, "append_only"), answer(verdict, "completeness")) == ("ok", "ok")
    assert "2 attest records are not judged" in verdict.questions["append_only"].detail


def test_an_attest_record_that_is_repeated_fails() -> None:
    site = lived()
    attest(site.device, site.tpm)
    again = site.device.records[-1]
    fields = {"type": "tpm2", "evidence": record_evidence(again.body)}
    site.device.add("attest", **fields)
    site.device.seal()
    assert answer(site.verdict(), "append_only") == "tpm_clock_fell"


def record_evidence(body: bytes) -> bytes:
    from edgeseal.record import decode_body

    evidence: bytes = decode_body("attest", body)["evidence"]
    return evidence


def test_nothing_is_said_of_attest_records_without_their_key() -> None:
    site = lived()
    site.kept.clear()
    site.tpm.counter = 2
    attest(site.device, site.tpm)
    verdict = site.verdict()
    assert answer(verdict, "append_only") == "ok"
    assert "not judged" in verdict.questions["append_only"].detail
    assert MAKER.certificate
