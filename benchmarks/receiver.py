"""``python -m benchmarks.receiver``: the gateway's way in, alone: broker connection, courier, ingest, store.

It is wired as :mod:`edgeseal_gateway.daemon` wires it, without sequencer, chain, indexer and web pages, so that the
process's CPU time is what taking records in costs. The specification comes as one JSON object on standard input; it
says ``ready`` once it is subscribed, and prints one JSON object at the end.
"""

from __future__ import annotations

import json
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from edgeseal import topics
from edgeseal.adapters.mqtt import Endpoint, MqttLink
from edgeseal.errors import Unavailable
from edgeseal_gateway.courier import Courier
from edgeseal_gateway.daemon import IDLE_S, WINDOW, now_ms
from edgeseal_gateway.ingest import Ingest
from edgeseal_gateway.receipts import Receipts
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.store import devices
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.told import Told

TIMEOUT_S: Final = 120.0
QUOTA: Final = 1 << 34


def main() -> int:
    spec: dict[str, Any] = json.load(sys.stdin)
    database, told = Database(Path(spec["store"])), Told(bytes(32))
    courier = Courier(
        database, bytes(32), Ingest(database, now_ms, QUOTA), Relay(bytes(32), told, Path(spec["store"]), now_ms),
        Receipts(bytes(32), 0, told), now_ms,
    )  # fmt: skip
    ca, cert, key = (Path(spec[name]) for name in ("ca", "cert", "key"))
    endpoint = Endpoint(spec["host"], spec["port"], "gateway", ca, cert, key)
    link = MqttLink(endpoint, [topics.ALL_UP], courier.receive, window=WINDOW)
    link.start()
    if not link.wait_ready(TIMEOUT_S):
        return 1
    print("ready", flush=True)
    log, wanted = bytes.fromhex(spec["log"]), int(spec["records"])
    started, before = time.monotonic(), time.process_time()
    while (size := _size(database, log)) < wanted and time.monotonic() - started < TIMEOUT_S:
        with suppress(Unavailable):
            courier.step(IDLE_S)
    used, wall = time.process_time() - before, time.monotonic() - started
    link.stop()
    print(json.dumps({"records": size, "cpu_s": used, "wall_s": wall, "unsent": len(courier.outgoing)}))
    return 0


def _size(database: Database, log: bytes) -> int:
    with database.read() as connection:
        device = devices.find(connection, log)
    return 0 if device is None else device.size


if __name__ == "__main__":
    raise SystemExit(main())
