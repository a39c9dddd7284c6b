"""kill -9 of agents, gateway and broker at random points under load: nothing acknowledged is lost or stored twice."""

from __future__ import annotations

import os
import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from edgeseal_console.demo.fleet import Device, Fleet
from edgeseal_console.demo.parts import Part
from tests.e2e import evidence
from tests.e2e.load import AckedAgent, Feeder, add_acked_device, all_anchored
from tests.e2e.processes import running, wait_for

SEED = "EDGESEAL_SEED"
AGENT, GATEWAY, BROKER = "agent", "gateway", "broker"
WITHOUT_RECOVERY = 0.25
"""Share of kills that come whether or not the part has got over the one before."""
LONGEST_PAUSE_S = 1.0
CONFIG = "seal: {heartbeat_s: 600}\nuplink: {receipt_timeout_s: 5, retry_max_s: 5}"
ASKED = (
    "integrity,attribution,position,completeness,append_only,single_view_device,single_view_fleet,existed_by,key_valid"
)


@pytest.mark.parametrize(
    "kills",
    [
        pytest.param(10, marks=pytest.mark.timeout(900)),
        pytest.param(50, marks=[pytest.mark.soak, pytest.mark.timeout(3600)]),
    ],
)
def test_kill_loops(
    fleet: Fleet, images: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], kills: int
) -> None:
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))

    def tell(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    tell(f"\nkill loops: {SEED}={seed}")
    chance = random.Random(seed)
    devices: list[Device] = []
    agents: list[AckedAgent] = []
    for name in (f"killed-{kills}-a", f"killed-{kills}-b"):
        device, agent = add_acked_device(fleet, name, CONFIG)
        devices.append(device)
        agents.append(agent.start())
    with ExitStack() as stack:
        feeders = [stack.enter_context(Feeder(fleet, device, images)) for device in devices]
        kill_all(fleet, devices, agents, kills, chance, tell)
    assert [feeder.failure for feeder in feeders] == [None, None]

    for device, agent, feeder in zip(devices, agents, feeders, strict=True):
        size = all_anchored(fleet, device, feeder.given)
        check_device(fleet, device, agent, feeder.given, size)
    config = str(fleet.gateway.config)
    wait_for("only one gateway's processes", lambda: (running("run", config), running("index", config)) == (1, 1))
    bundle, trust = evidence.collect(fleet, devices, tmp_path)
    verdict = evidence.verdict(fleet, bundle, trust, ASKED)
    assert verdict["failures"] == []
    assert {answer["answer"] for answer in verdict["questions"].values()} == {"ok"}, verdict["unanswered"]
    for agent in agents:
        agent.stop()


def kill_all(
    fleet: Fleet, devices: Sequence[Device], agents: Sequence[AckedAgent], kills: int, chance: random.Random,
    tell: Callable[[str], None],
) -> None:  # fmt: skip
    """Kill and start again ``kills`` times each: an agent, the gateway, the broker, in random order."""
    victims = [AGENT, GATEWAY, BROKER] * kills
    chance.shuffle(victims)
    never = threading.Event()
    for number, victim in enumerate(victims, 1):
        index = chance.randrange(len(devices))
        part: Part = {AGENT: agents[index], GATEWAY: fleet.gateway, BROKER: fleet.broker}[victim]
        never.wait(chance.uniform(0, LONGEST_PAUSE_S))
        tell(f"kill {number} of {len(victims)}: {part.name}")
        assert part.pid() is not None, f"{part.name} had ended by itself; its log: {part.log}"
        part.kill()
        if chance.random() < WITHOUT_RECOVERY:
            part.start()
            continue
        recovered = recovery(fleet, devices, agents, victim, index)
        part.start()
        fleet.wait(f"{part.name} at work again after kill {number}", recovered)


def recovery(
    fleet: Fleet, devices: Sequence[Device], agents: Sequence[AckedAgent], victim: str, index: int
) -> Callable[[], bool]:
    """Return what tells that a part is at work again after it was started: made while it is down."""
    if victim == AGENT:
        return lambda: agents[index].acked_in_this_run() > 0
    before: dict[str, int] = {}

    def gateway_takes_records() -> bool:
        with fleet.api() as api:
            sizes = {device.log: int(fleet.state_of(api, device)["size"]) for device in devices}
        if not before:
            before.update(sizes)
        return any(sizes[log] > before[log] for log in sizes)

    return gateway_takes_records


def check_device(fleet: Fleet, device: Device, agent: AckedAgent, given: int, size: int) -> None:
    """Compare what was acknowledged and given with what the gateway stores."""
    records = list(evidence.stored(fleet, device))
    assert len(records) >= size
    at_gateway = {record.seq: record.leaf for record in records}
    assert sorted(at_gateway) == list(range(len(records))), "a position is missing or stored twice"
    assert len(set(at_gateway.values())) == len(records), "one record stands at two positions"
    acks = agent.acks()
    twice = [seq for seq, times in Counter(seq for seq, _ in acks).items() if times > 1]
    assert not twice, f"positions acknowledged twice: {twice[:5]}"
    wrong = [seq for seq, leaf in acks if at_gateway.get(seq) != leaf]
    assert not wrong, f"positions acknowledged and not at the gateway as they were: {wrong[:5]}"
    inferences = sum(record.kind == "inference" for record in records)
    assert inferences == given, f"{given} inputs were given and {inferences} inferences recorded"
    with fleet.api() as api:
        anchored = fleet.state_of(api, device)["anchored_size"]
    assert anchored > max(seq for seq, _ in acks)
