"""What happens to a device in the field, to the real process: a swapped model, an incident while it runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from edgeseal.record import decode_body
from edgeseal_agent.store import Store
from tests.agentrig import MODEL, AgentRig, wait


def bodies(rig: AgentRig, kind: str) -> list[dict[str, Any]]:
    reader = Store(rig.folder / "state" / "journal.db").reader()
    rows = reader.execute("SELECT body FROM records WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
    reader.close()
    return [decode_body(kind, body) for (body,) in rows]


def test_a_swapped_model_file_ends_the_run_and_is_not_used_again(rig: AgentRig) -> None:
    text = rig.config.read_text()
    rig.config.write_text(text.replace("/package}", "/package, on_tamper: stop}"))
    rig.drop(5)
    rig.start()
    wait(lambda: rig.done() == 5)
    (model,) = (rig.folder / "state" / "packages").rglob("*.tflite")
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    rig.wait_end(1)
    assert "model_tampered" in rig.said()
    (tamper,) = bodies(rig, "tamper")
    assert tamper["what"] == "model.package" and "now hash to" in tamper["detail"]
    assert rig.status()["unsealed"] == 0
    rig.drop(5, "later")
    rig.start()
    wait(lambda: bodies(rig, "model.rejected"))
    rig.stop()
    assert rig.done() == 5, "no inference with a model that is not what was activated"


def test_an_incident_while_it_runs(rig: AgentRig, tmp_path: Path) -> None:
    rig.drop(30)
    rig.start()
    wait(lambda: rig.done() == 30)
    opened = json.loads(rig.run("incident", "--open", "the arm hit the fence", "--before", "10", "--json"))
    assert opened["to"] is None and opened["from"] > 0
    rig.drop(5, "later")
    wait(lambda: rig.done() == 35)
    closed = json.loads(rig.run("incident", "--close", opened["id"], "--why", "a loose bolt", "--json"))
    assert closed["from"] == opened["from"] < closed["to"]
    rig.stop()
    assert rig.status()["incidents"] == [{"id": opened["id"], "from": closed["from"], "to": closed["to"]}]
    assert [body["why"] for body in bodies(rig, "incident")] == ["the arm hit the fence", "a loose bolt"]
    assert "records from" in rig.run("status")
    assert "incident_unknown" in rig.run("incident", "--close", "00" * 16, code=1)


def test_a_recorder_that_fails_lets_the_model_go_on_and_says_how_much_it_missed(rig: AgentRig) -> None:
    text, count = rig.config.read_text(), 2_000
    rig.config.write_text(text + "storage: {quota_mb: 1, on_failure: degrade}\n")
    rig.drop(count)
    rig.start()
    wait(lambda: rig.done() == count)
    rig.stop()
    assert "nothing can be recorded" in rig.said()
    recorded = len(bodies(rig, "inference"))
    assert 0 < recorded < count
    rig.config.write_text(text)
    known = len(rig.acks)
    rig.start()
    wait(lambda: len(rig.acks) > known)  # it is up, though the run before may have told of the gap already
    wait(lambda: recorded + sum(gap["count"] for gap in bodies(rig, "gap")) >= count)
    rig.stop()
    gaps = bodies(rig, "gap")
    assert recorded + sum(gap["count"] for gap in gaps) == count, "every input was recorded or counted"
    assert {gap["what"] for gap in gaps} == {"inferences"} and "quota_reached" in gaps[-1]["detail"]


def test_a_swapped_model_gives_way_to_the_safe_one(rig: AgentRig, tmp_path: Path) -> None:
    safe = tmp_path / "safe"
    shutil.copytree(MODEL / "package", safe)
    manifest = safe / "manifest.yaml"
    manifest.write_text(manifest.read_text().replace('version: "', 'version: "safe-', 1))
    text = rig.config.read_text()
    rig.config.write_text(text.replace("/package}", f"/package, on_tamper: safe-model, safe_package: {safe}}}"))
    rig.drop(5)
    rig.start()
    wait(lambda: rig.done() == 5)
    (model,) = (rig.folder / "state" / "packages").rglob("*.tflite")
    content = model.read_bytes()
    model.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    wait(lambda: len(bodies(rig, "model.activated")) == 2)
    rig.drop(5, "later")
    wait(lambda: rig.done() == 10)
    rig.stop()
    rig.start()  # the safe one stays, whatever the configuration began with
    rig.drop(5, "last")
    wait(lambda: rig.done() == 15)
    rig.stop()
    first, second = bodies(rig, "model.activated")
    assert second["version"].startswith("safe-") and second["prev"] == first["model"] and second["cmd"] is None
    used = [body["model"] for body in bodies(rig, "inference")]
    assert used == [first["model"]] * 5 + [second["model"]] * 10
    assert len(bodies(rig, "tamper")) == 1
    assert not [body for body in bodies(rig, "inference") if "edgeseal.flag" in body["pub"]]
