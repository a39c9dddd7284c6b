"""A device under load: an agent that tells what is durable, and a thread that keeps giving it inputs."""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from dataclasses import replace
from itertools import count
from pathlib import Path

from edgeseal_console.demo.fleet import Device, Fleet, Program
from edgeseal_console.demo.parts import CHECKOUT

PACKAGE = CHECKOUT / "models" / "digits" / "package"
BACKLOG = 64
"""Inputs that wait in the folder at most, also while the agent is down."""
BURST = 10
PACE_S = 0.1


class AckedAgent(Program):
    """An agent with ``--acks``: each start writes into a file of its own, which no kill can take away."""

    def __init__(self, name: str, config: Path) -> None:
        self.runs: list[Path] = []
        super().__init__(name, config)

    def command(self) -> Sequence[str]:
        """Return the command line, descriptor 3 opened by the shell that then becomes the agent."""
        run = self.config.parent / f"acks-{len(self.runs):03d}"
        self.runs.append(run)
        death, agent = super().command()[:4], super().command()[4:]
        return [*death, "sh", "-c", 'exec "$@" 3>>"$0"', str(run), *agent, "--acks", "3"]

    def acks(self) -> list[tuple[int, str]]:
        """Return (position, leaf hash) of every record ever acknowledged; a line cut off by a kill was not."""
        return [
            (int(line.split()[0]), line.split()[1]) for run in self.runs if run.exists() for line in whole_lines(run)
        ]

    def acked_in_this_run(self) -> int:
        """Return how many records this start has acknowledged."""
        return len(whole_lines(self.runs[-1])) if self.runs and self.runs[-1].exists() else 0


def whole_lines(path: Path) -> list[str]:
    """Return the lines that end."""
    return path.read_text().split("\n")[:-1]


def add_acked_device(
    fleet: Fleet, name: str, extra: str = "", authorities: Sequence[Path] | None = None
) -> tuple[Device, AckedAgent]:
    """Enrol a device that runs the digits model and writes acknowledgements; not started yet.

    ``authorities`` given, it applies with a claim token (:meth:`Fleet.add_device`).
    """
    made = fleet.add_device(name, extra=f"model: {{package: {PACKAGE}}}\n{extra}", authorities=authorities)
    agent = AckedAgent(name, made.config)
    device = replace(made, program=agent)
    fleet.devices[fleet.devices.index(made)] = device
    return device, agent


class Feeder:
    """Drops inputs into a device's folder, at a pace and never more than ``BACKLOG`` at once. A context manager."""

    def __init__(self, fleet: Fleet, device: Device, images: Sequence[Path]) -> None:
        self._fleet, self._device, self._images = fleet, device, images
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"feeder of {device.name}", daemon=True)
        self.failure: Exception | None = None
        self.given = 0

    def __enter__(self) -> Feeder:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            for burst in count():
                files = [self._images[(self.given + i) % len(self._images)] for i in range(BURST)]
                if len(os.listdir(self._device.inbox)) <= BACKLOG - BURST:
                    self._fleet.drop_inputs(self._device, files, f"load-{burst:06d}")
                    self.given += BURST
                if self._stopping.wait(PACE_S):
                    return
        except Exception as error:
            self.failure = error


def all_anchored(fleet: Fleet, device: Device, inputs: int) -> int:
    """Wait until ``inputs`` inputs are put away and all records sealed, receipted and anchored; return their number."""
    size = 0

    def sealed() -> bool:
        nonlocal size
        if len(os.listdir(device.done)) < inputs:
            return False
        status = fleet.status(device)
        size = status["records"]
        return bool(status["unsealed"] == 0 and status["unsent"] == 0)

    fleet.wait(f"{inputs} inputs of {device.name} recorded and receipted", sealed, seconds=300)
    fleet.wait_anchored(device, size, seconds=300)
    return size
