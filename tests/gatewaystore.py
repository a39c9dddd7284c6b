"""A founded gateway store for tests, and the stages on it, run by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Concatenate, ParamSpec, TypeVar

from edgeseal import statements
from edgeseal_gateway import intake
from edgeseal_gateway.ingest import Answer, Ingest
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer, found_log
from edgeseal_gateway.store import anchors, devices, fleetlog, guard, refusals
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.store.devices import Device as Known
from tests.tenant import SoftSigner, Tenant, profile_for
from tests.world import Device, Key

_Found = TypeVar("_Found")
_Rest = ParamSpec("_Rest")
QUOTA = 1 << 30


class Founded:
    """One store with keyset 1 and the first snapshot in it; the chain is said to hold nothing."""

    def __init__(self, folder: Path, database: Database | None = None, policy: AnchorPolicy | None = None) -> None:
        self.path = folder / "gateway.db"
        self.signer = SoftSigner()
        root = Key(4242)
        self.profile = profile_for(root)
        self.tenant = Tenant(self.profile, root, self.signer.public_key)
        self.clock = 1_000
        self.monotonic = 0.0
        self.policy = policy or AnchorPolicy(None, None)
        if not self.path.exists():
            Database.create(self.path)
            with Database(self.path).write() as connection:
                found_log(connection, self.signer, self.profile.fleet_log, statements.decode(self.tenant.keysets[0]))
        self.open(database or Database(self.path))
        self.chain_holds(0)
        while self.sequencer.step():
            pass
        self.tenant.heads.append(self.read(self._newest_head))

    def open(self, database: Database) -> None:
        """Begin anew on the store, as a restarted process would."""
        self.database = database
        self.ingest = Ingest(database, self.now_ms, QUOTA)
        self.sequencer = Sequencer(database, self.signer, self.profile.fleet_log, self.policy, lambda: self.monotonic)

    def _newest_head(self, connection: sqlite3.Connection) -> bytes:
        head = fleetlog.newest_head(connection, self.profile.fleet_log)
        assert head is not None
        return head.signed

    def now_ms(self) -> int:
        self.clock += 1
        return self.clock

    def read(self, ask: Callable[[sqlite3.Connection], _Found]) -> _Found:
        with self.database.read() as connection:
            return ask(connection)

    def ask(
        self,
        question: Callable[Concatenate[sqlite3.Connection, _Rest], _Found],
        *args: _Rest.args,
        **named: _Rest.kwargs,
    ) -> _Found:
        """Return what a function of the store answers."""
        with self.database.read() as connection:
            return question(connection, *args, **named)

    def chain_holds(self, size: int) -> None:
        with self.database.write() as connection:
            root = fleetlog.root_at(connection, size) if 0 < size <= fleetlog.size(connection) else bytes(32)
            guard.note_chain(connection, size, root)

    def finish_anchor(self, size: int) -> None:
        """Pretend that the head of ``size`` became final."""
        with self.database.write() as connection:
            anchors.finish(connection, size, bytes(32), 7, bytes(32), 0, b"\xa0")
            guard.note_chain(connection, size, fleetlog.root_at(connection, size))

    def hand_in(self, statement: bytes, salt: bytes = b"", args: bytes = b"") -> intake.Accepted:
        with self.database.write() as connection:
            return intake.accept(connection, self.profile, self.signer.public_key.kid, statement, salt, args)

    def sequence(self) -> int:
        """Step until nothing waits; return the size of the log."""
        while self.sequencer.step():
            pass
        return self.read(fleetlog.size)

    def device(self, name: str = "cam-1") -> Device:
        """Return an enrolled device that has begun its log; the gateway has nothing of it yet."""
        device = self.tenant.device_of(name)
        self.hand_in(self.tenant.enrolment(device))
        self.sequence()
        return device

    def take(self, device: Device, *segments: bytes) -> list[Answer]:
        return self.ingest.take([(device.log, data) for data in segments])

    def known(self, device: Device) -> Known:
        found = self.read(lambda connection: devices.find(connection, device.log))
        assert found is not None
        return found

    def refused(self, device: Device) -> dict[str, int]:
        return self.read(lambda connection: refusals.of_log(connection, device.log))

    def leaves(self) -> list[fleetlog.Leaf]:
        return self.read(lambda connection: fleetlog.leaves(connection, 0, 100_000))
