"""Raw inputs to tensors: exact, deterministic, and refused by name."""

from __future__ import annotations

import io
import struct
import zlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from edgeseal.adapters.tensors import MAX_INPUT, MAX_PIXELS, load_inputs
from edgeseal.errors import FormatError
from edgeseal.manifest import Manifest, Preprocess, TensorSpec, parse_manifest
from tests.models import digits

DIGITS = parse_manifest(digits.files()["manifest.yaml"])
RGB = Preprocess(0, "RGB", "bilinear", "NHWC", (1.0,) * 3, (0.0,) * 3, quantise=False)


def manifest(*inputs: TensorSpec, preprocess: Preprocess | None = None) -> Manifest:
    return replace(DIGITS, inputs=inputs, preprocess=preprocess)


def spec(dtype: str, *shape: int, scale: float | None = None, zero_point: int | None = None) -> TensorSpec:
    return TensorSpec("t", dtype, shape, scale, zero_point)


def npy(array: NDArray[Any], **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, **kwargs)
    return stream.getvalue()


def png(image: Image.Image, form: str = "PNG", **kwargs: Any) -> bytes:
    stream = io.BytesIO()
    image.save(stream, form, **kwargs)
    return stream.getvalue()


def refused(said: Manifest, *raw: bytes) -> str:
    with pytest.raises(FormatError) as caught:
        load_inputs(said, raw)
    return caught.value.code


@pytest.mark.parametrize("dtype", ["bool", "float16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8"])
def test_npy_of_every_type_is_taken_as_it_is(dtype: str) -> None:
    array = np.arange(12).reshape(1, 3, 4).astype(dtype)
    assert load_inputs(manifest(spec(dtype, 1, 3, 4)), [npy(array)]) == (array.tobytes(),)


@pytest.mark.parametrize("shape", [(), (5,), (1, 1), (2, 0, 3)])
def test_npy_of_every_rank_is_taken(shape: tuple[int, ...]) -> None:
    array = np.ones(shape, np.float32)
    assert load_inputs(manifest(spec("float32", *shape)), [npy(array)]) == (array.tobytes(),)


def test_npy_of_version_2_is_taken() -> None:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, np.ones(3, np.int8), version=(2, 0))
    assert load_inputs(manifest(spec("int8", 3)), [stream.getvalue()]) == (b"\1\1\1",)


def test_several_inputs_come_in_the_models_order() -> None:
    said = manifest(spec("float32", 1, 2), spec("int8", 1))
    raw = [npy(np.ones((1, 2), np.float32)), npy(np.ones(1, np.int8))]
    assert load_inputs(said, raw) == (np.ones(2, np.float32).tobytes(), b"\1")
    assert refused(said, *reversed(raw)) == "input_dtype"
    assert refused(said, raw[0]) == "input_count"


PLAIN = npy(np.ones((2, 3), np.int16))


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("input_kind", b""),
        ("input_kind", b"GIF89a"),
        ("input_kind", b"\x93NUM"),
        ("input_npy", b"\x93NUMPY"),
        ("input_npy", b"\x93NUMPY\x09\x00" + PLAIN[8:]),
        ("input_npy", PLAIN[:40]),
        ("input_npy", PLAIN[:8] + b"\xff\xff" + PLAIN[10:]),
        ("input_npy", npy(np.asfortranarray(np.ones((2, 3), np.int16)))),
        ("input_npy", npy(np.ones((2, 3), ">i2"))),
        ("input_npy", npy(np.array([[None]]), allow_pickle=True)),
        ("input_npy", npy(np.ones(2, [("a", "<i2")]))),
        ("input_npy", PLAIN.replace(b"False", b"0    ")),
        ("input_npy", PLAIN.replace(b"(2, 3)", b"(-2,3)")),
        ("input_npy", PLAIN.replace(b"'<i2'", b"id(1)")),
        ("input_dtype", npy(np.ones((2, 3), np.uint16))),
        ("input_shape", npy(np.ones((3, 2), np.int16))),
        ("input_shape", npy(np.ones((1, 2, 3), np.int16))),
        ("input_length", PLAIN + b"\0"),
        ("input_length", PLAIN[:-1]),
        ("input_too_large", b"\x93NUMPY" + bytes(MAX_INPUT)),
        ("input_no_preprocess", png(Image.new("L", (3, 2)))),
    ],
)
def test_what_is_no_npy_of_this_tensor(code: str, raw: bytes) -> None:
    assert refused(manifest(spec("int16", 2, 3)), raw) == code


def test_a_held_out_image_becomes_its_pixels_minus_128() -> None:
    image, _ = digits.held_out()[0]
    pixels = np.asarray(Image.open(io.BytesIO(image)))
    (tensor,) = load_inputs(DIGITS, [image])
    assert tensor == (pixels.astype(np.int16) - 128).astype(np.int8).tobytes()


def test_scale_and_offset_are_per_channel_and_in_the_declared_layout() -> None:
    image = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(2, 2, 3))
    how = replace(RGB, scale=(1.0, 0.5, 2.0), offset=(0.0, -1.0, 10.0))
    expected = np.arange(12, dtype=np.float32).reshape(2, 2, 3) * [1, 0.5, 2] + [0, -1, 10]
    (rows,) = load_inputs(manifest(spec("float32", 1, 2, 2, 3), preprocess=how), [png(image)])
    assert rows == expected.astype(np.float32).tobytes()
    planes = replace(how, layout="NCHW")
    (tensor,) = load_inputs(manifest(spec("float32", 1, 3, 2, 2), preprocess=planes), [png(image)])
    assert tensor == np.ascontiguousarray(expected.astype(np.float32).transpose(2, 0, 1)).tobytes()


def test_quantisation_rounds_halves_to_even_and_saturates() -> None:
    image = Image.fromarray(np.array([[0, 1, 3, 255]], np.uint8))
    how = Preprocess(0, "L", "none", "NHWC", (1.0,), (0.0,), quantise=True)
    said = manifest(spec("int8", 1, 1, 4, 1, scale=2.0, zero_point=-10), preprocess=how)
    assert np.frombuffer(load_inputs(said, [png(image)])[0], np.int8).tolist() == [-10, -10, -8, 118]
    narrow = manifest(spec("int8", 1, 1, 4, 1, scale=1.0, zero_point=0), preprocess=how)
    assert np.frombuffer(load_inputs(narrow, [png(image)])[0], np.int8).tolist() == [0, 1, 3, 127]


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA"])
def test_every_8_bit_png_is_converted(mode: str) -> None:
    said = manifest(spec("uint8", 1, 2, 2, 3), preprocess=RGB)
    (tensor,) = load_inputs(said, [png(Image.new("RGB", (2, 2), "white").convert(mode))])
    assert tensor == b"\xff" * 12


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic"])
def test_an_image_of_another_size_is_resized_as_declared(resize: Any) -> None:
    random = np.random.default_rng(1)
    image = Image.fromarray(random.integers(0, 256, (50, 40, 3), dtype=np.uint8))
    said = manifest(spec("uint8", 1, 7, 5, 3), preprocess=replace(RGB, resize=resize))
    (tensor,) = load_inputs(said, [png(image)])
    expected = image.resize((5, 7), Image.Resampling[resize.upper()])
    assert tensor == np.asarray(expected).tobytes()


def test_a_jpeg_is_decoded() -> None:
    said = manifest(spec("uint8", 1, 8, 8, 3), preprocess=RGB)
    image = Image.new("RGB", (8, 8), (200, 200, 200))
    assert load_inputs(said, [png(image, "JPEG", quality=100)]) == (bytes([200]) * 192,)


def _bomb(width: int, height: int) -> bytes:
    """Return a PNG whose header claims a size its few bytes do not hold."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )


@pytest.mark.parametrize(
    ("code", "raw"),
    [
        ("input_image", b"\x89PNG\r\n\x1a\n"),
        ("input_image", b"\xff\xd8\xff\xe0" + bytes(40)),
        ("input_image", png(Image.new("RGB", (2, 2)))[:-30]),
        ("input_image", png(Image.new("I;16", (2, 2)))),
        ("input_image", png(Image.new("CMYK", (2, 2)), "JPEG")),
        ("input_image", png(Image.new("L", (2, 2)), save_all=True, append_images=[Image.new("L", (2, 2), 9)])),
        ("input_pixels", _bomb(MAX_PIXELS // 1000 + 1, 1000)),
        ("input_pixels", _bomb(10_000, 10_000)),
        ("input_pixels", _bomb(30_000, 30_000)),
        ("input_size", png(Image.new("RGB", (3, 2)))),
    ],
)
def test_what_is_no_image_of_this_tensor(code: str, raw: bytes) -> None:
    assert refused(manifest(spec("uint8", 1, 2, 2, 3), preprocess=replace(RGB, resize="none")), raw) == code


def test_an_image_feeds_only_the_input_that_declares_it() -> None:
    inputs = (spec("uint8", 1, 2, 2, 3), spec("float32", 1))
    said = manifest(*inputs, preprocess=RGB)
    image, vector = png(Image.new("RGB", (2, 2))), npy(np.ones(1, np.float32))
    assert load_inputs(said, [image, vector])[1] == np.ones(1, np.float32).tobytes()
    assert refused(said, image, image) == "input_no_preprocess"
