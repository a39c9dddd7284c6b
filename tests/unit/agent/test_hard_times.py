"""A torn store, a token that goes away, a clock that jumps: what a device meets in five years on a pole."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from edgeseal.head import SignedDeviceHead
from edgeseal.record import Header
from edgeseal_agent import identity, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.store import Store

from .conftest import Bench, MakeBench, SoftSigner
from .loop import wait

TAMPER = {"what": "lid", "detail": "open"}


class Away(SoftSigner):
    """A token that comes and goes."""

    there = threading.Event()

    def sign(self, message: bytes) -> bytes:
        if not self.there.is_set():
            raise Unavailable("token_failed", "the token is away")
        return super().sign(message)


def test_a_token_that_goes_and_comes_back_costs_no_record(make_bench: MakeBench) -> None:
    bench = make_bench(head_every=4)
    bench.close()
    token = Away(bench.key)
    token.there.clear()
    bench.signer = token
    bench.open()
    seqs = [bench.journal.append("tamper", TAMPER)[0] for _ in range(10)]
    assert bench.rows("SELECT count(*) FROM heads WHERE signed IS NULL") == [(10,)], "payloads wait, as they are"
    waiting = dict(bench.rows("SELECT size, payload FROM heads"))
    wait(lambda: "token_failed" in str(bench.sealer.failure))
    bench.close()
    bench.open()  # the machine starts anew, and the token is still away
    seqs.append(bench.journal.append("tamper", TAMPER)[0])
    token.there.set()
    bench.sealer.wait_for(bench.journal.size, 60)
    assert seqs == list(range(2, 13))
    for size, signed in bench.rows("SELECT size, signed FROM heads ORDER BY size"):
        found = SignedDeviceHead.decode(signed)
        found.verify(bench.key.public)
        assert found.signed.payload == waiting.get(size, found.signed.payload), "no payload is made anew"


def fill(bench: Bench) -> None:
    for ticket in [bench.journal.submit("tamper", TAMPER) for _ in range(200)]:
        ticket.result(60)
    bench.sealer.wait_for(bench.journal.size, 60)
    bench.close()
    bench.store.settle()


@pytest.mark.parametrize("torn", ["cut", "zeroed", "noise", "empty"])
def test_a_torn_store_is_kept_and_not_continued(bench: Bench, tmp_path: Path, torn: str) -> None:
    fill(bench)
    data = bench.path.read_bytes()
    half = len(data) // 2 // 4096 * 4096
    spoilt = {
        "cut": data[:half], "zeroed": data[:half] + bytes(len(data) - half), "empty": b"",
        "noise": data[:half] + bytes(byte ^ 0x5A for byte in data[half:]),
    }[torn]  # fmt: skip
    bench.path.write_bytes(spoilt)
    with pytest.raises((InvariantBroken, UsageError), match=r"store_damaged|schema_unknown"):
        recovery.begin(Store.open(bench.path))
    assert bench.path.read_bytes() == spoilt, "it is evidence"


def test_a_clock_that_jumps_both_ways_orders_nothing(make_bench: MakeBench, monkeypatch: pytest.MonkeyPatch) -> None:
    """1970, 2099, 1970: each record says what the clock said; order is that of the log, and of the monotonic clock."""
    hands = cycle([0, 4_100_000_000_000, 1_760_000_000_000, 1_000])
    monkeypatch.setattr(DeviceClock, "wall_ms", lambda self: next(hands))
    bench = make_bench(clock="none")
    for _ in range(12):
        bench.journal.append("tamper", TAMPER)
    bench.reopen()
    bench.journal.append("tamper", TAMPER)
    bench.sealer.wait_for(15, 60)
    headers = [Header.decode(header) for (header,) in bench.rows("SELECT header FROM records ORDER BY seq")]
    assert [header.seq for header in headers] == list(range(15)) and len({header.t for header in headers}) >= 3
    assert all(a.mono <= b.mono and a.boot <= b.boot for a, b in pairwise(headers))
    assert recovery.check(bench.store) == 15


def test_of_daemons_started_at_once_one_runs(tmp_path: Path) -> None:
    start, held, refused = threading.Barrier(8), threading.Event(), []
    won = []

    def daemon() -> None:
        start.wait()
        try:
            with identity.exclusive(tmp_path):
                won.append(1)
                held.wait(60)
        except UsageError as error:
            refused.append(error.code)
            if len(refused) == 7:
                held.set()

    threads = [threading.Thread(target=daemon) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert won == [1] and refused == ["already_running"] * 7


def test_one_that_looks_whether_an_agent_runs_keeps_none_from_starting(tmp_path: Path) -> None:
    let_go = threading.Event()
    with identity._locked(tmp_path, os.O_CREAT, 0.0):  # as `status` holds it, for a moment
        starting = ThreadPoolExecutor(1).submit(_start, tmp_path, let_go)
        assert let_go.wait(60)
    assert starting.result(60)


def _start(state_dir: Path, begun: threading.Event) -> bool:
    begun.set()
    with identity.exclusive(state_dir):
        return identity.is_running(state_dir)
