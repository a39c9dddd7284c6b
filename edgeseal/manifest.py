"""The manifest of a model package: what the packager says of the model (docs/format.md, 13).

Everything here is a statement, not a finding: the adapters compare it with the model they load.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final, Literal, cast

from edgeseal.errors import FormatError
from edgeseal.limits import MAX_RUNTIME_TEXT
from edgeseal.runtime import Arithmetic, RuntimeInfo
from edgeseal.strictyaml import Section, YamlValue, load

MANIFEST_NAME: Final = "manifest.yaml"
SCHEMA: Final = "edgeseal-model/1"

NAME_PATTERN: Final = "[a-z0-9][a-z0-9._-]{0,63}"
VERSION_PATTERN: Final = "[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}"

DTYPES: Final = {
    "bool": 1,
    "float16": 2,
    "float32": 4,
    "float64": 8,
    "int8": 1,
    "int16": 2,
    "int32": 4,
    "int64": 8,
    "uint8": 1,
    "uint16": 2,
    "uint32": 4,
    "uint64": 8,
}
"""Accepted element types and their size in bytes."""


@dataclass(frozen=True, slots=True)
class ModelLimits:
    """Largest accepted sizes and counts of a model package; lengths in bytes."""

    files: int = 128
    path: int = 128
    path_parts: int = 4
    file: int = 134_217_728
    total: int = 268_435_456
    manifest: int = 65_536
    labels_file: int = 1_048_576
    labels: int = 65_536
    label: int = 256
    tensors: int = 16
    tensor_name: int = 256
    rank: int = 8
    tensor: int = 67_108_864
    vectors: int = 32


MODEL_LIMITS: Final = ModelLimits()


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output: element type, shape, and if quantised ``real = scale x (stored - zero_point)``."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    scale: float | None
    zero_point: int | None

    @property
    def nbytes(self) -> int:
        """Length of the tensor in bytes, C order without padding."""
        return math.prod(self.shape) * DTYPES[self.dtype]


@dataclass(frozen=True, slots=True)
class Preprocess:
    """How a PNG or JPEG becomes input number ``input``: convert, resize, then ``value = pixel x scale + offset``.

    ``scale`` and ``offset`` hold one number a channel. With ``quantise`` the value is a real number and is stored by
    the tensor's quantisation; without it the value itself is stored, rounded for integer tensors.
    """

    input: int
    channels: Literal["L", "RGB"]
    resize: Literal["none", "nearest", "bilinear", "bicubic"]
    layout: Literal["NHWC", "NCHW"]
    scale: tuple[float, ...]
    offset: tuple[float, ...]
    quantise: bool


@dataclass(frozen=True, slots=True)
class Tolerance:
    """How far outputs may lie from a golden vector where equality is not owed (:func:`edgeseal.runtime.exactness`).

    ``steps`` bounds the difference of stored integers; floats pass within ``absolute + relative x |golden|``.
    """

    steps: int
    absolute: float
    relative: float


@dataclass(frozen=True, slots=True)
class GoldenFiles:
    """Paths of one golden vector's tensors, raw bytes in the order of the manifest's inputs and outputs."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Manifest:
    """A manifest that is well formed: types, ranges and counts hold, nothing is unknown; see :func:`parse_manifest`."""

    name: str
    version: str
    model: str
    labels: str | None
    public: tuple[Literal["class", "label"], ...]
    arithmetic: Arithmetic
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    preprocess: Preprocess | None
    runtime: RuntimeInfo
    tolerance: Tolerance
    golden: tuple[GoldenFiles, ...]


def parse_manifest(data: bytes) -> Manifest:
    """Return the manifest that ``data`` (untrusted YAML) spells.

    Raises FormatError and nothing else: the ``yaml_`` codes of :mod:`edgeseal.strictyaml`, ``model_schema`` (another
    version), ``model_tensor_too_large``, ``model_quantisation`` (half given, or on a tensor that has none),
    ``model_preprocess`` (does not fit its tensor), ``model_public`` (a label without labels) or ``model_golden``
    (no vector, or another number of tensors than the model has).
    """
    top = Section(load(data, MODEL_LIMITS.manifest))
    if (schema := top.text("schema", ".{1,64}")) != SCHEMA:
        raise FormatError("model_schema", f"schema {schema!r}, this program reads {SCHEMA}")
    inputs, outputs = _tensors(top, "inputs"), _tensors(top, "outputs")
    runtime, tolerance, golden = _golden(top.section("golden"), len(inputs), len(outputs))
    labels = _path(top, "labels") if "labels" in top else None
    manifest = Manifest(
        name=top.text("name", NAME_PATTERN),
        version=top.text("version", VERSION_PATTERN),
        model=_path(top, "model"),
        labels=labels,
        public=_public(top, labels),
        arithmetic=cast(Arithmetic, top.text("arithmetic", "integer|float")),
        inputs=inputs,
        outputs=outputs,
        preprocess=parse_preprocess(top.section("preprocess"), inputs) if "preprocess" in top else None,
        runtime=runtime,
        tolerance=tolerance,
        golden=golden,
    )
    top.done()
    return manifest


def parse_preprocess(section: Section, inputs: tuple[TensorSpec, ...]) -> Preprocess:
    """Return the preprocessing that ``section`` declares, checked against the tensor it feeds. Errors as above."""
    index = section.integer("input", 0, len(inputs) - 1, default=0)
    spec = inputs[index]
    channels = cast(Literal["L", "RGB"], section.text("channels", "L|RGB"))
    layout = cast(Literal["NHWC", "NCHW"], section.text("layout", "NHWC|NCHW", default="NHWC"))
    count = len(channels)
    found = Preprocess(
        input=index,
        channels=channels,
        resize=cast(
            Literal["none", "nearest", "bilinear", "bicubic"],
            section.text("resize", "none|nearest|bilinear|bicubic", default="none"),
        ),
        layout=layout,
        scale=_per_channel(section, "scale", count),
        offset=_per_channel(section, "offset", count),
        quantise=section.boolean("quantise", default=False),
    )
    section.done()
    depth = spec.shape[3 if layout == "NHWC" else 1] if len(spec.shape) == 4 else 0
    if depth != count or spec.shape[0] != 1 or spec.dtype == "bool":
        raise FormatError("model_preprocess", f"a {channels} image in {layout} does not fit {spec.dtype} {spec.shape}")
    if found.quantise and spec.scale is None:
        raise FormatError("model_preprocess", f"quantise is true, but input {index} has no quantisation")
    return found


def _per_channel(section: Section, key: str, count: int) -> tuple[float, ...]:
    value = cast(YamlValue, section.take(key))
    items = value if type(value) is list else [value] * count
    if len(items) != count:
        raise FormatError("yaml_range", f"{section.path(key)} has {len(items)} numbers for {count} channels")
    return tuple(Section({key: item}, section.path(key)).number(key, -1e9, 1e9) for item in items)


def _tensors(top: Section, key: str) -> tuple[TensorSpec, ...]:
    found = tuple(_tensor(section) for section in top.sections(key, MODEL_LIMITS.tensors))
    if not found:
        raise FormatError("yaml_range", f"{key} is empty")
    return found


def _tensor(section: Section) -> TensorSpec:
    quantised = "scale" in section
    if quantised != ("zero_point" in section):
        raise FormatError("model_quantisation", f"{section.path('scale')} and zero_point go together")
    shape = section.sequence("shape", MODEL_LIMITS.rank)
    if not all(type(size) is int and 0 <= size <= MODEL_LIMITS.tensor for size in shape):
        raise FormatError("yaml_range", f"{section.path('shape')} holds something else than sizes")
    spec = TensorSpec(
        name=section.text("name", f"[ -~]{{1,{MODEL_LIMITS.tensor_name}}}"),
        dtype=section.text("dtype", "|".join(DTYPES)),
        shape=cast("tuple[int, ...]", tuple(shape)),
        scale=section.number("scale", 1e-30, 1e30) if quantised else None,
        zero_point=section.integer("zero_point", -(2**31), 2**31 - 1) if quantised else None,
    )
    section.done()
    if quantised and spec.dtype not in ("int8", "uint8", "int16", "uint16", "int32"):
        raise FormatError("model_quantisation", f"{section.path('dtype')} {spec.dtype} has no quantisation")
    if spec.nbytes > MODEL_LIMITS.tensor:
        raise FormatError("model_tensor_too_large", f"{section.path('shape')}: {spec.nbytes} bytes")
    return spec


def _public(top: Section, labels: str | None) -> tuple[Literal["class", "label"], ...]:
    words = top.sequence("public", 2, default=[])
    if any(word not in ("class", "label") for word in words) or len(set(map(str, words))) != len(words):
        raise FormatError("yaml_range", "public holds class, label or both")
    if "label" in words and labels is None:
        raise FormatError("model_public", "public names the label, but the package has no labels")
    return cast('tuple[Literal["class", "label"], ...]', tuple(words))


def _path(section: Section, key: str) -> str:
    return section.text(key, f"[A-Za-z0-9._/-]{{1,{MODEL_LIMITS.path}}}")


def _golden(section: Section, inputs: int, outputs: int) -> tuple[RuntimeInfo, Tolerance, tuple[GoldenFiles, ...]]:
    runtime = _runtime(section.section("runtime"))
    allowed = section.section("tolerance")
    tolerance = Tolerance(
        allowed.integer("steps", 0, 65_535), allowed.number("absolute", 0, 1e9), allowed.number("relative", 0, 1)
    )
    allowed.done()
    vectors = tuple(_vector(item, inputs, outputs) for item in section.sections("vectors", MODEL_LIMITS.vectors))
    if not vectors:
        raise FormatError("model_golden", "golden.vectors is empty")
    section.done()
    return runtime, tolerance, vectors


def _runtime(section: Section) -> RuntimeInfo:
    printable = f"[!-~]{{1,{MAX_RUNTIME_TEXT}}}"
    texts = {f.name: section.text(f.name, printable) for f in fields(RuntimeInfo) if f.name != "threads"}
    threads = section.integer("threads", 1, 1024)
    section.done()
    return RuntimeInfo(threads=threads, **texts)


def _vector(section: Section, inputs: int, outputs: int) -> GoldenFiles:
    paths = {}
    for key, count in (("inputs", inputs), ("outputs", outputs)):
        names = section.sequence(key, MODEL_LIMITS.tensors)
        if len(names) != count:
            raise FormatError("model_golden", f"{section.path(key)} has {len(names)} files for {count} tensors")
        paths[key] = tuple(_path(Section({key: name}, section.path(key)), key) for name in names)
    section.done()
    return GoldenFiles(paths["inputs"], paths["outputs"])
