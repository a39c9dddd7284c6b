"""Fixtures for the agent's unit tests: a log in a fresh store, with a software key and no network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgeseal import cbor
from edgeseal.pack import Pack
from edgeseal.statements.enrolment import device_log_id
from edgeseal_agent import recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.identity import Identity
from edgeseal_agent.journal import Journal
from edgeseal_agent.sealer import Sealer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.store import Store
from tests.fleetside import FleetSide, make_pack
from tests.world import Key


class SoftSigner:
    """A device key in software, for tests of everything but the token."""

    def __init__(self, key: Key) -> None:
        self._key = key
        self.signed = 0

    @property
    def public_key(self) -> Any:
        return self._key.public

    def sign(self, message: bytes) -> bytes:
        self.signed += 1
        return self._key.sign(message)


@dataclass
class Bench:
    """A device log just initialised, opened for one run; ``close`` and ``reopen`` are a restart."""

    path: Path
    fleet: FleetSide
    key: Key
    factory: type[Any] | None = None
    head_every: int = 64
    head_max_ms: int = 50
    clock: str = "rtc"

    def __post_init__(self) -> None:
        pack = Pack.decode(make_pack(self.fleet.world))
        keyset, head = pack.verify()
        self.store = Store.create(
            self.path,
            {
                "name": "cam-1", "epoch": 1, "log": device_log_id(self.key.kid),
                "key": self.key.public.x + self.key.public.y, "root": pack.root.x + pack.root.y, "home": pack.log,
                "first_fleet_size": head.size, "boot": 1,
            },
        )  # fmt: skip
        with closing(self.store.connect()) as connection:
            connection.execute("INSERT INTO keysets VALUES (?, ?)", (keyset.version, pack.keyset))
            connection.execute("UPDATE log SET seen = ?", (cbor.encode([head.log, head.size, head.root]),))
        self.identity = Identity.of(self.store.meta())
        self.signer = SoftSigner(self.key)
        self.open(boot=1)
        self.journal.append(
            "genesis",
            {"device": "cam-1", "epoch": 1, "prev": None, "root": pack.root.kid, "home": pack.log, "fleet": pack.head},
        )
        self.journal.append("key.bound", {"key": self.key.public.point, "keyset": [1, sha256(pack.keyset).digest()]})
        self.sealer.wait_for(2, 60)
        with closing(self.store.reader()) as connection:
            genesis = connection.execute("SELECT header FROM records WHERE seq = 0").fetchone()[0]
        self.request = {
            "name": "cam-1", "x": self.key.public.x.hex(), "y": self.key.public.y.hex(),
            "genesis": sha256(b"\x00" + genesis).hexdigest(), "assurance": "file", "groups": ["all"], "cadence": 30,
        }  # fmt: skip

    def open(self, boot: int | None = None) -> None:
        """Start journal and sealer over the store, as a run does."""
        if boot is None:
            boot = recovery.begin(self.store).boot
        store = Store(self.path, self.factory) if self.factory else self.store
        self.sealer = Sealer(store, self.signer)
        self.journal = Journal(
            store, boot=boot, clock=DeviceClock(self.clock), policy=SealPolicy(self.head_every, self.head_max_ms),
            on_head=self.sealer.offer,
        )  # fmt: skip
        self.sealer.start(self.journal)

    def close(self) -> None:
        """Stop as a clean exit does."""
        self.sealer.stop()
        self.journal.close()

    def reopen(self) -> None:
        """Stop and start again."""
        self.close()
        self.open()

    def rows(self, query: str, *values: Any) -> list[Any]:
        """Read from the store."""
        with closing(self.store.reader()) as connection:
            return connection.execute(query, values).fetchall()


MakeBench = Callable[..., Bench]


@pytest.fixture
def make_bench(tmp_path: Path) -> Iterator[MakeBench]:
    """Makes logs; closes them at the end."""
    made: list[Bench] = []

    def make(**options: Any) -> Bench:
        number = len(made)
        bench = Bench(tmp_path / f"journal-{number}.db", FleetSide(), Key(900 + number), **options)
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.close()


@pytest.fixture
def bench(make_bench: MakeBench) -> Bench:
    """One log."""
    return make_bench()
