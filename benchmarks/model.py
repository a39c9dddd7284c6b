"""A model of about one millisecond on this machine: a uint8 image of 96x96 RGB pixels, an integer network."""

from __future__ import annotations

import time
from statistics import median
from typing import Final

import numpy as np

from edgeseal.adapters.tflite import TfliteRunner
from tests.models.build import Graph

SIDE: Final = 96
AIM_US: Final = 1_000
_POOLED: Final = (SIDE // 4) ** 2 * 3
_START: Final = 512
_LEAST, _MOST = 64, 16_384


def about_a_millisecond() -> tuple[bytes, float]:
    """Return a model and the microseconds it takes here: its middle layer is as wide as makes that about 1,000."""
    width = _START
    for _ in range(4):
        found = _microseconds(_build(width))
        if 0.8 * AIM_US <= found <= 1.25 * AIM_US:
            break
        width = min(_MOST, max(_LEAST, round(width * AIM_US / found)))
    model = _build(width)
    return model, _microseconds(model)


def image(seed: int) -> bytes:
    """Return one input tensor of noise."""
    return np.random.default_rng(seed).integers(0, 256, (1, SIDE, SIDE, 3), np.uint8).tobytes()


def _build(width: int) -> bytes:
    """Average over 4x4 squares, a layer of ``width``, one of ten, softmax."""
    random, graph = np.random.default_rng(11), Graph()
    source = graph.tensor("image", "uint8", [1, SIDE, SIDE, 3], (1 / 128, 128))
    pooled = graph.average_pool(
        source, graph.tensor("pooled", "uint8", [1, SIDE // 4, SIDE // 4, 3], (1 / 128, 128)), 4
    )
    hidden = _layer(graph, random, pooled, "hidden", _POOLED, width, (1 / 8, 128))
    logits = _layer(graph, random, hidden, "logits", width, 10, (1 / 16, 128))
    return graph.pack([source], [graph.softmax(logits, graph.tensor("probability", "uint8", [1, 10], (1 / 256, 0)))])


def _layer(
    graph: Graph, random: np.random.Generator, source: int, name: str, inputs: int, outputs: int,
    scale: tuple[float, int],
) -> int:  # fmt: skip
    weights = random.integers(96, 161, (outputs, inputs)).astype(np.uint8)
    held = graph.constant(f"{name} weights", weights, (1 / 512, 128))
    bias = graph.constant(f"{name} bias", random.integers(-500, 500, outputs).astype(np.int32), (1 / 65_536, 0))
    return graph.fully_connected(source, held, bias, graph.tensor(name, "uint8", [1, outputs], scale))


def _microseconds(model: bytes) -> float:
    runner = TfliteRunner(model, resolver="builtin")
    tensor = image(1)
    times = []
    for _ in range(60):
        started = time.perf_counter_ns()
        runner.run((tensor,))
        times.append(time.perf_counter_ns() - started)
    return median(times[10:]) / 1_000
