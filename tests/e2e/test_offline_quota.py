"""A device offline until its quota is reached: bodies are thinned and named, an incident is held, all syncs later."""

from __future__ import annotations

import zipfile
from collections import Counter
from pathlib import Path

import pytest

from edgeseal import cbor, limits
from edgeseal.record import decode_body
from edgeseal_console.demo.fleet import Device, Fleet
from tests.e2e import evidence
from tests.e2e.load import PACKAGE

QUOTA_MB = 2
PART = 150
"""Inferences before the incident, and while it is open."""
REST = 3_000


def run_offline(fleet: Fleet, device: Device, inputs: list[Path], place: Path) -> None:
    """Run the agent once over a list of inputs."""
    place.write_text("".join(f"{path}\n" for path in inputs))
    fleet.run("edgeseal-agent", "run", "--config", device.config, "--list", place, "--once")


def items(fleet: Fleet, device: Device) -> list[tuple[int, str, str | None]]:
    """Return (form, kind, reason) of every position at the gateway."""
    found: list[tuple[int, str, str | None]] = []
    with fleet.api() as api:
        while True:
            data = api.get_bytes(f"/v1/export/records/{device.log}", {"from": len(found), "limit": 2048})
            page = cbor.decode(data, max_size=limits.MAX_BUNDLE_FILE, max_items=limits.MAX_CBOR_ITEMS)["items"]
            if not page:
                return found
            for form, header, rest in page:
                kind = cbor.decode(header, max_size=limits.MAX_HEADER)["kind"]
                if kind == "thinned":
                    assert form == 0 and decode_body(kind, rest)["reason"] == "quota"
                found.append((form, kind, rest if form else None))


@pytest.mark.timeout(900)
def test_weeks_offline_in_small(fleet: Fleet, images: list[Path], tmp_path: Path) -> None:
    device = fleet.add_device(
        "hermit",
        extra=f"model: {{package: {PACKAGE}}}\nseal: {{head_every: 256, heartbeat_s: 1}}\n"
        f"storage: {{quota_mb: {QUOTA_MB}, when_full: thin, min_free_mb: 1}}\n",
    )
    inputs = [images[number % len(images)] for number in range(2 * PART + REST)]
    incident = ("edgeseal-agent", "incident", "--config", device.config)
    fleet.broker.stop()
    try:
        run_offline(fleet, device, inputs[:PART], tmp_path / "before.txt")
        asked = fleet.run_json(*incident, "--open", "the arm hit the fence", "--before", "100")
        assert asked["from"] is None, "nobody runs who could record it"
        run_offline(fleet, device, inputs[PART : 2 * PART], tmp_path / "meanwhile.txt")
        fleet.run(*incident, "--close", asked["id"], "--why", "a loose bolt")
        run_offline(fleet, device, inputs[2 * PART :], tmp_path / "after.txt")
    finally:
        fleet.broker.start()
    status = fleet.status(device)
    assert status["acknowledged"] == 0 and status["bodies_gone"] > PART
    (held,) = status["incidents"]
    assert held["to"] - held["from"] > 100, "from a hundred before the agent heard of it, to the end"

    device.program.start()
    fleet.wait("everything has a receipt", lambda: fleet.status(device)["unsent"] == 0, seconds=300)
    device.program.stop()
    size = fleet.status(device)["records"]
    fleet.wait_anchored(device, size)
    at_gateway = items(fleet, device)
    assert len(at_gateway) == size
    gone = [seq for seq, (form, _, _) in enumerate(at_gateway) if form]
    assert PART < len(gone) <= fleet.status(device)["bodies_gone"], "some may have gone after they were sent"
    assert {(form, reason) for form, _, reason in at_gateway if form} == {(1, "quota")}
    assert {at_gateway[seq][1] for seq in gone} <= {"heartbeat", "inference"}
    assert not [seq for seq in gone if held["from"] <= seq < held["to"]], "an incident holds its window"
    kinds = Counter(kind for _, kind, _ in at_gateway)
    assert kinds["inference"] == len(inputs) and kinds["incident"] == 2 and kinds["thinned"] >= 1 and kinds["gap"] >= 1

    bundle, trust = evidence.collect(fleet, [device], tmp_path)
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
    answers = evidence.verdict(fleet, bundle, trust, "integrity,attribution,completeness,append_only")["questions"]
    assert {name: answer["answer"] for name, answer in answers.items()} == dict.fromkeys(answers, "ok"), answers
