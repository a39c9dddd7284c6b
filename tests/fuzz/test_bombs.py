"""Inputs as large and as deep as the limits let in, made to cost as much as possible: refused or read within bounds."""

from __future__ import annotations

import pytest

from edgeseal.errors import EvidenceError
from edgeseal.limits import MAX_YAML
from tests.fuzz.targets import Target, core, in_bundles, on_the_wire, targets
from tests.fuzz.watch import PeakMemory, alarm
from tests.vectors.encoding import head
from tests.vectors.zips import Member, archive

MIB = 1 << 20
ITEMS = 262_143


def cbor_bombs() -> dict[str, bytes]:
    """Many items, deep items, long items, and heads that announce what is not there."""
    return {
        "deep-arrays": b"\x81" * MIB,
        "deep-maps": b"\xa1\x60" * (MIB // 2),
        "deep-keys": b"\xa1" * MIB,
        "deep-tags": b"\xc1" * MIB,
        "announced-array": b"\x9b" + b"\xff" * 8,
        "announced-map": b"\xbb" + b"\xff" * 8,
        "announced-bytes": b"\x5b" + b"\xff" * 8,
        "announced-text": b"\x7b\x00\x00\x00\xff\xff\xff\xff\xff",
        "announced-nested": (b"\x9a\x00\x04\x00\x00" * 15) + b"\x00" * MIB,
        "zeros": head(4, ITEMS) + bytes(ITEMS),
        "empty-arrays": head(4, ITEMS) + b"\x80" * ITEMS,
        "empty-maps": head(4, ITEMS) + b"\xa0" * ITEMS,
        "large-integers": head(4, 100_000) + (b"\x1b" + b"\xff" * 8) * 100_000,
        "pairs": head(4, 87_000) + b"\x82\x01\x02" * 87_000,
        "too-many": head(4, MIB) + b"\xf6" * MIB,
        "keys": head(5, 65_536)
        + b"".join(b"\x62" + bytes([65 + n % 26, 97 + n // 26 % 26]) + b"\x00" for n in range(65_536)),
        "integer-keys": head(5, 60_000) + b"".join(head(0, n) + b"\x00" for n in range(60_000)),
        "equal-keys": head(5, 100_000) + b"\x60\x00" * 100_000,
        "long-bytes": head(2, MIB) + bytes(MIB),
        "long-text": head(3, MIB) + b"a" * MIB,
        "long-text-broken": head(3, MIB) + b"a" * (MIB - 1) + b"\xff",
        "indefinite": b"\x9f" * MIB,
        "chunks": b"\x5f" + b"\x40" * MIB,
        "wrapped": b"\xd2\x84" + head(2, MIB) + b"\x81" * MIB + b"\xa0\x40\x58\x40" + bytes(64),
        "wrapped-payload": b"\xd2\x84\x41\xa0\xa0" + head(2, 60_000) + b"\x81" * 60_000 + b"\x58\x40" + bytes(64),
    }


def rlp_bombs() -> dict[str, bytes]:
    return {
        "deep": b"\xc1" * MIB,
        "deep-true": nested_rlp(20_000),
        "many": b"\xf9\xff\xff" + b"\x01" * 65_535,
        "most": b"\xfa\x03\xff\xff" + b"\x01" * ITEMS,
        "empty-lists": b"\xfa\x03\xff\xff" + b"\xc0" * ITEMS,
        "too-many": b"\xfa\x10\x00\x00" + b"\xc0" * MIB,
        "announced": b"\xff" * 9,
        "long": b"\xba\x10\x00\x00" + bytes(MIB),
        "typed": b"\x02\xfa\x03\xff\xff" + b"\xc0" * ITEMS,
    }


def nested_rlp(depth: int) -> bytes:
    """Lists in each other, each with its right length."""
    heads: list[bytes] = []
    size = 0
    for _ in range(depth):
        length = size.to_bytes((size.bit_length() + 7) // 8, "big")
        heads.append(bytes([0xC0 + size]) if size < 56 else bytes([0xF7 + len(length)]) + length)
        size += len(heads[-1])
    return b"".join(reversed(heads))


def yaml_bombs() -> dict[str, bytes]:
    return {
        "brackets": b"[" * MAX_YAML,
        "braces": b"{" * MAX_YAML,
        "dashes": b"- " * (MAX_YAML // 2),
        "question-marks": b"? " * (MAX_YAML // 2),
        "nested-keys": b"".join(b" " * n + b"a:\n" for n in range(700)),
        "many-keys": b"".join(b"k%d: 1\n" % n for n in range(24_000)),
        "many-items": b"a: [" + b"1," * (MAX_YAML // 2 - 8) + b"]",
        "long-plain": b"a: " + b"x" * (MAX_YAML - 8),
        "long-words": b"a: " + b"x " * (MAX_YAML // 2 - 8),
        "long-quoted": b'a: "' + b"x" * (MAX_YAML - 8) + b'"',
        "long-escaped": b'a: "' + b"\\x41" * (MAX_YAML // 4 - 8) + b'"',
        "long-block": b"a: |\n" + b" x\n" * (MAX_YAML // 3 - 8),
        "long-number": b"a: " + b"1" * (MAX_YAML - 8),
        "comments": b"#\n" * (MAX_YAML // 2),
        "blank-lines": b"\n" * MAX_YAML,
        "spaces": b"a: 1" + b" " * (MAX_YAML - 8),
        "documents": b"---\n" * (MAX_YAML // 4),
        "laughs": b"".join(b"a%d: &a%d [%s]\n" % (n, n, b"*a%d," % (n - 1) * 9) for n in range(1, 60)),
        "anchors": b"".join(b"k%d: &a%d 1\n" % (n, n) for n in range(16_000)),
    }


def zip_bombs() -> dict[str, bytes]:
    names = [Member(f"inputs/{n:064x}", b"") for n in range(6_000)]
    plain = archive([Member("README", b"x")])
    overlapping = [Member("README", b"x" * 60_000), *(Member(f"f{n}", b"x" * 60_000, offset=0) for n in range(5_000))]
    return {
        "many-entries": archive(names),
        "count-lies": archive([Member("README", b"x")], count=65_534),
        "overlapping": archive(overlapping),
        "directory-of-noise": plain[:-22] + b"\xff" * MIB + plain[-22:],
        "end-record-alone": b"PK\x05\x06" + b"\xff" * 16 + b"\x00\x00",
        "zip64-lies": b"PK\x06\x06"
        + b"\xff" * 52
        + b"PK\x06\x07"
        + b"\xff" * 16
        + b"PK\x05\x06"
        + b"\xff" * 16
        + bytes(2),
        "bomb": archive([Member("README", b"\x00" * 5_000, size=(1 << 32) - 2, method=8)]),
        "end-records": b"PK\x05\x06" * (MIB // 4),
    }


def inference_bombs() -> dict[str, bytes]:
    """Bodies on which an expression with three open ends would try every combination."""
    parts = (
        b"\x62us\x00\x63pub",
        b"\x64file\x58\x20" + bytes(32) + b"\x65build",
        b"\x65input\x82\x00\x58\x20" + bytes(32),
    )
    start = b"\xab\x61s\x58\x20" + bytes(32) + b"\x62rt"
    return {
        "all-ends": start + (parts[0] + parts[1] + parts[2]) * 15,
        "in-turn": start + parts[0] * 70 + parts[1] * 12 + parts[2] * 10,
        "first": start + parts[0] * 220,
        "almost": start + (b"\x00" + parts[0]) * 60 + (b"\x00" + parts[1]) * 14 + (b"\x00" + parts[2]) * 12,
        "any": start + bytes(1_900),
    }


CBOR_TARGETS = core() | on_the_wire() | {name: target for name, target in in_bundles().items() if name != "zip"}
ALL = targets()
CBOR_BOMBS = cbor_bombs()


def bounded(name: str, target: Target, bombs: dict[str, bytes]) -> None:
    """Each bomb is read or refused by name, within a second of processor time and 64 MB."""
    memory = PeakMemory(name)
    for label, data in bombs.items():
        try:
            with alarm():
                target.decode(data)
        except EvidenceError as error:
            assert error.code
        except Exception as error:
            pytest.fail(f"{name}, {label}: {error!r}")
        memory.check(label)


@pytest.mark.parametrize("name", CBOR_TARGETS)
def test_cbor(name: str) -> None:
    bounded(name, CBOR_TARGETS[name], CBOR_BOMBS)


@pytest.mark.parametrize("name", ["rlp", "block-header", "tx-receipt", "event", "trie-node", "log-of-receipt"])
def test_rlp(name: str) -> None:
    bounded(name, ALL[name], rlp_bombs())


@pytest.mark.parametrize("name", ["trust", "network"])
def test_yaml(name: str) -> None:
    bounded(name, ALL[name], yaml_bombs())


def test_zip() -> None:
    bounded("zip", ALL["zip"], zip_bombs())


def test_expressions() -> None:
    bounded("inference-fast", ALL["inference-fast"], inference_bombs())
