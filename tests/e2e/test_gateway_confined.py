"""The gateway works inside what its systemd unit forbids: enrolment, ingest, fleet log, anchors on the chain."""

from __future__ import annotations

import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import pytest

from edgeseal_console.demo.fleet import Fleet, Program
from edgeseal_console.demo.parts import CHECKOUT
from tests.e2e.load import PACKAGE, all_anchored
from tests.realparts import sandbox

INPUTS = 10


class Confined(Program):
    """The gateway of a fleet, confined: only its own folder can be written."""

    def __init__(self, gateway: Program) -> None:
        super().__init__("gateway", gateway.config)
        self.port = gateway.port

    def command(self) -> Sequence[str]:
        """Return the command line, in the sandbox of the unit."""
        unit = CHECKOUT / "systemd" / "edgeseal-gateway.service"
        death, gateway = list(super().command())[:4], list(super().command())[4:]
        return [*death, *sandbox.command(unit, self.config.parent, gateway)]


def keep_tls_files(config: Path) -> None:
    """Copy the broker's files, which belong to its own user, to where the confined gateway may read them."""
    text = config.read_text()
    for name, path in re.findall(r"(\w+_file): (/[^,}\n]+)", text):
        copy = config.parent / f"tls-{name}.pem"
        shutil.copyfile(path, copy)
        text = text.replace(path, str(copy))
    config.write_text(text)


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd-analyze on this machine")
@pytest.mark.skipif(not sandbox.is_possible(), reason="needs root")
def test_a_confined_gateway_does_all_its_work(
    fleet: Fleet, images: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(CHECKOUT))
    before = fleet.gateway.config.read_text()
    fleet.gateway.stop()
    keep_tls_files(fleet.gateway.config)
    confined = Confined(fleet.gateway)
    try:
        with confined:
            device = fleet.add_device("seen-by-a-confined-gateway", extra=f"model: {{package: {PACKAGE}}}")
            device.program.start()
            fleet.drop_inputs(device, images[:INPUTS], "digit")
            fleet.wait("the first input", device.done.is_dir)
            assert all_anchored(fleet, device, INPUTS) > INPUTS
            device.program.stop()
    finally:
        fleet.gateway.config.write_text(before)
        fleet.start_gateway()
