"""What a device meets in five years on a pole, to the real process: each hazard is survived, or named with a remedy."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from edgeseal import verify
from edgeseal.record import Header
from edgeseal_agent.store import Store
from edgeseal_console.investigate.opening import opened
from tests.agentrig import AGENT, MODEL, WAIT_S, AgentRig, wait
from tests.crash.agent.test_killed_between_steps import audit, bodies, rows
from tests.fleetside import FleetSide, make_pack

CLOCK = """
import itertools, sys
import edgeseal_agent.cli
from edgeseal_agent.clock import DeviceClock
hands = itertools.cycle([0, 4_100_000_000_000, 1_760_000_000_000, 1_000])
DeviceClock.wall_ms = lambda clock: next(hands)
sys.exit(edgeseal_agent.cli.main())
"""
DAEMONS = 4


@pytest.fixture(scope="module")
def device(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AgentRig]:
    """One device for all hazards: none of them may cost it anything."""
    rig = AgentRig(
        tmp_path_factory.mktemp("field") / "device", make_pack(FleetSide().world),
        extra=[
            f"model: {{package: {MODEL / 'package'}}}", "seal: {head_every: 8, head_max_ms: 100, heartbeat_s: 600}",
            "incidents: {on: [tamper], before: 5, after: 20}",
        ],
    )  # fmt: skip
    rig.init()
    rig.drop(10, "first")
    rig.start("--once")
    rig.wait_end()
    yield rig
    try:
        rig.drop(5, "last")
        rig.start("--once")
        rig.wait_end()
        audit(rig)
    finally:
        rig.close()


@pytest.fixture(autouse=True)
def nothing_is_lost(device: AgentRig) -> Iterator[None]:
    """After each hazard everything acknowledged is there, under signed heads."""
    yield
    device.close()  # what a test that failed left running
    audit(device)


def refused(device: AgentRig, code: str) -> str:
    """Run it, expect that it ends with a reason, and return what it said."""
    done = subprocess.run(
        [*AGENT, "run", "--config", str(device.config)], capture_output=True, text=True, timeout=WAIT_S
    )  # fmt: skip
    assert done.returncode in (1, 2) and code in done.stderr, done.stderr
    assert len(done.stderr.strip().splitlines()) >= 2, f"no remedy: {done.stderr}"
    return done.stderr


def test_of_daemons_started_at_once_one_runs(device: AgentRig) -> None:
    line = [*AGENT, "run", "--config", str(device.config)]
    started = [subprocess.Popen(line, stderr=subprocess.PIPE, text=True) for _ in range(DAEMONS)]
    try:
        wait(lambda: sum(process.poll() is not None for process in started) == DAEMONS - 1)
        (runs,) = [process for process in started if process.poll() is None]
        wait(lambda: device.status()["daemon"]["running"])
        for process in started:
            if process is not runs:
                assert process.stderr is not None and process.returncode == 1
                said = process.stderr.read()
                assert "already_running" in said and "stop it first" in said
        runs.send_signal(signal.SIGTERM)
        assert runs.wait(WAIT_S) == 0
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_a_clock_that_jumps_both_ways(device: AgentRig, tmp_path: Path) -> None:
    size = device.status()["records"]
    device.drop(20, "jumping")
    device.start("--once", program=[sys.executable, "-c", CLOCK])
    device.wait_end()
    headers = [Header.decode(header) for (header,) in rows(device, "SELECT header FROM records ORDER BY seq")]
    assert len({header.t for header in headers[size:]}) >= 3
    assert all(a.boot <= b.boot and (a.boot < b.boot or a.mono <= b.mono) for a, b in pairwise(headers))
    device.run("status")
    device.run("export", "--out", str(tmp_path / "export"))
    asked = ("integrity", "append_only")
    with opened(tmp_path / "export") as bundle:
        verdict = verify.verify(bundle, ask=asked)
    assert not verdict.failures and {verdict.questions[name].answer for name in asked} == {"ok"}


@pytest.mark.parametrize("when", ["at the start", "later"])
def test_a_token_that_is_away_and_comes_back(device: AgentRig, when: str) -> None:
    token = device.folder / "state" / "token"
    before = device.done()
    if when == "later":
        device.start()
        wait(lambda: device.status()["daemon"]["running"])
    away = token.rename(token.with_name("token-away"))
    if when == "at the start":
        device.start()
    device.drop(20, f"away-{when[:2]}")
    wait(lambda: device.done() == before + 20)
    wait(lambda: "the token does not sign" in device.said())
    assert device.status()["unsealed"] > 0
    waiting = dict(rows(device, "SELECT size, payload FROM heads WHERE signed IS NULL"))
    away.rename(token)
    wait(lambda: device.status()["unsealed"] == 0)
    signed = dict(rows(device, "SELECT size, payload FROM heads WHERE signed IS NOT NULL"))
    assert waiting and waiting.items() <= signed.items(), "no payload is made anew"
    device.stop()


def test_an_incident_that_is_open_when_it_is_killed(device: AgentRig) -> None:
    """By the rule, and by a request that nobody had taken up yet; the restart closes the one and records the other."""
    (package,) = (device.folder / "state" / "packages").iterdir()
    (model,) = package.rglob("*.tflite")
    content = model.read_bytes()
    starts = device.errors.read_text().count(" active again\n")
    device.start()
    wait(lambda: device.errors.read_text().count(" active again\n") > starts)
    model.write_bytes(content + b"x")
    wait(lambda: [body for body in bodies(device, "incident") if body["state"] == "open"])
    model.write_bytes(content)
    device.stop(signal.SIGKILL, -signal.SIGKILL)
    asked = device.run("incident", "--open", "killed meanwhile", "--before", "3", code=None)
    ((start, stop),) = rows(device, "SELECT start, stop FROM incidents")
    assert stop is None and asked is not None
    device.drop(25, "after")
    device.start()
    wait(lambda: rows(device, "SELECT count(*) FROM incidents WHERE stop IS NOT NULL") == [(1,)])
    wait(lambda: rows(device, "SELECT count(*) FROM incidents") == [(2,)])
    device.stop()
    found = [(body["state"], body["why"][:5]) for body in bodies(device, "incident")]
    assert sorted(found) == [("closed", "rule:"), ("open", "kille"), ("open", "rule:")], bodies(device, "incident")
    ((_, end),) = rows(device, f"SELECT start, stop FROM incidents WHERE start = {start}")
    assert end - start > 25


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_file_system_that_is_read_only(device: AgentRig) -> None:
    state = str(device.folder / "state")
    if subprocess.run(["mount", "--bind", state, state], capture_output=True).returncode:
        pytest.skip("needs root")  # of a container that may not mount
    try:
        subprocess.run(["mount", "-o", "remount,bind,ro", state], check=True)
        said = refused(device, "store_read_only")
        assert "mount its file system for writing" in said
    finally:
        subprocess.run(["umount", state], check=True)


@pytest.mark.parametrize("harm", ["noise", "empty"])
def test_a_torn_store(device: AgentRig, harm: str) -> None:
    path = device.folder / "state" / "journal.db"
    Store(path).settle()
    data = path.read_bytes()
    half = len(data) // 2 // 4096 * 4096
    noise = data[:half] + bytes(byte ^ 0x5A for byte in data[half:])
    spoilt = noise if harm == "noise" else b""
    path.write_bytes(spoilt)
    try:
        said = refused(device, "store_damaged")
        assert "evidence" in said and "edgeseal-agent lost" in said
        assert path.read_bytes() == spoilt, "it is evidence"
    finally:
        for left in path.parent.glob("journal.db-*"):
            left.unlink()
        path.write_bytes(data)


def test_a_deleted_store(device: AgentRig) -> None:
    path = device.folder / "state" / "journal.db"
    Store(path).settle()
    gone = path.rename(device.folder / "gone.db")
    said = refused(device, "store_lost")
    assert "edgeseal-agent lost" in said and "init --successor" in said
    assert not path.exists()
    gone.rename(path)
    with closing(Store(path).reader()) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone()[0] > 2
