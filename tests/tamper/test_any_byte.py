"""Any byte of the evidence: change it, drop it or double it, and the bundle is refused or the verdict says that
something is wrong.
"""

from __future__ import annotations

import random

import pytest

from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.errors import FormatError
from edgeseal.verify import QUESTIONS, Verdict, verify
from tests.tamper.rows import state_of
from tests.world import World, simple

ASKED = [question for question in QUESTIONS if question != "reexecution"]
ROUNDS = 60

COVERED = ("records/", "heads/", "statements/", "proofs/fleet-heads", "chain/", "keys/")
"""Files of which every byte is under a hash or a signature. Inputs, openings and packages are opened by a
re-execution; index.json and README are evidence of nothing."""


@pytest.fixture(scope="module")
def honest() -> tuple[World, dict[str, bytes]]:
    world, device = simple()
    return world, world.files() | {f"keys/{device.key.kid.hex()}.cbor": device.key.public.encode()}


def judged(world: World, files: dict[str, bytes]) -> Verdict | None:
    """Return the verdict, None for evidence that is refused as a whole; anything else that is raised fails the test."""
    try:
        return verify(Bundle(MemorySource(files)), world.trust(), state_of(world, world.devices[0]), ASKED)
    except FormatError:
        return None


def changed(data: bytes, dice: random.Random) -> bytes:
    at, what = dice.randrange(len(data)), dice.randrange(4)
    if what == 0:
        return data[:at] + data[at + 1 :]
    if what == 1:
        return data[:at] + data[at : at + 1] + data[at:]
    if what == 2:
        return data[:at]
    return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]


@pytest.mark.parametrize("folder", COVERED)
def test_no_change_of_covered_bytes_is_ok(honest: tuple[World, dict[str, bytes]], folder: str) -> None:
    world, files = honest
    names = sorted(name for name in files if name.startswith(folder))
    dice = random.Random(folder)
    for number in range(ROUNDS):
        name = dice.choice(names)
        data = changed(files[name], dice)
        if data == files[name]:
            continue
        verdict = judged(world, files | {name: data})
        assert verdict is None or verdict.exit_code != 0, f"change {number} of {name} went unnoticed"


def test_no_change_of_other_bytes_does_more_than_it_may(honest: tuple[World, dict[str, bytes]]) -> None:
    world, files = honest
    names = sorted(name for name in files if not name.startswith(COVERED))
    dice = random.Random(7)
    for _ in range(ROUNDS):
        name = dice.choice(names)
        if not files[name]:
            continue
        verdict = judged(world, files | {name: changed(files[name], dice)})
        assert verdict is None or verdict.exit_code in (0, 2, 3)


@pytest.mark.parametrize("folder", COVERED)
def test_no_file_can_go_and_leave_everything_ok(honest: tuple[World, dict[str, bytes]], folder: str) -> None:
    world, files = honest
    verdict = judged(world, {name: data for name, data in files.items() if not name.startswith(folder)})
    if folder in (
        "heads/",
        "keys/",
        "proofs/fleet-heads",
        "chain/",
    ):  # said again by statements and by the chain's state
        assert verdict is not None
    else:
        assert verdict is None or verdict.exit_code != 0
