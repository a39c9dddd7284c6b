"""The TensorFlow Lite runtimes: LiteRT (``ai-edge-litert``), else its predecessor ``tflite-runtime``.

The only importer of either. Both run a model inside this process: a hostile flatbuffer can crash it, so whoever loads a
model nobody trusted has signed does so in a child process with limits.
"""

from __future__ import annotations

import ctypes
import os
import platform
import re
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module, metadata
from pathlib import PurePath
from types import ModuleType
from typing import Any, Final

import numpy as np

from edgeseal.errors import FormatError, Unavailable, UsageError, VerificationError
from edgeseal.manifest import DTYPES, MODEL_LIMITS, TensorSpec, Tolerance
from edgeseal.model import ModelPackage
from edgeseal.runtime import NO_DELEGATE, Arithmetic, RuntimeInfo, exactness

__all__ = ["FAMILIES", "RESOLVERS", "RuntimeInfo", "TfliteRunner", "check_golden"]

FAMILIES: Final = {"ai-edge-litert": "ai_edge_litert.interpreter", "tflite-runtime": "tflite_runtime.interpreter"}
"""Runtime families in the order they are looked for, with the module of each."""
RESOLVERS: Final = {"auto": "AUTO", "builtin": "BUILTIN_WITHOUT_DEFAULT_DELEGATES", "reference": "BUILTIN_REF"}
"""Kernel sets: ``auto`` with the runtime's default delegates, ``builtin`` without, ``reference`` slow and plain."""

_LOADING: Final = threading.Lock()
_CHATTER: Final = re.compile(rb"(INFO|VERBOSE): .*\n?")


class TfliteRunner:
    """One loaded model, ready to run.

    Not thread-safe: one thread at a time calls :meth:`run`. Invoking releases the interpreter lock. ``info`` names what
    actually runs, found after loading; ``inputs`` and ``outputs`` describe the tensors in the model's order;
    ``arithmetic`` is ``float`` as soon as one tensor of the model is floating point.
    """

    info: RuntimeInfo
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    arithmetic: Arithmetic

    def __init__(
        self,
        model: bytes,
        *,
        threads: int = 1,
        resolver: str = "auto",
        delegate: str | None = None,
        delegate_options: Mapping[str, str] | None = None,
        family: str | None = None,
    ) -> None:
        """Load ``model``, a flatbuffer's bytes, which the runtime reads in place: no file is opened.

        Args:
            model: the bytes that were hashed; kept alive as long as the runner.
            threads: 1 to 1024 threads for the kernels that can use them.
            resolver: a key of ``RESOLVERS``.
            delegate: path of an external delegate's shared library, from the operator's configuration.
            delegate_options: that delegate's options.
            family: a key of ``FAMILIES``; None takes the first that is installed.

        Raises:
            FormatError: ``model_unreadable`` (not a model this runtime reads) or ``model_tensor_type`` (an input or
                output of a type or size no package can describe).
            Unavailable: ``runtime_missing``, ``delegate_failed``.
            UsageError: ``runtime_option`` for an argument out of its range.
        """
        if resolver not in RESOLVERS or not 1 <= threads <= 1024 or family not in (None, *FAMILIES):
            raise UsageError("runtime_option", f"threads {threads}, resolver {resolver!r}, family {family!r}")
        name, module = _find_runtime(family)
        with _quiet_stderr():
            delegates = _load_delegates(module, delegate, delegate_options)
            try:
                self._interpreter = module.Interpreter(
                    model_content=model,
                    num_threads=threads,
                    experimental_delegates=delegates,
                    experimental_op_resolver_type=getattr(module.OpResolverType, RESOLVERS[resolver]),
                )
                self.arithmetic = _arithmetic(self._interpreter)
                self._interpreter.allocate_tensors()
            except (ValueError, RuntimeError, SystemError) as error:
                raise FormatError("model_unreadable", f"{name}: {' '.join(str(error).split())[:300]}") from error
        inputs, outputs = self._interpreter.get_input_details(), self._interpreter.get_output_details()
        self._input_index = [int(details["index"]) for details in inputs]
        self._output_index = [int(details["index"]) for details in outputs]
        self.inputs, self.outputs = tuple(map(_spec, inputs)), tuple(map(_spec, outputs))
        if not 1 <= len(self.inputs) <= MODEL_LIMITS.tensors or not 1 <= len(self.outputs) <= MODEL_LIMITS.tensors:
            raise FormatError("model_tensor_type", f"a model has 1 to {MODEL_LIMITS.tensors} inputs and outputs")
        self.info = RuntimeInfo(
            family=name,
            version=metadata.version(name),
            delegate=_applied_delegate(self._interpreter, delegate),
            resolver=resolver,
            threads=threads,
            arch=platform.machine(),
        )

    def run(self, inputs: Sequence[bytes]) -> tuple[bytes, ...]:
        """Return the output tensors' bytes for ``inputs``, both C order and little-endian, in the model's order.

        Raises FormatError and nothing else: ``input_count``, ``input_length`` (not a tensor's exact length) or
        ``model_failed`` (the runtime gave up on this input). May block for as long as the model computes.
        """
        if len(inputs) != len(self.inputs):
            raise FormatError("input_count", f"{len(inputs)} tensors for {len(self.inputs)} inputs")
        for index, spec, data in zip(self._input_index, self.inputs, inputs, strict=True):
            if len(data) != spec.nbytes:
                raise FormatError("input_length", f"{spec.name}: {len(data)} bytes for {spec.dtype} {spec.shape}")
            self._interpreter.set_tensor(index, np.frombuffer(data, dtype=spec.dtype).reshape(spec.shape))
        try:
            self._interpreter.invoke()
            return tuple(self._interpreter.get_tensor(index).tobytes() for index in self._output_index)
        except (ValueError, RuntimeError) as error:
            raise FormatError("model_failed", " ".join(str(error).split())[:300]) from error


def check_golden(package: ModelPackage, runner: TfliteRunner) -> None:
    """Run every golden vector of ``package`` on ``runner``, loaded from ``package.model``, and return if all hold.

    Outputs must be equal where equality is owed (:func:`edgeseal.runtime.exactness`), and within the manifest's
    tolerance elsewhere.

    Raises:
        VerificationError: ``model_tensor_mismatch`` or ``model_arithmetic_mismatch`` (the manifest describes another
            model), ``golden_differs`` (equality was owed), ``golden_shape`` (another length) or ``golden_tolerance``.
        FormatError: ``model_failed``.
    """
    manifest = package.manifest
    _check_tensors(manifest.inputs, runner.inputs, shapes=True)
    _check_tensors(manifest.outputs, runner.outputs, shapes=False)
    if manifest.arithmetic != runner.arithmetic:
        raise VerificationError(
            "model_arithmetic_mismatch", f"the manifest says {manifest.arithmetic}, the model is {runner.arithmetic}"
        )
    exact = exactness(manifest.runtime, runner.info, manifest.arithmetic)
    for number, vector in enumerate(package.golden):
        for spec, expected, found in zip(runner.outputs, vector.outputs, runner.run(vector.inputs), strict=True):
            if expected == found:
                continue
            if exact.owed:
                raise VerificationError("golden_differs", f"vector {number}, output {spec.name}: not the golden bytes")
            _check_close(spec, expected, found, manifest.tolerance, number)


def _check_tensors(declared: Sequence[TensorSpec], found: Sequence[TensorSpec], *, shapes: bool) -> None:
    if len(declared) != len(found):
        raise VerificationError(
            "model_tensor_mismatch", f"{len(declared)} tensors declared, the model has {len(found)}"
        )
    for said, is_ in zip(declared, found, strict=True):
        same = (said.dtype, said.scale, said.zero_point) == (is_.dtype, is_.scale, is_.zero_point)
        if not same or (shapes and said.shape != is_.shape):
            raise VerificationError("model_tensor_mismatch", f"{said.name}: the manifest says {said}, the model {is_}")


def _check_close(spec: TensorSpec, expected: bytes, found: bytes, allowed: Tolerance, number: int) -> None:
    if len(expected) != len(found):
        raise VerificationError("golden_shape", f"vector {number}, output {spec.name}: {len(found)} bytes")
    golden = np.frombuffer(expected, spec.dtype).astype(np.float64)
    distance = np.abs(np.frombuffer(found, spec.dtype).astype(np.float64) - golden)
    bound = np.full_like(golden, allowed.steps)
    if spec.dtype.startswith("float"):
        bound = allowed.absolute + allowed.relative * np.abs(golden)
    if not bool(np.all(distance <= bound)):  # a NaN on either side is not within anything
        raise VerificationError(
            "golden_tolerance", f"vector {number}, output {spec.name}: off by up to {float(np.max(distance)):.6g}"
        )


def _find_runtime(family: str | None) -> tuple[str, ModuleType]:
    for name in [family] if family else FAMILIES:
        try:
            return name, import_module(FAMILIES[name])
        except ImportError:
            continue
    raise Unavailable(
        "runtime_missing",
        f"no {family or 'TensorFlow Lite runtime'} in this Python {platform.python_version()}",
        "pip install ai-edge-litert (64-bit Linux)",
    )


def _load_delegates(module: ModuleType, path: str | None, options: Mapping[str, str] | None) -> list[Any] | None:
    if path is None:
        return None
    try:
        library = ctypes.CDLL(path)  # first by itself: the runtime's own wrapper trips over what is no delegate
        for symbol in ("tflite_plugin_create_delegate", "tflite_plugin_destroy_delegate"):
            if not hasattr(library, symbol):
                raise ValueError(f"no {symbol} in it")
        return [module.load_delegate(path, dict(options or {}))]
    except (ValueError, OSError) as error:
        raise Unavailable("delegate_failed", f"{path}: {' '.join(str(error).split())[:300]}") from error


def _arithmetic(interpreter: Any) -> Arithmetic:
    graphs = range(interpreter.num_subgraphs()) if hasattr(interpreter, "num_subgraphs") else None
    details = (
        interpreter.get_tensor_details()
        if graphs is None
        else [tensor for graph in graphs for tensor in interpreter.get_tensor_details(graph)]
    )
    return "float" if any(np.dtype(tensor["dtype"]).kind in "fc" for tensor in details) else "integer"


def _applied_delegate(interpreter: Any, path: str | None) -> str:
    """Name the delegate that took over at least one node; the configured one may have taken none."""
    if not any(node["op_name"] == "DELEGATE" for node in interpreter._get_ops_details()):
        return NO_DELEGATE
    return f"external:{PurePath(path).name}"[:64] if path else "xnnpack"


def _spec(details: Mapping[str, Any]) -> TensorSpec:
    dtype = np.dtype(details["dtype"]).name
    scale, zero_point = details["quantization"]
    quantised = scale != 0 and dtype in ("int8", "uint8", "int16", "uint16", "int32")
    shape = tuple(int(size) for size in details["shape"])
    name = "".join(char if " " <= char <= "~" else "?" for char in details["name"])[: MODEL_LIMITS.tensor_name] or "?"
    spec = TensorSpec(name, dtype, shape, float(scale) if quantised else None, int(zero_point) if quantised else None)
    if dtype not in DTYPES or len(shape) > MODEL_LIMITS.rank or spec.nbytes > MODEL_LIMITS.tensor:
        raise FormatError("model_tensor_type", f"{name}: {dtype} {shape} is not supported")
    return spec


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold what is written to file descriptor 2 meanwhile, and pass it on without the runtimes' INFO lines.

    The runtimes announce every delegate on standard error and offer no switch. Lines of other threads arrive late, none
    is lost; should the runtime abort the process, its last words are.
    """
    with _LOADING:
        if sys.stderr:
            sys.stderr.flush()
        saved, held = os.dup(2), os.memfd_create("edgeseal-stderr")
        os.dup2(held, 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)
            os.lseek(held, 0, os.SEEK_SET)
            with os.fdopen(held, "rb") as lines:
                os.write(2, b"".join(line for line in lines if not _CHATTER.fullmatch(line)))
