"""On whose word an answer stands, and what is not a contradiction but only not shown."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeseal.head import Seen, SignedDeviceHead
from edgeseal.verify import verify
from tests.tamper.by_gateway import rotated as rotated_gateway
from tests.tamper.evidence import Evidence, given, partial, state_of
from tests.tamper.test_not_shown import answers
from tests.world import Device, Key, World, simple


def test_a_place_that_no_block_holds_is_the_gateways_word_and_it_is_named() -> None:
    """A key that was the gateway's once can sign heads and receipts for ever."""
    world, _ = simple()
    assert answers(given(world), "position") == {"position": ("ok", "PROVED")}
    verdict = verify(world.bundle(anchors=[]), world.trust(), ask=["position"])
    found = verdict.questions["position"]
    assert (found.answer, found.ground, found.by) == ("ok", "ATTESTED", f"gateway {world.gateway.kid.hex()}")
    assert verify(world.bundle(), world.trust("operator"), ask=["position"]).questions["position"].ground == "ATTESTED"


def test_a_log_whose_boots_are_not_counted_from_one_breaks_its_silence_no_less() -> None:
    world = World()
    device = Device(world, Key(7_777), "cam-1", boot=0)
    device.begin()
    world.devices.append(device)
    world.enrol(device)
    device.heartbeat(3_600)
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "cadence", "integrity") == {
        "cadence": ("failed", "silence"),
        "integrity": ("failed", "boot_fell"),
    }


def rotated(until: int | None = None, heads: bool = True) -> tuple[Evidence, Device]:
    """A device in its second epoch; of its first log the records up to ``until``, and the last head with ``heads``."""
    world, device = simple()
    second = world.succeed(device, "cam-1", 2)
    options: dict[str, Any] = {"items": {device.log: device.items()[:until]}}
    if not heads:
        last = world.statements.index(device.heads[-1])
        options |= {"device_heads": {device.log: device.heads[:-1]}}
        options |= partial(world, second, {last}) | {"statements": [p for p in range(world.size) if p != last]}
    return given(world, **options), second


@pytest.mark.parametrize(("until", "heads"), [(30, True), (30, False), (None, False)])
def test_an_end_of_the_log_before_that_is_not_here_is_not_another_end(until: int | None, heads: bool) -> None:
    evidence, second = rotated(until, heads)
    verdict = verify(evidence.bundle, evidence.trust, ask=["completeness"])
    mine = next(one for one in verdict.devices if one.log == second.log).questions["completeness"]
    assert (mine.answer, mine.reason) == ("not_answered", "predecessor_missing")


def test_the_log_that_follows_is_named_where_it_is_not_here() -> None:
    evidence, second = rotated()
    assert evidence.trust is not None
    whole = verify(evidence.bundle, evidence.trust, ask=["completeness"])
    assert whole.questions["completeness"].answer == "ok" and second.log.hex() not in str(whole.as_json()["questions"])
    world, device = simple()
    device.add("closed", reason="key rotation", next=second.log)
    device.seal()
    world.deliver(device)
    world.anchor()
    alone = verify(world.bundle(), world.trust(), ask=["completeness"]).questions["completeness"]
    assert alone.answer == "ok" and f"the log that follows, {second.log.hex()}, is not here" in alone.detail


def test_a_fleet_head_that_a_device_was_shown_and_nothing_links_may_be_of_another_log() -> None:
    world, device = simple()
    device.seen = Seen(world.log, world.size - 1, b"\x66" * 32)
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "single_view_fleet") == {"single_view_fleet": ("not_answered", "witness_contradicts")}
    found = answers(given(world, device, **partial(world, device, set())), "single_view_fleet")
    assert found == {"single_view_fleet": ("not_answered", "unlinked")}


def test_a_second_enrolment_does_not_stand_for_the_first() -> None:
    """Who leaves the first one out would let the device speak as seldom as the second says."""
    world, device = simple()
    first = next(p for p, raw in enumerate(world.statements) if p and device.log in raw and raw not in device.heads)
    again = world.enrol(device, cadence_s=86_400)
    device.heartbeat(3_600)
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "cadence") == {"cadence": ("failed", "silence")}
    options = partial(world, device, {first})
    assert again in options["statements"] and first not in options["statements"]
    found = answers(given(world, device, **options), "cadence", "attribution")
    assert found == dict.fromkeys(found, ("not_answered", "statements_missing"))


def test_a_registry_read_at_an_older_size_does_not_outweigh_a_revocation_above_it() -> None:
    world, device = simple()
    read = world.size
    chain = state_of(world, device, read, world.root_hash(read))
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.head()
    assert answers(replace(given(world), chain=chain), "key_valid") == {"key_valid": ("ok", "ATTESTED")}
    world.revoke(device, until=world.size)
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.head()
    assert answers(replace(given(world), chain=chain), "key_valid") == {"key_valid": ("failed", "key_revoked")}


def test_a_fleet_head_of_a_gateway_that_a_later_keyset_names_is_not_false() -> None:
    world, device, _ = rotated_gateway()
    cut = world.statements.index(world.keysets[1])
    kept = [head for head in device.heads if head in world.statements[:cut]]
    size = max(SignedDeviceHead.decode(head).head.size for head in kept)
    found = answers(
        given(world, items={device.log: device.items()[:size]}, device_heads={device.log: kept}, statements=range(cut)),
        "position",
        "attribution",
    )
    assert found == {"position": ("not_answered", "keysets_incomplete"), "attribution": ("ok", "PROVED")}
    world.last = (2, world.root_hash(2))
    world.head(key=Key(4_444))
    assert answers(given(world), "position") == {"position": ("failed", "unknown_gateway")}


def test_a_device_that_goes_by_another_tenants_keysets_goes_by_none_of_this_ones() -> None:
    ours, theirs = World(1), World(2)
    stranger = theirs.device("cam-1")
    theirs.add(theirs.next_keyset())
    stranger.take_policy()
    stranger.seal()
    theirs.deliver(stranger)
    theirs.anchor()
    assert answers(given(theirs), "policy") == {"policy": ("ok", "PROVED")}
    ours.anchor()
    ours.devices.append(stranger)
    for evidence in (given(theirs, trust=ours.trust()), given(ours)):
        assert answers(evidence, "policy") == {"policy": ("not_answered", "no_keyset")}
