"""Records per CPU-second of the gateway's process: from the broker, over TLS, to the fsynced store.

A device's segments, 32 and 256 records each, wait in a real mosquitto, as after an outage, until a process that is
the gateway's way in (:mod:`benchmarks.receiver`) takes them all. Only that process's CPU time counts, all its threads
together; the broker and the sender are not in it. Beside it: the indexer, which decodes records later and off this
path, on the store just filled.

CPU time on a busy machine buys less: two programs share a core's units and caches. So the limit, one signature check
a segment and the hashing of a record, is measured in the receiver between its batches, and the floor is held against
the share of it that was reached, at the speed the design was made at (45 µs a check, 0.25 µs a record).
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmarks.history import LongHistory
from benchmarks.table import Row, Tell, at_least, shown
from benchmarks.trials import Spread, ratios
from benchmarks.workdir import folder
from edgeseal import topics
from edgeseal.adapters.mqtt import Endpoint, MqttLink
from edgeseal.statements.enrolment import Enrolment
from edgeseal_console.demo.parts import ADDRESS, Broker
from edgeseal_gateway.index import Indexer
from edgeseal_gateway.store import devices
from edgeseal_gateway.store.database import Database

NAME: Final = "gateway"
SIZES: Final = ((32, 64_000, 80_000.0), (256, 204_800, 200_000.0))
"""Records a segment, records in all, least records per CPU-second."""
ROUNDS: Final = 5
VERIFY_US: Final = 45.0
HASH_US: Final = 0.25
"""The limit of the design, which its floors stand beside: a signature check a segment, HASHED bytes hashed a record."""
HASHED: Final = 448
"""Bytes in SHA-256 blocks, 320 of the leaf and 128 of the node: the 0.25 µs above are theirs at 1.8 GB/s."""
TIMEOUT_S: Final = 150.0


@dataclass(frozen=True, slots=True)
class Taken:
    """What one run took: records per CPU-second of the process, per second of the clock, and of the limit meanwhile."""

    per_cpu: float
    per_wall: float
    limit: float


def measure(tell: Tell) -> list[Row]:
    rows: list[Row] = []
    with folder() as root, Broker() as broker:
        for each, records, floor in SIZES:
            tell(f"making {records:,} records in segments of {each}")
            history = LongHistory()
            segments = list(history.segments(records, each))
            runs = []
            for number in range(ROUNDS):
                store = root / f"{each}-{number}.db"
                _enrol(store, history)
                runs.append(_run(store, broker, history, segments, records))
                tell(f"{each} a segment, run {number + 1} of {ROUNDS}: {runs[-1].per_cpu:,.0f} records per CPU-second")
            rows += _rows(each, floor, runs)
            tell("the indexer over the last store")
            rows.append(_indexed(root / f"{each}-{ROUNDS - 1}.db", each, records))
    return rows


def _rows(each: int, floor: float, runs: list[Taken]) -> list[Row]:
    rates, limits = [run.per_cpu for run in runs], [run.limit for run in runs]
    middle, here, design = median(rates), median(limits), 1e6 / (VERIFY_US / each + HASH_US)
    wall, share = median(run.per_wall for run in runs), median(ratios(rates, limits))
    spread = Spread.of([rate / middle for rate in rates])
    what = f"{each} a segment: records"
    shares = Spread.of([one / share for one in ratios(rates, limits)])
    return [
        at_least(NAME, f"{what} per CPU-second, at the design's speed", share * design, floor, "{:,.0f}", shares),
        shown(NAME, f"{what} per CPU-second, as it came", f"{middle:,.0f}", middle, str(spread)),
        shown(NAME, f"{each} a segment: share of the limit, here {here:,.0f}/s", f"{share:.1%}", share),
        shown(NAME, f"{what} a second by the clock", f"{wall:,.0f}", wall),
    ]


def _enrol(store: Path, history: LongHistory) -> None:
    """Make an empty gateway store in which the device is enrolled."""
    Database.create(store)
    database, device = Database(store), history.device
    enrolment = Enrolment(device.key.public, device.records[0].leaf, "bench", "softhsm", None, (), 60)
    with database.write() as connection:
        devices.enrol(connection, enrolment, 3)
    database.close()


def _run(store: Path, broker: Broker, history: LongHistory, segments: list[bytes], records: int) -> Taken:
    """Send every segment to a fresh receiver and return what taking them cost it."""
    files = broker.authority.issue_client("gateway")
    spec = {
        "store": str(store), "host": ADDRESS, "port": broker.port, "log": history.log.hex(), "records": records,
        "ca": str(files.authority), "cert": str(files.certificate), "key": str(files.key),
    }  # fmt: skip
    receiver = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.receiver"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert receiver.stdin is not None and receiver.stdout is not None
        receiver.stdin.write(json.dumps(spec) + "\n")
        receiver.stdin.flush()
        if receiver.stdout.readline() != "ready\n":
            raise SystemExit("the receiver did not start")
        _send(broker, history.log, segments)
        receiver.stdin.write("go\n")
        receiver.stdin.close()
        found: dict[str, Any] = json.loads(receiver.stdout.readline())
    finally:
        receiver.kill()
        receiver.wait()
    if found["records"] != records:
        raise SystemExit(f"the receiver did not take all of it: {found}")
    limit = 1 / (found["verify_s"] * len(segments) / records + found["hash_s"] * HASHED)
    return Taken(records / found["cpu_s"], records / found["wall_s"], limit)


def _send(broker: Broker, log: bytes, segments: list[bytes]) -> None:
    """Publish the segments in order, as the device they are of."""
    files = broker.authority.issue_client(log.hex())
    endpoint = Endpoint(ADDRESS, broker.port, log.hex(), files.authority, files.certificate, files.key)
    link = MqttLink(endpoint, [], lambda topic, payload, ack: ack())
    link.start()
    try:
        for payload in segments:
            if not link.wait_ready(TIMEOUT_S):
                raise SystemExit(f"the broker does not take more: {link.trouble}")
            link.publish(topics.up(log, "segment"), payload)
    finally:
        link.stop(TIMEOUT_S)


def _indexed(store: Path, each: int, records: int) -> Row:
    """Index a filled store, and say how many records that made per CPU-second."""
    indexer = Indexer(Database(store), store.with_suffix(".index"))
    started = time.process_time()
    while indexer.step():
        pass
    rate = records / (time.process_time() - started)
    indexer.close()
    return shown(NAME, f"{each} a segment: records per CPU-second of the indexer", f"{rate:,.0f}", rate)
