"""S42-S46, S51, S52: several gateways, a paused one, an old store, a full disk: no anchor is lost, none doubled."""

from __future__ import annotations

import contextlib
import dataclasses
import resource
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from edgeseal.errors import InvariantBroken, Unavailable
from edgeseal_gateway.chain.lease import Lease
from edgeseal_gateway.chain.sender import Sender
from edgeseal_gateway.store import anchors, attempts, guard
from edgeseal_gateway.store.database import Database
from tests.fakes.submitter import Rig


def second_instance(rig: Rig, folder: Path) -> Rig:
    """Another gateway on the same store and chain, on another machine: it did not get the lease."""
    other = Rig.__new__(Rig)
    other.__dict__.update(rig.__dict__)
    other.database = Database(rig.path)
    other.lease = Lease(other.database, rig.seconds, rig.wall_ms, "elsewhere", ttl_s=10**6)
    other.means = dataclasses.replace(rig.means, database=other.database, lease=other.lease, trouble=None)
    other.sender = Sender(other.means)
    return other


def short(rig: Rig) -> Lease:
    """Give the gateway a lease of half a minute in the place of the long one of other tests."""
    rig.lease.release()
    rig.lease = rig.means.lease = Lease(rig.database, rig.seconds, rig.wall_ms, "here", ttl_s=30.0)
    rig.lease.acquire()
    return rig.lease


def test_S42_a_second_instance_on_the_same_store_signs_and_sends_nothing(rig: Rig, tmp_path: Path) -> None:
    other = second_instance(rig, tmp_path)
    with pytest.raises(Unavailable, match="lease_held"):
        other.lease.acquire()
    for _ in range(3):
        assert not other.sender.step()
        assert other.sender.blocked is not None and other.sender.blocked.code == "lease_not_held"
    assert rig.account.signed == [] and rig.node.sent == []
    rig.work(2)
    assert len(rig.account.signed) == 1 and rig.anchored_events() == [2]


def test_S42_a_paused_process_that_wakes_up_after_its_lease_expired_sends_nothing(rig: Rig, tmp_path: Path) -> None:
    paused = short(rig)
    rig.wait(3_600)
    other = second_instance(rig, tmp_path)
    other.lease.acquire()
    other.sender.step()
    other.grow("cam-1")
    signed, sent = len(rig.account.signed), len(rig.node.sent)
    assert not paused.held() and not rig.sender.step()
    assert len(rig.account.signed) == signed and len(rig.node.sent) == sent


def test_S42_one_that_still_believes_in_a_stolen_lease_cannot_store_a_transaction(rig: Rig, tmp_path: Path) -> None:
    """Its own clock says it holds the lease. What it may not do is keep a transaction, and what is not kept is not
    sent.
    """
    other = second_instance(rig, tmp_path)
    with other.database.write() as connection:
        connection.execute("UPDATE lease SET until = 0")
    other.lease.acquire()
    assert rig.lease.held()
    with pytest.raises(InvariantBroken, match="lease_lost"):
        rig.sender.step()
    assert rig.node.sent == [] and rig.ask(attempts.next_nonce) in (None, 0)
    other.sender.step()
    assert len(rig.node.sent) == 1
    rig.mine(3)
    other.sender.step()
    assert rig.anchored_events() == [2]


def test_S42_robbed_between_signing_and_sending_it_can_only_repeat_what_is_stored(rig: Rig, tmp_path: Path) -> None:
    """Stopped just after the commit: the successor sends the very bytes, and so may the first when it wakes up."""
    rig.step()
    other = second_instance(rig, tmp_path)
    with other.database.write() as connection:
        connection.execute("UPDATE lease SET until = 0")
    other.lease.acquire()
    other.sender.step()
    rig.node.drop()
    rig.wait(30)
    rig.sender.step()
    other.sender.step()
    assert {bytes(raw) for raw in rig.node.sent} == {rig.attempts()[0].raw}
    rig.mine(6)
    other.sender.step()
    assert rig.anchored_events() == [2]


def set_back(rig: Rig, folder: Path) -> Callable[[], None]:
    """Make a backup of the store; return what puts the gateway back onto it."""
    rig.dying.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    old = folder / "backup.db"
    shutil.copy(rig.path, old)

    def restore() -> None:
        rig.path = old
        rig.restart()

    return restore


def test_S42_a_restored_old_store_does_not_anchor_twice(rig: Rig, tmp_path: Path) -> None:
    """Backup, an anchor, restore: the journal does not know the transaction, the chain does."""
    restore = set_back(rig, tmp_path)
    rig.work(2)
    sent, signed = len(rig.node.sent), len(rig.account.signed)
    restore()
    for _ in range(8):
        rig.step()
        rig.mine()
    assert rig.state() == anchors.FINAL, "taken over from the chain"
    assert len(rig.account.signed) == signed and len(rig.node.sent) == sent
    rig.grow("cam-1")
    wanted = rig.ask(anchors.newest_wanted)
    assert wanted is not None
    rig.work(wanted.size)
    assert rig.anchored_events() == [2, wanted.size]
    assert [one.nonce for one in rig.attempts(wanted.size)] == [1], "the nonce follows the chain's"
    rig.audit()


def test_S42_a_restored_store_with_its_transaction_still_in_the_pool_anchors_once(rig: Rig, tmp_path: Path) -> None:
    restore = set_back(rig, tmp_path)
    rig.step()
    assert len(rig.node.sent) == 1
    restore()
    rig.work(2)
    assert rig.anchored_events() == [2]
    rig.audit()


def test_S42_a_restored_store_behind_the_chain_signs_no_head_and_sends_nothing(rig: Rig, tmp_path: Path) -> None:
    """The chain holds a size the store has never seen: whatever was signed now would be a second history."""
    rig.work(2)
    restore = set_back(rig, tmp_path)
    rig.grow("cam-1")
    wanted = rig.ask(anchors.newest_wanted)
    assert wanted is not None
    rig.work(wanted.size)
    sent, signed, heads = len(rig.node.sent), len(rig.account.signed), len(rig.signer.signed)
    restore()
    with rig.database.write() as connection:
        guard.note_chain(connection, rig.chain.state.size, rig.chain.state.root)
    rig.hand_in(rig.tenant.enrolment(rig.tenant.device_of("cam-2")))
    assert not rig.sequencer.step()
    assert rig.sequencer.blocked is not None and rig.sequencer.blocked.code == "behind_chain"
    for _ in range(5):
        rig.step()
        rig.mine()
    assert len(rig.node.sent) == sent and len(rig.account.signed) == signed and len(rig.signer.signed) == heads


def test_S44_the_next_anchor_is_not_sent_before_the_last_is_confirmed(rig: Rig) -> None:
    rig.node.final_lie = 0
    with rig.database.write() as connection:
        anchors.want(connection, 2)
    rig.step()
    size = rig.grow("cam-1")
    with rig.database.write() as connection:
        anchors.want(connection, size)
    rig.mine()
    rig.step(3)
    assert rig.state() == anchors.MINED and rig.state(size) == anchors.QUEUED
    rig.mine(2)
    rig.step(2)
    assert rig.state() == anchors.CONFIRMED and rig.state(size) in (anchors.SENT, anchors.PREPARED)


def test_S46_a_gateway_that_stops_signs_and_sends_nothing_more_and_follows_what_is_sent(rig: Rig) -> None:
    rig.step()
    size = rig.grow("cam-1")
    with rig.database.write() as connection:
        anchors.want(connection, size)
    sent, signed = len(rig.node.sent), len(rig.account.signed)
    rig.wait(600)
    for _ in range(3):
        rig.sender.follow()
    assert len(rig.node.sent) == sent and len(rig.account.signed) == signed
    assert rig.state() in (anchors.SENT, anchors.PREPARED) and rig.state(size) == anchors.QUEUED
    rig.mine()
    rig.sender.follow()
    assert rig.state() == anchors.MINED, "what was under way is seen to the block"
    rig.mine(2)
    rig.sender.follow()
    assert rig.state(size) == anchors.QUEUED and len(rig.account.signed) == signed, "nothing new, though there is room"


def test_S51_no_timer_follows_the_wall_clock(rig: Rig) -> None:
    rig.step()
    for jump in (10 * 86_400_000, -20 * 86_400_000):
        rig.clock += jump
        rig.step(3)
    assert len(rig.attempts()) == 1, "no time has passed: nothing is outbid"
    rig.monotonic += 120
    rig.step()
    assert len(rig.attempts()) == 2


def test_S51_block_time_comes_from_headers_only(rig: Rig) -> None:
    from edgeseal.bundle import AnchorEvidence
    from edgeseal.evmproof.header import decode_header

    rig.clock += 10**12
    rig.work(2)
    found = rig.ask(anchors.newest_final)
    assert found is not None and found.evidence is not None and found.number is not None
    stamp = decode_header(AnchorEvidence.decode(found.evidence).header).timestamp
    assert stamp == rig.chain.blocks[found.number].header.timestamp


@contextlib.contextmanager
def read_only(rig: Rig) -> Iterator[None]:
    """Let the store be read-only for the gateway's connection."""
    rig.dying.connection.execute("PRAGMA query_only = 1")
    yield
    rig.dying.connection.execute("PRAGMA query_only = 0")


@contextlib.contextmanager
def full(rig: Rig) -> Iterator[None]:
    """Let no file of this process grow beyond a page of the store, as on a full disk: the kernel refuses the write."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("disk", [read_only, full])
def test_S52_nothing_is_sent_that_the_store_does_not_hold(
    rig: Rig, disk: Callable[[Rig], contextlib.AbstractContextManager[None]]
) -> None:
    with disk(rig):
        for _ in range(3):
            with pytest.raises(Unavailable, match="store_unavailable"):
                rig.step()
            rig.wait(60)
    assert rig.node.sent == [] and rig.attempts() == [] and rig.anchored_events() == []
    rig.work(2)
    assert [one.nonce for one in rig.attempts()] == [0], "no nonce was lost"
    rig.audit()
