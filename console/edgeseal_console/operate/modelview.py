"""What is in a model package or a bare ``.tflite`` file, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Final

from edgeseal.adapters.namedfile import read_file
from edgeseal.adapters.packagedir import read_package
from edgeseal.adapters.tflite import TfliteRunner, check_golden
from edgeseal.errors import EvidenceError, Unavailable
from edgeseal.manifest import MODEL_LIMITS, Preprocess, TensorSpec
from edgeseal.model import ModelPackage, parse_package

GOLDEN_CHECK: Final = "golden check"
REPEATED: Final = ("input", "output", "file")


def inspect(path: Path, *, check: bool = False) -> str:
    """Return :func:`describe`'s rows as text, many lines. Raises as it does."""
    return "\n".join(f"{name:<13} {text}" for name, text in describe(path, check=check))


def describe(path: Path, *, check: bool = False) -> list[tuple[str, str]]:
    """Return a readable description of the package folder or ``.tflite`` file at ``path``: rows of a name and a text.
    The names in ``REPEATED`` may come more than once.

    With ``check`` the golden vectors are run in this process; do that only with models you trust. A bare ``.tflite`` is
    always loaded. Raises FormatError or Unavailable; a golden vector that fails is part of the description: its row
    ``golden check`` begins with ``failed``.
    """
    if path.is_file():
        return _describe_model(read_file(path, MODEL_LIMITS.file))
    package = parse_package(read_package(path))
    rows = _describe_package(package)
    if check:
        rows.append((GOLDEN_CHECK, _golden_verdict(package)))
    return rows


def _golden_verdict(package: ModelPackage) -> str:
    try:
        runner = TfliteRunner(package.model)
        check_golden(package, runner)
    except (EvidenceError, Unavailable) as error:
        return f"failed: {error}"
    return f"passed on {runner.info.family} {runner.info.version}, delegate {runner.info.delegate}, {runner.info.arch}"


def _describe_model(model: bytes) -> list[tuple[str, str]]:
    runner = TfliteRunner(model)
    return [
        ("model file", f"SHA-256 {sha256(model).hexdigest()}, {len(model):,} bytes"),
        ("arithmetic", runner.arithmetic),
        *(("input", _tensor(spec)) for spec in runner.inputs),
        *(("output", _tensor(spec)) for spec in runner.outputs),
        ("loaded by", f"{runner.info.family} {runner.info.version}, delegate {runner.info.delegate}"),
    ]


def _describe_package(package: ModelPackage) -> list[tuple[str, str]]:
    said = package.manifest
    golden = said.runtime
    how, allowed = said.preprocess, said.tolerance
    made_by = (
        f"{golden.family} {golden.version}, delegate {golden.delegate}, resolver {golden.resolver}, "
        f"{golden.threads} threads, {golden.arch}"
    )
    return [
        ("package", f"{said.name} {said.version}"),
        ("digest", package.digest.hex()),
        ("model file", f"{said.model}, SHA-256 {package.model_digest.hex()}, {len(package.model):,} bytes"),
        ("arithmetic", said.arithmetic),
        *(("input", _tensor(spec)) for spec in said.inputs),
        *(("output", _tensor(spec)) for spec in said.outputs),
        ("images", _describe_preprocess(how) if how else "no: .npy of the exact shape and type"),
        ("labels", f"{len(package.labels) or 'none'}; shown in records: {', '.join(said.public) or 'nothing'}"),
        ("golden", f"{len(package.golden)} vectors by {made_by}"),
        ("tolerance", f"{allowed.steps} steps, {allowed.absolute} absolute, {allowed.relative} relative"),
        *(
            ("file", f"{len(data):>12,} bytes  {sha256(data).hexdigest()}  {path}")
            for path, data in package.files.items()
        ),
    ]


def _describe_preprocess(how: Preprocess) -> str:
    return (
        f"PNG or JPEG for input {how.input}: {how.channels}, resize {how.resize}, {how.layout}, "
        f"pixel x {list(how.scale)} + {list(how.offset)}{', quantised' if how.quantise else ''}"
    )


def _tensor(spec: TensorSpec) -> str:
    quantised = f", real = {spec.scale!r} x (stored - {spec.zero_point})" if spec.scale is not None else ""
    return f"{spec.name}: {spec.dtype} {list(spec.shape)}{quantised}"


def tensors_line(specs: Sequence[TensorSpec]) -> str:
    """Return types and shapes of ``specs`` in one line."""
    return ", ".join(f"{spec.dtype}{list(spec.shape)}" for spec in specs)
