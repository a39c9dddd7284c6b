"""More evidence that must not be answered ``ok``: what was shown and passed over, what a log leans on that nobody
showed, what the clocks do not tell.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.head import SignedFleetHead
from edgeseal.segment import bare_leaf
from edgeseal.snapshot import SnapshotTree
from edgeseal.statements.keyset import Member
from edgeseal.verify import Interval, RegistryKey, verify
from tests.chainstate import COMMAND_LOG, MODELS, REVOKED, Contracts
from tests.tamper.by_chain import last, proved, told
from tests.tamper.evidence import Evidence, given, partial, state_of
from tests.tamper.test_not_shown import answers, rewrite
from tests.world import CODE, CONTRACT, REGISTRY, Device, Key, World, simple


def shown(world: World, device: Device, positions: set[int], tree: SnapshotTree, snapshot: int) -> Evidence:
    """Return a bundle with statements at ``positions``, and what ``tree``, the snapshot's, says of the device."""
    options = partial(world, device, set())
    keep = sorted({*options["statements"], *positions})
    sizes = sorted({SignedFleetHead.decode(head).head.size for head in world.heads})
    subjects = (device.log.hex(), device.key.kid.hex(), world.log.hex(), "group:all")
    return given(
        world,
        device,
        statements=keep,
        receipts=[world.receipt(position) for position in keep],
        heads=world.heads,
        anchors=world.anchors[-1:],
        consistency=pairwise(sizes),
        snapshots=[tree.prove(sub, snapshot).as_map() for sub in subjects],
    )


def test_a_revocation_that_is_here_counts_though_an_older_snapshot_knows_none() -> None:
    world, device = simple()
    tree, snapshot = SnapshotTree(world.subjects.entries.values()), world.size - 1
    revoked = world.revoke(device, until=3)
    world.head()
    found = answers(shown(world, device, {snapshot, revoked}, tree, snapshot), "key_valid")
    assert found == {"key_valid": ("not_answered", "repudiated")}


def test_a_snapshot_that_denies_a_revocation_which_is_here_is_contradicted() -> None:
    world, device = simple()
    tree = SnapshotTree(world.subjects.entries.values())
    revoked = world.revoke(device, until=3)
    snapshot = world.add(world.gateway.state(tree.statement(world.log, world.size)))
    world.head()
    world.anchors.append(world.put_on_chain(world.size, world.root_hash()))
    found = answers(shown(world, device, {revoked, snapshot}, tree, snapshot), "key_valid")
    assert found == {"key_valid": ("not_answered", "snapshot_contradicts")}


def test_records_behind_a_hole_are_nobodys() -> None:
    world, device = simple()
    altered = rewrite(device, 30, "state", name="idle", pub={})
    files = world.files(items={device.log: device.items()[:12]})
    more = world.files(items={device.log: altered.items()[13:]}, start=13)
    files |= {name: data for name, data in more.items() if "records/" in name}
    found = answers(Evidence(Bundle(MemorySource(files)), world.trust()), "attribution")
    assert found == {"attribution": ("not_answered", "uncovered")}


@pytest.mark.parametrize("only", [False, True])
def test_a_leaf_hash_is_no_record(only: bool) -> None:
    world, device = simple()
    items = device.items()
    items = [bare_leaf(item.leaf, "withheld") if only or n == 12 else item for n, item in enumerate(items)]
    found = answers(given(world, items={device.log: items}), "integrity", "append_only")
    assert found == {"integrity": ("not_answered", "bare_leaf"), "append_only": ("ok", "PROVED")}


def start_again(device: Device, t: int) -> None:
    """Start without having announced an end, the wall clock at ``t``, and keep the cadence from there."""
    device.boot, device.mono, device.t = device.boot + 1, 5, t
    device.add("boot", reason="start", clean=False, build="1.0", config=bytes(32))
    if not t:
        device.t = -10
        device.records.pop()
        device.add("boot", reason="start", clean=False, build="1.0", config=bytes(32))


@pytest.mark.parametrize("change", [lambda t: 0, lambda t: t - 30_000])
def test_a_silence_that_no_clock_measures_is_not_short(change: Any) -> None:
    world, device = simple()
    start_again(device, change(device.t))
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "cadence") == {"cadence": ("not_answered", "clock_unknown")}


def test_a_clock_set_forward_shortens_no_silence() -> None:
    world, device = simple()
    device.t += 3_600_000
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "cadence") == {"cadence": ("not_answered", "clock_contradicts_chain")}


def test_an_enrolment_that_nobody_shows_an_operator_signed_promises_no_cadence_and_starts_no_validity() -> None:
    world, device = simple()
    view = state_of(world, device)
    assert view.state is not None
    ended = RegistryKey("operator", (Interval(0, 1, 2),))
    only = replace(view.state, keys={world.operator.kid: ended})
    evidence = replace(given(world), chain=replace(view, state=only))
    assert answers(evidence, "cadence") == {"cadence": ("not_answered", "not_enrolled")}
    hidden = given(world, device, **partial(world, device, set()) | {"snapshots": []})
    assert answers(hidden, "cadence") == {"cadence": ("not_answered", "keysets_incomplete")}
    world, device = told(operator=(0, 2))
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.head()
    assert answers(proved(world), "key_valid") == {"key_valid": ("not_answered", "not_enrolled")}


def test_a_keyset_that_nobody_shows_is_not_the_tenants() -> None:
    world = World()
    genuine = world.keysets
    world.keysets = [*genuine, b"a keyset of the device's own"]
    device = world.device("cam-1")
    world.keysets = genuine
    device.seal()
    world.deliver(device)
    world.anchor()
    assert answers(given(world), "policy") == {"policy": ("failed", "keyset_forked")}
    world.keyset = replace(world.keyset, version=9)
    other = world.device("cam-2")
    other.seal()
    world.deliver(other)
    world.anchor()
    assert answers(given(world, other), "policy") == {"policy": ("not_answered", "no_keyset")}
    alone = given(world, other, statements=[], heads=[], anchors=[])
    assert answers(alone, "policy") == {"policy": ("not_answered", "no_keyset")}


def test_a_keyset_that_the_next_one_names_is_the_tenants() -> None:
    world = World()
    device = world.device("cam-1")
    world.add(world.next_keyset())
    device.take_policy()
    device.seal()
    assert answers(given(world, statements=[], heads=[], anchors=[]), "policy") == {"policy": ("ok", "PROVED")}


def overlapping(named: bool, delivered: bool) -> Evidence:
    """A device whose first log was closed only after the second was enrolled."""
    world, device = simple()
    second = Device(world, Key(7_777), "cam-1", epoch=2)
    if named:
        second.prev = [device.log, device.size + 1, bytes(32)]
    device.add("closed", reason="at last", next=second.log)
    device.seal()
    if named:
        second.prev = [device.log, device.size, device.root()]
    second.begin()
    world.devices.append(second)
    if delivered:
        world.deliver(device)
    world.enrol(second)
    world.deliver(device)
    world.deliver(second)
    world.anchor()
    return given(world)


def test_a_log_that_was_closed_after_the_next_one_began_ran_beside_it() -> None:
    assert answers(overlapping(False, False), "single_view_device")["single_view_device"][1] == "seam_open"
    for named, delivered in ((True, False), (False, True)):
        assert answers(overlapping(named, delivered), "single_view_device")["single_view_device"][0] == "ok"


def test_a_command_to_a_log_called_like_the_key_ends_no_key() -> None:
    world, device = simple()
    world.send(device, "ping", {"text": "x"}, audience=device.key.kid, prev=bytes(32))
    second = world.device("cam-1", epoch=2)
    world.deliver(second)
    world.anchor()
    assert answers(given(world), "single_view_device") == {"single_view_device": ("failed", "parallel_logs")}


@pytest.mark.parametrize(("name", "epoch"), [("cam-2", 2), ("cam-1", 3)])
def test_a_log_succeeds_the_epoch_before_of_its_own_device(name: str, epoch: int) -> None:
    world, device = simple()
    world.succeed(device, name, epoch)
    assert answers(given(world), "completeness") == {"completeness": ("failed", "seam_mismatch")}


def test_an_older_word_of_the_registry_on_an_operator_is_not_its_last() -> None:
    def end(made: Any, device: Device) -> None:
        made.key(made.world.operator.kid, 1, (0, 2), status=REVOKED)

    world, _ = told(end)

    def older(made: Any, files: dict[str, bytes]) -> None:
        del files[made.accounts(last(made)).name]

    assert answers(proved(world), "command_authority")["command_authority"][0] != "ok"
    found = answers(proved(world, older), "command_authority", "attribution")
    assert found == dict.fromkeys(found, ("not_answered", "state_stale"))


def test_a_key_registered_late_counts_from_before_and_is_seen_to_be_late() -> None:
    world = World()
    made = world.contracts = Contracts(world, (CONTRACT, REGISTRY, COMMAND_LOG, MODELS), CODE)
    device = world.device("cam-1")
    device.seal()
    world.deliver(device)
    world.anchor()
    size = world.size
    made.key(device.key.kid)
    made.key(world.operator.kid, 1)
    world.anchor()
    verdict = verify(proved(world).bundle, world.trust())
    found = verdict.questions["key_valid"]
    assert (found.answer, found.ground) == ("ok", "PROVED")
    assert f"2 of them lie below anchored size {size}, at which it did not know the key yet" in found.detail


def test_a_device_of_which_the_table_of_contents_knows_and_nothing_is_here_is_answered_for() -> None:
    world, device = simple()
    gone = world.device("cam-2")
    world.deliver(gone)
    world.anchor()
    files = {name: data for name, data in world.files().items() if gone.log.hex() not in name}
    verdict = verify(Bundle(MemorySource(files)), world.trust())
    assert {one.log for one in verdict.devices} == {device.log, gone.log}
    assert (verdict.questions["completeness"].answer, verdict.questions["completeness"].reason) == (
        "not_answered",
        "no_records",
    )
    mine = next(one for one in verdict.devices if one.log == device.log)
    assert mine.questions["completeness"].answer == "ok"
    for spoiled in (b"{", b'{"schema": "edgeseal-bundle/1", "devices": 7}', b'{"devices": ["00", 7, null]}'):
        verify(Bundle(MemorySource(files | {"index.json": spoiled})), world.trust())


def test_above_the_newest_anchor_it_is_the_gateways_word_that_there_is_one_log() -> None:
    world, device = simple()
    assert answers(given(world), "single_view_fleet") == {"single_view_fleet": ("ok", "PROVED")}
    device.infer(1)
    device.seal()
    world.deliver(device)
    world.head()
    assert answers(given(world), "single_view_fleet") == {"single_view_fleet": ("ok", "ATTESTED")}


def test_a_group_that_a_former_operator_gave_makes_no_audience() -> None:
    world, device = simple()
    deputy = Key(8_888)
    members = (*world.keyset.members, Member(deputy.public, "operator", ("command/*",)))
    world.add(world.next_keyset(members))
    device.take_policy()
    device.obey(world.send(device, "ping", {"text": "x"}, by=deputy, audience="all", prev=bytes(32)))
    device.seal()
    world.deliver(device)
    world.anchor()
    view = state_of(world, device)
    assert view.state is not None
    ended = RegistryKey("operator", (Interval(0, 1, 2), Interval(world.size + 9, None, None)))
    keys = {**view.state.keys, world.operator.kid: ended}
    evidence = replace(given(world), chain=replace(view, state=replace(view.state, keys=keys)))
    verdict = verify(evidence.bundle, evidence.trust, evidence.chain, ["command_authority"])
    assert "not_enrolled" in {entry.reason for _, entry in verdict.unanswered}


def test_a_flood_of_refusals_excuses_no_command_that_no_record_names() -> None:
    world, device = simple()
    world.send(device, "ping", {"text": "x"})
    refused: dict[str, Any] = {"id": None, "cmd": bytes(32), "pos": None, "reason": "wrong_audience", "detail": ""}
    device.add("command.refused", count=900, **refused)
    device.obey(world.send(device, "ping", {"text": "y"}))
    device.seal()
    world.deliver(device)
    world.anchor()
    found = answers(given(world), "command_authority")
    assert found == {"command_authority": ("not_answered", "command_withheld")}
