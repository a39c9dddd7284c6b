"""10,000 random and damaged inputs at every decoder: only named errors, at most a second and 64 MB each."""

from __future__ import annotations

import random
from collections.abc import Iterable

import pytest

from edgeseal.errors import EvidenceError
from tests.fuzz.mutation import mutated
from tests.fuzz.targets import Target, targets
from tests.fuzz.watch import PeakMemory, alarm

COUNT = 10_000
TARGETS = targets()


@pytest.mark.parametrize("name", TARGETS)
def test_only_named_errors_come_out(name: str) -> None:
    target = TARGETS[name]
    noise = random.Random(f"edgeseal/{name}")
    accepts_or_names(name, target, target.seeds)
    memory = PeakMemory(name)
    refused = accepts_or_names(name, target, (mutated(noise, target.seeds) for _ in range(COUNT)))
    memory.check()
    assert refused > COUNT // 10, "the inputs are hardly damaged"


def accepts_or_names(name: str, target: Target, inputs: Iterable[bytes]) -> int:
    """How many of the inputs were refused by name; anything else that comes out fails the test with its input."""
    refused = 0
    for data in inputs:
        try:
            with alarm():
                target.decode(data)
        except EvidenceError as error:
            assert error.code and error.message
            refused += 1
        except Exception as error:
            pytest.fail(f"{name}: {error!r} for {data.hex()}")
    return refused
