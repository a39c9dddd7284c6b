"""Write three small TensorFlow Lite models without TensorFlow: what users bring, in miniature.

``python -m tests.models.build FOLDER`` writes

- ``image-float32.tflite``: one float32 image of 1x224x224x3, ten probabilities;
- ``image-uint8.tflite``: one uint8 image of 1x32x32x3, ten probabilities as uint8, all integer;
- ``two-inputs.tflite``: two float32 tensors of 1x16 and 1x1, four numbers.

The weights are random and the answers mean nothing; the same bytes come out every time.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema
from numpy.typing import NDArray

SEED: Final = 7
_TYPES: Final = {
    "float32": schema.TensorType.FLOAT32,
    "int8": schema.TensorType.INT8,
    "int32": schema.TensorType.INT32,
    "uint8": schema.TensorType.UINT8,
}


class Graph:
    """Collects tensors and operators of one subgraph; every method returns a tensor's index."""

    def __init__(self) -> None:
        self._model = schema.ModelT()
        self._model.version = 3
        self._model.description = "edgeseal test model"
        self._model.operatorCodes = []
        self._model.buffers = [schema.BufferT()]
        self._graph = schema.SubGraphT()
        self._graph.name = "main"
        self._graph.tensors, self._graph.operators = [], []

    def tensor(
        self, name: str, dtype: str, shape: list[int], quantisation: tuple[float, int] | None = None, buffer: int = 0
    ) -> int:
        """Add a tensor of type ``dtype`` with (scale, zero point) if it is quantised."""
        tensor = schema.TensorT()
        tensor.name, tensor.type, tensor.shape, tensor.buffer = name, _TYPES[dtype], shape, buffer
        if quantisation is not None:
            tensor.quantization = schema.QuantizationParametersT()
            tensor.quantization.scale, tensor.quantization.zeroPoint = [quantisation[0]], [quantisation[1]]
        self._graph.tensors.append(tensor)
        return len(self._graph.tensors) - 1

    def constant(self, name: str, value: NDArray[Any], quantisation: tuple[float, int] | None = None) -> int:
        """Add a tensor whose content is part of the model."""
        buffer = schema.BufferT()
        buffer.data = np.frombuffer(value.tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return self.tensor(name, value.dtype.name, list(value.shape), quantisation, len(self._model.buffers) - 1)

    def operator(self, code: int, inputs: list[int], output: int, kind: int, options: object) -> int:
        """Add an operator of version 1 and return its output."""
        operator_code = schema.OperatorCodeT()
        operator_code.builtinCode = operator_code.deprecatedBuiltinCode = code
        operator_code.version = 1
        self._model.operatorCodes.append(operator_code)
        operator = schema.OperatorT()
        operator.opcodeIndex = len(self._model.operatorCodes) - 1
        operator.inputs, operator.outputs = inputs, [output]
        operator.builtinOptionsType, operator.builtinOptions = kind, options
        self._graph.operators.append(operator)
        return output

    def average_pool(self, source: int, output: int, size: int) -> int:
        """Add a pooling over squares of ``size`` that do not overlap."""
        options = schema.Pool2DOptionsT()
        options.padding = schema.Padding.VALID
        options.strideW = options.strideH = options.filterWidth = options.filterHeight = size
        return self.operator(
            schema.BuiltinOperator.AVERAGE_POOL_2D, [source], output, schema.BuiltinOptions.Pool2DOptions, options
        )

    def fully_connected(self, source: int, weights: int, bias: int, output: int) -> int:
        """Add ``output = weights x flattened source + bias``."""
        return self.operator(
            schema.BuiltinOperator.FULLY_CONNECTED,
            [source, weights, bias],
            output,
            schema.BuiltinOptions.FullyConnectedOptions,
            schema.FullyConnectedOptionsT(),
        )

    def softmax(self, source: int, output: int) -> int:
        """Add a softmax over the last axis."""
        options = schema.SoftmaxOptionsT()
        options.beta = 1.0
        return self.operator(
            schema.BuiltinOperator.SOFTMAX, [source], output, schema.BuiltinOptions.SoftmaxOptions, options
        )

    def add(self, left: int, right: int, output: int) -> int:
        """Add a broadcasting sum."""
        return self.operator(
            schema.BuiltinOperator.ADD, [left, right], output, schema.BuiltinOptions.AddOptions, schema.AddOptionsT()
        )

    def pack(self, inputs: list[int], outputs: list[int]) -> bytes:
        """Return the flatbuffer."""
        self._graph.inputs, self._graph.outputs = inputs, outputs
        self._model.subgraphs = [self._graph]
        builder = flatbuffers.Builder(1024)
        builder.Finish(self._model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def image_float32() -> bytes:
    """Return a float32 classifier of 224x224 RGB images: average over 32x32 squares, one layer, softmax."""
    random, graph = np.random.default_rng(SEED), Graph()
    image = graph.tensor("image", "float32", [1, 224, 224, 3])
    pooled = graph.average_pool(image, graph.tensor("pooled", "float32", [1, 7, 7, 3]), 32)
    weights = graph.constant("weights", random.normal(0, 0.5, (10, 147)).astype(np.float32))
    bias = graph.constant("bias", random.normal(0, 0.1, 10).astype(np.float32))
    logits = graph.fully_connected(pooled, weights, bias, graph.tensor("logits", "float32", [1, 10]))
    return graph.pack([image], [graph.softmax(logits, graph.tensor("probability", "float32", [1, 10]))])


def image_uint8() -> bytes:
    """Return an all-integer uint8 classifier of 32x32 RGB images, built like :func:`image_float32`."""
    random, graph = np.random.default_rng(SEED), Graph()
    image = graph.tensor("image", "uint8", [1, 32, 32, 3], (1 / 128, 128))
    pooled = graph.average_pool(image, graph.tensor("pooled", "uint8", [1, 4, 4, 3], (1 / 128, 128)), 8)
    weights = graph.constant("weights", random.integers(1, 256, (10, 48)).astype(np.uint8), (1 / 64, 128))
    bias = graph.constant("bias", random.integers(-500, 500, 10).astype(np.int32), (1 / 8192, 0))
    logits = graph.fully_connected(pooled, weights, bias, graph.tensor("logits", "uint8", [1, 10], (1 / 16, 128)))
    output = graph.tensor("probability", "uint8", [1, 10], (1 / 256, 0))
    return graph.pack([image], [graph.softmax(logits, output)])


def two_inputs() -> bytes:
    """Return a model of two float32 inputs of different shapes: their broadcast sum through one layer."""
    random, graph = np.random.default_rng(SEED), Graph()
    left, right = graph.tensor("left", "float32", [1, 16]), graph.tensor("right", "float32", [1, 1])
    total = graph.add(left, right, graph.tensor("total", "float32", [1, 16]))
    weights = graph.constant("weights", random.normal(0, 0.5, (4, 16)).astype(np.float32))
    bias = graph.constant("bias", random.normal(0, 0.1, 4).astype(np.float32))
    return graph.pack(
        [left, right], [graph.fully_connected(total, weights, bias, graph.tensor("result", "float32", [1, 4]))]
    )


MODELS: Final[dict[str, Callable[[], bytes]]] = {
    "image-float32.tflite": image_float32,
    "image-uint8.tflite": image_uint8,
    "two-inputs.tflite": two_inputs,
}


def main(folder: Path) -> None:
    """Write the models into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, build in MODELS.items():
        (folder / name).write_bytes(build())
        print(folder / name)


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.models.build FOLDER")
    main(Path(sys.argv[1]))
