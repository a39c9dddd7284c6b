"""What is in a model package or a bare ``.tflite`` file, for people to read."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from edgeseal.adapters.packagedir import read_package
from edgeseal.adapters.tflite import TfliteRunner, check_golden
from edgeseal.errors import EvidenceError, Unavailable
from edgeseal.manifest import MODEL_LIMITS, Preprocess, TensorSpec
from edgeseal.model import ModelPackage, parse_package
from edgeseal_console.operate.inputfile import read_file


def inspect(path: Path, *, check: bool = False) -> str:
    """Return a readable description of the package folder or ``.tflite`` file at ``path``, many lines.

    With ``check`` the golden vectors are run in this process; do that only with models you trust. A bare ``.tflite`` is
    always loaded. Raises FormatError or Unavailable; a golden vector that fails is part of the description.
    """
    if path.is_file():
        return _describe_model(read_file(path, MODEL_LIMITS.file))
    package = parse_package(read_package(path))
    lines = _describe_package(package)
    if check:
        lines.append(f"golden check  {_golden_verdict(package)}")
    return "\n".join(lines)


def _golden_verdict(package: ModelPackage) -> str:
    try:
        runner = TfliteRunner(package.model)
        check_golden(package, runner)
    except (EvidenceError, Unavailable) as error:
        return f"failed: {error}"
    return f"passed on {runner.info.family} {runner.info.version}, delegate {runner.info.delegate}, {runner.info.arch}"


def _describe_model(model: bytes) -> str:
    runner = TfliteRunner(model)
    return "\n".join(
        [
            f"model file    SHA-256 {sha256(model).hexdigest()}, {len(model):,} bytes",
            f"arithmetic    {runner.arithmetic}",
            *(f"input         {_tensor(spec)}" for spec in runner.inputs),
            *(f"output        {_tensor(spec)}" for spec in runner.outputs),
            f"loaded by     {runner.info.family} {runner.info.version}, delegate {runner.info.delegate}",
        ]
    )


def _describe_package(package: ModelPackage) -> list[str]:
    said = package.manifest
    golden = said.runtime
    how, allowed = said.preprocess, said.tolerance
    return [
        f"package       {said.name} {said.version}",
        f"digest        {package.digest.hex()}",
        f"model file    {said.model}, SHA-256 {package.model_digest.hex()}, {len(package.model):,} bytes",
        f"arithmetic    {said.arithmetic}",
        *(f"input         {_tensor(spec)}" for spec in said.inputs),
        *(f"output        {_tensor(spec)}" for spec in said.outputs),
        f"images        {_describe_preprocess(how) if how else 'no: .npy of the exact shape and type'}",
        f"labels        {len(package.labels) or 'none'}; shown in records: {', '.join(said.public) or 'nothing'}",
        f"golden        {len(package.golden)} vectors by {golden.family} {golden.version}, delegate {golden.delegate}, "
        f"resolver {golden.resolver}, {golden.threads} threads, {golden.arch}",
        f"tolerance     {allowed.steps} steps, {allowed.absolute} absolute, {allowed.relative} relative",
        *(
            f"file          {len(data):>12,} bytes  {sha256(data).hexdigest()}  {path}"
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
