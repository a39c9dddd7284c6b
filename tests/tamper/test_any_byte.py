"""Any byte of the evidence: change it, drop it or double it, and the bundle is refused or the verdict says that
something is wrong.
"""

from __future__ import annotations

import random
from typing import Any

import pytest

from edgeseal import cbor
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


JUNK: tuple[Any, ...] = (0, -1, 2**63, b"", bytes(32), "", "x" * 99, [], [0, b"", b""], {}, {"v": 1}, None, True)


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Return the path of every node of a decoded object."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(place for key, item in inside for place in places(item, (*at, key)))]


def replaced(value: Any, at: tuple[Any, ...], by: Any) -> Any:
    if not at:
        return by
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[at[0]] = replaced(copy[at[0]], at[1:], by)
    return copy


@pytest.mark.parametrize("folder", [folder for folder in COVERED if folder != "keys/"])
def test_well_formed_junk_in_any_place_is_refused_or_noticed(
    honest: tuple[World, dict[str, bytes]], folder: str
) -> None:
    world, files = honest
    names = sorted(name for name in files if name.startswith(folder))
    dice = random.Random(folder)
    for _ in range(ROUNDS):
        name = dice.choice(names)
        content = cbor.decode(files[name], max_size=1 << 24)
        place, junk = dice.choice(places(content)), dice.choice(JUNK)
        if (place, junk) == ((), []):
            continue  # an empty array is the file left out, see below
        data = cbor.encode(replaced(content, place, junk))
        verdict = judged(world, files | {name: data})
        assert verdict is None or verdict.exit_code != 0 or data == files[name], name


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
