"""Attested enrolment over HTTP: an agent with a SoftHSM key, a device that cheats, an operator; and a cloned device."""

from __future__ import annotations

import json
import secrets
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from edgeseal import attestation, segment
from edgeseal.cose import PublicKey
from edgeseal.errors import EdgesealError
from edgeseal.messages import Refusal
from edgeseal.possession import Place, Possession
from edgeseal.statements.enrolment import Enrolment
from edgeseal_agent import attestlink
from edgeseal_agent.attestlink import LetterBox
from edgeseal_agent.config import load
from edgeseal_agent.identity import open_store
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.operate import accepting
from edgeseal_gateway import enrolling
from edgeseal_gateway.store import devices
from edgeseal_gateway.store import enrolling as store
from edgeseal_gateway.web import enrolments
from tests.agentrig import AGENT, WAIT_S, AgentRig, wait
from tests.enrolments import TOKEN, answer_of, offer_of
from tests.gatewaystore import Founded
from tests.softtpm import SoftTpm

from .test_api import Served


@pytest.fixture
def served(founded: Founded, tmp_path: Path) -> Iterator[Served]:
    with founded.database.write() as connection:
        store.prepare(connection)
        enrolling.new_claim(connection, TOKEN, ("all",), time.time_ns() // 1_000_000, 3_600)
    found = Served(founded, tmp_path)
    yield found
    found.close()


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    path = tmp_path / "claim.txt"
    path.write_text(TOKEN.hex() + "\n")
    return path


def rig_of(served: Served, folder: Path) -> AgentRig:
    pack: bytes = served.http.get("/v1/pack").content
    served.founded.tenant.take_pack(pack)
    return AgentRig(folder, pack)


def possession_of(served: Served, offer: attestation.Offer) -> Possession:
    profile = served.founded.profile
    place = Place(profile.chain_id, profile.identity_registry, profile.tenant_root.kid, profile.fleet_log)
    return Possession(place, offer.key.kid, "device", 0, offer.digest, secrets.token_bytes(32), 1 << 40)


def quiet(text: str) -> None:
    """Say nothing."""


def test_a_software_key_is_enrolled_as_one(served: Served, claim: Path, tmp_path: Path) -> None:
    rig = rig_of(served, tmp_path / "device")
    rig.init()
    words = ["enrol", "--config", rig.config, "--gateway", served.server.url, "--claim", claim, "--wait-s", WAIT_S]
    with (
        GatewayClient(served.server.url) as operator,
        subprocess.Popen([*AGENT, *map(str, words), "--json"], stdout=subprocess.PIPE, text=True) as device,
    ):
        wait(lambda: accepting.applicants(operator))
        (one,) = accepting.applicants(operator)
        assert (one["name"], one["kind"], one["certified"], one["state"]) == ("cam-1", "softhsm", False, "offered")
        spaced = " ".join([one["offer"][:16], one["offer"][16:40].upper()])
        offer = accepting.offer_of(operator, spaced)
        asked = possession_of(served, offer)
        made = accepting.exchange(operator, offer, asked, (), WAIT_S, quiet)
        assert made.proof is not None and made.proof.challenge == asked and made.proof.key == offer.key
        level = accepting.level_of(made.shown, frozenset({bytes(32)}))
        assert level == "softhsm", "no TPM, and no authority makes it one"
        accepting.check_name(operator, made.shown)
        accepting.publish_evidence(operator, offer, made.evidence)
        content = accepting.enrolment(made.shown, made.evidence, level, ["all"], 30)
        served.founded.hand_in(served.founded.tenant.operator.state(content))
        said = json.loads(device.communicate(timeout=WAIT_S)[0])
    assert (device.returncode, said["state"], said["fingerprint"]) == (0, "enrolled", offer.digest.hex())
    assert content.evidence == attestation.evidence_digest(made.evidence)
    assert served.cbor("/v1/export/enrolments") == [made.evidence]
    assert served.cbor("/v1/export/enrolments", after=content.evidence.hex()) == []
    assert served.get("/v1/enrolments")["enrolments"][0]["state"] == "enrolled"
    again = rig.run("enrol", "--gateway", served.server.url, "--claim", str(claim), "--json")
    assert json.loads(again)["state"] == "enrolled", "the same command, repeated"


def test_fingerprints_are_long_enough_and_somebodys(served: Served) -> None:
    with GatewayClient(served.server.url) as operator:
        for text, code in (("ab" * 15, "fingerprint_short"), ("xy" * 16, "fingerprint_short"), ("ab" * 16, "no_app")):
            with pytest.raises(EdgesealError, match=code):
                accepting.offer_of(operator, text)


Answer = Callable[[attestation.Offer, attestation.Challenge], bytes]


def cheat(served: Served, claim: Path, offer: attestation.Offer, answer: Answer) -> threading.Thread:
    """A device that answers in its own way, on a thread."""
    box = LetterBox(served.server.url, claim, None)
    box.offer(offer.raw)

    def run() -> None:
        found = box.look(offer.digest, "offered", 20)
        fields = json.loads(found["ask"])
        challenge = attestation.read_challenge(bytes.fromhex(fields["challenge"]))
        reply = {"challenge": fields["challenge"], "answer": answer(offer, challenge).hex(), "possession": None}
        box.reply(offer.digest, json.dumps(reply).encode())

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def without_the_tpm(offer: attestation.Offer, challenge: attestation.Challenge) -> bytes:
    """What somebody with another TPM can say: the endorsement key was swapped half-way."""
    other, secret = SoftTpm("other"), bytes(32)
    assert offer.tpm is not None
    with pytest.raises(ValueError, match="INTEGRITY"):
        other.activate(offer.tpm.ak.name, challenge.credential.blob, challenge.credential.seed)
    attest = other.creation(attestation.qualifier(offer.digest, challenge.digest, secret), offer.tpm.signing.raw)
    return attestation.make_answer(challenge, secret, attest, other.ak.sign(attest))


def of_another_challenge(offer: attestation.Offer, challenge: attestation.Challenge) -> bytes:
    """An answer to a challenge of the device's own."""
    own = attestation.make_challenge(offer, bytes(32), bytes(32), b"\1" * 32)
    return answer_of(offer, own, SoftTpm("one"))


def with_another_nonce(offer: attestation.Offer, challenge: attestation.Challenge) -> bytes:
    """The right secret, and a certificate that was made for another exchange."""
    tpm = SoftTpm("one")
    assert offer.tpm is not None
    secret = tpm.activate(offer.tpm.ak.name, challenge.credential.blob, challenge.credential.seed)
    attest = tpm.creation(bytes(32), offer.tpm.signing.raw)
    return attestation.make_answer(challenge, secret, attest, tpm.ak.sign(attest))


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (without_the_tpm, "credential_mismatch"),
        (of_another_challenge, "credential_mismatch"),
        (with_another_nonce, "attest_nonce"),
    ],
)
def test_who_does_not_hold_the_tpm_is_not_enrolled(served: Served, claim: Path, answer: Answer, code: str) -> None:
    device = served.founded.tenant.device_of("cam-9")
    offer = offer_of(device, SoftTpm("one"))
    with GatewayClient(served.server.url) as operator:
        thread = cheat(served, claim, offer, answer)
        with pytest.raises(EdgesealError, match=code):
            accepting.exchange(operator, accepting.offer_of(operator, offer.digest.hex()), None, (), WAIT_S, quiet)
        thread.join()
        assert served.cbor("/v1/export/enrolments") == [], "nothing of it was kept"


def test_devices_that_wait_keep_nobody_else_waiting(
    served: Served, claim: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of them than the server has worker threads, and for longer than this test may take."""
    monkeypatch.setattr(enrolments, "MAX_WAIT_S", 3_600.0)
    monkeypatch.setattr(attestlink, "TIMEOUT_S", 3_600.0)
    offer = offer_of(served.founded.tenant.device_of("cam-9"), SoftTpm("one"))
    box = LetterBox(served.server.url, claim, None)
    box.offer(offer.raw)
    states: list[str] = []
    waiting = [
        threading.Thread(target=lambda: states.append(box.look(offer.digest, "offered", 3_600)["state"]))
        for _ in range(60)
    ]
    for thread in waiting:
        thread.start()
    with GatewayClient(served.server.url) as operator:
        assert accepting.applicants(operator)[0]["state"] == "offered"
        operator.post(f"/v1/enrolments/{offer.digest.hex()}/ask", {"challenge": None, "possession": None})
    for thread in waiting:
        thread.join()
    assert states == ["asked"] * 60


def test_a_device_that_says_nothing_is_not_waited_for_for_ever(served: Served, claim: Path) -> None:
    offer = offer_of(served.founded.tenant.device_of("cam-9"), SoftTpm("one"))
    LetterBox(served.server.url, claim, None).offer(offer.raw)
    with GatewayClient(served.server.url) as operator, pytest.raises(EdgesealError, match="no_answer"):
        accepting.exchange(operator, offer, None, (), 0.0, quiet)


def test_only_a_claim_opens_the_letter_box_of_devices(founded: Founded, tmp_path: Path, claim: Path) -> None:
    with founded.database.write() as connection:
        store.prepare(connection)
        enrolling.new_claim(connection, TOKEN, ("all",), time.time_ns() // 1_000_000, 3_600)
    guarded = Served(founded, tmp_path, frozenset({"operators-only"}))
    try:
        guarded.get("/v1/enrolments", 401)
        assert guarded.http.post("/v1/enrol", content=b"").json()["code"] == "claim_unknown"
        offer = offer_of(founded.tenant.device_of("cam-9"), SoftTpm("one"))
        box = LetterBox(guarded.server.url, claim, None)
        box.offer(offer.raw)
        assert box.look(offer.digest, None, 0) == {"state": "offered", "ask": None}
        tokens: list[tuple[str, dict[str, str]]] = [
            ("claim_unknown", {"Authorization": f"Claim {'00' * 32}"}), ("claim_unknown", {}),
            ("claim_unknown", {"Authorization": "Claim zz"}),
        ]  # fmt: skip
        for code, headers in tokens:
            answer = guarded.http.get(f"/v1/enrol/{offer.digest.hex()}", headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (400, code)
        big = guarded.http.post("/v1/enrol", content=bytes(1 << 16))
        assert big.status_code == 413
    finally:
        guarded.close()


@pytest.mark.parametrize(
    ("url", "text", "code"),
    [
        ("ftp://gateway", "00" * 32, "gateway_url"),
        ("http://gateway.example:8420", "00" * 32, "gateway_url"),
        ("https://gateway.example", "00" * 31, "claim_file"),
        ("https://gateway.example", "no claim", "claim_file"),
    ],
)
def test_a_claim_goes_out_over_https_only(tmp_path: Path, url: str, text: str, code: str) -> None:
    (tmp_path / "claim.txt").write_text(text)
    with pytest.raises(EdgesealError, match=code):
        LetterBox(url, tmp_path / "claim.txt", None)


def test_a_cloned_software_device_is_a_fork_and_frozen(served: Served, tmp_path: Path) -> None:
    """Whoever copies the token and knows its PIN signs as the device; both histories together give it away."""
    first = rig_of(served, tmp_path / "device")
    request = first.init()
    clone = tmp_path / "clone"
    shutil.copytree(first.folder, clone)
    for path in clone.rglob("softhsm2.conf"):
        path.write_text(path.read_text().replace(str(first.folder), str(clone)))
    founded, log = served.founded, bytes.fromhex(request["log"])
    key = PublicKey.of(bytes.fromhex(request["x"]), bytes.fromhex(request["y"]))
    content = Enrolment(key, bytes.fromhex(request["genesis"]), "cam-1", "softhsm", None, ("all",), 30)
    founded.hand_in(founded.tenant.operator.state(content))
    founded.sequence()
    for folder in (first.folder, clone):
        line = [*AGENT, "run", "--config", str(folder / "agent.yaml"), "--once"]
        subprocess.run(line, capture_output=True, timeout=WAIT_S, check=False)
    assert founded.ingest.take([(log, history_of(first))]) == []
    first.config = clone / "agent.yaml"
    (answer,) = founded.ingest.take([(log, history_of(first))])
    assert isinstance(answer, Refusal) and answer.code == "fork"
    known = founded.read(lambda connection: devices.find(connection, log))
    assert known is not None and known.state == "frozen"


def history_of(rig: AgentRig) -> bytes:
    """What a device would send: its whole log under its newest head."""
    device = open_store(load(rig.config))
    with closing(device.reader()) as connection:
        size, head = connection.execute(
            "SELECT size, signed FROM heads WHERE signed IS NOT NULL ORDER BY size DESC LIMIT 1"
        ).fetchone()
        records = connection.execute("SELECT header, body FROM records WHERE seq < ? ORDER BY seq", (size,)).fetchall()
    return segment.encode(device.meta()["log"], head, 0, [segment.whole(*record) for record in records])
