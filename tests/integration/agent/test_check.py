"""``edgeseal-agent check`` as a doctor: each illness of a real device is named, with its remedy and the exit code."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgeseal_agent import checks
from edgeseal_console.demo.parts import Broker
from tests.agentrig import AgentRig, Gateway, wait
from tests.realparts.tpm import SoftwareTpm


def findings(rig: AgentRig, code: int = 0) -> dict[str, dict[str, Any]]:
    printed = json.loads(rig.run("check", "--json", code=None))["findings"]
    assert (1 if any(finding["state"] == "fail" for finding in printed) else 0) == code, printed
    return {finding["what"]: finding for finding in printed}


def test_a_healthy_device(rig: AgentRig, gateway: Gateway) -> None:
    rig.drop(5)
    rig.start()
    wait(lambda: rig.status()["acknowledged"] >= 7)
    rig.stop()
    found = findings(rig)
    named = ["store", "epoch secret", "disk", "device key", "model", "source", "broker TLS", "tls key", "broker"]
    assert list(found) == [*named, "gateway", "metadata", "clock"]
    assert found["tls key"]["detail"].startswith("file /")
    assert {finding["state"] for what, finding in found.items() if what != "clock"} == {"ok"}, found
    assert "golden vectors pass" in found["model"]["detail"]
    people = rig.run("check")
    assert "ok    store: " in people and "ok    metadata: keyset 1" in people


def _remove_pin(rig: AgentRig) -> None:
    (rig.folder / "state/token/edge.pin").unlink()


def _wrong_pin(rig: AgentRig) -> None:
    (rig.folder / "state/token/edge.pin").write_text("0000\n")


def _open_secret(rig: AgentRig) -> None:
    (rig.folder / "state/epoch.secret").chmod(0o644)


def _move_inbox(rig: AgentRig) -> None:
    rig.inbox.rename(rig.folder / "elsewhere")


def _break_store(rig: AgentRig) -> None:
    with open(rig.folder / "state/journal.db", "r+b") as file:
        file.write(bytes(100))


def _lose_model(rig: AgentRig) -> None:
    rig.config.write_text(rig.config.read_text().replace("digits/package", "digits/no-package"))


@pytest.mark.parametrize(
    ("what", "harm"),
    [
        ("device key", _remove_pin),
        ("device key", _wrong_pin),
        ("epoch secret", _open_secret),
        ("source", _move_inbox),
        ("model", _lose_model),
        ("store", _break_store),
    ],
)
def test_an_illness_fails_by_its_name(rig: AgentRig, what: str, harm: Callable[[AgentRig], None]) -> None:
    harm(rig)
    found = findings(rig, 1)
    assert found[what]["state"] == "fail"
    assert all(finding["remedy"] for finding in found.values() if finding["state"] != "ok"), found


def test_no_broker_is_a_warning(rig: AgentRig, broker: Broker) -> None:
    broker.stop()
    found = findings(rig)
    assert found["broker"]["state"] == "warn" and found["broker"]["remedy"]
    assert found["gateway"] == {
        "what": "gateway", "state": "warn", "detail": "no receipt yet, 2 records wait",
        "remedy": "enrol the device: edgeseal identity enrol; then run the agent",
    }  # fmt: skip


def _try_a_wrong_password(tpm: SoftwareTpm) -> None:
    environment = {**os.environ, "TPM2TOOLS_TCTI": tpm.tcti, "TSS2_LOG": "all+NONE"}
    subprocess.run(
        ["tpm2_nvread", "-C", "0x1500001", "-P", "wrong", "0x1500001"],
        env=environment,
        capture_output=True,
        check=False,
    )


def test_a_tpms_lockout_is_watched(software_tpm: SoftwareTpm, tmp_path: Path) -> None:
    as_shipped = checks._lock_out(software_tpm.tcti)
    assert as_shipped.state == "warn" and as_shipped.remedy == checks.PROVISION
    assert software_tpm.provision(tmp_path / "state").returncode == 0
    assert checks._lock_out(software_tpm.tcti).state == "ok"
    software_tpm.tool("tpm2_nvdefine", "-Q", "0x1500001", "-C", "o", "-s", "8", "-a", "authread|authwrite", "-p", "pw")
    auth = f"file:{tmp_path}/state/secrets/lockout.auth"
    software_tpm.tool("tpm2_dictionarylockout", "-s", "-n", "32", "-t", "60", "-l", "60", "-p", auth)
    for _ in range(16):
        _try_a_wrong_password(software_tpm)
    near = checks._lock_out(software_tpm.tcti)
    assert near.state == "warn" and "counter at 16 of 32" in near.detail
    for _ in range(16):
        _try_a_wrong_password(software_tpm)
    locked = checks._lock_out(software_tpm.tcti)
    assert locked.state == "fail" and "the TPM is locked" in locked.detail
    software_tpm.kill()
    assert checks._lock_out(software_tpm.tcti).state == "fail"
    assert checks._lock_out("tabrmd:bus_type=session").state == "warn"
