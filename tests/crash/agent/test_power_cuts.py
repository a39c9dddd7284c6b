"""``kill -9`` and power cuts of the real agent under load, with a token, a broker and a strict gateway: again and again
on one log. Every acknowledged record stays, every head that was sent stays a prefix, and all of it arrives.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest

from edgeseal import merkle, verify
from edgeseal.head import SignedDeviceHead
from edgeseal_agent import recovery
from edgeseal_agent.store import Store
from edgeseal_console.demo.parts import Broker
from edgeseal_console.investigate.opening import opened
from tests.agentrig import AGENT, MODEL, AgentRig, Gateway, wait
from tests.crash.agent import faultdisk
from tests.crash.agent.faultdisk import Disk
from tests.crash.agent.test_fault_table import LEFT, SEED
from tests.crash.agent.test_killed_between_steps import audit, rows

NOT_OURS = frozenset({"token"})
"""The token's own store, which survives by its own means (``edgeseal.adapters.softhsm``)."""
BACKLOG = 60


def program(library: Path, rig: AgentRig, log: Path) -> list[str]:
    """The agent as it is, over the disk that keeps a log of its writes."""
    environment = [f"LD_PRELOAD={library}", f"FAULTDISK_ROOT={rig.folder / 'state'}", f"FAULTDISK_LOG={log}"]
    return ["env", *environment, *AGENT]


def cut_power(rig: AgentRig, disk: Disk, log: Path, how: str, chance: random.Random) -> None:
    """Put in place of the state directory what the power cut left of it."""
    for call in faultdisk.read_log(log):
        disk.play(call)
    state, left = rig.folder / "state", rig.folder / "left"
    disk.leave(left, how, chance)
    left.chmod(0o700)
    for name in NOT_OURS:
        shutil.move(state / name, left / name)
    shutil.rmtree(state)
    left.rename(state)


def check(rig: AgentRig, gateway: Gateway) -> None:
    """What was told before is still so, whatever is there besides."""
    store = Store(rig.folder / "state" / "journal.db")
    recovery.check(store)
    leaves = [merkle.leaf_hash(header) for (header,) in rows(rig, "SELECT header FROM records ORDER BY seq")]
    assert {seq: leaves[seq].hex() for seq in rig.acks} == rig.acks, "an acknowledged record is gone"
    with gateway.lock:
        held = gateway.side.logs[rig.log]
        assert held.items == [] or [item.leaf for item in held.items] == leaves[: len(held.items)]
        sent = [SignedDeviceHead.decode(raw).signed.payload for raw in held.heads]
    assert set(sent) <= {payload for (payload,) in rows(rig, "SELECT payload FROM heads")}, "a sent head is no more"


def work_until(rig: AgentRig, acks: int, given: int) -> None:
    """Wait for so many acknowledgements, or until no input is left."""
    wait(lambda: len(rig.acks) >= acks or rig.done() == given)


@pytest.mark.parametrize(
    "times",
    [
        pytest.param(4, marks=pytest.mark.timeout(600)),
        pytest.param(200, marks=[pytest.mark.soak, pytest.mark.timeout(7200)]),
    ],
)
def test_again_and_again(
    tmp_path: Path, gateway: Gateway, broker: Broker, capsys: pytest.CaptureFixture[str], times: int
) -> None:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))
    with capsys.disabled():
        print(f"\npower cuts: {SEED}={seed}", flush=True)
    chance = random.Random(seed)
    library = faultdisk.compile_to(tmp_path)
    rig = AgentRig.enrolled(
        tmp_path / "device", gateway, broker,
        extra=[f"model: {{package: {MODEL / 'package'}}}", "seal: {head_every: 8, head_max_ms: 50}"],
    )  # fmt: skip
    given = 0
    try:
        for number in range(times):
            log = tmp_path / f"calls-{number}"
            disk = Disk.of(rig.folder / "state", NOT_OURS)
            if given - rig.done() < BACKLOG:
                rig.drop(BACKLOG, f"load-{number:03d}")
                given += BACKLOG
            known = len(rig.acks)
            rig.start(program=program(library, rig, log))
            work_until(rig, known + chance.randrange(1, 50), given)
            time.sleep(chance.uniform(0, 0.3))
            rig.stop(signal.SIGKILL, -signal.SIGKILL)
            how = chance.choice(["killed", *LEFT])
            if how != "killed":
                cut_power(rig, disk, log, how, chance)
            log.unlink()
            check(rig, gateway)
            if number % 10 == 9:
                with capsys.disabled():
                    print(f"{number + 1} of {times}: {len(rig.acks)} acknowledged", file=sys.stderr, flush=True)
        known = len(rig.acks)
        rig.start()
        wait(lambda: len(rig.acks) > known)  # it is up, and leaves cleanly when it is told to
        wait(lambda: rig.done() == given)
        wait(lambda: rig.status()["unsent"] <= 1)
        rig.stop()
        audit(rig)
        check(rig, gateway)
        assert rows(rig, "SELECT count(*) FROM records WHERE kind = 'inference'") == [(given,)]
        assert (
            gateway.held(rig.log)[-1]
            == merkle.leaf_hash(rows(rig, "SELECT header FROM records ORDER BY seq DESC LIMIT 1")[0][0]).hex()
        )
        rig.run("export", "--out", str(tmp_path / "export"))
        with opened(tmp_path / "export") as bundle:
            verdict = verify.verify(bundle, ask=("integrity", "append_only"))
        assert not verdict.failures and {a.answer for a in verdict.questions.values()} == {"ok"}, verdict.failures
        with closing(Store(rig.folder / "state" / "journal.db").reader()) as connection:
            assert connection.execute("SELECT value FROM meta WHERE key = 'boot'").fetchone()[0] > times
    finally:
        rig.close()
