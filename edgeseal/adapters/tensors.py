"""Raw input files to tensors (NumPy, Pillow): ``.npy`` of the exact shape and type, PNG and JPEG as declared.

Deterministic: 8-bit pixels are converted and resized by Pillow's integer code and then mapped through a table of 256
values a channel. What two Pillow versions could do differently is decoding a JPEG, which is why a record commits to the
raw input and to the tensor separately.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Final

import numpy as np
from PIL import Image, UnidentifiedImageError

from edgeseal.errors import FormatError
from edgeseal.manifest import MODEL_LIMITS, Manifest, Preprocess, TensorSpec

Image.preinit()  # the decoders, now: a sandboxed process may not be able to load them later

MAX_INPUT: Final = MODEL_LIMITS.tensor + 8_192
"""Bytes of one raw input file: the largest tensor and a header."""
MAX_NPY_HEADER: Final = 4_096
"""Bytes of a ``.npy`` header."""
MAX_PIXELS: Final = 50_000_000
"""Pixels of one image, checked before a pixel is decoded."""

_RESIZE: Final = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
}
_MODES: Final = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")
_NPY_MAGIC: Final = b"\x93NUMPY"
_NPY_HEADER: Final = re.compile(
    rb"\{'descr': '([<|][a-z][0-9])', 'fortran_order': False, "
    rb"'shape': \(((?:[0-9]{1,12}, ?)*(?:[0-9]{1,12})?)\), \} *\n"
)


def load_inputs(manifest: Manifest, raw: Sequence[bytes]) -> tuple[bytes, ...]:
    """Return the input tensors' bytes for ``raw``, one untrusted file for each of the model's inputs, in their order.

    A file is told by its first bytes: ``.npy`` (format 1.0 or 2.0, little-endian, C order) must have the tensor's exact
    shape and type; PNG and JPEG go through ``manifest.preprocess``. Thread-safe.

    Raises FormatError and nothing else: ``input_count``, ``input_too_large``, ``input_kind`` (none of the three),
    ``input_npy`` (a header ``numpy.save`` would not write, or Fortran order), ``input_dtype``, ``input_shape``,
    ``input_length``, ``input_no_preprocess`` (an image for an input that declares none), ``input_image`` (undecodable,
    animated, or a pixel format of more than 8 bits), ``input_pixels`` (more than ``MAX_PIXELS``) or ``input_size`` (no
    resizing declared).
    """
    if len(raw) != len(manifest.inputs):
        raise FormatError("input_count", f"{len(raw)} files for {len(manifest.inputs)} inputs")
    return tuple(
        _load(data, spec, manifest.preprocess, index)
        for index, (data, spec) in enumerate(zip(raw, manifest.inputs, strict=True))
    )


def _load(data: bytes, spec: TensorSpec, preprocess: Preprocess | None, index: int) -> bytes:
    if len(data) > MAX_INPUT:
        raise FormatError("input_too_large", f"{len(data)} bytes, the limit is {MAX_INPUT}")
    if data.startswith(_NPY_MAGIC):
        return _load_npy(data, spec)
    if data.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        if preprocess is None or preprocess.input != index:
            raise FormatError("input_no_preprocess", f"input {spec.name} declares no preprocessing for images")
        return image_to_tensor(data, spec, preprocess)
    raise FormatError("input_kind", "the input is neither .npy nor PNG nor JPEG")


def _load_npy(data: bytes, spec: TensorSpec) -> bytes:
    width = {b"\x01\x00": 2, b"\x02\x00": 4}.get(data[6:8])
    if width is None:
        raise FormatError("input_npy", f"version {data[6:8].hex('.')} of .npy")
    start = 8 + width
    end = start + int.from_bytes(data[8:start], "little")
    header = _NPY_HEADER.fullmatch(data[start:end]) if end - start <= MAX_NPY_HEADER else None
    if header is None:
        raise FormatError("input_npy", "the header is not one that numpy.save writes for an array in C order")
    descr, shape = header[1].decode(), tuple(int(size) for size in header[2].split(b",") if size.strip())
    if descr != np.dtype(spec.dtype).str:
        raise FormatError("input_dtype", f"{descr}, {spec.name} takes {spec.dtype} ({np.dtype(spec.dtype).str})")
    if shape != spec.shape:
        raise FormatError("input_shape", f"{shape}, {spec.name} takes {spec.shape}")
    tensor = data[end:]
    if len(tensor) != spec.nbytes:
        raise FormatError("input_length", f"{len(tensor)} bytes of data, {spec.name} takes {spec.nbytes}")
    return tensor


def image_to_tensor(data: bytes, spec: TensorSpec, preprocess: Preprocess) -> bytes:
    """Return the tensor that ``data``, an untrusted PNG or JPEG, becomes. Errors as :func:`load_inputs`."""
    rows, columns = spec.shape[1:3] if preprocess.layout == "NHWC" else spec.shape[2:4]
    image = _decode(data).convert(preprocess.channels)
    if image.size != (columns, rows):
        if preprocess.resize == "none":
            raise FormatError(
                "input_size", f"{image.size[0]}x{image.size[1]} pixels, {spec.name} takes {columns}x{rows}"
            )
        image = image.resize((columns, rows), _RESIZE[preprocess.resize])
    pixels = np.asarray(image, dtype=np.uint8).reshape(rows, columns, len(preprocess.channels))
    table = _table(spec, preprocess)
    planes = [table[channel][pixels[:, :, channel]] for channel in range(pixels.shape[2])]
    return np.stack(planes, axis=2 if preprocess.layout == "NHWC" else 0).tobytes()


def _decode(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=("PNG", "JPEG"))
        if image.width * image.height > MAX_PIXELS:
            raise FormatError("input_pixels", f"{image.width}x{image.height} pixels, the limit is {MAX_PIXELS}")
        if image.mode not in _MODES or getattr(image, "n_frames", 1) != 1:
            raise FormatError("input_image", f"pixel format {image.mode}, {getattr(image, 'n_frames', 1)} frames")
        image.load()
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise FormatError("input_pixels", str(error)[:200]) from error
    except (
        UnidentifiedImageError,
        OSError,
        ValueError,
        SyntaxError,
        EOFError,
        KeyError,
        IndexError,
        TypeError,
    ) as error:
        raise FormatError("input_image", " ".join(str(error).split())[:200] or type(error).__name__) from error
    return image


def _table(spec: TensorSpec, preprocess: Preprocess) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    """Return for each channel the 256 stored values of the pixels 0 to 255, in 64-bit arithmetic, halves to even."""
    tables = []
    for scale, offset in zip(preprocess.scale, preprocess.offset, strict=True):
        values = np.arange(256, dtype=np.float64) * scale + offset
        if preprocess.quantise and spec.scale is not None and spec.zero_point is not None:
            values = np.rint(values / spec.scale) + spec.zero_point
        dtype = np.dtype(spec.dtype)
        if dtype.kind in "iu":
            bounds = np.iinfo(dtype)
            values = np.clip(np.rint(values), bounds.min, bounds.max)
        tables.append(values.astype(dtype))
    return tables
