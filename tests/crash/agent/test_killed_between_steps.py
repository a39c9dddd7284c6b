"""SIGKILL right after each step that cannot be taken back, then a restart: the rows of ARCHITECTURE.md's crash table.

The agent runs as it is, in a process whose steps are counted from outside: a small program wraps the functions of the
step and kills itself there.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeseal import merkle
from edgeseal.cose import PublicKey
from edgeseal.head import SignedDeviceHead
from edgeseal.model import encode_package, package_digest
from edgeseal.record import decode_body
from edgeseal_agent import recovery
from edgeseal_agent.store import Store
from edgeseal_console.demo.parts import Broker
from tests.agentrig import MODEL, WAIT_S, AgentRig, Gateway, wait
from tests.fleetside import FleetSide, Reply, make_pack

KILLER = """
import os, signal, sys
import edgeseal_agent.{module} as module
place, name = "{place}", "{name}"
owner = module
for part in name.split(".")[:-1]:
    owner = getattr(owner, part)
last = name.split(".")[-1]
real, calls = getattr(owner, last), 0
def counted(*arguments, **options):
    global calls
    matches = {matches}
    calls += bool(matches)
    if matches and calls == {nth} and place == "before":
        os.kill(os.getpid(), signal.SIGKILL)
    found = real(*arguments, **options)
    if matches and calls == {nth} and place == "after":
        os.kill(os.getpid(), signal.SIGKILL)
    return found
setattr(owner, last, counted)
import edgeseal_agent.cli
sys.exit(edgeseal_agent.cli.main())
"""


def killer(place: str, module: str, name: str, nth: int = 1, matches: str = "True") -> list[str]:
    """A program that is the agent, until the nth call of a function begins or ends."""
    code = KILLER.format(place=place, module=module, name=name, nth=nth, matches=matches)
    return [sys.executable, "-c", code]


def rows(rig: AgentRig, query: str) -> list[Any]:
    with closing(Store(rig.folder / "state" / "journal.db").reader()) as connection:
        return connection.execute(query).fetchall()


def bodies(rig: AgentRig, kind: str) -> list[dict[str, Any]]:
    return [
        decode_body(kind, body) for (body,) in rows(rig, f"SELECT body FROM records WHERE kind = '{kind}' ORDER BY seq")
    ]


def audit(rig: AgentRig) -> None:
    """One tree, every acknowledged record in it, every head signed and in the chain."""
    store = Store(rig.folder / "state" / "journal.db")
    size = recovery.check(store)
    leaves = [merkle.leaf_hash(header) for (header,) in rows(rig, "SELECT header FROM records ORDER BY seq")]
    assert {seq: leaves[seq].hex() for seq in rig.acks} == rig.acks
    key = store.meta()["key"]
    before = (0, bytes(32))
    for (signed,) in rows(rig, "SELECT signed FROM heads ORDER BY size"):
        head = SignedDeviceHead.decode(signed).verify(PublicKey.of(key[:32], key[32:]))
        assert head.prev == before and head.root == merkle.root(leaves[: head.size])
        before = (head.size, head.root)
    assert before[0] == size


INIT_STEPS = {
    "mark": killer("after", "identity", "write_file", 1),
    "token": killer("after", "initialise", "secrets.token_hex", 2),
    "key": killer("after", "identity", "open_signer", 1),
    "secret": killer("after", "identity", "write_file", 2),
    "draft store": killer("after", "initialise", "Store.create", 1),
    "log empty": killer("before", "initialise", "_write_log", 1),
    "genesis": killer("after", "journal", "Journal._commit", 1, "len(arguments[1]) > 0"),
    "key.bound": killer("after", "journal", "Journal._commit", 2, "len(arguments[1]) > 0"),
    "signed, not stored": killer("after", "sealer", "sign_head", 1),
    "signature stored": killer("after", "sealer", "Sealer.wait_for", 1),
    "request written": killer("after", "identity", "write_file", 3),
}


@pytest.mark.parametrize("step", INIT_STEPS)
def test_init_is_taken_up_where_it_was_killed(tmp_path: Path, step: str) -> None:
    side = FleetSide()
    rig = AgentRig(tmp_path / "device", make_pack(side.world))
    done = subprocess.run([*INIT_STEPS[step], "init", "--config", str(rig.config)], capture_output=True, timeout=WAIT_S)
    assert done.returncode == -signal.SIGKILL, done.stderr
    state = rig.folder / "state"
    assert not (state / "journal.db").exists()
    payload = None
    if (state / "journal.db.new").exists():
        with closing(Store(state / "journal.db.new").reader()) as connection:
            payload = connection.execute("SELECT payload FROM heads").fetchone()
            genesis = connection.execute("SELECT header FROM records WHERE seq = 0").fetchone()
    request = rig.init()
    audit(rig)
    assert rows(rig, "SELECT kind FROM records ORDER BY seq") == [("genesis",), ("key.bound",)]
    assert merkle.leaf_hash(rows(rig, "SELECT header FROM records")[0][0]).hex() == request["genesis"]
    if payload is not None:  # the key may have signed it: it is signed again, never made anew
        assert rows(rig, "SELECT payload FROM heads") == [payload]
        assert rows(rig, "SELECT header FROM records WHERE seq = 0") == [genesis]
    assert "state_exists" in rig.run("init", code=1)
    assert sorted(path.name for path in state.iterdir()) == [
        "enrol-request.json", "epoch.secret", "journal.db", "lock", "token",
    ]  # fmt: skip


@pytest.fixture
def device(tmp_path: Path) -> Iterator[AgentRig]:
    """A device that speaks to nobody, with the digits model."""
    rig = AgentRig(
        tmp_path / "device",
        make_pack(FleetSide().world),
        extra=[f"model: {{package: {MODEL / 'package'}}}", "seal: {head_every: 8, head_max_ms: 100}"],
    )
    rig.init()
    yield rig
    rig.close()


RUN_STEPS = {
    "boot number taken": killer("after", "recovery", "begin", 1),
    "records written, not committed": killer("after", "batch", "Batch.finish", 6),
    "committed, not acknowledged": killer("before", "journal", "Journal._acknowledge", 6),
    "head payload stored, not signed": killer("before", "sealer", "sign_head", 2),
    "head signed, not stored": killer("after", "sealer", "sign_head", 2),
    "signature stored": killer("after", "sealer", "Sealer._seal", 2),
    "input read, not run": killer("after", "source", "Waiting.read", 3),
    "model run, not recorded": killer("before", "inference", "InferenceRecorder.submit", 3),
    "input recorded, not moved": killer("before", "foldersource", "_move", 3),
    "input moved, note not forgotten": killer("after", "foldersource", "_move", 3),
    "package kept, activation not recorded": killer("after", "packages", "Packages.install", 1),
    "activation recorded": killer("after", "activation", "Activation._switch", 1),
    "shutdown recorded": killer("before", "leaving", "close", 1),
}


@pytest.mark.parametrize("step", RUN_STEPS)
def test_a_run_goes_on_after_it_was_killed(device: AgentRig, step: str) -> None:
    device.drop(30)
    device.start("--once", program=RUN_STEPS[step])
    device.wait_end(-signal.SIGKILL)
    signed = dict(rows(device, "SELECT size, payload FROM heads"))
    device.start("--once")
    device.wait_end()
    audit(device)
    assert len(bodies(device, "inference")) == 30 and device.done() == 30
    assert len(bodies(device, "model.activated")) == 1
    assert rows(device, "SELECT count(*) FROM taken") == [(0,)]
    assert signed.items() <= dict(rows(device, "SELECT size, payload FROM heads")).items()
    assert len({decoded["s"] for decoded in bodies(device, "inference")}) == 30


COMMAND_STEPS = {
    "received": killer("after", "commands", "Commands._accept", 1),
    "received and sealed, not obeyed": killer("before", "commands", "Commands._obey", 1),
    "package fetched, not kept": killer("before", "packages", "Packages.unpack", 1),
    "package kept": killer("after", "packages", "Packages.unpack", 1),
    "activated, no result": killer("after", "activation", "Activation._switch", 1),
    "obeyed, no result": killer("after", "activation", "Activation.obey", 1),
    "result recorded": killer("after", "commands", "Commands._obey", 1),
    "keyset recorded": killer("after", "beliefs", "Beliefs.take_keyset", 1),
}


@pytest.mark.parametrize("step", COMMAND_STEPS)
def test_a_command_is_obeyed_once_whenever_it_was_killed(
    tmp_path: Path, gateway: Gateway, broker: Broker, step: str
) -> None:
    rig = AgentRig.enrolled(tmp_path / "device", gateway, broker)
    try:
        folder = MODEL / "package"
        files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
        digest = package_digest(files)
        gateway.side.packages[digest] = encode_package(files)
        rig.start(program=COMMAND_STEPS[step])
        wait(lambda: gateway.held(rig.log))
        gateway.do(lambda side: side.keyset(rig.log))

        def order(side: FleetSide) -> Reply:
            side.order(rig.log, "model.activate", {"model": digest})
            return side.deliver(side.orders[-1])

        gateway.do(order)
        rig.wait_end(-signal.SIGKILL)
        rig.start()
        wait(lambda: bodies(rig, "command.result"))
        rig.drop(3)
        wait(lambda: rig.done() == 3)
        wait(lambda: rig.status()["unsent"] <= 1)
        rig.stop()
        audit(rig)
        assert [body["ok"] for body in bodies(rig, "command.result")] == [True]
        assert len(bodies(rig, "command.received")) == 1 and not bodies(rig, "command.refused")
        assert len(bodies(rig, "policy.changed")) == 1
        assert [body["model"] for body in bodies(rig, "model.activated")] == [digest]
        kinds = gateway.side.kinds(rig.log)
        assert kinds.index("command.received") < kinds.index("model.activated") < kinds.index("command.result")
    finally:
        rig.close()


def test_a_torn_status_file_is_no_matter(device: AgentRig) -> None:
    (device.folder / "state" / "status.json").write_text('{"runn')
    assert json.loads(device.run("status", "--json"))["daemon"] == {"running": False}
