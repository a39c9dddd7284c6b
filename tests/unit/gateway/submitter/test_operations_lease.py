"""S42, S51: one gateway signs for a store; paused, robbed or set back, it stores nothing that could be sent."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from edgeseal_gateway import daemon
from edgeseal_gateway.chain.lease import TTL_S, Lease, fence
from edgeseal_gateway.store import leases
from edgeseal_gateway.store.database import Database


class Clocks:
    """A monotonic and a wall clock that go as they are told."""

    def __init__(self) -> None:
        self.seconds = 1_000.0
        self.wall = 1_700_000_000_000

    def monotonic(self) -> float:
        return self.seconds

    def wall_ms(self) -> int:
        return self.wall

    def passes(self, seconds: float) -> None:
        self.seconds += seconds
        self.wall += int(seconds * 1000)


class Machine:
    """Where gateways run: its clocks, its boot id."""

    def __init__(self, database: Database, boot: str, clocks: Clocks | None = None) -> None:
        self.database, self.boot, self.clocks = database, boot, clocks or Clocks()

    def lease(self, alone_here: bool = False) -> Lease:
        return Lease(self.database, self.clocks.monotonic, self.clocks.wall_ms, self.boot, alone_here)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    Database.create(tmp_path / "gateway.db")
    return Database(tmp_path / "gateway.db")


@pytest.fixture
def machine(database: Database) -> Machine:
    return Machine(database, "boot-a")


def stores(database: Database, token: int) -> None:
    """What a sender does before it sends: compare the token in the transaction that keeps the bytes."""
    with database.write() as connection:
        fence(connection, token)
        connection.execute("INSERT OR REPLACE INTO meta VALUES ('sent', x'01')")


def test_S42_a_second_gateway_refuses_to_sign_and_says_so(database: Database, machine: Machine) -> None:
    first, second = machine.lease(), Machine(database, "boot-b", machine.clocks).lease()
    assert first.acquire() == 1 and first.held()
    with pytest.raises(Unavailable, match="another gateway signs for this store") as caught:
        second.acquire()
    assert caught.value.code == "lease_held" and caught.value.remedy is not None
    trouble = second.trouble()
    assert not second.held() and trouble is not None and trouble.code == "lease_not_held"
    with pytest.raises(InvariantBroken, match="lease_lost"):
        stores(database, second.token)
    stores(database, first.token)


def test_S42_a_successor_waits_for_the_end_and_gets_a_higher_token(database: Database, machine: Machine) -> None:
    first, second = machine.lease(), Machine(database, "boot-b", machine.clocks).lease()
    first.acquire()
    machine.clocks.passes(TTL_S - 1)
    with pytest.raises(Unavailable):
        second.acquire()
    assert not first.held(), "the holder stops before others may begin"
    machine.clocks.passes(1)
    assert second.acquire() == 2


def test_S42_a_paused_gateway_that_wakes_up_stores_nothing(database: Database, machine: Machine) -> None:
    paused = machine.lease()
    token = paused.acquire()
    machine.clocks.passes(3_600)
    other = Machine(database, "boot-b", machine.clocks).lease()
    other.acquire()
    assert not paused.held()
    with pytest.raises(InvariantBroken, match="lease_lost"):
        stores(database, token)
    with pytest.raises(InvariantBroken, match="lease_lost"):
        paused.renew()
    assert other.held()


def test_S42_a_stolen_lease_ends_the_one_it_was_stolen_from(database: Database, machine: Machine) -> None:
    """A thief whose wall clock runs an hour ahead takes the lease while its holder still believes in it."""
    holder = machine.lease()
    token = holder.acquire()
    ahead = Clocks()
    ahead.wall += 3_600_000
    thief = Machine(database, "boot-b", ahead).lease()
    assert thief.acquire() == 2
    assert holder.held(), "its own clock cannot tell"
    with pytest.raises(InvariantBroken, match="lease_lost"):
        stores(database, token)
    stores(database, thief.token)


def test_S42_a_paused_gateway_whose_lease_nobody_took_goes_on(database: Database, machine: Machine) -> None:
    paused = machine.lease()
    token = paused.acquire()
    machine.clocks.passes(3_600)
    assert not paused.held()
    paused.hold()
    assert paused.held() and paused.token == token
    stores(database, token)


def test_S42_after_a_crash_the_successor_on_the_same_machine_does_not_wait(machine: Machine) -> None:
    machine.lease().acquire()
    assert machine.lease(alone_here=True).acquire() == 2, "it holds the lock of the state directory"
    with pytest.raises(Unavailable):
        machine.lease().acquire()


def test_S42_a_release_frees_it_and_the_token_is_never_given_again(database: Database, machine: Machine) -> None:
    first = machine.lease()
    first.acquire()
    first.release()
    first.release()
    assert not first.held() and first.token == 0
    second = Machine(database, "boot-b").lease()
    assert second.acquire() == 2
    with pytest.raises(InvariantBroken):
        stores(database, 1)


def test_S42_a_release_that_comes_late_takes_nothing_from_the_successor(database: Database, machine: Machine) -> None:
    late = machine.lease()
    late.acquire()
    machine.clocks.passes(TTL_S)
    other = Machine(database, "boot-b", machine.clocks).lease()
    other.acquire()
    late.release()
    with database.read() as connection:
        assert leases.read(connection).token == other.token and leases.read(connection).holder != b""


def test_S42_a_store_put_back_under_a_running_gateway_stops_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.db"
    Database.create(path)
    database = Database(path)
    clocks = Clocks()
    Machine(database, "boot-a", clocks).lease().acquire()
    database.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    shutil.copy(path, tmp_path / "old.db")

    clocks.passes(TTL_S)
    running = Machine(Database(path), "boot-b", clocks).lease()
    token = running.acquire()
    restored = Database(tmp_path / "old.db")
    with pytest.raises(InvariantBroken, match="lease_lost"):
        stores(restored, token)
    assert Machine(restored, "boot-b", clocks).lease().acquire() == 2, "started anew on it, a gateway takes it up"


def test_S51_a_wall_clock_that_jumps_changes_nothing_for_the_holder(machine: Machine) -> None:
    lease = machine.lease()
    lease.acquire()
    for jump in (-86_400_000, 2 * 86_400_000):
        machine.clocks.wall += jump
        assert lease.held()
    machine.clocks.seconds += TTL_S
    assert not lease.held(), "its own time has passed, whatever the wall clock says"


def test_S51_an_end_far_ahead_is_waited_for_on_the_own_clock(database: Database, machine: Machine) -> None:
    """A holder with a clock a year ahead died: its lease must not stand for a year."""
    ahead = Clocks()
    ahead.wall += 365 * 86_400_000
    Machine(database, "boot-b", ahead).lease().acquire()
    successor = machine.lease()
    for _ in range(2):
        with pytest.raises(Unavailable):
            successor.acquire()
    machine.clocks.passes(TTL_S + 1)
    assert successor.acquire() == 2


def test_S51_a_holder_far_ahead_that_still_renews_keeps_its_lease(database: Database, machine: Machine) -> None:
    ahead = Clocks()
    ahead.wall += 365 * 86_400_000
    holder = Machine(database, "boot-b", ahead).lease()
    holder.acquire()
    waiting = machine.lease()
    for _ in range(8):
        with pytest.raises(Unavailable):
            waiting.acquire()
        for clocks in (ahead, machine.clocks):
            clocks.passes(TTL_S / 3)
        holder.renew()


def test_S52_a_store_that_takes_nothing_ends_the_lease(database: Database, machine: Machine) -> None:
    lease = machine.lease()
    lease.acquire()
    database.connection.execute("PRAGMA query_only = 1")
    machine.clocks.passes(TTL_S / 3)
    with pytest.raises(Unavailable, match="store_unavailable"):
        lease.renew()
    assert lease.held(), "until its end"
    machine.clocks.passes(TTL_S / 3)
    assert not lease.held(), "fail closed: nothing is signed on a store that cannot be written"
    database.connection.execute("PRAGMA query_only = 0")
    lease.hold()
    assert lease.held()


def test_S42_a_second_gateway_on_the_same_state_directory_is_refused_at_once(tmp_path: Path) -> None:
    first = daemon._lock(tmp_path / "lock")
    with pytest.raises(UsageError, match="another gateway runs on this state directory") as caught:
        daemon._lock(tmp_path / "lock")
    assert caught.value.code == "already_running"
    os.close(first)
    os.close(daemon._lock(tmp_path / "lock"))
