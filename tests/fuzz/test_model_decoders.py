"""Random and mutated bytes at the decoders of model packages and inputs: only named errors, bounded time and memory."""

from __future__ import annotations

import io
import random
import resource
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np
import pytest
from PIL import Image

from edgeseal.adapters.tensors import load_inputs
from edgeseal.errors import FormatError
from edgeseal.manifest import Manifest, parse_manifest
from edgeseal.model import decode_package, encode_package, parse_labels, parse_package
from edgeseal.strictyaml import load
from tests.models import digits

COUNT: Final = 10_000
SECONDS: Final = 1.0
"""Processor time of one input."""
GROWTH: Final = 64 * 1024
"""KiB by which a whole run may raise the process's peak."""
PACKAGE: Final = digits.files()
SMALL_MANIFEST: Final = b"\n".join(
    line for line in PACKAGE["manifest.yaml"].splitlines() if b"golden/" not in line or b"golden/0-" in line
)
MANIFEST: Final = parse_manifest(SMALL_MANIFEST)
YAML_TRICKS: Final = [
    b"&a ",
    b"*a",
    b"!!str ",
    b"<<: ",
    b"\n---\n",
    b"%YAML 1.1\n",
    b"? ",
    b"{",
    b"[",
    b'"',
    b"\t",
    b"|\n",
]


def mutate(seed: bytes, noise: random.Random, tricks: list[bytes]) -> bytes:
    """Return ``seed`` with one to four cuts, flips, repeats, insertions or tricks, or now and then noise alone."""
    if noise.random() < 0.05:
        return noise.randbytes(noise.randrange(200))
    data = bytearray(seed)
    for _ in range(noise.randint(1, 4)):
        at, span = noise.randrange(len(data) + 1), noise.randint(1, 16)
        move = noise.randrange(6)
        if move == 0:
            data[at : at + span] = b""
        elif move == 1 and at < len(data):
            data[at] ^= 1 << noise.randrange(8)
        elif move == 2:
            data[at:at] = data[at : at + span] * noise.randint(1, 4)
        elif move == 3:
            data[at:at] = noise.randbytes(span)
        elif move == 4:
            data[at:at] = noise.choice(tricks)
        else:
            data[at : at + 4] = noise.choice([b"\xff" * 4, bytes(4), b"\x7f\xff\xff\xff", b"-1"])
    return bytes(data)


def _image(form: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(stream, form)
    return stream.getvalue()


def _npy() -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.zeros((1, 8, 8, 1), np.int8))
    return stream.getvalue()


def _load_input(said: Manifest) -> Callable[[bytes], object]:
    return lambda data: load_inputs(said, [data])


DECODERS: Final[dict[str, tuple[Callable[[bytes], object], bytes, list[bytes]]]] = {
    "yaml": (lambda data: load(data, 65_536), b"a: {b: [1, 2.5, x], 'c': \"d\\n\"}\ne: |\n  text\n", YAML_TRICKS),
    "manifest": (parse_manifest, SMALL_MANIFEST, YAML_TRICKS),
    "labels": (parse_labels, PACKAGE["labels.txt"], [b"\0", b"\n\n", b"\xc3\x28"]),
    "transfer": (decode_package, encode_package({"a.bin": b"x" * 40, "b/c.bin": b""}), [b"\xbf", b"\x5f", b"\xa1"]),
    "npy": (_load_input(MANIFEST), _npy(), [b"(", b"'descr'", b"\x93NUMPY\x02\x00", b"True"]),
    "png": (_load_input(MANIFEST), _image("PNG"), [b"IHDR", b"IDAT", b"acTL", b"iCCP", b"zTXt"]),
    "jpeg": (_load_input(MANIFEST), _image("JPEG"), [b"\xff\xd9", b"\xff\xda", b"\xff\xc2", b"\xff\xe1\xff\xff"]),
}


@pytest.mark.parametrize("name", DECODERS)
def test_only_the_named_errors_come_out(name: str) -> None:
    decode, seed, tricks = DECODERS[name]
    noise = random.Random(f"edgeseal {name}")
    decode(seed)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    refused = 0
    for _ in range(COUNT):
        data = mutate(seed, noise, tricks)
        start = time.process_time()
        try:
            decode(data)
        except FormatError:
            refused += 1
        except Exception as error:  # whatever it is, say which input did it
            pytest.fail(f"{name}: {error!r} for {data!r}")
        assert time.process_time() - start <= SECONDS, f"{name}: too long for {data!r}"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak <= GROWTH
    assert refused > COUNT // 10


def test_a_package_with_any_file_mutated_parses_or_is_refused_by_name() -> None:
    noise = random.Random("edgeseal package")
    small: dict[str, Any] = {**PACKAGE, "manifest.yaml": SMALL_MANIFEST}
    before = parse_package(small).digest
    for _ in range(COUNT // 20):
        path = noise.choice(sorted(small))
        changed = mutate(small[path], noise, YAML_TRICKS)
        try:
            package = parse_package({**small, path: changed})
        except FormatError:
            continue
        assert (package.digest == before) == (changed == small[path])
