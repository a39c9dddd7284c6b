"""One life of a device, short and with everything in it: ``init``, a run with records, heads, segments, receipts, a
command, a keyset, inputs, an incident, thinning and a model package, a clean end, a second run, which takes a command
and is cut off before it obeys, and the end of the log.

Started as a program it waits for rows of the fault table: for each it forks, and the child lives that life over the
disk of ``faultdisk.c``, which fails as the row says. The gateway is a strict one in memory. The key is in software: the
token's own disk is not what these rows are about.
"""

from __future__ import annotations

import ctypes
import json
import os
import sqlite3
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Final
from unittest.mock import patch

import edgeseal.adapters.pkcs11
from edgeseal import merkle, segment, topics, verify
from edgeseal.errors import EdgesealError
from edgeseal.head import SignedDeviceHead
from edgeseal.model import package_digest
from edgeseal.statements.enrolment import device_log_id
from edgeseal_agent import closing as closing_log
from edgeseal_agent import config as configuration
from edgeseal_agent import identity, incidents, recovery, retention
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.disk import DiskGuard
from edgeseal_agent.export import export
from edgeseal_agent.inference import keep_opening
from edgeseal_agent.initialise import initialise
from edgeseal_agent.journal import Journal
from edgeseal_agent.packages import Packages
from edgeseal_agent.sealer import Sealer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.store import Store
from edgeseal_agent.thinning import Thinning
from edgeseal_console.investigate.opening import opened
from tests.fleetside import FleetSide, make_pack
from tests.unit.agent.conftest import SoftSigner
from tests.unit.agent.loop import Agent, LoopLink
from tests.world import Key

KEY: Final = Key(4711)
DEADLINE_S: Final = 60.0
TAMPER: Final = {"what": "lid", "detail": "open"}
BEAT: Final = {"up": 1, "records": 1, "free": 1, "unsent": 1}
FOLLOWING: Final = Key(4712)
END: Final = (
    ("key.rotated", {"next": device_log_id(FOLLOWING.kid), "key": FOLLOWING.public.point}),
    ("closed", {"reason": "rotated", "next": device_log_id(FOLLOWING.kid)}),
)
PACKAGE: Final = {"model.yaml": b"of no meaning here", "weights.bin": bytes(5_000)}
CONFIG: Final = """schema: edgeseal-agent/1
name: cam-1
groups: [all]
state_dir: state
provisioning: pack.cbor
key: {token: edge, label: device, pin_file: pin}
storage: {when_full: thin}
"""


class Ended(Exception):
    """A part of the agent has failed: the process ends here, as the daemon does."""


@contextmanager
def software_key() -> Iterator[None]:
    """The device key in software, wherever the agent asks for its token."""
    with (
        patch.object(identity, "open_signer", lambda key, expected=None: SoftSigner(KEY)),
        patch.object(edgeseal.adapters.pkcs11, "token_model", lambda key: "SoftHSM v2"),
    ):
        yield


def prepare(folder: Path) -> None:
    """Write what a device has before ``init``."""
    folder.mkdir()
    (folder / "agent.yaml").write_text(CONFIG)
    (folder / "state").mkdir(mode=0o700)


class TellingLink(LoopLink):
    """Says which heads leave the device, before they do."""

    def __init__(self, side: Any, descriptor: int) -> None:
        super().__init__(side)
        self._descriptor = descriptor

    def publish(self, topic: str, payload: bytes) -> None:
        if topics.parse(topic).kind == "segment":
            found = segment.decode(payload).head
            digest = sha256(found.signed.payload or b"").hexdigest()
            say(self._descriptor, f"head {found.head.size} {found.head.root.hex()} {digest}")
        super().publish(topic, payload)


def say(descriptor: int, text: str) -> None:
    """Tell the world, through the descriptor that the disk's log knows."""
    os.write(descriptor, text.encode() + b"\n")


class Full(DiskGuard):
    """A disk on which bodies should go."""

    def wants_thinning(self) -> bool:
        return True


class Run:
    """Journal, sealer, uplink and commands over the state directory, from ``recovery.begin`` on."""

    def __init__(self, config: configuration.Config, side: FleetSide | None, descriptor: int | None) -> None:
        self.config = config
        self.store = identity.open_store(config)
        boot = recovery.begin(self.store).boot
        self.sealer = Sealer(self.store, SoftSigner(KEY))
        self.journal = Journal(
            self.store, boot=boot, clock=JumpingClock("rtc"), policy=SealPolicy(16, 3_600_000),
            on_head=self.sealer.offer, acks=descriptor,
        )  # fmt: skip
        self.sealer.start(self.journal)
        self.agent: Agent | None = None
        if side is not None and descriptor is not None:
            known = identity.Identity.of(self.store.meta())
            parts: Any = SimpleNamespace(
                fleet=side, store=self.store, journal=self.journal, identity=known, sealer=self.sealer
            )
            self.agent = Agent(parts)
            self.agent.link = TellingLink(side, descriptor)
            self.agent.link.uplink = self.agent.uplink

    def until(self, what: Callable[[], Any]) -> None:
        """Wait for something; raise Ended when a part has failed."""
        deadline = time.monotonic() + DEADLINE_S
        while not what():
            parts: list[Any] = [self.journal, self.sealer]
            parts += [] if self.agent is None else [self.agent.uplink, self.agent.commands]
            if any(part.failure is not None for part in parts):
                raise Ended
            assert time.monotonic() < deadline, "it did not come about in time"
            time.sleep(0.002)

    def sealed(self) -> None:
        """Wait until a signed head covers everything."""
        self.until(lambda: self.sealer.size == self.journal.size)

    def receipted(self) -> None:
        """Wait until a receipt covers everything."""
        agent = self.agent
        assert agent is not None
        self.until(lambda: agent.uplink.status()["acknowledged"] == self.journal.size)

    def count(self, kind: str) -> int:
        """Return how many records of a kind there are."""
        return _count(self.store)[kind]

    def close(self) -> None:
        """End cleanly."""
        if self.agent is not None:
            self.agent.stop()
        self.sealer.stop()
        self.journal.close()


@contextmanager
def ending(descriptor: int) -> Iterator[None]:
    """End as the process would when something fails for good, and say of what; a defect of ours is not among it."""
    try:
        yield
    except EdgesealError as error:
        say(descriptor, f"ended {error.code}")
    except (OSError, sqlite3.Error) as error:
        say(descriptor, f"ended {type(error).__name__}")
    except Ended:
        pass


class JumpingClock(DeviceClock):
    """A wall clock that stands at 1970 and in 2099 by turns: nothing may be ordered by it."""

    def wall_ms(self) -> int:
        self._turn = not getattr(self, "_turn", False)
        return 1_000 if self._turn else 4_100_000_000_000


def live(folder: Path, descriptor: int) -> None:
    """The whole life. Ends early, as the process would, when something fails for good."""
    config, side = configuration.load(folder / "agent.yaml"), FleetSide()
    (folder / "pack.cbor").write_bytes(make_pack(side.world))
    with software_key(), ending(descriptor):
        request = initialise(config).as_json()
        say(descriptor, f"init {request['genesis']}")
        side.enrol(request)
        first = Run(config, side, descriptor)
        _work(first, side, descriptor)
        first.close()
        second = Run(config, side, descriptor)
        second.journal.append("boot", {"reason": "start", "clean": True, "build": "b", "config": bytes(32)})
        second.sealed()
        _take(second, side)
        second.close()
        closing_log.close_log(config, second.store, END)
        say(descriptor, "closed")
        say(descriptor, "end")


def _take(run: Run, side: FleetSide) -> None:
    """Take a command; whoever would obey it does not run any more."""
    agent = run.agent
    assert agent is not None
    agent.uplink.start(agent.link, agent.commands)
    agent.uplink.connected()
    sent = side.order(agent.log, "ping", {"text": "too late"})
    with agent.link.lock:
        agent.link.push(*side.deliver(next(order for order in side.orders if order.sent is sent)))
    run.until(lambda: run.count("command.received") == 2)
    run.sealed()


def live_on(folder: Path, descriptor: int) -> None:
    """What the next process does after one that ended early: ``init`` where it had not finished, then records."""
    config = configuration.load(folder / "agent.yaml")
    with software_key(), ending(descriptor):
        if not (config.state_dir / identity.STORE_NAME).exists():
            initialise(config)
        run = Run(config, None, descriptor)
        for _ in range(3):
            run.journal.append("tamper", TAMPER)
            run.sealed()
        # No clean end: the power goes while it runs.


def _work(run: Run, side: FleetSide, descriptor: int) -> None:
    journal, agent, state = run.journal, run.agent, run.config.state_dir
    assert agent is not None
    journal.append("boot", {"reason": "init", "clean": True, "build": "b", "config": bytes(32)})
    run.sealed()
    agent.start()
    run.receipted()
    for ticket in [journal.submit("heartbeat", BEAT) for _ in range(20)]:
        ticket.result(DEADLINE_S)
    journal.append("state", {"name": "x", "pub": {}}, lambda c, seq: keep_opening(c, seq, "input", bytes(70_000)))
    journal.append("tamper", TAMPER)
    run.sealed()
    run.receipted()
    sent = side.order(agent.log, "ping", {"text": "hello"})
    with agent.link.lock:
        agent.link.push(*side.deliver(next(order for order in side.orders if order.sent is sent)))
    run.until(lambda: run.count("command.result") == 1)
    agent.link.push(*side.keyset(agent.log))
    run.until(lambda: run.count("policy.changed") == 1)
    run.sealed()
    run.receipted()
    Packages(state / "packages").install(PACKAGE)
    say(descriptor, "package")
    asked = incidents.Request(bytes(range(16)), "open", 3, "the arm hit the fence")
    incidents.ask(state, asked)
    say(descriptor, "incident")
    incidents.take_up(state, run.store, journal)
    run.sealed()
    storage = run.config.storage
    thinning = Thinning(run.store, journal, Full(run.store, storage), lambda: 0, storage.retention_of())
    assert thinning.step() == "planned"
    run.sealed()
    assert thinning.step() == "stripped"
    journal.execute(lambda c: retention.delete_old_inputs(c, 1 << 60, 1)).result(DEADLINE_S)
    run.receipted()
    journal.append("shutdown", {"reason": "signal"})
    run.sealed()


def audit(folder: Path, lines: list[str], out: Path) -> None:
    """Restart over what is left, go on, and hold the whole history against what was told. Nothing is repaired by hand.

    Everything acknowledged is there as it was; every head that left the device is a prefix of the log and its payload
    is the one that was signed; the log grows, is signed, and the verifier finds nothing wrong with it.
    """
    config, state = configuration.load(folder / "agent.yaml"), folder / "state"
    words = [line.split() for line in lines]
    said = {word[0] for word in words} - {"ended"}
    with software_key():
        if not (state / identity.STORE_NAME).exists():
            assert not said, f"initialised and gone: {said}"
            initialise(config)
        store = identity.open_store(config)
        ended = bool(_count(store)["key.rotated"])
        if ended or "closed" in said:
            closing_log.close_log(config, store, END)  # what a second `rotate` does: it writes what is missing
        else:
            _go_on(config, state)
        export(config, out)
    with closing(store.reader()) as connection:
        leaves = [merkle.leaf_hash(h) for (h,) in connection.execute("SELECT header FROM records ORDER BY seq")]
        heads = connection.execute("SELECT size, payload, signed FROM heads ORDER BY size").fetchall()
        held = connection.execute("SELECT count(*) FROM incidents").fetchone()[0]
    acknowledged = {int(word[0]): word[1] for word in words if word[0].isdigit()}
    assert {seq: leaves[seq].hex() for seq in acknowledged} == acknowledged, "an acknowledged record is gone"
    payloads = {size: sha256(payload).hexdigest() for size, payload, _ in heads}
    for _, size, root, payload in (word for word in words if word[0] == "head"):
        assert merkle.root(leaves[: int(size)]).hex() == root, f"the head of size {size} that was sent is no more"
        assert payloads.get(int(size)) == payload, f"the payload of the head of size {size} was made anew"
    for word in words:
        assert word[0] != "init" or leaves[0].hex() == word[1], "another genesis"
    before = (0, bytes(32))
    for size, payload, signed in heads:
        found = SignedDeviceHead.decode(signed)
        head = found.verify(KEY.public)
        assert found.signed.payload == payload and head.prev == before
        before = (size, head.root)
    assert before[0] == len(leaves) == recovery.check(store)
    kinds = _count(store)
    assert kinds["closed"] == kinds["key.rotated"] == int(ended), "an end of its own, or half of one"
    assert not ended or kinds["command.received"] == kinds["command.result"], "a command vanished with the log"
    assert "closed" not in said or ended, "a log that was closed is open"
    if "incident" in said:
        assert held == 1, "an incident that was asked for is forgotten"
    if "package" in said:
        assert Packages(state / "packages").find(package_digest(PACKAGE)) == PACKAGE, "a package that was kept is gone"
    asked = ("integrity", "append_only")
    with opened(out) as bundle:
        verdict = verify.verify(bundle, ask=asked)
    assert not verdict.failures, verdict.failures
    assert {verdict.questions[name].answer for name in asked} == {"ok"}, verdict.questions


def _count(store: Store) -> Counter[str]:
    with closing(store.reader()) as connection:
        return Counter(kind for (kind,) in connection.execute("SELECT kind FROM records"))


def _go_on(config: configuration.Config, state: Path) -> None:
    """What the next run does: it takes up what was asked for, and records."""
    run = Run(config, None, None)
    incidents.take_up(state, run.store, run.journal)
    run.journal.append("tamper", TAMPER)
    run.sealed()
    run.close()


def main() -> int:
    """Read rows, one JSON object a line, and answer each with the child's exit status."""
    disk = ctypes.CDLL(None)
    for line in sys.stdin:
        row = json.loads(line)
        child = os.fork()
        if child == 0:
            folder, descriptor = Path(row["folder"]), os.open(os.devnull, os.O_WRONLY)
            disk.faultdisk_begin(
                str(folder / "state").encode(), row["log"].encode(), descriptor, ctypes.c_long(row["at"]), row["how"],
                row["error"],
            )  # fmt: skip
            code = 3
            try:
                (live_on if row["goes_on"] else live)(folder, descriptor)
                code = 0
            finally:
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
