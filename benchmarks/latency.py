"""Inference latency with sealing, beside the same inference without, in one process and in turns.

With sealing: the agent's own path. The input goes through :class:`edgeseal_agent.inference.Engine`, the record to the
journal (commitments, openings and the input kept, one fsync for many), heads are signed in a SoftHSM token; between
inferences the caller holds to the limits of the agent's intake, and what it waits for that counts. Without: the same
engine, the same input, and nothing is done with what it found. A ratio is that of two trials' p50s or p99s.
"""

from __future__ import annotations

import io
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from benchmarks.device import Running, make_device
from benchmarks.machine import Idle, cpus
from benchmarks.model import SIDE, about_a_millisecond, image
from benchmarks.table import Row, Tell, ratio_at_most, shown
from benchmarks.trials import PAIRS, Ratio, in_turns, ratios
from benchmarks.workdir import folder
from edgeseal.adapters.packagedir import read_package
from edgeseal_agent import identity
from edgeseal_agent.daemon import SWITCH_S
from edgeseal_agent.inference import Engine, Inference, InferenceRecorder, LoadedModel, load_model
from edgeseal_agent.intake import MAX_IN_FLIGHT
from edgeseal_agent.listsource import ListSource
from edgeseal_agent.parts import build_name
from edgeseal_agent.source import Waiting
from edgeseal_console.operate.models import pack

NAME: Final = "latency"
IMAGES: Final = 64
BLOCKS: Final = 5
"""A trial is so many short blocks, in turns with those of the other trials: a busy second hits all of them."""
PACE_S: Final = 1 / 30
PACED: Final = 30
"""Inferences of a block at 30 a second."""
FULL: Final = 300
"""Inferences of a block at full speed."""
SEAL_TIMEOUT_S: Final = 60.0
WORKLOADS: Final = (("at 30/s", PACE_S, PACED, 1.02, 1.05), ("at full speed", 0.0, FULL, None, 1.25))
"""Name, seconds from one inference to the next, inferences of a block, highest ratios of p50 and p99."""

Infer = Callable[[bytes, Waiting], None]


@dataclass(frozen=True, slots=True)
class Latency:
    """What one trial took, in microseconds."""

    p50: float
    p99: float

    @classmethod
    def of(cls, nanoseconds: list[int]) -> Latency:
        ordered = sorted(nanoseconds)
        return cls(ordered[len(ordered) // 2] / 1_000, ordered[int(len(ordered) * 0.99)] / 1_000)


def measure(tell: Tell) -> list[Row]:
    sys.setswitchinterval(SWITCH_S)
    with folder() as root:
        model, alone_us = about_a_millisecond()
        tell(f"the model takes {alone_us:.0f} µs alone")
        (root / "model.tflite").write_bytes(model)
        packed = pack(root / "model.tflite", "bench", "1", root / "package")
        running = Running.start(make_device(root / "device", model={"resolver": "builtin"}))
        try:
            loaded = load_model(read_package(packed.folder), running.config.model)
            device = _Device(running, loaded, root)
            return _measure(device, alone_us, tell)
        finally:
            running.stop()


def _measure(device: _Device, alone_us: float, tell: Tell) -> list[Row]:
    rows = [shown(NAME, "the model alone", f"{alone_us:.0f} µs", alone_us)]
    for text, pace, count, p50, p99 in WORKLOADS:
        tell(f"{text}: {PAIRS} pairs")
        idle = Idle()
        blocks = in_turns(
            PAIRS * BLOCKS,
            {
                "off": lambda: _block(device.bare, pace, count, idle),  # noqa: B023
                "on": lambda: device.sealed(pace, count),  # noqa: B023
                "again": lambda: _block(device.bare, pace, count),  # noqa: B023
            },
            lambda told: None,
        )
        off, on, again = (_trials(blocks[name]) for name in ("off", "on", "again"))
        for name, ceiling in (("p50", p50), ("p99", p99)):
            base, with_seal, same = ([getattr(trial, name) for trial in trials] for trials in (off, on, again))
            ratio = Ratio.of(ratios(with_seal, _mean(base, same)), ratios(same, base))
            what = f"{text}: {name} with sealing / without"
            if ceiling is None:
                rows.append(shown(NAME, what, f"{ratio.median:.3f} ×", ratio.median, str(ratio.spread)))
            else:
                rows.append(ratio_at_most(NAME, what, ratio, ceiling))
        rows.append(shown(NAME, f"{text}: the same in this run, with and without", _both(on, off)))
        free = idle.cpus
        rows.append(shown(NAME, f"{text}: CPUs idle while the model runs alone", f"{free:.2f} of {cpus()}", free))
    return rows


def _mean(one: list[float], other: list[float]) -> list[float]:
    """Return the mean of the two trials without sealing that stand before and after the one with it."""
    return [(a + b) / 2 for a, b in zip(one, other, strict=True)]


def _both(on: Sequence[Latency], off: Sequence[Latency]) -> str:
    return "; ".join(
        f"{name} {sorted(getattr(t, name) for t in on)[len(on) // 2]:,.0f}"
        f" and {sorted(getattr(t, name) for t in off)[len(off) // 2]:,.0f} µs"
        for name in ("p50", "p99")
    )


def _trials(blocks: list[list[int]]) -> list[Latency]:
    """Put blocks together to trials, BLOCKS each."""
    return [
        Latency.of([*chain.from_iterable(blocks[start : start + BLOCKS])]) for start in range(0, len(blocks), BLOCKS)
    ]


def _block(infer: Infer, pace_s: float, count: int, idle: Idle | None = None) -> list[int]:
    """Run ``count`` inferences, one every ``pace_s`` seconds or as fast as they go; return what each took, in ns."""
    if idle is not None:
        idle.start()
    times: list[int] = []
    start = time.perf_counter()
    for number in range(count):
        if pace_s and (left := start + number * pace_s - time.perf_counter()) > 0:
            time.sleep(left)
        raw, item = INPUTS[number % IMAGES], Waiting(str(time.monotonic_ns()), b"", ())
        began = time.perf_counter_ns()
        infer(raw, item)
        times.append(time.perf_counter_ns() - began)
    if idle is not None:
        idle.stop()
    return times


def _npy(tensor: bytes) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.frombuffer(tensor, np.uint8).reshape(1, SIDE, SIDE, 3))
    return stream.getvalue()


def _drop(done: Inference) -> None:
    """What becomes of an inference that nobody seals."""


INPUTS: Final = tuple(_npy(image(number)) for number in range(IMAGES))


class _Device:
    """One model, with the agent's path around it and without."""

    def __init__(self, running: Running, loaded: LoadedModel, root: Path) -> None:
        self._running = running
        self._engine = Engine()
        self._engine.activate(loaded, running.journal, None).result()
        self._recorder = InferenceRecorder(
            running.journal, log=running.log, secret=running.secret, config_digest=running.config.digest,
            build=build_name(), plain_input=False, keeps=lambda size: True,
        )  # fmt: skip
        (root / "list.txt").write_text("unused\n")
        self._source = ListSource(identity.open_store(running.config), root / "list.txt")
        self._waiting: deque[Any] = deque()

    def bare(self, raw: bytes, item: Waiting) -> None:
        self._engine.run((raw,), _drop)

    def sealed(self, pace_s: float, count: int) -> list[int]:
        found = _block(self._infer, pace_s, count)
        for ticket in self._waiting:
            ticket.result()
        self._waiting.clear()
        self._running.sealer.wait_for(self._running.journal.size, SEAL_TIMEOUT_S)
        return found

    def _infer(self, raw: bytes, item: Waiting) -> None:
        note, submit = self._source.note, self._recorder.submit
        self._waiting.append(self._engine.run((raw,), lambda done: submit(done, note(item))))
        while self._waiting and (self._waiting[0].done or len(self._waiting) > MAX_IN_FLIGHT):
            self._waiting.popleft().result()
