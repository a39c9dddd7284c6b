"""A possession or rotation message can never be taken for a head or another COSE structure, nor the other way round."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import pytest

from edgeseal import cose
from edgeseal.commitment import domain
from edgeseal.errors import EvidenceError, FormatError, VerificationError
from edgeseal.head import NO_HEAD, DeviceHead, FleetHead, HeadClock, SignedDeviceHead, SignedFleetHead
from edgeseal.possession import ROLES, Challenge, Place, Possession, Proof, Rotation, decode, encode
from tests.world import Key

KEY, OTHER = Key(0x51), Key(0x52)
PLACE = Place(31337, b"\x11" * 20, b"\x22" * 32, b"\x33" * 32)
POSSESSION = Possession(PLACE, KEY.kid, "device", 7, b"\x44" * 32, b"\x55" * 32, 1_800_000_000)
ROTATION = Rotation(PLACE, KEY.kid, OTHER.kid, b"\x44" * 32, b"\x55" * 32, 1_800_000_000)
BOTH = pytest.mark.parametrize("challenge", [POSSESSION, ROTATION], ids=["possession", "rotation"])


def device_head() -> tuple[bytes, bytes]:
    """Protected header and payload of a device head of KEY."""
    log = b"\x66" * 32
    head = DeviceHead(log, 2, b"\x77" * 32, NO_HEAD, None, None, HeadClock(1, 2, 1))
    return head.protected(KEY.kid), head.payload()


def fleet_head() -> tuple[bytes, bytes]:
    """Protected header and payload of a fleet head of KEY."""
    head = FleetHead(PLACE.log, 2, b"\x77" * 32, NO_HEAD)
    return head.protected(KEY.kid), head.payload()


HEADS = pytest.mark.parametrize("head", [device_head(), fleet_head()], ids=["device head", "fleet head"])


def test_the_bytes_are_those_the_contract_hashes() -> None:
    expected = (
        b"edgeseal/v1/key-possession\x00" + (31337).to_bytes(32, "big") + b"\x11" * 20 + b"\x22" * 32 + b"\x33" * 32
        + b"\x00" + (7).to_bytes(8, "big") + b"\x44" * 32 + b"\x55" * 32 + (1_800_000_000).to_bytes(8, "big")
    )  # fmt: skip
    assert POSSESSION.message() == expected
    assert len(expected) == 224
    assert len(ROTATION.message()) == 277
    assert ROTATION.message().startswith(b"edgeseal/v1/key-rotation\x00")


def test_every_field_moves_the_message() -> None:
    places: list[dict[str, Any]] = [
        {"chain_id": 1}, {"registry": b"\x12" * 20}, {"tenant": b"\x23" * 32}, {"log": b"\x34" * 32},
    ]  # fmt: skip
    others: list[dict[str, Any]] = [
        {"role": "gateway"}, {"start": 8}, {"evidence": bytes(32)}, {"nonce": bytes(32)}, {"deadline": 1},
    ]  # fmt: skip
    changed: list[Challenge] = [
        *(dataclasses.replace(POSSESSION, place=dataclasses.replace(PLACE, **fields)) for fields in places),
        *(dataclasses.replace(POSSESSION, **fields) for fields in others),
    ]
    messages = [POSSESSION.message(), ROTATION.message(), *(one.message() for one in changed)]
    assert len(set(messages)) == len(messages)


@BOTH
@HEADS
def test_a_possession_is_no_head(challenge: Challenge, head: tuple[bytes, bytes]) -> None:
    """One key signs both; no signature, and no bytes, of the one pass for the other."""
    protected, payload = head
    signature = KEY.sign(challenge.message())
    forged = cose.assemble(protected, payload, signature)
    with pytest.raises(VerificationError) as refused:
        cose.decode(forged, limit=8_192).verify(KEY.public)
    assert refused.value.code == "bad_signature"
    message, signed = challenge.message(), cose.to_be_signed(protected, payload)
    assert message[0] == ord("e")
    assert signed[0] == 0x84
    for read in (SignedDeviceHead.decode, SignedFleetHead.decode):
        with pytest.raises(EvidenceError):
            read(message)


@BOTH
@HEADS
def test_a_head_is_no_possession(challenge: Challenge, head: tuple[bytes, bytes]) -> None:
    """The signature under a head, put into a proof, proves nothing."""
    signature = KEY.sign(cose.to_be_signed(*head))
    with pytest.raises(VerificationError) as refused:
        Proof.decode(Proof(challenge, KEY.public, signature).encode())
    assert refused.value.code == "bad_signature"


def test_no_domain_is_the_beginning_of_another() -> None:
    names = (
        "key-possession", "key-rotation", "tenant-open", "tenant-admin", "command-log", "command-halt", "model-propose",
        "model-approve",
    )  # fmt: skip
    domains = [domain(name) for name in names]
    assert not [(a, b) for a in domains for b in domains if a is not b and b.startswith(a)]
    assert all(one.index(0) == len(one) - 1 for one in domains)


@BOTH
def test_files_are_read_back(challenge: Challenge) -> None:
    assert decode(encode(challenge)) == challenge
    proof = Proof(challenge, KEY.public, KEY.sign(challenge.message()))
    assert Proof.decode(proof.encode()) == proof


def test_a_key_that_was_not_asked_proves_nothing() -> None:
    proof = Proof(POSSESSION, OTHER.public, OTHER.sign(POSSESSION.message()))
    with pytest.raises(VerificationError) as refused:
        Proof.decode(proof.encode())
    assert refused.value.code == "wrong_key"


def test_a_high_s_is_refused() -> None:
    signature = KEY.sign(POSSESSION.message())
    high = (cose.ORDER - int.from_bytes(signature[32:], "big")).to_bytes(32, "big")
    with pytest.raises(VerificationError) as refused:
        Proof.decode(Proof(POSSESSION, KEY.public, signature[:32] + high).encode())
    assert refused.value.code == "high_s"


@pytest.mark.parametrize(
    ("name", "value", "code"),
    [
        ("role", "admin", "yaml_range"), ("chain_id", 0, "yaml_range"), ("from", -1, "yaml_range"),
        ("deadline", 2**64, "yaml_range"), ("nonce", "00", "yaml_range"), ("more", 1, "yaml_unknown_key"),
        ("schema", "edgeseal-possession/2", "yaml_range"), ("registry", 5, "yaml_type"),
    ],
)  # fmt: skip
def test_a_changed_file_is_refused(name: str, value: object, code: str) -> None:
    fields = json.loads(encode(POSSESSION)) | {name: value}
    with pytest.raises(FormatError) as refused:
        decode(json.dumps(fields).encode())
    assert refused.value.code == code


def test_roles_are_those_of_the_contract() -> None:
    assert ROLES == ("device", "operator", "gateway", "publisher", "approver", "auditor")
