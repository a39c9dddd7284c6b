"""``python -m benchmarks.receiver``: the gateway's way in, alone: broker connection, courier, ingest, store.

It is wired as :mod:`edgeseal_gateway.daemon` wires it, without sequencer, chain, indexer and web pages, so that the
process's CPU time is what taking records in costs. The specification comes as one JSON object in a line of standard
input; it says ``ready`` once it is subscribed, waits for another line, and prints one JSON object at the end. Between
batches it measures what a signature check and hashing cost in this very process at this very time, which counts as no
work of the gateway's.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path
from statistics import mean
from typing import Any, Final

from edgeseal import topics
from edgeseal.adapters.mqtt import Endpoint, MqttLink
from edgeseal.errors import Unavailable, VerificationError
from edgeseal_gateway.courier import Courier
from edgeseal_gateway.daemon import IDLE_S, WINDOW, now_ms, settle_memory
from edgeseal_gateway.ingest import Ingest
from edgeseal_gateway.receipts import Receipts
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.store import devices
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.told import Told

TIMEOUT_S: Final = 120.0
QUOTA: Final = 1 << 34
CHECKS: Final = 8
_SIGNATURE: Final = bytes([1] * 64)


def main() -> int:
    spec: dict[str, Any] = json.loads(sys.stdin.readline())
    settle_memory()
    database, told = Database(Path(spec["store"])), Told(bytes(32))
    courier = Courier(
        database, bytes(32), Ingest(database, now_ms, QUOTA), Relay(bytes(32), told, Path(spec["store"]), now_ms),
        Receipts(bytes(32), 0, told), now_ms,
    )  # fmt: skip
    ca, cert, key = (Path(spec[name]) for name in ("ca", "cert", "key"))
    endpoint = Endpoint(spec["host"], spec["port"], "gateway", ca, cert, key)
    link = MqttLink(endpoint, [topics.ALL_UP], courier.receive, window=WINDOW)
    before = time.process_time()
    link.start()
    if not link.wait_ready(TIMEOUT_S):
        return 1
    print("ready", flush=True)
    sys.stdin.readline()
    log, wanted = bytes.fromhex(spec["log"]), int(spec["records"])
    yardstick = Yardstick(database, log)
    started = time.monotonic()
    while (size := _size(database, log)) < wanted and time.monotonic() - started < TIMEOUT_S:
        with suppress(Unavailable):
            courier.step(IDLE_S)
        yardstick.measure()
    used, wall = time.process_time() - before - yardstick.spent_s, time.monotonic() - started
    link.stop()
    print(
        json.dumps(
            {"records": size, "cpu_s": used, "wall_s": wall, "verify_s": yardstick.verify_s, "hash_s": yardstick.hash_s}
        )
    )
    return 0


class Yardstick:
    """Measures the two costs that the limit is made of, again and again, each time by the CPU time of a few calls."""

    def __init__(self, database: Database, log: bytes) -> None:
        with database.read() as connection:
            device = devices.find(connection, log)
        assert device is not None
        self._key = device.key
        self._block = bytes(CHECKS << 14)
        self.spent_s = 0.0
        self._verify: list[float] = []
        self._hash: list[float] = []

    def measure(self) -> None:
        started = time.thread_time()
        for _ in range(CHECKS):
            with suppress(VerificationError):  # of a wrong signature a check costs the same
                self._key.verify(self._block[:300], _SIGNATURE)
        middle = time.thread_time()
        sha256(self._block).digest()
        ended = time.thread_time()
        self._verify.append((middle - started) / CHECKS)
        self._hash.append((ended - middle) / len(self._block))
        self.spent_s += ended - started

    @property
    def verify_s(self) -> float:
        """CPU seconds of one signature check."""
        return mean(self._verify)

    @property
    def hash_s(self) -> float:
        """CPU seconds of hashing one byte."""
        return mean(self._hash)


def _size(database: Database, log: bytes) -> int:
    with database.read() as connection:
        device = devices.find(connection, log)
    return 0 if device is None else device.size


if __name__ == "__main__":
    raise SystemExit(main())
