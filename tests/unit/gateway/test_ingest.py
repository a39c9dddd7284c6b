"""What ingest takes, what it refuses and under which code, and that neither touches anybody else."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256

import pytest

from edgeseal import cbor, limits, segment
from edgeseal.errors import Unavailable
from edgeseal.head import DeviceHead, HeadClock, Seen
from edgeseal.merkle import leaf_hash
from edgeseal.messages import Refusal, Resend
from edgeseal.record import Record
from edgeseal_gateway.ingest import Again, Ingest
from edgeseal_gateway.store import devicelog, refusals
from edgeseal_gateway.store.database import Database
from tests.gatewaystore import Founded
from tests.tenant import segment_of
from tests.world import Device


def codes(answers: object) -> list[str]:
    assert isinstance(answers, list)
    return [one.code for one in answers if isinstance(one, Refusal)]


def resends(answers: object) -> list[int]:
    assert isinstance(answers, list)
    return [one.start for one in answers if isinstance(one, Resend)]


def grown(founded: Founded, device: Device, count: int = 10) -> bytes:
    """Let the device infer and seal; return the segment with what is new."""
    start = device.last[0]
    device.infer(count)
    device.seal()
    return segment_of(device, start)


def test_a_segment_is_stored_as_sent(founded: Founded) -> None:
    device = founded.device()
    assert founded.take(device, segment_of(device, 0), grown(founded, device)) == []
    known = founded.known(device)
    assert (known.size, known.root) == (device.size, device.root())
    stored = founded.read(lambda c: list(devicelog.items(c, known.id, 0, known.size)))
    assert [seq for seq, _ in stored] == list(range(device.size))
    assert [(item[1], item[2]) for _, item in stored] == [(made.header, made.body) for made in device.records]
    leaves = founded.read(lambda c: devicelog.leaves(c, known.id, 3, 9))
    assert leaves == [made.leaf for made in device.records[3:9]]


def test_it_goes_on_after_a_restart(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    founded.open(Database(founded.path))
    founded.take(device, grown(founded, device))
    assert founded.known(device).root == device.root()


def test_one_bad_message_does_not_touch_the_others(founded: Founded) -> None:
    one, two = founded.device("one"), founded.device("two")
    batch = [(one.log, segment_of(one, 0)), (one.log, b"\xff"), (bytes(32), b"x"), (two.log, segment_of(two, 0))]
    answers = founded.ingest.take(batch)
    assert sorted(codes(answers)) == ["cbor_indefinite", "unknown_key"]
    assert founded.known(one).size == founded.known(two).size == 2


def test_what_is_stored_already_is_answered_with_the_receipt(founded: Founded) -> None:
    device = founded.device()
    data = segment_of(device, 0)
    founded.take(device, data)
    assert founded.take(device, data) == [Again(device.log)]
    assert founded.refused(device) == {}


def test_an_overlap_is_compared_and_continued(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    grown(founded, device)
    assert founded.take(device, segment_of(device, 0)) == []
    known = founded.known(device)
    assert known.root == device.root()
    stored = founded.read(lambda c: [item[1] for _, item in devicelog.items(c, known.id, 0, known.size)])
    assert stored == [made.header for made in device.records]


def test_a_head_alone_is_a_segment(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    assert founded.take(device, segment.encode(device.log, device.heads[-1], 2, [])) == [Again(device.log)]


def test_a_gap_is_asked_for(founded: Founded) -> None:
    device = founded.device()
    answers = founded.take(device, grown(founded, device))
    assert (codes(answers), resends(answers)) == (["segment_gap"], [0])
    assert founded.known(device).size == 0


def flip(data: bytes, part: bytes) -> bytes:
    at = data.index(part) + len(part) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def test_bytes_that_miss_the_root_are_never_held_against_the_device(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    good = grown(founded, device)
    answers = founded.take(device, flip(good, device.records[5].header))
    assert (codes(answers), resends(answers)) == (["root_mismatch"], [2])
    answers = founded.take(device, flip(good, device.records[5].body))
    assert (codes(answers), resends(answers)) == (["body_mismatch"], [2])
    assert founded.known(device).state == "active"
    assert founded.take(device, good) == []
    assert founded.read(lambda c: refusals.evidence(c, 0, 10)) == []


def test_after_some_mismatches_the_whole_log_is_asked_for(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    bad = flip(grown(founded, device), device.records[5].header)
    assert [resends(founded.take(device, bad)) for _ in range(4)] == [[2], [2], [0], [2]]


def test_a_signature_that_is_not_the_devices(founded: Founded) -> None:
    device = founded.device()
    head = device.heads[-1]
    bad = head[:-1] + bytes([head[-1] ^ 1])
    assert codes(founded.take(device, segment_of(device, 0, 2, bad))) == ["bad_signature"]
    other = founded.tenant.device_of("other")
    content = DeviceHead(device.log, 2, device.root(2), (0, bytes(32)), None, None, HeadClock(1, 1, 1))
    assert codes(founded.take(device, segment_of(device, 0, 2, other.key.state(content)))) == ["claims_mismatch"]
    assert founded.known(device).size == 0


def test_another_logs_segment_under_this_topic(founded: Founded) -> None:
    one, two = founded.device("one"), founded.device("two")
    assert codes(founded.take(one, segment_of(two, 0))) == ["topic_mismatch"]


def test_too_long_and_too_many(founded: Founded) -> None:
    device = founded.device()
    assert codes(founded.take(device, bytes(limits.MAX_SEGMENT + 1))) == ["too_large"]
    many = [[2, bytes(32), "gone"]] * (limits.MAX_SEGMENT_ITEMS + 1)
    data = cbor.encode({"v": 1, "log": device.log, "head": device.heads[-1], "from": 0, "items": many})
    assert codes(founded.take(device, data)) == ["range"]


@pytest.mark.parametrize(
    "item",
    [[0, b"x"], [0, b"x", None], [False, b"x", b"y"], "abc", 7, {"0": 1}, b"\x00ab", [3, b"x", "a"], [1, b"x", 1]],
)
def test_an_item_that_is_none(founded: Founded, item: object) -> None:
    device = founded.device()
    data = cbor.encode({"v": 1, "log": device.log, "head": device.heads[-1], "from": 1, "items": [item]})
    (code,) = codes(founded.take(device, data))
    assert code in ("item_form", "type", "segment_gap")


def test_the_enrolled_genesis_only(founded: Founded) -> None:
    device = founded.tenant.device_of("cam")
    founded.hand_in(founded.tenant.enrolment(device, genesis=bytes(32)))
    founded.sequence()
    assert codes(founded.take(device, segment_of(device, 0))) == ["genesis_mismatch"]


def test_quota_withholds(founded: Founded) -> None:
    device = founded.device()
    founded.ingest = Ingest(founded.database, founded.now_ms, 100)
    assert codes(founded.take(device, segment_of(device, 0))) == ["quota"]


# ---- Forks ---------------------------------------------------------------------------------------------------------


def two_branches(device: Device) -> tuple[bytes, bytes]:
    """Return two segments from position 2 on with other records under good signatures of the same size."""
    device.infer(5)
    records, last = list(device.records), device.last
    one = segment_of(device, 2, device.size, device.seal())
    device.records, device.last = records[:3], last
    device.t += 1
    device.infer(len(records) - 3)
    return one, segment_of(device, 2, device.size, device.seal())


def staggered(device: Device) -> tuple[bytes, bytes]:
    """Return two branches of different sizes."""
    device.infer(5)
    records, last = list(device.records), device.last
    one = segment_of(device, 2, device.size, device.seal())
    device.records, device.last = records[:3], last
    device.t += 1
    device.infer(9)
    return one, segment_of(device, 2, device.size, device.seal())


def smaller(device: Device) -> tuple[bytes, bytes]:
    """Return a branch and a head of a smaller size that it does not pass through."""
    one, _ = staggered(device)
    device.records = device.records[:4]
    device.last = (2, device.root(2))
    return one, segment_of(device, 2, 4, device.seal())


def denies(device: Device) -> tuple[bytes, bytes]:
    """Return a segment, and one whose head names another root for the head before."""
    device.infer(3)
    one = segment_of(device, 2, device.size, device.seal())
    size = device.size
    device.infer(3)
    return one, segment_of(device, size, device.size, device.seal(prev=(size, bytes(31) + b"\x01")))


@pytest.mark.parametrize("make", [two_branches, staggered, smaller, denies])
def test_a_fork_freezes_the_log_and_keeps_both_sides(
    founded: Founded, make: Callable[[Device], tuple[bytes, bytes]]
) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    one, two = make(device)
    assert founded.take(device, one) == []
    size = founded.known(device).size
    assert codes(founded.take(device, two)) == ["fork"]
    known = founded.known(device)
    assert (known.state, known.size) == ("frozen", size)
    kept = founded.read(lambda c: refusals.evidence(c, 0, 10))
    assert [code for _, _, code, _ in kept] == ["fork", "fork"] and kept[1][3] == two
    assert codes(founded.take(device, one)) == ["log_frozen"]
    founded.open(Database(founded.path))
    assert codes(founded.take(device, one)) == ["log_frozen"]


def test_the_same_root_seen_at_another_time_is_no_fork(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    device.t += 5
    again = device.seal(2, (0, bytes(32)))
    assert founded.take(device, segment_of(device, 0, 2, again)) == [Again(device.log)]
    known = founded.known(device)
    row = founded.read(lambda c: devicelog.head_at(c, known.id, 2))
    assert row is not None and row.head == device.heads[0]


def test_a_head_that_forgets_what_it_saw_is_stored_and_reported(founded: Founded) -> None:
    device = founded.device()
    device.seen = Seen(founded.profile.fleet_log, 2, bytes(32))
    first = grown(founded, device)
    founded.take(device, segment_of(device, 0, 2, device.heads[0]), first)
    device.seen = None
    assert founded.take(device, grown(founded, device)) == []
    assert founded.refused(device) == {"seen_fell": 1}
    seen = founded.known(device).seen
    assert seen is not None and seen.size == 2


def test_nothing_follows_closed(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    device.add("closed", reason="retired", next=None)
    device.seal()
    assert founded.take(device, segment_of(device, 2)) == []
    assert founded.known(device).state == "closed"
    founded.sequence()
    assert founded.leaves()[-1].digest == sha256(device.heads[-1]).digest()
    assert codes(founded.take(device, grown(founded, device))) == ["after_closed"]


# ---- Bodies that are missing (format 6.4) ----------------------------------------------------------------------------


def stripped(device: Device, start: int, *positions: int, form: int = 1) -> bytes:
    items = []
    for seq, made in enumerate(device.records[start:], start):
        if seq not in positions:
            items.append(segment.whole(made.header, made.body))
        elif form == 1:
            items.append(segment.header_only(made.header, "thinned"))
        else:
            items.append(segment.bare_leaf(made.leaf, "thinned"))
    return segment.encode(device.log, device.heads[-1], start, items)


def is_sequenced(founded: Founded, head: bytes) -> bool:
    founded.sequence()
    return sha256(head).digest() in {leaf.digest for leaf in founded.leaves()}


def test_no_receipt_while_a_body_is_missing_without_a_word(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    grown(founded, device)
    answers = founded.take(device, stripped(device, 2, 5, 6))
    assert (codes(answers), resends(answers)) == (["bodies_missing"], [5])
    assert founded.known(device).size == device.size
    assert not is_sequenced(founded, device.heads[-1])
    assert founded.take(device, grown(founded, device)) == []
    assert not is_sequenced(founded, device.heads[-1])
    answers = founded.take(device, segment_of(device, 2, device.last[0]))
    assert codes(answers) == []
    assert is_sequenced(founded, device.heads[-1])
    known = founded.known(device)
    items = founded.read(lambda c: [item[0] for _, item in devicelog.items(c, known.id, 0, known.size)])
    assert items == [0] * device.size


def test_what_fills_gaps_later_counts_for_the_quota(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    grown(founded, device)
    founded.take(device, stripped(device, 2, *range(2, device.size)))
    taken = founded.known(device).bytes
    room = sum(len(made.body) for made in device.records[:4])
    founded.ingest = Ingest(founded.database, founded.now_ms, taken + room)
    answers = founded.take(device, segment_of(device, 2, device.last[0]))
    assert "quota" in founded.refused(device) and codes(answers) != []
    assert not is_sequenced(founded, device.heads[-1])
    founded.ingest = Ingest(founded.database, founded.now_ms, 2 * taken + len(segment_of(device, 0, device.last[0])))
    assert codes(founded.take(device, segment_of(device, 2, device.last[0]))) == []
    assert is_sequenced(founded, device.heads[-1])
    assert founded.known(device).bytes > taken


@pytest.mark.parametrize(("form", "named", "good"), [(1, 1, True), (1, 2, True), (2, 2, True), (2, 1, False)])
def test_a_thinned_record_accounts_for_bodies(founded: Founded, form: int, named: int, good: bool) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    grown(founded, device)
    founded.take(device, stripped(device, 2, 5, 6, form=form))
    start = device.size
    device.add("thinned", ranges=[[5, 7]], form=named, reason="quota")
    device.seal()
    founded.take(device, segment_of(device, start))
    assert is_sequenced(founded, device.heads[-1]) is good


def test_a_bare_leaf_may_become_a_header(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    grown(founded, device)
    founded.take(device, stripped(device, 2, 5, form=2))
    founded.take(device, stripped(device, 2, 5, form=1))
    known = founded.known(device)
    ((_, item),) = founded.read(lambda c: list(devicelog.items(c, known.id, 5, 6)))
    assert item[:2] == [1, device.records[5].header]
    assert not is_sequenced(founded, device.heads[-1])


def test_a_header_that_is_none_can_come_as_a_bare_leaf(founded: Founded) -> None:
    device = founded.device()
    founded.take(device, segment_of(device, 0))
    device.records.append(Record(b"\xa0", b"\xa0", leaf_hash(b"\xa0")))
    start = device.size - 2
    device.seal()
    assert len(codes(founded.take(device, segment_of(device, start)))) == 1
    assert founded.known(device).size == 2
    founded.take(device, stripped(device, start, device.size - 1, form=2))
    assert founded.known(device).size == device.size


# ---- Limits ----------------------------------------------------------------------------------------------------------


def test_evidence_and_counters_are_bounded(founded: Founded) -> None:
    device = founded.device()
    with founded.database.write() as connection:
        kept = [
            refusals.keep(connection, device.log, "x", b"evidence", 1) for _ in range(refusals.MAX_EVIDENCE_LOG + 5)
        ]
        assert sum(kept) == refusals.MAX_EVIDENCE_LOG
        assert not refusals.keep(connection, bytes(32), "x", bytes(refusals.MAX_EVIDENCE_BYTES), 1)
        assert refusals.keep(connection, device.log, "fork", b"side", 1)
    founded.ingest.take([(sha256(b"%d" % n).digest(), b"") for n in range(300)])
    assert founded.read(refusals.totals)["unknown_key"] == 300


def test_a_store_that_fails_keeps_nothing_of_the_batch(founded: Founded, monkeypatch: pytest.MonkeyPatch) -> None:
    device = founded.device()

    def full(*_: object) -> None:
        raise Unavailable("store_unavailable", "no space")

    with monkeypatch.context() as patched:
        patched.setattr(devicelog, "add_head", full)
        with pytest.raises(Unavailable):
            founded.take(device, segment_of(device, 0))
    assert founded.known(device).size == 0
    assert founded.take(device, segment_of(device, 0)) == []
    assert founded.known(device).size == 2


def test_a_number_that_no_store_holds_is_an_error_with_a_name(founded: Founded) -> None:
    with pytest.raises(Unavailable, match="store_range"), founded.database.write() as connection:
        connection.execute("UPDATE device SET contact = ?", (1 << 63,))
