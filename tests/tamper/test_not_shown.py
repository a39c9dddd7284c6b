"""Evidence that leaves something out, or in doubt, and must not be answered ``ok`` for the question it is about, asked
alone as well as with the others.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from edgeseal import record
from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.segment import header_only
from edgeseal.verify import Interval, Reexecution, RegistryKey, Verdict, verify
from tests.chainstate import MODELS, SUSPENDED
from tests.tamper.by_chain import last, proved, told, trust_of
from tests.tamper.by_gateway import rewritten, rotated
from tests.tamper.evidence import Evidence, given, partial, state_of
from tests.world import CONTRACT, MODEL, Device, World, simple


def answers(evidence: Evidence, *questions: str) -> dict[str, tuple[str, str | None]]:
    """Return question → (answer, reason or ground), each asked alone."""
    found = {}
    for question in questions:
        verdict = verify(evidence.bundle, evidence.trust, evidence.chain, [question], evidence.reexecuted)
        answer = verdict.questions[question]
        found[question] = (answer.answer, answer.reason or answer.ground)
    return found


def whole(evidence: Evidence) -> Verdict:
    return verify(evidence.bundle, evidence.trust, evidence.chain, reexecuted=evidence.reexecuted)


def rewrite(device: Device, seq: int, kind: str, **fields: Any) -> Device:
    """Return the device with record ``seq`` made anew, as somebody without its key can."""
    old = record.Header.decode(device.records[seq].header)
    made = record.make(
        log=old.log,
        seq=seq,
        boot=old.boot,
        t=old.t,
        mono=old.mono,
        clk=old.clk,
        kind=kind,
        fields=fields,
        salt=bytes(32),
    )
    return replace(device, records=[*device.records[:seq], made, *device.records[seq + 1 :]])


ABOUT_RECORDS = ("attribution", "command_authority", "model_identity", "policy", "cadence")


@pytest.mark.parametrize("question", ABOUT_RECORDS)
@pytest.mark.parametrize("heads", ["all", "first"])
def test_records_that_no_signed_head_covers_are_the_authors_word(question: str, heads: str) -> None:
    world, device = simple()
    lost = next(
        n for n, made in enumerate(device.records) if record.Header.decode(made.header).kind == "command.result"
    )
    altered = rewrite(device, lost, "state", name="idle", pub={})
    shown = device.heads if heads == "all" else device.heads[:1]
    evidence = given(world, items={device.log: altered.items()}, device_heads={device.log: shown})
    if heads == "first":
        evidence = given(
            world,
            items={device.log: altered.items()},
            device_heads={device.log: shown},
            **partial(world, device, {p for p, raw in enumerate(world.statements) if raw in device.heads[1:]}),
        )
    assert answers(evidence, question)[question][0] == "not_answered"


def test_a_log_that_the_fleet_log_does_not_know_has_no_newest_head_and_no_one_line() -> None:
    world, _ = simple()
    stranger = world.device("cam-9", enrol=False)
    stranger.infer(3)
    stranger.seal()
    world.anchor(tell=False)
    found = answers(given(world, stranger), "completeness", "single_view_device")
    assert found == {
        "completeness": ("not_answered", "no_receipt"),
        "single_view_device": ("not_answered", "no_receipt"),
    }


def test_a_head_outside_the_fleet_log_may_have_a_second_side_and_a_key_that_ended() -> None:
    world, device = simple()
    device.infer(3)
    device.seal()
    evidence = replace(given(world), chain=state_of(world, device))
    found = answers(evidence, "single_view_device", "key_valid")
    assert found == dict.fromkeys(found, ("not_answered", "not_sequenced"))


def late_head() -> tuple[World, Device, dict[str, Any]]:
    """Return the options of a bundle whose snapshot paths are older than its newest device head."""
    world, device = simple()
    before, snapshot = partial(world, device, set()), world.size - 1
    revoked = world.revoke(device, until=world.size)
    device.infer(3)
    device.seal()
    world.deliver(device)
    world.snapshot()
    world.head()
    late = partial(world, device, {revoked, world.size - 1})
    late["statements"] = sorted({*late["statements"], snapshot})
    late["receipts"] = [world.receipt(position) for position in late["statements"]]
    return world, device, late | {"snapshots": before["snapshots"], "anchors": world.anchors[-1:]}


def test_a_snapshot_older_than_a_head_says_nothing_of_the_key_at_that_head() -> None:
    world, device, options = late_head()
    found = answers(given(world, device, **options), "key_valid", "single_view_device")
    assert found == dict.fromkeys(found, ("not_answered", "no_snapshot"))


def test_a_fleet_log_known_to_have_two_histories_orders_nothing() -> None:
    found = answers(rewritten(), "position", "completeness", "attribution", "key_valid", "command_authority")
    assert found == dict.fromkeys(found, ("not_answered", "fleet_fork"))


def test_a_retired_gateway_key_places_nothing() -> None:
    world, device, old = rotated()
    device.infer(3)
    device.seal()
    world.deliver(device)
    world.head(key=old)
    evidence = given(world)
    found = answers(evidence, "position", "single_view_device", "single_view_fleet")
    assert found["position"] == ("not_answered", "not_sequenced")
    assert found["single_view_device"] == ("not_answered", "not_sequenced")
    assert found["single_view_fleet"][1] in ("retired_key", "unlinked")


def test_a_command_taken_twice_is_a_replay() -> None:
    world, device = simple()
    sent = world.send(device, "ping", {"text": "once"})
    device.obey(sent)
    device.obey(sent)
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "command_authority") == {"command_authority": ("failed", "command_replayed")}


def test_nothing_shows_that_no_command_to_a_group_was_passed_over() -> None:
    world, device = simple()
    withheld = world.send(device, "ping", {"text": "to all"}, audience="all", prev=bytes(32))
    device.obey(world.send(device, "ping", {"text": "later"}))
    device.seal()
    world.deliver(device)
    world.anchor()
    options = partial(world, device, {withheld.position})
    shown = given(world, device, **options)
    assert answers(shown, "command_authority") == {"command_authority": ("not_answered", "statements_missing")}
    options["snapshots"] = options["snapshots"][:3]  # without the path of the group
    shown = given(world, device, **options)
    assert answers(shown, "command_authority") == {"command_authority": ("not_answered", "no_snapshot")}


def test_inferences_without_their_bodies_were_not_run_again() -> None:
    world, device = simple()
    items = device.items()
    kinds = [record.Header.decode(made.header).kind for made in device.records]
    last = max(n for n, kind in enumerate(kinds) if kind == "inference")
    items[last] = header_only(device.records[last].header, "quota")
    done = Reexecution(kinds.count("inference") - 1, environment="here")
    evidence = replace(given(world, items={device.log: items}), reexecuted={device.log: done})
    assert answers(evidence, "reexecution") == {"reexecution": ("not_answered", "body_withheld")}


def test_an_end_that_no_key_signed_ends_no_log() -> None:
    world, device = simple()
    second = world.device("cam-1", epoch=2)
    world.deliver(second)
    world.anchor()
    ended = replace(device, records=list(device.records))
    ended.add("closed", reason="said the author", next=second.log)
    evidence = given(world, items={device.log: ended.items()})
    assert answers(evidence, "single_view_device") == {"single_view_device": ("failed", "parallel_logs")}


def test_a_seam_to_an_end_that_the_old_key_signed_otherwise_is_not_closed() -> None:
    world, device = simple()
    second = Device(world, world.outsider, "cam-1", epoch=2)
    altered = rewrite(device, device.size - 1, "closed", reason="said the author", next=second.log)
    second.prev = [device.log, device.size, altered.root()]
    second.begin()
    world.devices.append(second)
    world.enrol(second)
    world.deliver(second)
    world.anchor()
    verdict = whole(given(world, items={device.log: altered.items()}))
    mine = next(one for one in verdict.devices if one.log == second.log)
    assert (mine.questions["completeness"].answer, mine.questions["completeness"].reason) == ("failed", "seam_mismatch")


def test_a_package_whose_command_is_not_shown_to_be_in_order_is_not_activated() -> None:
    world, device = simple()
    assert whole(given(world, openings=True)).activated <= {MODEL}
    sent = world.send(device, "model.activate", {"model": b"\x11" * 32})
    device.obey(sent)
    device.seal()
    world.deliver(device)
    world.anchor()
    keep = partial(world, device, set())
    keep["snapshots"] = keep["snapshots"][:2]  # nothing says that no keyset was left out
    assert b"\x11" * 32 not in whole(given(world, device, **keep)).activated


def test_an_enrolment_by_an_operator_whom_a_hidden_keyset_removed_starts_no_validity() -> None:
    world, device = simple()
    options = partial(world, device, set())
    options["snapshots"] = [options["snapshots"][0], options["snapshots"][1]]
    found = answers(given(world, device, **options), "key_valid")
    assert found == {"key_valid": ("not_answered", "keysets_incomplete")}


def test_an_operator_that_the_registry_ended_is_judged_by_it() -> None:
    world, device = simple()
    view = state_of(world, device)
    assert view.state is not None
    ended = RegistryKey("operator", (Interval(0, 1, 2),))
    state = replace(view.state, keys={**view.state.keys, world.operator.kid: ended})
    evidence = replace(given(world), chain=replace(view, state=state))
    assert answers(evidence, "command_authority") == {"command_authority": ("failed", "key_revoked")}


def test_a_head_above_every_proved_state_is_not_valid_where_the_newest_says_that_the_key_is_suspended() -> None:
    """The key may have been reinstated since, which nothing shows; the gateway's word does not outweigh the proof."""
    world, device = told()
    made = world.contracts
    assert made is not None
    made.key(device.key.kid, 0, (0, world.size), status=SUSPENDED)
    world.anchor(tell=False)
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.head()
    assert answers(proved(world), "key_valid") == {"key_valid": ("not_answered", "state_stale")}


def test_a_contract_that_a_block_does_not_have_yet_is_not_another_contract() -> None:
    world, _ = told()
    made = world.contracts
    assert made is not None
    files, everybody = made.files(), made.addresses
    made.addresses = tuple(address for address in everybody if address != MODELS)
    world.anchor(tell=False)
    made.addresses = everybody
    block = last(made)
    accounts, head = made.accounts(block), made.storage(block, CONTRACT, made.asked(block, CONTRACT))
    assert accounts.verify()[1][MODELS] is None
    files |= world.files() | {accounts.name: accounts.encode(), head.name(0): head.encode()}
    evidence = Evidence(Bundle(MemorySource(files)), trust_of(world))
    found = answers(evidence, "model_identity", "key_valid")
    assert found == {"model_identity": ("ok", "ATTESTED"), "key_valid": ("ok", "PROVED")}


def test_groups_that_nobody_shows_an_operator_gave_make_no_grant() -> None:
    world, device = told()
    unordered = proved(world, devices=[device], **partial(world, device, set()) | {"snapshots": []})
    found = answers(unordered, "model_identity", "attribution")
    assert found == dict.fromkeys(found, ("not_answered", "keysets_incomplete"))
    revoked, _ = told(operator=(0, 2))
    assert answers(proved(revoked), "model_identity") == {"model_identity": ("not_answered", "not_enrolled")}


@pytest.mark.parametrize("heads", [False, True])
def test_a_fleet_head_beside_no_keyset_at_all_is_nobodys_and_no_defect(heads: bool) -> None:
    """As what a device exports before it met a gateway: its genesis holds a fleet head, and nothing names its key."""
    world, device = simple()
    shown = world.heads if heads else []
    evidence = given(world, device, statements=[], receipts=[], heads=shown, anchors=[], consistency=[], snapshots=[])
    assert answers(evidence, "integrity", "append_only", "attribution", "position") == {
        "integrity": ("ok", "PROVED"),
        "append_only": ("ok", "PROVED"),
        "attribution": ("not_answered", "not_enrolled"),
        "position": ("not_answered", "no_receipt"),
    }
