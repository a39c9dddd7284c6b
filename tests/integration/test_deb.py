"""The Debian package: built, unpacked beside nothing else of ours, and an inference sealed by what was in it."""

from __future__ import annotations

import json
import subprocess
import zipfile
from pathlib import Path

import pytest

from tests.agentrig import MODEL
from tests.fleetside import FleetSide, make_pack


def run(*words: str | Path) -> str:
    done = subprocess.run([str(word) for word in words], capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.timeout(900)
def test_the_package_seals_an_inference(package: Path, tmp_path: Path) -> None:
    control = run("dpkg-deb", "--field", package)
    assert "Package: edgeseal-agent\n" in control and "Depends: python3 (>= 3.11)" in control
    root = tmp_path / "root"
    run("dpkg-deb", "--extract", package, root)
    for place in ("usr/lib/systemd/system/edgeseal-agent.service", "usr/lib/sysusers.d/edgeseal.conf",
                  "usr/share/edgeseal/firmware-config/provision-tpm.sh", "usr/share/doc/edgeseal-agent/README.md",
                  "usr/share/doc/edgeseal-agent/field-guide.md", "usr/share/doc/edgeseal-agent/operating.md",
                  "usr/share/edgeseal/systemd/edgeseal-agent.service.d/10-tpm.conf"):  # fmt: skip
        assert (root / place).is_file()
    assert not list(root.rglob("edgeseal_gateway")) and not list(root.rglob("web3"))
    scripts = tmp_path / "scripts"
    run("dpkg-deb", "--control", package, scripts)
    for name in ("postinst", "prerm", "postrm"):
        run("sh", "-n", scripts / name)

    device = tmp_path / "device"
    device.mkdir()
    (device / "pack.cbor").write_bytes(make_pack(FleetSide().world))
    with zipfile.ZipFile(MODEL / "held-out.zip") as archive:
        entry = next(name for name in archive.namelist() if name.endswith(".png"))
        (device / "digit.png").write_bytes(archive.read(entry))
    (device / "inputs.txt").write_text("digit.png\n")
    config = device / "agent.yaml"
    config.write_text(
        "schema: edgeseal-agent/1\nname: cam-1\nstate_dir: state\nprovisioning: pack.cbor\n"
        f"key: {{token: device, label: device, create: true}}\nmodel: {{package: {MODEL / 'package'}}}\n"
    )
    agent = root / "usr/bin/edgeseal-agent"
    run(agent, "init", "--config", config)
    run(agent, "run", "--config", config, "--list", device / "inputs.txt", "--once")
    status = json.loads(run(agent, "status", "--config", config, "--json"))
    assert status["unsealed"] == 0 and status["records"] >= 6
    run(agent, "export", "--config", config, "--out", device / "export.zip")
