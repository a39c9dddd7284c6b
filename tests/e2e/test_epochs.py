"""A device changes its key, loses its store, and is taken out of service: by the commands a person types."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseal.record import decode_body
from edgeseal_agent.store import Store
from edgeseal_console.demo.fleet import GROUP, Device, Fleet, Program
from edgeseal_console.demo.parts import ADDRESS
from tests.e2e import evidence

ASKED = "integrity,attribution,position,completeness,append_only,single_view_device,key_valid"
UPLINK = "uplink: {receipt_timeout_s: 5, retry_max_s: 5}"


def run_and_stop(fleet: Fleet, device: Device) -> None:
    """Let a device run until everything it has is receipted."""
    device.program.start()
    fleet.wait(f"{device.name} at work", lambda: fleet.status(device)["boot"] > 1 and receipted(fleet, device))
    device.program.stop()


def receipted(fleet: Fleet, device: Device) -> bool:
    return bool(fleet.status(device)["unsent"] == 0)


def next_epoch(fleet: Fleet, device: Device) -> Path:
    """Write the next epoch's configuration, without a broker: its certificate names a log id that is not known yet."""
    folder = device.folder / "next"
    (folder / "inbox").mkdir(parents=True)
    fleet.run("edgeseal", "provision", "--home", fleet.home, "--out", folder / "pack.cbor")
    config = folder / "agent.yaml"
    config.write_text(
        f"schema: edgeseal-agent/1\nname: {device.name}\nepoch: 2\ngroups: [{GROUP}]\nstate_dir: state\n"
        "provisioning: pack.cbor\nkey: {token: device, label: device, create: true}\n"
        f"source: {{kind: watch, path: inbox}}\n{UPLINK}\n"
    )
    return config


def enrol(fleet: Fleet, device: Device, config: Path, request: dict[str, Any]) -> Device:
    """Give the next epoch its certificate and an operator's enrolment; return it as a device."""
    files = fleet.broker.authority.issue_client(request["log"])
    with config.open("a") as file:
        file.write(
            f"mqtt: {{host: {ADDRESS}, port: {fleet.broker.port}, ca_file: {files.authority}, "
            f"cert_file: {files.certificate}, key_file: {files.key}}}\n"
        )
    fleet.run("edgeseal", "identity", "enrol", "--home", fleet.home, config.parent / "state" / "enrol-request.json")
    made = replace(
        device, name=f"{device.name}-2", folder=config.parent, inbox=config.parent / "inbox", log=request["log"],
        kid=request["kid"], program=Program(device.name, config),
    )  # fmt: skip
    fleet.devices.append(made)
    return made


def bodies(device: Device, kind: str) -> list[dict[str, Any]]:
    reader = Store(device.folder / "state" / "journal.db").reader()
    rows = reader.execute("SELECT body FROM records WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
    reader.close()
    return [decode_body(kind, body) for (body,) in rows]


def test_a_key_is_rotated_and_the_last_one_destroyed(fleet_apart: Fleet, tmp_path: Path) -> None:
    old = fleet_apart.add_device("turner", extra=UPLINK)
    run_and_stop(fleet_apart, old)
    config = next_epoch(fleet_apart, old)
    rotate = ("edgeseal-agent", "rotate", "--config", old.config, "--next", config)
    request = fleet_apart.run_json(*rotate)
    assert fleet_apart.run_json(*rotate) == request, "a second call changes nothing"
    fleet_apart.run("edgeseal-agent", "run", "--config", old.config)  # sends the end of the old log, and leaves
    assert receipted(fleet_apart, old)
    new = enrol(fleet_apart, old, config, request)
    run_and_stop(fleet_apart, new)
    assert bodies(new, "genesis")[0]["prev"][0].hex() == old.log
    assert bodies(old, "closed")[0]["next"].hex() == new.log

    decommission = ("edgeseal-agent", "decommission", "--config", new.config, "--reason", "the line is taken down")
    report = fleet_apart.run_json(*decommission)
    assert fleet_apart.run_json(*decommission) == report
    assert report["log"] == new.log and report["size"] == fleet_apart.status(new)["records"]
    gone = fleet_apart.run("edgeseal-agent", "check", "--config", new.config, ok=(1,))
    assert "there is no such key in the token" in gone.stdout
    folder = new.folder / "state" / "token"
    assert not [path for path in folder.rglob("*.object") if path.name != "token.object"], "no copy of the key is left"

    for device in (old, new):
        fleet_apart.wait_anchored(device, fleet_apart.status(device)["records"])
    bundle, trust = evidence.collect(fleet_apart, [old, new], tmp_path)
    verdict = evidence.verdict(fleet_apart, bundle, trust, ASKED)
    assert verdict["failures"] == [] and verdict["unanswered"] == []
    assert {answer["answer"] for answer in verdict["questions"].values()} == {"ok"}


def test_a_lost_store_is_named_and_followed(fleet_apart: Fleet, tmp_path: Path) -> None:
    old = fleet_apart.add_device("loser", extra=UPLINK)
    run_and_stop(fleet_apart, old)
    size = fleet_apart.status(old)["records"]
    for path in (old.folder / "state").glob("journal.db*"):
        path.unlink()
    for refused in ("run", "init"):
        said = fleet_apart.run("edgeseal-agent", refused, "--config", old.config, "--json", ok=(1,)).stderr
        assert json.loads(said.splitlines()[-1])["code"] == "store_lost"
    answer = tmp_path / "lost.json"
    found = fleet_apart.run_json("edgeseal-agent", "lost", "--config", old.config, "--out", answer)
    assert found["size"] == size and found["log"] == old.log
    config = next_epoch(fleet_apart, old)
    fleet_apart.run("edgeseal-agent", "init", "--config", config, ok=(1,))
    request = fleet_apart.run_json("edgeseal-agent", "init", "--config", config, "--successor", answer)
    new = enrol(fleet_apart, old, config, request)
    run_and_stop(fleet_apart, new)
    (gap,) = bodies(new, "gap")
    assert gap["what"] == "predecessor" and old.log in gap["detail"]
    fleet_apart.wait_anchored(new, fleet_apart.status(new)["records"])
    bundle, trust = evidence.collect(fleet_apart, [new], tmp_path)
    questions = evidence.verdict(fleet_apart, bundle, trust, ASKED)["questions"]
    assert questions["integrity"]["answer"] == questions["append_only"]["answer"] == "ok"
    assert questions["completeness"]["answer"] == "not_answered", "nobody may say that nothing is missing"
    assert questions["completeness"]["reason"] in ("seam_open", "predecessor_missing")


@pytest.mark.parametrize("command", ["rotate", "decommission", "lost"])
def test_what_cannot_be_is_explained(fleet_apart: Fleet, tmp_path: Path, command: str) -> None:
    config = tmp_path / "agent.yaml"
    config.write_text(
        "schema: edgeseal-agent/1\nname: nobody\nstate_dir: state\nprovisioning: pack.cbor\n"
        "key: {token: device, label: device, create: true}\n"
    )
    words = {"rotate": ["--next", str(config)], "decommission": ["--reason", "x"], "lost": ["--out", "x.json"]}
    done = fleet_apart.run("edgeseal-agent", command, "--config", config, *words[command], ok=(1,))
    assert "edgeseal-agent: error:" in done.stderr and "\n  " in done.stderr
