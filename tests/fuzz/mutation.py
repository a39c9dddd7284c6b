"""Random inputs: noise, good objects with damaged bytes, and good objects with one value exchanged and encoded anew."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import cbor2

INTERESTING = [
    b"\xff" * 8,
    bytes(8),
    b"\x7f" + b"\xff" * 7,
    b"\x80" + bytes(7),
    b"\x9b" + b"\xff" * 8,
    b"\x5b\x00\x00\x00\x00\x7f\xff\xff\xff",
    b"\xbb\x00\x00\x00\x01\x00\x00\x00\x00",
    b"\x9f",
    b"\xbf",
    b"\x5f",
    b"\xff",
    b"\xd2",
    b"\xc2\x49",
    b"\xf9\x7e\x00",
    b"\x81" * 40,
    b"\xc1" * 40,
    b"\xf8\xff",
    b"\xbf\xff\xff\xff\xff\xff\xff\xff\xff",
    b"\x00",
]
VALUES: list[Any] = [
    None, True, False, 0, 1, 2, 23, 24, 255, 2**32, 2**63 - 1, 2**63, 2**64 - 1, -1, -(2**63), -(2**64), b"", bytes(31),
    bytes(32), bytes(33), bytes(64), "", "x", "x" * 65, "é" * 300, "\x00", [], [[]], [0] * 3, [bytes(32)] * 65, {},
    {"v": 1}, {1: 2}, {"": {}}, 1.5,
]  # fmt: skip


def mutated(noise: random.Random, seeds: Sequence[bytes]) -> bytes:
    """One input: noise alone, a damaged seed, or a seed with a value exchanged, each often enough."""
    seed = noise.choice(seeds)
    move = noise.random()
    if move < 0.05:
        return noise.randbytes(noise.randrange(300))
    if move < 0.45 and (changed := exchanged(noise, seed)) is not None:
        return changed
    data = bytearray(seed)
    for _ in range(noise.randint(1, 3)):
        damage(noise, data, seeds)
    return bytes(data)


def damage(noise: random.Random, data: bytearray, seeds: Sequence[bytes]) -> None:
    """Flip, cut, repeat, insert or splice a few bytes."""
    at, span = noise.randrange(len(data) + 1), noise.randint(1, 24)
    match noise.randrange(8):
        case 0:
            data[at : at + span] = b""
        case 1 | 2:
            if at < len(data):
                data[at] ^= 1 << noise.randrange(8)
        case 3:
            data[at:at] = data[at : at + span] * noise.randint(1, 4)
        case 4:
            data[at:at] = noise.randbytes(span)
        case 5:
            data[at : at + noise.randrange(9)] = noise.choice(INTERESTING)
        case 6:
            del data[at:]
        case 7:
            other = noise.choice(seeds)
            start = noise.randrange(len(other) + 1)
            data[at : at + span] = other[start : start + span]


def exchanged(noise: random.Random, seed: bytes) -> bytes | None:
    """The CBOR object in ``seed`` with one value somewhere exchanged, removed or added; None when it holds none."""
    tag = b"\xd2" if seed[:1] == b"\xd2" else b""
    try:
        value = cbor2.loads(seed[len(tag) :])
        if type(value) not in (list, dict):
            return None
        return tag + encoded(altered(noise, value))
    except (cbor2.CBORError, ValueError, TypeError):
        return None


def encoded(value: Any) -> bytes:
    return bytes(cbor2.dumps(value, canonical=True))


def altered(noise: random.Random, value: Any) -> Any:
    """The value with one part altered, at any depth; into byte strings that are CBOR themselves as well."""
    if type(value) is bytes and noise.random() < 0.7 and (changed := exchanged(noise, value)) is not None:
        return changed
    if type(value) is list and value and noise.random() < 0.85:
        return altered_list(noise, value)
    if type(value) is dict and value and noise.random() < 0.85:
        return altered_map(noise, value)
    if type(value) is int and noise.random() < 0.5:
        return value + noise.choice([-1, 1, 2**32])
    if type(value) is bytes and value and noise.random() < 0.5:
        return value[:-1] + bytes([value[-1] ^ 1])
    return noise.choice(VALUES)


def altered_list(noise: random.Random, value: list[Any]) -> list[Any]:
    place = noise.randrange(len(value))
    match noise.randrange(8):
        case 0:
            return value[:place] + value[place + 1 :]
        case 1:
            return [*value, value[place]]
        case 2:
            return value[::-1]
    return [altered(noise, item) if number == place else item for number, item in enumerate(value)]


def altered_map(noise: random.Random, value: dict[Any, Any]) -> dict[Any, Any]:
    key = noise.choice(list(value))
    match noise.randrange(8):
        case 0:
            return {name: item for name, item in value.items() if name != key}
        case 1:
            return value | {noise.choice(["zz", 99, ""]): noise.choice(VALUES)}
        case 2:
            return {("zz" if name == key else name): item for name, item in value.items()}
    return {name: altered(noise, item) if name == key else item for name, item in value.items()}
