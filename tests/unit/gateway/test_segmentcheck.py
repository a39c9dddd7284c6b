"""The fast readers of heads and headers accept what the core accepts, byte for byte, and nothing else."""

from __future__ import annotations

import random

import pytest

from edgeseal import cbor, record, segment
from edgeseal.errors import EvidenceError
from edgeseal.head import Anchored, Seen, SignedDeviceHead
from edgeseal_gateway import segmentcheck
from edgeseal_gateway.headreader import HeadReader
from tests.gatewaystore import Founded
from tests.tenant import segment_of
from tests.world import Device


def mutants(data: bytes, count: int, seed: int) -> list[bytes]:
    """Return damaged copies: bits flipped, bytes cut, doubled or put in."""
    dice = random.Random(seed)
    found = []
    for _ in range(count):
        at = dice.randrange(len(data))
        how = dice.randrange(4)
        if how == 0:
            found.append(data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :])
        elif how == 1:
            found.append(data[:at] + data[at + 1 :])
        elif how == 2:
            found.append(data[:at] + data[at : at + 1] + data[at:])
        else:
            found.append(data[:at] + dice.randbytes(2) + data[at:])
    return found


@pytest.fixture
def device(founded: Founded) -> Device:
    made = founded.tenant.device_of("cam")
    made.seen = Seen(founded.profile.fleet_log, 300, bytes(32))
    made.anchored = Anchored(founded.profile.fleet_log, 70_000, bytes(32), 31337, bytes(32))
    made.infer(300)
    made.seal()
    return made


def test_heads_are_read_as_the_core_reads_them(device: Device) -> None:
    reader = HeadReader(device.log, device.key.public)
    for good in device.heads:
        head, expected = reader.read(good), SignedDeviceHead.decode(good)
        seen = expected.head.seen
        assert (head.size, head.root, head.prev) == (expected.head.size, expected.head.root, expected.head.prev)
        assert head.seen == (None if seen is None else (seen.log, seen.size, seen.root))
        reader.verify(head)
        for data in mutants(good, 3_000, 1):
            try:
                wanted = SignedDeviceHead.decode(data)
            except EvidenceError as error:
                with pytest.raises(EvidenceError) as caught:
                    reader.read(data)
                assert caught.value.code == error.code
                continue
            if wanted.head.log != device.log or wanted.signed.kid != device.key.kid:
                continue
            found = reader.read(data)
            assert (found.size, found.root, found.signature) == (
                wanted.head.size, wanted.head.root, wanted.signed.signature,
            )  # fmt: skip
            with pytest.raises(EvidenceError):
                reader.verify(found)


def test_the_usual_head_takes_the_short_way(device: Device) -> None:
    reader = HeadReader(device.log, device.key.public)
    device.infer(0x1A0 - device.size)  # a size whose encoding holds the byte that an empty unprotected header is
    device.seal()
    assert b"\x19\x01\xa0" in device.heads[-1]
    assert all(reader._fast(good) is not None for good in device.heads)


def test_bodies_are_checked_as_the_core_checks_them(device: Device) -> None:
    for made in device.records[:4]:
        segmentcheck.check_bodies([[0, made.header, made.body]])
        for data in mutants(made.header, 3_000, 2):
            try:
                header = record.Header.decode(data)
                record.check_body(header, made.body)
            except EvidenceError as error:
                with pytest.raises(EvidenceError) as caught:
                    segmentcheck.check_bodies([[0, data, made.body]])
                assert caught.value.code == error.code
            else:
                segmentcheck.check_bodies([[0, data, made.body]])


def test_envelopes_are_opened_as_the_core_opens_them(device: Device) -> None:
    small, large = segment_of(device, 290), segment_of(device, 2)
    assert len(small) < cbor.FAST_SIZE < len(large)
    for good, start, count in ((small, 290, 3_000), (large, 2, 300)):
        envelope = segmentcheck.open_envelope(good, device.log)
        assert (envelope.start, len(envelope.items)) == (start, device.size - start)
        agree_with_the_core(device, good, count)


def test_the_usual_large_segment_takes_the_short_way(device: Device) -> None:
    large = segment_of(device, 2)
    opened = segmentcheck._scan(large, device.log)
    assert opened is not None and isinstance(opened._parts, segmentcheck.Columns)
    assert (opened.head, opened.start, opened.count) == (device.heads[-1], 2, device.size - 2)
    assert opened.items == [[0, made.header, made.body] for made in device.records[2:]]
    assert opened.leaves() == [made.leaf for made in device.records[2:]] == segmentcheck.leaves(opened.items)
    assert segmentcheck._scan(large + b"x", device.log) is None


def agree_with_the_core(device: Device, good: bytes, count: int) -> None:
    for data in mutants(good, count, 3):
        try:
            wanted = segment.decode(data)
        except EvidenceError:
            wanted = None
        try:
            opened = segmentcheck.open_envelope(data, device.log)
            head = HeadReader(device.log, device.key.public).read(opened.head)
            leaves = opened.leaves()
            fits = opened.start + opened.count == head.size
        except EvidenceError:
            assert wanted is None or wanted.log != device.log or wanted.head.signed.kid != device.key.kid
        else:
            if fits:
                assert wanted is not None and [item.leaf for item in wanted.items] == leaves
                assert bodies_by_us(opened) == bodies_by_the_core(wanted)


def bodies_by_us(opened: segmentcheck.Envelope) -> str:
    """Return why a body of the segment is refused, empty when none is."""
    try:
        opened.check_bodies()
    except EvidenceError as error:
        return error.code
    return ""


def bodies_by_the_core(wanted: segment.Segment) -> str:
    """Return the same, as the core judges it."""
    try:
        for item in wanted.items:
            header = None if item.header is None else record.Header.decode(item.header)
            if header is not None and item.body is not None:
                record.check_body(header, item.body)
    except EvidenceError as error:
        return error.code
    return ""


def test_watched_kinds_are_noticed(device: Device) -> None:
    device.add("thinned", ranges=[[1, 2]], form=1, reason="quota")
    device.add("closed", reason="done", next=None)
    items = [[0, made.header, made.body] for made in device.records[-3:]]
    noted = segmentcheck.check_bodies(items)
    assert [(place, kind) for place, kind, _ in noted.watched] == [(1, b"thinned"), (2, b"closed")]
    device.seal()
    opened = segmentcheck.open_envelope(segment_of(device, device.size - len(items)), device.log)
    assert isinstance(opened._parts, segmentcheck.Columns) and opened.check_bodies() == noted
