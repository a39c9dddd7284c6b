"""A model package's manifest as YAML text: the inverse of :func:`edgeseal.manifest.parse_manifest`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from edgeseal.manifest import SCHEMA, Manifest, Preprocess, TensorSpec, parse_manifest


def write_manifest(manifest: Manifest) -> bytes:
    """Return the YAML of ``manifest``, one text for equal manifests, and only if it reads back as the same manifest.

    Raises FormatError for a manifest that no package may have, and nothing else.
    """
    golden, allowed, runtime = manifest.golden, manifest.tolerance, manifest.runtime
    lines = [
        f"schema: {_flow(SCHEMA)}",
        f"name: {_flow(manifest.name)}",
        f"version: {_flow(manifest.version)}",
        f"model: {_flow(manifest.model)}",
        *([f"labels: {_flow(manifest.labels)}"] if manifest.labels else []),
        *([f"public: {_flow(manifest.public)}"] if manifest.public else []),
        f"arithmetic: {_flow(manifest.arithmetic)}",
        "inputs:",
        *(f"  - {_tensor(spec)}" for spec in manifest.inputs),
        "outputs:",
        *(f"  - {_tensor(spec)}" for spec in manifest.outputs),
        *(_preprocess(manifest.preprocess) if manifest.preprocess else []),
        "golden:",
        "  runtime:",
        *(f"    {key}: {_flow(getattr(runtime, key))}" for key in type(runtime).__dataclass_fields__),
        "  tolerance:",
        *(f"    {key}: {_flow(getattr(allowed, key))}" for key in type(allowed).__dataclass_fields__),
        "  vectors:",
        *(f"    - {_flow({'inputs': vector.inputs, 'outputs': vector.outputs})}" for vector in golden),
    ]
    data = ("\n".join(lines) + "\n").encode("ascii")
    assert parse_manifest(data) == manifest
    return data


def _tensor(spec: TensorSpec) -> str:
    fields: dict[str, object] = {"name": spec.name, "dtype": spec.dtype, "shape": spec.shape}
    if spec.scale is not None:
        fields |= {"scale": spec.scale, "zero_point": spec.zero_point}
    return _flow(fields)


def _preprocess(preprocess: Preprocess) -> list[str]:
    fields = {key: getattr(preprocess, key) for key in type(preprocess).__dataclass_fields__}
    return ["preprocess:", *(f"  {key}: {_flow(value)}" for key, value in fields.items())]


def _flow(value: object) -> str:
    """Return ``value`` in YAML's flow style: text always in double quotes, so that none of it is taken for syntax."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{key}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return json.dumps(value)
