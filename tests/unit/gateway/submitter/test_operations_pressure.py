"""S43, S48: a chain that is slow makes anchors larger, not more; what is little is anchored in time all the same."""

from __future__ import annotations

from pathlib import Path

from edgeseal_gateway.sequencer import AnchorPolicy
from edgeseal_gateway.store import anchors, fleetlog
from tests.fakes.submitter import Rig
from tests.gatewaystore import Founded


def test_S43_sixteen_anchors_without_finality_are_enough(tmp_path: Path) -> None:
    rig = Rig(tmp_path)
    rig.node.final_lie = 0
    for number in range(18):
        rig.step()
        rig.mine()
        rig.step()
        rig.mine(2)
        rig.step()
        rig.grow(f"cam-{number}")
    assert len(rig.ask(anchors.in_flight)) == 16 and rig.finals() == []
    assert rig.ask(anchors.newest_wanted) is None, "nothing more is asked for: the open batch grows"
    rig.node.final_lie = None
    rig.step()
    rig.sequence()
    following = rig.ask(anchors.newest_wanted)
    assert following is not None
    rig.work(following.size)
    assert len(rig.anchored_events()) == 17
    rig.audit()


def test_S43_while_an_anchor_is_under_way_the_open_batch_grows(rig: Rig) -> None:
    """However much comes in, one more anchor takes it all: nothing queues up but leaves of one tree."""
    rig.step()
    for number in range(30):
        rig.grow(f"cam-{number}")
    assert rig.ask(anchors.newest_wanted) is None and len(rig.ask(anchors.in_flight)) == 1
    rig.work(2)
    size = rig.sequence()
    wanted = rig.ask(anchors.newest_wanted)
    assert wanted is not None and wanted.size == size
    rig.work(size)
    assert rig.anchored_events() == [2, size]
    rig.audit()


def test_S43_records_are_taken_in_and_get_their_receipts_while_nothing_can_be_anchored(rig: Rig) -> None:
    rig.chain.fund(rig.account.address, 0)
    for number in range(5):
        rig.grow(f"cam-{number}")
        rig.step()
    head = rig.ask(fleetlog.newest_head, rig.profile.fleet_log)
    assert head is not None and head.head.size == rig.ask(fleetlog.size) > 5
    assert rig.ask(anchors.finality, head.head.size) == anchors.PENDING


def test_S48_what_is_little_is_anchored_when_its_time_has_come(tmp_path: Path) -> None:
    founded = Founded(tmp_path, policy=AnchorPolicy(1_000, 600))
    founded.finish_anchor(founded.ask(fleetlog.size))
    founded.device()
    founded.monotonic += 599
    founded.sequence()
    assert founded.ask(anchors.newest_wanted) is None
    founded.monotonic += 1
    size = founded.sequence()
    wanted = founded.ask(anchors.newest_wanted)
    assert wanted is not None and wanted.size == size < 1_000


def test_S48_its_time_goes_on_over_a_reorganisation_and_counts_anew_after_a_restart(tmp_path: Path) -> None:
    founded = Founded(tmp_path, policy=AnchorPolicy(1_000, 600))
    size = founded.ask(fleetlog.size)
    with founded.database.write() as connection:
        anchors.found(connection, size, anchors.CONFIRMED, bytes(32), 7, bytes(32), 0)
    founded.device()
    founded.monotonic += 300
    with founded.database.write() as connection:
        anchors.lost(connection, size, anchors.SENT)
    founded.sequence()
    with founded.database.write() as connection:
        anchors.found(connection, size, anchors.CONFIRMED, b"\x01" * 32, 8, bytes(32), 0)
    founded.monotonic += 300
    founded.sequence()
    assert founded.ask(anchors.newest_wanted) is not None

    founded.finish_anchor(founded.sequence())
    founded.device("cam-2")
    founded.open(founded.database)
    founded.sequence()
    founded.monotonic += 600
    founded.sequence()
    assert founded.ask(anchors.newest_wanted) is not None, "a restart begins the time anew: late by one, never lost"
