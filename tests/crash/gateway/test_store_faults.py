"""Every write of ingest, intake and sequencer fails once, before and after it became durable; then everything is
audited.

A fault is an exception out of the transaction, either before COMMIT (nothing is there) or after it (all is there and
nobody was told). What follows is what a killed process and its restart are: new objects on the same file, messages
that were not acknowledged delivered again, statements handed in again by people who got no answer.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from edgeseal import cose, merkle, statements
from edgeseal.head import SignedFleetHead
from edgeseal.snapshot import recompute
from edgeseal.statements.snapshot import Snapshot
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer
from edgeseal_gateway.store import anchors, devicelog, fleetlog, guard
from edgeseal_gateway.store.database import Database
from tests.gatewaystore import Founded
from tests.tenant import SoftSigner, segment_of
from tests.world import Device


class Crash(BaseException):
    """The end of the process, as far as the code under test is concerned."""


class Faulty(Database):
    """A store whose write number ``at`` ends in a crash, before or after its COMMIT."""

    def __init__(self, path: Path, at: int, after: bool) -> None:
        super().__init__(path)
        self.left, self.after = at, after
        self.crashed = False

    @contextlib.contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        self.left -= 1
        last = self.left == 0
        with super().write() as connection:
            yield connection
            if last and not self.after:
                self.crashed = True
                raise Crash
        if last:
            self.crashed = True
            raise Crash


class Story:
    """A fixed course of events, which can be taken up again after a crash at any point."""

    def __init__(self, folder: Path) -> None:
        self.founded = Founded(folder, policy=AnchorPolicy(3, 1_000))
        tenant = self.founded.tenant
        self.devices = [tenant.device_of(name) for name in ("one", "two")]
        self.statements: list[tuple[bytes, bytes, bytes]] = [
            (tenant.enrolment(device), b"", b"") for device in self.devices
        ]
        first = tenant.command("all", bytes(32), {"text": "first"})
        self.statements += [first, tenant.command("all", sha256(first[0]).digest(), {"text": "second"})]
        self.statements.append((tenant.next_keyset(), b"", b""))
        self.segments: list[tuple[Device, bytes]] = []
        for device in self.devices:
            self.segments.append((device, segment_of(device, 0)))
            for _ in range(2):
                start = device.last[0]
                device.infer(5)
                device.seal()
                self.segments.append((device, segment_of(device, start)))

    def play(self) -> None:
        """Do everything from the beginning: what was done already must not be done twice."""
        founded = self.founded
        for device, statement in zip(self.devices, self.statements, strict=False):
            founded.hand_in(*statement)
            self.step()
            for owner, data in self.segments:
                if owner is device:
                    founded.take(device, data)
            self.step()
        for statement in self.statements[2:]:
            founded.hand_in(*statement)
            self.step()

    def step(self) -> None:
        founded = self.founded
        while founded.sequencer.step():
            pass
        wanted = founded.read(anchors.newest_wanted)
        if wanted is not None:
            founded.finish_anchor(wanted.size)

    def restart(self) -> None:
        self.founded.open(Database(self.founded.path))
        with self.founded.database.write() as connection:
            guard.forget_chain(connection)
        assert not self.founded.sequencer.step(), "nothing is signed before the chain was looked at"
        final = self.founded.read(anchors.newest_final)
        self.founded.chain_holds(0 if final is None else final.size)

    def audit(self) -> None:
        """Check every promise the store makes, from its bytes."""
        founded = self.founded
        leaves = founded.leaves()
        made = [(leaf.pos, statements.decode(leaf.statement)) for leaf in leaves]
        assert [leaf.pos for leaf in leaves] == list(range(len(leaves)))
        contents = [one.signed.content for _, one in made]
        assert len(set(contents)) == len(contents), "no statement stands twice"
        for statement, _, _ in self.statements:
            assert statements.decode(statement).signed.content in contents
        prev = (0, bytes(32))
        for stored in founded.read(lambda c: fleetlog.heads(c, founded.profile.fleet_log, 0, 1_000)):
            head = SignedFleetHead.decode(stored.signed).verify(founded.signer.public_key)
            assert head.root == merkle.root(leaf.leaf for leaf in leaves[: head.size]) and head.prev == prev
            prev = (head.size, head.root)
        assert prev[0] == len(leaves), "the newest head covers everything"
        for pos, one in made:
            if isinstance(one.content, Snapshot):
                assert one.content.root == recompute(made[:pos]).root
        self._audit_devices()
        self._audit_signatures()

    def _audit_devices(self) -> None:
        for device in self.devices:
            known = self.founded.known(device)
            assert (known.size, known.root) == (device.size, device.root())
            with self.founded.database.read() as connection:
                items = list(devicelog.items(connection, known.id, 0, known.size))
            assert [(seq, item[1], item[2]) for seq, item in items] == [
                (seq, made.header, made.body) for seq, made in enumerate(device.records)
            ]
            last = self.founded.ask(devicelog.newest_statement, known.log, 10_000)
            assert last is not None and last.statement == device.heads[-1]
        assert self.founded.read(lambda c: fleetlog.pending(c, 10)) == []

    def _audit_signatures(self) -> None:
        """No two heads of one size were ever put before the key with different contents."""
        sizes: dict[int, bytes] = {}
        for message in self.founded.signer.signed:
            if b"fleet-head" in message:
                protected = message[12:]
                size = cose.decode(
                    b"\xd2\x84" + protected[: protected.rindex(b"\x40\x58\x20")] + b"\xa0\x58\x20" + message[-32:]
                    + b"\x58\x40" + bytes(63) + b"\x01",
                    limit=4_096,
                ).size  # fmt: skip
                assert size is not None
                assert sizes.setdefault(size, message) == message, f"two heads of size {size} were signed"
        assert len(sizes) > 5


@pytest.fixture(scope="module")
def writes(tmp_path_factory: pytest.TempPathFactory) -> int:
    """How many writes the story takes."""
    story = Story(tmp_path_factory.mktemp("count"))
    counting = Faulty(story.founded.path, 1 << 30, False)
    story.founded.open(counting)
    story.play()
    story.audit()
    return (1 << 30) - counting.left


@pytest.mark.parametrize("after", [False, True], ids=["before-commit", "after-commit"])
def test_each_write_may_be_the_last(tmp_path: Path, writes: int, after: bool) -> None:
    assert writes > 20
    for at in range(1, writes + 1):
        folder = tmp_path / str(at)
        folder.mkdir()
        story = Story(folder)
        faulty = Faulty(story.founded.path, at, after)
        story.founded.open(faulty)
        with contextlib.suppress(Crash):
            story.play()
        assert faulty.crashed
        story.restart()
        story.play()
        story.audit()


class FailingSigner:
    """The gateway's key, whose use number ``at`` ends in a crash, before or after it signed."""

    def __init__(self, real: SoftSigner, at: int, after: bool) -> None:
        self.public_key = real.public_key
        self._real, self._left, self._after = real, at, after
        self.crashed = False

    def sign(self, message: bytes) -> bytes:
        self._left -= 1
        self.crashed = self._left == 0
        if self.crashed and self._after:
            self._real.sign(message)
        if self.crashed:
            raise Crash
        return self._real.sign(message)


@pytest.mark.parametrize("after", [False, True], ids=["unsigned", "signed-and-lost"])
def test_the_token_may_fail_at_each_signature(tmp_path: Path, after: bool) -> None:
    """A signature that was made and never stored is made again over the very same bytes."""
    for at in range(1, 100):
        folder = tmp_path / str(at)
        folder.mkdir()
        story = Story(folder)
        founded = story.founded
        failing = FailingSigner(founded.signer, at, after)
        founded.sequencer = Sequencer(founded.database, failing, founded.profile.fleet_log, founded.policy, lambda: 0.0)
        with contextlib.suppress(Crash):
            story.play()
        if not failing.crashed:
            break
        story.restart()
        story.play()
        story.audit()
    assert 8 < at < 99
