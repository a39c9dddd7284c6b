"""A long history of one device: real records under real heads, made faster than a device makes them.

Every record is what :func:`edgeseal.record.make` would make of its fields; the parts of an inference body that differ
from record to record are put into a body encoded once.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field

from edgeseal import cbor, record
from edgeseal.head import DeviceHead, HeadClock
from edgeseal.merkle import Frontier, leaf_hash
from edgeseal.record import Clock, Header
from edgeseal.segment import encode, whole
from tests.world import MODEL, MODEL_FILE, RUNTIME, Device, World

HEARTBEAT_EVERY = 300
"""Every so many records one is a heartbeat."""
STEP_MS = 50
_CLOCK = Clock("ntp", 5)

Pair = tuple[bytes, bytes]
"""Header and body of a record."""


class Inferences:
    """Makes bodies of inference records."""

    def __init__(self, seed: int = 1) -> None:
        self._random = random.Random(seed)
        marks = {name: bytes([number]) * 32 for number, name in enumerate(("s", "input", "tensor", "output"), 200)}
        body = cbor.encode(
            {
                "s": marks["s"], "model": MODEL, "file": MODEL_FILE, "rt": RUNTIME, "pub": {"class": 3}, "us": 900,
                "config": bytes(32), "build": "edgeseal-agent 0.1.0",
                **{name: [0, marks[name]] for name in ("input", "tensor", "output")},
            }
        )  # fmt: skip
        places = sorted(body.index(mark) for mark in marks.values())
        cuts = [0, *(at for place in places for at in (place, place + 32)), len(body)]
        self._parts = [body[start:end] for start, end in zip(cuts[::2], cuts[1::2], strict=True)]

    def body(self) -> bytes:
        noise, parts = self._random.randbytes(128), self._parts
        return b"".join(
            (parts[0], noise[:32], parts[1], noise[32:64], parts[2], noise[64:96], parts[3], noise[96:], parts[4])
        )


@dataclass
class LongHistory:
    """One enrolled device whose log goes on and on. Not thread-safe."""

    world: World = field(default_factory=World)
    heads: list[bytes] = field(default_factory=list)
    frontier: Frontier = field(default_factory=Frontier)

    def __post_init__(self) -> None:
        self.device: Device = self.world.device("bench")
        self.device.activate()
        self.heads = list(self.device.heads)
        self.frontier.extend([made.leaf for made in self.device.records])
        self._bodies = Inferences()

    @property
    def log(self) -> bytes:
        return self.device.log

    @property
    def first(self) -> list[Pair]:
        """The records it begins with: genesis, key.bound, boot, model.activated."""
        return [(made.header, made.body) for made in self.device.records]

    def more(self, count: int) -> list[Pair]:
        """Return the next ``count`` records: inferences, and now and then a heartbeat."""
        device, log, made = self.device, self.log, list[Pair]()
        start = self.frontier.size
        for seq in range(start, start + count):
            device.mono += STEP_MS
            device.t += STEP_MS
            if seq % HEARTBEAT_EVERY == 0:
                one = record.make(
                    log=log, seq=seq, boot=device.boot, t=device.t, mono=device.mono, clk=_CLOCK, kind="heartbeat",
                    fields={"up": 1, "records": seq, "free": 1, "unsent": 0}, salt=bytes(32),
                )  # fmt: skip
                made.append((one.header, one.body))
                continue
            body = self._bodies.body()
            hashed = record.body_hash(body)
            header = Header(log, seq, device.boot, device.t, device.mono, _CLOCK, "inference", hashed)
            made.append((header.encode(), body))
        self.frontier.extend([leaf_hash(header) for header, _ in made])
        return made

    def seal(self) -> bytes:
        """Sign the head over everything so far."""
        device, size = self.device, self.frontier.size
        head = DeviceHead(
            self.log, size, self.frontier.root(), device.last, device.seen, device.anchored,
            HeadClock(device.t, device.mono, device.boot),
        )  # fmt: skip
        device.last = (size, head.root)
        self.heads.append(device.key.state(head))
        return self.heads[-1]

    def sealed(self, records: int, per_head: int, chunk: int) -> Iterator[list[Pair]]:
        """Yield about ``chunk`` records at a time, those the log begins with first, a head over every ``per_head``."""
        pairs, given = self.first, 0
        while given + len(pairs) < records:
            room = per_head - self.frontier.size % per_head
            pairs += self.more(min(room, records - given - len(pairs)))
            self.seal()
            if len(pairs) >= chunk:
                yield pairs
                given, pairs = given + len(pairs), []
        if pairs:
            yield pairs

    def segments(self, records: int, each: int) -> Iterator[bytes]:
        """Yield segments of ``each`` records until there are ``records``."""
        start = 0
        for pairs in self.sealed(records, each, each):
            yield encode(self.log, self.heads[-1], start, [whole(*pair) for pair in pairs])
            start += len(pairs)
