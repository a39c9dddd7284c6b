"""The broker is down for the first half of a run: nothing is lost, the order is kept, every receipt arrives.

The device has a SoftHSM key and was enrolled with a claim token, as ``test_tpm_device.py`` enrols one with a TPM.
"""

from __future__ import annotations

import os
from hashlib import sha256
from pathlib import Path

from edgeseal_console.demo.fleet import Device, Fleet
from tests.e2e import evidence
from tests.e2e.load import add_acked_device, all_anchored

HALF = 150


def test_broker_down_for_the_first_half_of_a_run(fleet: Fleet, images: list[Path], tmp_path: Path) -> None:
    device, agent = add_acked_device(fleet, "outage", "seal: {head_every: 16, heartbeat_s: 600}", [])
    inputs = images[: 2 * HALF]
    fleet.broker.stop()
    try:
        agent.start()
        fleet.drop_inputs(device, inputs[:HALF], "first")
        fleet.wait("the first half, recorded without a broker", lambda: _done(device) == HALF)
        with fleet.api() as api:
            assert fleet.state_of(api, device)["size"] == 0, "the gateway has records, but no broker to get them by"
        assert fleet.status(device)["acknowledged"] == 0
    finally:
        fleet.broker.start()
    fleet.drop_inputs(device, inputs[HALF:], "second")
    size = all_anchored(fleet, device, len(inputs))

    acks = agent.acks()
    at_gateway = {record.seq: record.leaf for record in evidence.stored(fleet, device)}
    assert [seq for seq, _ in acks] == list(range(2, 2 + len(acks))), "positions were acknowledged out of order"
    assert {seq: at_gateway.get(seq) for seq, _ in acks} == dict(acks)

    bundle, trust = evidence.collect(fleet, [device], tmp_path)
    arrived = evidence.receipted_sizes(tmp_path / f"{device.name}.zip")
    assert arrived == evidence.head_sizes(fleet, device), "a head at the gateway whose receipt the device lacks"
    assert max(arrived) >= size
    wanted = [sha256(path.read_bytes()).hexdigest() for path in inputs]
    assert evidence.input_files(bundle, device) == wanted, "inputs are not recorded in the order in which they came"
    verdict = evidence.verdict(fleet, bundle, trust, "integrity,attribution,completeness,append_only")
    assert {answer["answer"] for answer in verdict["questions"].values()} == {"ok"}, verdict
    (shown,) = (one["assurance"] for one in verdict["devices"] if one["log"] == device.log)
    found = (shown["level"], shown["ground"], shown["reason"])
    assert found == ("softhsm", "ATTESTED", "no_tpm"), "it applied with a claim too, and its key is called what it is"
    agent.stop()


def _done(device: Device) -> int:
    return len(os.listdir(device.done)) if device.done.is_dir() else 0
