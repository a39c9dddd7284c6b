"""Operators' statements: which are taken, which are refused at the door and why."""

from __future__ import annotations

from hashlib import sha256

import pytest

from edgeseal.errors import EdgesealError
from edgeseal.statements.keyset import Member
from edgeseal_gateway.store import fleetlog
from tests.gatewaystore import Founded
from tests.tenant import SCOPES, segment_of


def refusal(founded: Founded, statement: bytes, salt: bytes = b"", args: bytes = b"") -> str:
    with pytest.raises(EdgesealError) as caught:
        founded.hand_in(statement, salt, args)
    return caught.value.code


def test_the_same_statement_twice_is_one(founded: Founded) -> None:
    device = founded.tenant.device_of("cam")
    statement = founded.tenant.enrolment(device)
    first = founded.hand_in(statement)
    assert (first.state, first.pos) == ("queued", None)
    assert founded.hand_in(statement) == first
    again = founded.tenant.enrolment(device)  # signed anew: other bytes, the same statement
    assert again != statement and founded.hand_in(again) == first
    founded.sequence()
    assert founded.hand_in(again).pos == 2
    assert founded.leaves()[2].statement == statement


def test_who_may_enrol(founded: Founded) -> None:
    tenant = founded.tenant
    device = tenant.device_of("cam")
    assert refusal(founded, tenant.enrolment(device, by=tenant.outsider)) == "role_missing"
    other = tenant.device_of("other")
    founded.hand_in(tenant.enrolment(device))
    assert refusal(founded, tenant.enrolment(device, name="renamed")) == "already_enrolled"
    founded.sequence()
    assert refusal(founded, tenant.enrolment(device, name="renamed")) == "already_enrolled"
    forged = bytearray(tenant.enrolment(other))
    forged[-1] ^= 1
    assert refusal(founded, bytes(forged)) in ("bad_signature", "high_s")


def test_scopes_are_kept_to(founded: Founded) -> None:
    tenant = founded.tenant
    members = (
        Member(tenant.gateway_key, "gateway"),
        Member(tenant.operator.public, "operator", ("command/ping",)),
        Member(tenant.outsider.public, "operator", SCOPES),
    )
    founded.hand_in(tenant.next_keyset(members))
    device = tenant.device_of("cam")
    assert refusal(founded, tenant.enrolment(device)) == "out_of_scope"
    founded.hand_in(tenant.enrolment(device, by=tenant.outsider))
    founded.sequence()
    model = tenant.command(device.log, bytes(32), {"model": bytes(32)}, action="model.activate")
    assert refusal(founded, *model) == "out_of_scope"
    founded.hand_in(*tenant.command(device.log, bytes(32), {"text": "hi"}))


def test_commands_chain_and_open(founded: Founded) -> None:
    tenant, device = founded.tenant, founded.device()
    first = tenant.command(device.log, bytes(32), {"text": "one"})
    assert refusal(founded, first[0], bytes(32), first[2]) == "commitment_mismatch"
    founded.hand_in(*first)
    assert refusal(founded, *tenant.command(device.log, bytes(32), {"text": "two"})) == "command_stale"
    second = tenant.command(device.log, sha256(first[0]).digest(), {"text": "two"})
    founded.hand_in(*second)
    founded.hand_in(*tenant.command("all", bytes(32), {"text": "group"}))
    founded.sequence()
    third = sha256(second[0]).digest()
    assert refusal(founded, *tenant.command(device.log, third, {"text": "x"}, expires_size=5)) == "command_expired"
    assert refusal(founded, *tenant.command(device.log, third, {"text": "x"}, keyset=2)) == "keyset_unknown"
    assert refusal(founded, *tenant.command(device.log, third, {"text": "x"}, tenant=bytes(32))) == "wrong_tenant"
    assert refusal(founded, *tenant.command("nobody", bytes(32), {"text": "x"})) == "audience_unknown"
    assert refusal(founded, *tenant.command(bytes(32), bytes(32), {"text": "x"})) == "audience_unknown"
    assert refusal(founded, *tenant.command(device.log, third, {"wrong": 1})) == "args_malformed"
    assert refusal(founded, *tenant.command(device.log, third, {"text": "x"}, action="explode")) == "unknown_action"
    assert refusal(founded, *tenant.command(device.log, third, {"text": "x"}, by=tenant.outsider)) == "role_missing"


def test_keysets_follow_each_other(founded: Founded) -> None:
    tenant = founded.tenant
    second = tenant.next_keyset()
    skipped = tenant.next_keyset()
    assert refusal(founded, skipped) == "keyset_stale"
    founded.hand_in(second)
    founded.hand_in(skipped)
    founded.sequence()
    assert [leaf.typ for leaf in founded.leaves()[2:]] == ["keyset", "keyset"]
    assert refusal(founded, tenant.next_keyset(prev=bytes(31) + b"x")) == "keyset_stale"
    tenant.keysets.pop()
    lacking = tenant.next_keyset((Member(tenant.operator.public, "operator", SCOPES),))
    assert refusal(founded, lacking) == "gateway_key_missing"
    tenant.keysets.pop()
    forged = tenant.operator.state(tenant.keyset)
    assert refusal(founded, forged) in ("claims_mismatch", "wrong_key", "keyset_root")


def test_revocations_end_keys(founded: Founded) -> None:
    tenant, device = founded.tenant, founded.device()
    assert refusal(founded, tenant.revocation(device.key.kid, 1_000)) == "until_ahead"
    founded.hand_in(tenant.revocation(device.key.kid, 1))
    founded.hand_in(tenant.revocation(tenant.operator.kid, 2, role="operator"))
    founded.sequence()
    assert founded.known(device).state == "revoked"
    assert refusal(founded, tenant.enrolment(tenant.device_of("new"))) == "key_revoked"


def test_what_nobody_hands_in(founded: Founded) -> None:
    device = founded.device()
    assert refusal(founded, device.heads[0]) == "wrong_typ"
    assert founded.hand_in(founded.leaves()[1].statement).pos == 1
    for junk in (b"", b"\xd2", bytes(100_000)):
        assert refusal(founded, junk)
    assert founded.hand_in(founded.leaves()[0].statement).pos == 0
    founded.take(device, segment_of(device, 0))
    founded.sequence()
    assert founded.read(fleetlog.size) == 4
