"""The journal: positions in the order of calls, one encoding, durable when acknowledged, heads as the policy says."""

from __future__ import annotations

import os
import sqlite3
import threading
from itertools import pairwise
from typing import Any

import pytest

from edgeseal import merkle
from edgeseal.errors import InvariantBroken, Unavailable, UsageError
from edgeseal.head import DeviceHead, SignedDeviceHead
from edgeseal.record import Header, decode_body
from edgeseal_agent import recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.journal import Journal
from edgeseal_agent.sealing import SealPolicy

from .conftest import Bench, MakeBench


def state(number: int) -> dict[str, Any]:
    return {"name": "load", "pub": {"n": number}}


def test_records_stand_in_the_order_of_calls(bench: Bench) -> None:
    tickets = [bench.journal.submit("state", state(number)) for number in range(3000)]
    found = [ticket.result(60) for ticket in tickets]
    assert [seq for seq, _ in found] == list(range(2, 3002))
    rows = bench.rows("SELECT seq, kind, header, body FROM records WHERE seq >= 2 ORDER BY seq")
    for number, ((seq, leaf), (row_seq, kind, raw, body)) in enumerate(zip(found, rows, strict=True)):
        header = Header.decode(raw)
        assert (row_seq, kind, header.seq, header.kind) == (seq, "state", seq, "state")
        assert merkle.leaf_hash(raw) == leaf and decode_body(kind, body)["pub"] == {"n": number}


def test_many_callers_each_get_their_own_position(bench: Bench) -> None:
    seen: list[int] = []

    def call() -> None:
        for number in range(50):
            seen.append(bench.journal.append("state", state(number))[0])

    threads = [threading.Thread(target=call) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(seen) == list(range(2, 2 + 16 * 50))


def test_mono_never_falls_and_salts_differ(bench: Bench) -> None:
    for ticket in [bench.journal.submit("state", state(0)) for _ in range(200)]:
        ticket.result(60)
    rows = bench.rows("SELECT header, body FROM records ORDER BY seq")
    monos = [Header.decode(header).mono for header, _ in rows]
    assert monos == sorted(monos)
    salts = [decode_body(Header.decode(header).kind, body)["s"] for header, body in rows]
    assert len(set(salts)) == len(salts)


def test_the_builder_is_told_the_position(bench: Bench) -> None:
    seq, _ = bench.journal.append("state", lambda seq: state(seq))
    (body,) = bench.rows("SELECT body FROM records WHERE seq = ?", seq)[0]
    assert decode_body("state", body)["pub"] == {"n": seq}


def test_a_record_that_breaks_the_format_fails_alone(bench: Bench) -> None:
    good = bench.journal.submit("state", state(1))
    unknown = bench.journal.submit("no.kind", {})
    malformed = bench.journal.submit("state", {"name": "UPPER", "pub": {}})
    large = bench.journal.submit("attest", {"type": "x", "evidence": bytes(70_000)})
    after = bench.journal.submit("state", state(2))
    assert (good.result(60)[0], after.result(60)[0]) == (2, 3)
    for ticket, code in ((unknown, "kind_unknown"), (malformed, "body_malformed"), (large, "body_malformed")):
        with pytest.raises(UsageError) as caught:
            ticket.result(60)
        assert caught.value.code == code
    bench.reopen()  # and the tree is whole


def test_rows_of_a_record_commit_with_it(bench: Bench) -> None:
    def also(connection: sqlite3.Connection, seq: int) -> None:
        connection.execute("INSERT INTO meta VALUES ('side', ?)", (seq,))

    seq, _ = bench.journal.append("state", state(1), also)
    assert bench.store.meta()["side"] == seq


def test_an_operation_that_is_refused_undoes_its_own_rows_only(bench: Bench) -> None:
    def write(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO meta VALUES ('half', 1)")
        raise UsageError("no", "no")

    before = bench.journal.submit("state", state(1))
    refused = bench.journal.execute(write)
    after = bench.journal.submit("state", state(2))
    assert (before.result(60)[0], after.result(60)[0]) == (2, 3)
    with pytest.raises(UsageError):
        refused.result(60)
    assert "half" not in bench.store.meta()


def heads(bench: Bench) -> list[DeviceHead]:
    return [DeviceHead.from_payload(payload) for (payload,) in bench.rows("SELECT payload FROM heads ORDER BY size")]


def test_heads_chain_cover_everything_and_are_signed(bench: Bench) -> None:
    for ticket in [bench.journal.submit("state", state(number)) for number in range(1000)]:
        ticket.result(60)
    bench.journal.append("tamper", {"what": "lid", "detail": "open"})  # urgent: sealed at once
    bench.sealer.wait_for(1003, 60)
    rows = bench.rows("SELECT size, root, signed FROM heads ORDER BY size")
    leaves = [merkle.leaf_hash(header) for (header,) in bench.rows("SELECT header FROM records ORDER BY seq")]
    before = (0, bytes(32))
    for size, root, signed in rows:
        head = SignedDeviceHead.decode(signed).verify(bench.key.public)
        assert head.size == size and head.root == root == merkle.root(leaves[:size]) and head.prev == before
        assert size - before[0] <= 256
        before = (size, root)
    assert before[0] == 1003


def test_every_nth_record_ends_a_head_even_in_one_batch(make_bench: MakeBench) -> None:
    bench = make_bench(head_every=1)
    for ticket in [bench.journal.submit("state", state(number)) for number in range(5)]:
        ticket.result(60)
    bench.sealer.wait_for(7, 60)
    assert [head.size for head in heads(bench)][-1] == 7


def test_time_alone_seals(make_bench: MakeBench) -> None:
    bench = make_bench(head_every=200, head_max_ms=20)
    bench.journal.append("state", state(1))
    bench.sealer.wait_for(3, 60)


def test_large_records_never_outgrow_a_segment(make_bench: MakeBench) -> None:
    bench = make_bench(head_every=256, head_max_ms=3_600_000)
    tickets = [bench.journal.submit("attest", {"type": "x", "evidence": bytes(60_000)}) for _ in range(40)]
    for ticket in tickets:
        ticket.result(60)
    sizes = [head.size for head in heads(bench)]
    assert max(b - a for a, b in pairwise(sizes)) <= 13


def test_acknowledgements_name_what_is_stored(bench: Bench) -> None:
    bench.close()
    reading, writing = os.pipe()
    journal = Journal(
        bench.store, boot=9, clock=DeviceClock("none"), policy=SealPolicy(64, 1000), acks=writing
    )  # fmt: skip
    for ticket in [journal.submit("state", state(number)) for number in range(100)]:
        ticket.result(60)
    journal.close()
    os.close(writing)
    with os.fdopen(reading) as lines:
        acks = [line.split() for line in lines]
    stored = bench.rows("SELECT seq, header FROM records WHERE seq >= 2 ORDER BY seq")
    assert acks == [[str(seq), merkle.leaf_hash(header).hex()] for seq, header in stored]
    bench.open()


def test_a_stopped_journal_takes_nothing(bench: Bench) -> None:
    bench.close()
    with pytest.raises(Unavailable) as caught:
        bench.journal.submit("state", state(1))
    assert caught.value.code == "journal_stopped"


def test_a_second_writer_is_noticed_and_stops_everything(bench: Bench) -> None:
    bench.journal.append("state", state(1))
    other = bench.store.connect()
    other.execute("UPDATE log SET size = size + 1")
    other.close()
    with pytest.raises(InvariantBroken) as caught:
        bench.journal.append("state", state(2))
    assert caught.value.code == "log_size"


def test_the_guard_stops_before_anything_is_written(bench: Bench) -> None:
    bench.close()

    def full() -> None:
        raise Unavailable("disk_full", "no room")

    journal = Journal(bench.store, boot=9, clock=DeviceClock("none"), policy=SealPolicy(64, 1000), guard=full)
    with pytest.raises(Unavailable) as caught:
        journal.append("state", state(1))
    assert caught.value.code == "disk_full"
    journal.close()
    assert recovery.check(bench.store) == 2
    bench.open()
