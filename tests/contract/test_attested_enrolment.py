"""Attested enrolment and attest records with a real (software) TPM 2.0: what it answers, and what it refuses.

With ``EDGESEAL_RECORD=1`` the answers are written to ``tests/vectors/recorded``, as the vectors hold them.
"""

from __future__ import annotations

import dataclasses
import json
import os
import secrets
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgeseal import attestation, credential, tpmstate, tpmstruct
from edgeseal.adapters import pkcs11 as adapter
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.adapters.tpmtools import TpmTools
from edgeseal.errors import Unavailable, VerificationError
from edgeseal_agent import checks
from edgeseal_agent.attestoffer import shown
from edgeseal_agent.configkey import TpmConfig
from tests.enrolments import TOKEN
from tests.realparts.tpm import Maker, SoftwareTpm, key_of
from tests.softtpm import SoftTpm
from tests.world import Device, Key, World

RECORDED = Path(__file__).parents[1] / "vectors" / "recorded"
COUNTER = "0x1500010"


class TpmKey(Key):
    """A device key in a TPM, for a device of the world in memory."""

    def __init__(self, signer: Pkcs11Signer) -> None:
        self.public, self._signer = signer.public_key, signer

    def sign(self, message: bytes) -> bytes:
        return self._signer.sign(message)


@dataclasses.dataclass
class Bound:
    """A provisioned TPM, and a device whose log its key signs."""

    tpm: SoftwareTpm
    tools: TpmTools
    evidence: Path
    device: Device
    maker: Maker

    def offer(self, **tpm: Any) -> attestation.Offer:
        config = TpmConfig(self.evidence, self.tpm.tcti, 60, COUNTER)
        device = self.device
        return attestation.make_offer(
            {
                "claim": attestation.claim_digest(TOKEN), "name": device.name, "key": device.key.public.point,
                "genesis": device.records[0].leaf, "head": device.heads[0], "groups": [], "cadence": 30, "kind": "tpm",
                "tpm": shown(config) | tpm,
            }
        )  # fmt: skip

    def answer(self, offer: attestation.Offer, challenge: attestation.Challenge) -> bytes:
        """What the agent does with a challenge."""
        assert offer.tpm is not None
        secret = self.tools.activate(offer.tpm.ek, challenge.credential.blob, challenge.credential.seed)
        qualifier = attestation.qualifier(offer.digest, challenge.digest, secret)
        return attestation.make_answer(challenge, secret, *self.tools.certify_creation(self.evidence, qualifier))


@pytest.fixture(scope="module")
def bound(provisioned_tpm: tuple[SoftwareTpm, str], maker: Maker) -> Iterator[Bound]:
    tpm, printed = provisioned_tpm
    _, key = key_of(printed)
    device = Device(World(), TpmKey(Pkcs11Signer(key)), "pi-7")
    device.begin()
    adapter.release(key)  # the tools flush what it holds in the TPM
    yield Bound(tpm, TpmTools(tpm.tcti), tpm.directory / "state/evidence", device, maker)


def challenge_to(offer: attestation.Offer) -> tuple[attestation.Challenge, bytes, bytes]:
    assert offer.tpm is not None
    secret, random = secrets.token_bytes(32), secrets.token_bytes(credential.random_size(offer.tpm.ek))
    return attestation.make_challenge(offer, secrets.token_bytes(32), secret, random), secret, random


def rsa_offer(bound: Bound) -> attestation.Offer:
    """The same TPM, shown with its RSA endorsement key."""
    folder = bound.tpm.directory
    if not (folder / "rsa.pem").exists():
        bound.tpm.tool("tpm2_createek", "-Q", "-G", "rsa", "-c", "0x81010001", "-u", str(folder / "rsa.tss"))
        bound.tpm.tool("tpm2_readpublic", "-Q", "-c", "0x81010001", "-f", "tss", "-o", str(folder / "rsa.pub"))
        bound.tpm.tool("tpm2_readpublic", "-Q", "-c", "0x81010001", "-f", "pem", "-o", str(folder / "rsa.pem"))
    certificate = bound.maker.sign_for((folder / "rsa.pem").read_bytes())
    return bound.offer(ek=tpmstruct.unwrapped((folder / "rsa.pub").read_bytes()), chain=[certificate])


@pytest.mark.parametrize("kind", ["ecc", "rsa"])
def test_a_tpm_shows_that_the_key_is_in_it(bound: Bound, kind: str) -> None:
    offer = bound.offer() if kind == "ecc" else rsa_offer(bound)
    attestation.check_offer(offer)
    challenge, _, random = challenge_to(offer)
    evidence = attestation.make_evidence(
        offer, (challenge, bound.answer(offer, challenge), random), (bound.maker.der,)
    )  # fmt: skip
    found = attestation.check(evidence)
    authority = sha256(bound.maker.der).digest()
    assert found.ak is not None and found.authority(frozenset({authority})) == authority
    assert found.authority(frozenset({bytes(32)})) is None
    output = {
        "kind": "tpm", "fingerprint": offer.digest, "ak": found.ak.point, "authority": authority,
    }  # fmt: skip
    given = {"evidence": evidence, "authorities": [authority]}
    record(f"tpm-{kind}", f"swtpm, an {kind.upper()} endorsement key", "enrolment-evidence", given, output)


def test_a_tpm_opens_nothing_that_is_not_for_it(bound: Bound) -> None:
    offer = bound.offer()
    assert offer.tpm is not None
    other = SoftTpm("other")
    ek, random = tpmstruct.public(other.ek_public()), secrets.token_bytes(32)
    for made in (
        credential.make(ek, offer.tpm.ak.name, bytes(32), random),
        credential.make(offer.tpm.ek, tpmstruct.public(other.ak_public()).name, bytes(32), random),
    ):
        with pytest.raises(Unavailable, match="tpm2_activatecredential"):
            bound.tools.activate(offer.tpm.ek, made.blob, made.seed)
    challenge, secret, _ = challenge_to(offer)
    assert bound.tools.activate(offer.tpm.ek, challenge.credential.blob, challenge.credential.seed) == secret


def test_an_answer_fits_one_exchange_only(bound: Bound) -> None:
    offer = bound.offer()
    first, second = challenge_to(offer), challenge_to(offer)
    answer = bound.answer(offer, first[0])
    with pytest.raises(VerificationError, match="transcript_mismatch"):
        attestation.check(attestation.make_evidence(offer, (second[0], answer, second[2])))
    attest, signature = bound.tools.certify_creation(bound.evidence, secrets.token_bytes(32))
    forged = attestation.make_answer(first[0], first[1], attest, signature)
    with pytest.raises(VerificationError, match="attest_nonce"):
        attestation.check(attestation.make_evidence(offer, (first[0], forged, first[2])))


def test_the_tpm_says_where_it_stands(bound: Bound) -> None:
    offer, log, root = bound.offer(), bound.device.log, bound.device.root(2)
    assert offer.tpm is not None and offer.tpm.ak.point is not None
    ak = offer.tpm.ak.point
    told = []
    for _ in range(2):
        extra = tpmstate.nonce(log, 2, root)
        evidence = tpmstate.encode(2, root, bound.tools.quote(extra), bound.tools.certify_counter(COUNTER, extra))
        told.append(tpmstate.check(evidence, log, ak))
        bound.tools.increment(COUNTER)
    first, second = told
    assert first.counter is not None and second.counter == first.counter + 1
    assert second.clock.clock > first.clock.clock and second.clock.resets == first.clock.resets >= 0
    said = bound.tpm.tool("tpm2_readclock")
    assert f"reset_count: {second.clock.resets}\n" in said, "counts are told as they are, not masked"
    with pytest.raises(VerificationError, match="attest_nonce"):
        tpmstate.check(evidence, bytes(32), ak)
    bound.tpm.stop()
    bound.tpm.start()
    third = tpmstate.check(tpmstate.encode(2, root, bound.tools.quote(extra), None), log, ak)
    assert third.clock.resets == second.clock.resets + 1, "a reset is counted, and quotes go on"
    qualifier = secrets.token_bytes(32)
    said_of_key = tpmstruct.attested(bound.tools.certify_creation(bound.evidence, qualifier)[0], tpmstruct.CREATION)
    assert said_of_key.extra == qualifier, "what provisioning kept is good after a reset too"
    clock = [second.clock.clock, second.clock.resets, second.clock.restarts, second.clock.safe]
    output = {"size": 2, "root": root, "clock": clock, "counter": second.counter}
    record("tpm-state", "swtpm's clock, counts and NV counter", "attest-evidence",
           {"evidence": evidence, "log": log, "ak": ak.point}, output)  # fmt: skip


def test_the_doctor_lets_it_attest(bound: Bound, monkeypatch: pytest.MonkeyPatch) -> None:
    config = TpmConfig(bound.evidence, bound.tpm.tcti, 60, COUNTER)
    found = checks.attestation(config)
    assert found.state == "ok" and "restarts, counter " in found.detail and found.detail.endswith("every 60 s")
    assert checks.attestation(dataclasses.replace(config, counter="0x1500077")).state == "warn"
    monkeypatch.setenv("PATH", "/nonexistent")
    missing = checks.attestation(config)
    assert (missing.state, missing.remedy) == ("warn", "apt-get install --no-install-recommends tpm2-tools")


def test_what_is_not_there_is_named(bound: Bound, tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="tpm_failed"):
        bound.tools.certify_counter("0x1500077", bytes(32))
    with pytest.raises(Unavailable, match="tpm_failed"):
        bound.tools.certify_creation(tmp_path, bytes(32))


def record(name: str, description: str, kind: str, given: dict[str, Any], output: dict[str, Any]) -> None:
    """Write a vector's input and output where that is asked for."""
    from tests.vectors.cases import diagnostic, plain

    if os.environ.get("EDGESEAL_RECORD") != "1":
        return
    RECORDED.mkdir(exist_ok=True)
    fields = {
        "description": description, "object": kind, "input": plain(given),
        "output": {key: diagnostic(value) for key, value in output.items()},
    }  # fmt: skip
    (RECORDED / f"{name}.json").write_text(json.dumps(fields, indent=1, ensure_ascii=False) + "\n", "utf-8")
