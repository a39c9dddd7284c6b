"""Make a model package from any ``.tflite`` file (docs/format.md, 13)."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import shake_256
from pathlib import Path
from typing import Final, Literal

import numpy as np

from edgeseal.adapters.namedfile import read_file
from edgeseal.adapters.packagedir import write_package
from edgeseal.adapters.tensors import MAX_INPUT, load_inputs
from edgeseal.adapters.tflite import TfliteRunner, check_golden
from edgeseal.errors import FormatError, UsageError, VerificationError
from edgeseal.manifest import (
    MANIFEST_NAME,
    MODEL_LIMITS,
    NAME_PATTERN,
    VERSION_PATTERN,
    GoldenFiles,
    Manifest,
    Preprocess,
    TensorSpec,
    Tolerance,
    parse_preprocess,
)
from edgeseal.model import ModelPackage, parse_labels, parse_package
from edgeseal.strictyaml import Section, load
from edgeseal_console.operate.manifestwriter import write_manifest
from edgeseal_console.operate.modelview import inspect, tensors_line

__all__ = ["Packed", "Progress", "default_preprocess", "inspect", "pack"]

Progress = Callable[[str], None]

TOLERANCE: Final = Tolerance(steps=16, absolute=1e-4, relative=1e-3)
"""Where equality is not owed: integer kernels of different delegates were measured up to 12 steps apart."""
SEEDED_VECTORS: Final = 4
"""Golden vectors made from seeded noise; half as many for inputs above ``LARGE_INPUT`` bytes."""
LARGE_INPUT: Final = 262_144


@dataclass(frozen=True, slots=True)
class Packed:
    """A package that was written and passes its own golden vectors; a ``model.activate`` names ``package.digest``."""

    folder: Path
    package: ModelPackage


def pack(
    tflite: Path,
    name: str,
    version: str,
    out: Path,
    *,
    preprocess: Path | None = None,
    labels: Path | None = None,
    samples: Sequence[Sequence[Path]] = (),
    progress: Progress = lambda _: None,
) -> Packed:
    """Write the package of ``tflite`` as the new folder ``out`` and return it. Durable on return, or nothing is there.

    Args:
        tflite: any TensorFlow Lite model this machine's runtime can run.
        name: 1 to 64 of ``a-z 0-9 . _ -``; ``version``: 1 to 64 of letters, digits and ``. + _ -``.
        preprocess: YAML with the manifest's ``preprocess`` section alone; without it a single image-shaped input gets
            :func:`default_preprocess`, and every input accepts ``.npy``.
        labels: UTF-8, one label a line.
        samples: input files for golden vectors besides those of seeded noise, a sequence for each vector with a file
            for each input. Noise matters too: the output on a clear sample is saturated and hides small changes.
        progress: called with one sentence before each step.

    Raises:
        UsageError: ``package_exists``, ``sample_needed`` (the model cannot run on noise), or a name, version or
            preprocessing that does not hold (``pack_argument``), or a file that cannot be read (``file_unreadable``).
        FormatError: the model, labels or a sample is not usable, with its reason.
        VerificationError: ``model_not_deterministic``.
        Unavailable: the package cannot be written, no runtime is installed.
    """
    _check_arguments(name, version, out)
    progress(f"reading {tflite}")
    model = read_file(tflite, MODEL_LIMITS.file)
    runner = TfliteRunner(model)
    made_by = f"{runner.info.family} {runner.info.version}"
    progress(f"loaded by {made_by}: {tensors_line(runner.inputs)} -> {tensors_line(runner.outputs)}")
    files = {"model.tflite": model}
    if labels:
        files["labels.txt"] = read_file(labels, MODEL_LIMITS.labels_file)
    declared = _read_preprocess(preprocess, runner.inputs) if preprocess else default_preprocess(runner.inputs)
    draft = _draft(name, version, runner, declared, files.get("labels.txt"))
    inputs = [load_inputs(draft, [read_file(path, MAX_INPUT) for path in sample]) for sample in samples]
    progress(f"making golden vectors from {len(inputs)} samples and from seeded noise")
    vectors, tensors = _golden(model, runner, inputs)
    files |= tensors
    files[MANIFEST_NAME] = _manifest(draft, vectors)
    package = parse_package(files)
    progress("checking the golden vectors on a second interpreter")
    check_golden(package, TfliteRunner(package.model))
    write_package(files, out)
    progress(f"wrote {out}")
    return Packed(out, package)


def _check_arguments(name: str, version: str, out: Path) -> None:
    if not re.fullmatch(NAME_PATTERN, name) or not re.fullmatch(VERSION_PATTERN, version):
        raise UsageError(
            "pack_argument", f"name {name!r}, version {version!r}", "name: a-z 0-9 . _ -; version: also A-Z +"
        )
    if out.exists():
        raise UsageError("package_exists", f"{out} exists", "choose another folder or remove this one")


def _draft(
    name: str, version: str, runner: TfliteRunner, preprocess: Preprocess | None, labels: bytes | None
) -> Manifest:  # fmt: skip
    """Return the manifest of a model as it runs here, still without golden vectors. Raises FormatError: its labels."""
    texts = () if labels is None else parse_labels(labels)
    return Manifest(
        name=name,
        version=version,
        model="model.tflite",
        labels=None if labels is None else "labels.txt",
        public=_public(runner.outputs[0], texts),
        arithmetic=runner.arithmetic,
        inputs=runner.inputs,
        outputs=runner.outputs,
        preprocess=preprocess,
        runtime=runner.info,
        tolerance=TOLERANCE,
        golden=(),
    )


def default_preprocess(inputs: Sequence[TensorSpec]) -> Preprocess | None:
    """Return what an image most likely becomes when the packager does not say, or None for a model of other inputs.

    One input of shape 1 x height x width x (1 or 3): ``uint8`` takes the pixel, ``int8`` the pixel minus 128, floats
    the pixel divided by 255; images of another size are resized bilinearly.
    """
    spec = inputs[0]
    shape = spec.shape
    if len(inputs) != 1 or len(shape) != 4 or shape[0] != 1 or shape[3] not in (1, 3):
        return None
    ranges = {"uint8": (1.0, 0.0), "int8": (1.0, -128.0), "float16": (1 / 255, 0.0), "float32": (1 / 255, 0.0)}
    if spec.dtype not in ranges:
        return None
    scale, offset = ranges[spec.dtype]
    channels: Literal["L", "RGB"] = "L" if shape[3] == 1 else "RGB"
    return Preprocess(0, channels, "bilinear", "NHWC", (scale,) * shape[3], (offset,) * shape[3], quantise=False)


def _manifest(draft: Manifest, golden: tuple[GoldenFiles, ...]) -> bytes:
    fields = {key: getattr(draft, key) for key in type(draft).__dataclass_fields__}
    try:
        return write_manifest(Manifest(**{**fields, "golden": golden}))
    except FormatError as error:
        raise UsageError("pack_argument", error.message, "see docs/format.md, section 13") from error


def _public(output: TensorSpec, labels: Sequence[str]) -> tuple[Literal["class", "label"], ...]:
    return ("class", "label") if labels and len(labels) == int(np.prod(output.shape)) else ()


def _read_preprocess(path: Path, inputs: tuple[TensorSpec, ...]) -> Preprocess:
    try:
        return parse_preprocess(Section(load(read_file(path, MODEL_LIMITS.manifest), MODEL_LIMITS.manifest)), inputs)
    except FormatError as error:
        raise UsageError("pack_argument", f"{path}: {error}", "see docs/format.md, section 13") from error


def _golden(
    model: bytes, runner: TfliteRunner, samples: Sequence[tuple[bytes, ...]]
) -> tuple[tuple[GoldenFiles, ...], dict[str, bytes]]:
    vectors: list[GoldenFiles] = []
    files: dict[str, bytes] = {}
    again = TfliteRunner(model)
    for number, tensors in enumerate([*samples, *_seeded_inputs(runner.inputs)]):
        try:
            outputs = runner.run(tensors)
        except FormatError as error:
            if 0 < len(samples) <= number:
                break  # the model refuses noise; the samples stand alone
            raise UsageError("sample_needed", error.message, "give input samples that the model can run on") from error
        if again.run(tensors) != outputs:
            raise VerificationError("model_not_deterministic", f"two runs on golden input {number} gave two outputs")
        parts = {"input": tensors, "output": outputs}
        paths = {
            kind: tuple(f"golden/{number}-{kind}{i}.bin" for i in range(len(data))) for kind, data in parts.items()
        }
        for kind, data in parts.items():
            files.update(zip(paths[kind], data, strict=True))
        vectors.append(GoldenFiles(paths["input"], paths["output"]))
    return tuple(vectors), files


def _seeded_inputs(specs: Sequence[TensorSpec]) -> list[tuple[bytes, ...]]:
    large = sum(spec.nbytes for spec in specs) > LARGE_INPUT
    count = SEEDED_VECTORS // 2 if large else SEEDED_VECTORS
    return [tuple(_noise(spec, number, i) for i, spec in enumerate(specs)) for number in range(count)]


def _noise(spec: TensorSpec, vector: int, index: int) -> bytes:
    """Return reproducible noise: floats in [0, 1), 8-bit integers over their range, wider integers and bools 0 or 1.

    In every other vector each value is held for a stretch, so that layers which average still see a difference.
    """
    dtype = np.dtype(spec.dtype)
    count = spec.nbytes // dtype.itemsize
    stretch = 1 + count // 61 if vector % 2 else 1
    stream = shake_256(f"edgeseal golden {vector}/{index}".encode()).digest(-(-count // stretch))
    values = np.repeat(np.frombuffer(stream, np.uint8), stretch)[:count]
    if dtype.kind == "f":
        return (values / 256).astype(dtype).tobytes()
    return values.tobytes() if dtype.itemsize == 1 and dtype.kind in "iu" else (values & 1).astype(dtype).tobytes()
