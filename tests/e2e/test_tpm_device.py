"""The whole path with a device whose key is in a TPM 2.0, from attested enrolment on, and a power cut in the middle."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import yaml

from edgeseal_console.demo.fleet import Fleet
from tests.e2e import evidence
from tests.e2e.load import PACKAGE, all_anchored
from tests.realparts.tpm import MAX_TRIES, Maker, SoftwareTpm

BURST = 40
ATTEST_S = 5


@pytest.mark.timeout(900)
def test_a_tpm_device_from_enrolment_to_anchored_evidence(
    fleet_apart: Fleet, images: list[Path], software_tpm: SoftwareTpm, maker: Maker, tmp_path: Path
) -> None:
    maker.certify(software_tpm)
    provisioned = software_tpm.provision(tmp_path / "tpm")
    assert provisioned.returncode == 0, provisioned.stderr
    sections = yaml.safe_load(provisioned.stdout)
    sections["tpm"]["attest_s"] = ATTEST_S
    authority = tmp_path / "maker.der"
    authority.write_bytes(maker.der)
    extra = f"seal: {{head_every: 16}}\ntpm: {json.dumps(sections['tpm'])}"
    device = fleet_apart.add_device("tpm-device", key=json.dumps(sections["key"]), extra=extra, authorities=[authority])
    check = fleet_apart.run_json("edgeseal-agent", "check", "--config", device.config)
    findings = {finding["what"]: finding for finding in check["findings"]}
    assert findings["TPM lock-out"]["state"] == "ok" and f"of {MAX_TRIES} tries" in findings["TPM lock-out"]["detail"]
    assert findings["TPM attestation"]["state"] == "ok", findings["TPM attestation"]
    device.program.start()
    fleet_apart.run("edgeseal", "model", "publish", "--home", fleet_apart.home, PACKAGE)
    sent = fleet_apart.run_json(
        "edgeseal", "command", "send", "--home", fleet_apart.home, "--device", device.name, "--wait", "120",
        "model.activate", "--package", PACKAGE,
    )  # fmt: skip
    assert [result["state"] for result in sent["results"]] == ["done"]

    fleet_apart.drop_inputs(device, images[:BURST], "before")
    fleet_apart.wait("the first inputs", lambda: len(os.listdir(device.done)) == BURST)
    software_tpm.kill()
    fleet_apart.drop_inputs(device, images[BURST : 2 * BURST], "without-a-tpm")
    fleet_apart.wait("inputs recorded without a TPM", lambda: len(os.listdir(device.done)) == 2 * BURST)
    assert fleet_apart.status(device)["unsealed"] >= BURST, "nothing can sign"
    device.program.kill()
    software_tpm.start()
    device.program.start()
    size = all_anchored(fleet_apart, device, 2 * BURST)
    device.program.stop()
    fleet_apart.wait_anchored(device, fleet_apart.status(device)["records"])

    bundle, trust = evidence.collect(fleet_apart, [device], tmp_path, ["--ek-ca", authority])
    verdict = evidence.verdict(fleet_apart, bundle, trust)
    questions = verdict["questions"]
    assert not verdict["failures"] and not any(answer["answer"] == "failed" for answer in questions.values())
    for name in ("integrity", "attribution", "completeness", "append_only", "key_valid", "command_authority"):
        assert questions[name]["answer"] == "ok", questions[name]
    (shown,) = verdict["devices"]
    assert (shown["assurance"]["level"], shown["assurance"]["ground"]) == ("tpm-ek-verified", "PROVED"), shown
    assert "attest records by the TPM, in its own order" in questions["append_only"]["detail"]
    assert "the TPM was started 1 times" in questions["cadence"]["detail"], questions["cadence"]
    assert size > 2 * BURST
