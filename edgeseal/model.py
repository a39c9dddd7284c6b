"""A model package: names and bytes in, one digest and one typed value out (docs/format.md, 13).

The digest is the OpenSSF Model Signing v1 root over every file: SHA-256 over the files' SHA-256 digests, in the order
of their paths. It is computed over the same ``bytes`` objects that are then parsed and handed to the runtime, so what
was hashed and what runs cannot differ.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from types import MappingProxyType
from typing import Final

from edgeseal import cbor
from edgeseal.errors import FormatError
from edgeseal.manifest import (
    DTYPES,
    MANIFEST_NAME,
    MODEL_LIMITS,
    Manifest,
    ModelLimits,
    TensorSpec,
    parse_manifest,
)

__all__ = [
    "MODEL_LIMITS",
    "GoldenVector",
    "ModelLimits",
    "ModelPackage",
    "check_paths",
    "check_sizes",
    "decode_package",
    "encode_package",
    "package_digest",
    "parse_labels",
    "parse_package",
    "public_fields",
]

_PART: Final = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*", re.ASCII)
_STRUCT: Final = dict(zip(DTYPES, "?efdbhiqBHIQ", strict=True))


@dataclass(frozen=True, slots=True)
class GoldenVector:
    """Input and output tensors of one golden vector: raw bytes, C order, little-endian."""

    inputs: tuple[bytes, ...]
    outputs: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A package whose parts fit each other.

    ``digest`` (32 bytes) names the package, ``model_digest`` the model file alone; ``model`` is that file, the very
    bytes that were hashed. Nothing here says that the model is good, or that anybody signed it.
    """

    digest: bytes
    model_digest: bytes
    model: bytes
    manifest: Manifest
    labels: tuple[str, ...]
    golden: tuple[GoldenVector, ...]
    files: Mapping[str, bytes]


def package_digest(files: Mapping[str, bytes]) -> bytes:
    """Return the 32-byte OpenSSF Model Signing v1 root of ``files``, path to content.

    Paths are taken in the order of their parts, as the ``model-signing`` program 1.1.1 takes them. The name of the
    folder is no part of it. Raises FormatError and nothing else, with the codes of :func:`check_paths` and
    :func:`check_sizes`.
    """
    check_paths(files)
    check_sizes((path, len(content)) for path, content in files.items())
    root = sha256()
    for path in sorted(files, key=_parts):
        root.update(sha256(files[path]).digest())
    return root.digest()


def check_paths(paths: Iterable[str]) -> None:
    """Refuse a set of package paths that no package may have; ``paths`` is untrusted.

    Raises FormatError and nothing else: ``model_empty``, ``model_too_many_files``, ``model_path_absolute``,
    ``model_path_parent`` (a ``.``, ``..`` or empty part), ``model_path_invalid`` (length, depth or characters),
    ``model_path_duplicate`` (equal but for case, or both a file and a folder) or ``model_path_order`` (sorted by parts
    and sorted as text disagree, so that two readers of the specification could compute two digests).
    """
    found: list[str] = []
    for path in paths:
        found.append(path)
        if len(found) > MODEL_LIMITS.files:
            raise FormatError("model_too_many_files", f"more than {MODEL_LIMITS.files} files")
        _check_path(path)
    if not found:
        raise FormatError("model_empty", "a package has at least one file")
    folded = [path.lower() for path in found]
    folders = {"/".join(path.split("/")[:n]) for path in folded for n in range(1, path.count("/") + 1)}
    for path, fold in zip(found, folded, strict=True):
        if folded.count(fold) > 1 or fold in folders:
            raise FormatError("model_path_duplicate", f"{path} stands twice, or beside a folder of its name")
    if sorted(found) != sorted(found, key=_parts):
        raise FormatError("model_path_order", "the order of the paths is ambiguous; rename a file beside a folder")


def check_sizes(sizes: Iterable[tuple[str, int]]) -> None:
    """Refuse files that are too large, from their lengths alone: ``model_file_too_large``, ``model_too_large``."""
    total = 0
    for path, size in sizes:
        if size > MODEL_LIMITS.file:
            raise FormatError("model_file_too_large", f"{path}: {size} bytes, the limit is {MODEL_LIMITS.file}")
        total += size
        if total > MODEL_LIMITS.total:
            raise FormatError("model_too_large", f"more than {MODEL_LIMITS.total} bytes in all")


def parse_package(files: Mapping[str, bytes]) -> ModelPackage:
    """Return the package that ``files`` (untrusted, path to content) make up. Files it does not name are only hashed.

    Raises FormatError and nothing else: the codes of :func:`package_digest` and
    :func:`edgeseal.manifest.parse_manifest`, ``model_file_missing`` (named and not there), ``model_labels`` or
    ``model_golden`` (a tensor of the wrong length).
    """
    files = MappingProxyType(dict(files))
    digest = package_digest(files)
    manifest = parse_manifest(_file(files, MANIFEST_NAME))
    model = _file(files, manifest.model)
    return ModelPackage(
        digest=digest,
        model_digest=sha256(model).digest(),
        model=model,
        manifest=manifest,
        labels=parse_labels(_file(files, manifest.labels)) if manifest.labels else (),
        golden=tuple(
            GoldenVector(
                tuple(_input(files, path, spec) for path, spec in zip(vector.inputs, manifest.inputs, strict=True)),
                tuple(_output(files, path, spec) for path, spec in zip(vector.outputs, manifest.outputs, strict=True)),
            )
            for vector in manifest.golden
        ),
        files=files,
    )


def parse_labels(data: bytes) -> tuple[str, ...]:
    """Return the labels in ``data`` (untrusted UTF-8, one a line, the last line may end in a newline).

    Raises FormatError ``model_labels``: too long or too many, an empty line, not UTF-8, or not printable.
    """
    if len(data) > MODEL_LIMITS.labels_file:
        raise FormatError("model_labels", f"{len(data)} bytes, the limit is {MODEL_LIMITS.labels_file}")
    try:
        labels = tuple(data.decode("utf-8").removesuffix("\n").split("\n"))
    except UnicodeDecodeError as error:
        raise FormatError("model_labels", f"byte {error.start} is not UTF-8") from error
    if len(labels) > MODEL_LIMITS.labels:
        raise FormatError("model_labels", f"{len(labels)} labels, the limit is {MODEL_LIMITS.labels}")
    for number, label in enumerate(labels, 1):
        if not 1 <= len(label.encode()) <= MODEL_LIMITS.label or not label.isprintable():
            raise FormatError("model_labels", f"line {number} is not 1 to {MODEL_LIMITS.label} printable bytes")
    return labels


def public_fields(package: ModelPackage, outputs: Sequence[bytes]) -> dict[str, int | str]:
    """Return what the manifest's ``public`` declares of ``outputs``, the runtime's own for this package.

    ``class`` is the index of the largest value of output 0, the first of equals, and ``label`` its label where there is
    one. Empty when nothing is declared or output 0 has no element.
    """
    if not package.manifest.public or not outputs[0]:
        return {}
    code = _STRUCT[package.manifest.outputs[0].dtype]
    values = struct.unpack(f"<{len(outputs[0]) // struct.calcsize(code)}{code}", outputs[0])
    best = values.index(max(values))
    fields: dict[str, int | str] = {"class": best} if "class" in package.manifest.public else {}
    if "label" in package.manifest.public and best < len(package.labels):
        fields["label"] = package.labels[best]
    return fields


def encode_package(files: Mapping[str, bytes]) -> bytes:
    """Return the one CBOR form in which a package travels: a map, path to content. Errors as :func:`package_digest`."""
    package_digest(files)
    return cbor.encode(dict(files))


def decode_package(data: bytes) -> dict[str, bytes]:
    """Return the files in ``data`` (untrusted); compare their :func:`package_digest` with the one asked for.

    Raises FormatError and nothing else: the codes of :mod:`edgeseal.cbor`, ``model_transfer`` (not a map of text to
    bytes), and those of :func:`check_paths` and :func:`check_sizes`.
    """
    most = MODEL_LIMITS.total + MODEL_LIMITS.files * (MODEL_LIMITS.path + 16)
    files = cbor.decode(data, max_size=most, max_depth=1, max_items=2 * MODEL_LIMITS.files + 1)
    if type(files) is not dict or not all(type(k) is str and type(v) is bytes for k, v in files.items()):
        raise FormatError("model_transfer", "a package travels as a map of paths to bytes")
    check_paths(files)
    check_sizes((path, len(content)) for path, content in files.items())
    return files


def _parts(path: str) -> list[str]:
    return path.split("/")


def _check_path(path: str) -> None:
    if path.startswith("/"):
        raise FormatError("model_path_absolute", f"{path[:80]!r} is absolute")
    parts = _parts(path)
    if any(part in ("", ".", "..") for part in parts):
        raise FormatError("model_path_parent", f"{path[:80]!r} has an empty, . or .. part")
    if len(path) > MODEL_LIMITS.path or len(parts) > MODEL_LIMITS.path_parts or not all(map(_PART.fullmatch, parts)):
        raise FormatError(
            "model_path_invalid",
            f"{path[:80]!r}: at most {MODEL_LIMITS.path} of A-Z a-z 0-9 . _ - in {MODEL_LIMITS.path_parts} parts, "
            "none beginning with a dot",
        )


def _file(files: Mapping[str, bytes], path: str) -> bytes:
    if path not in files:
        raise FormatError("model_file_missing", f"{path} is not in the package")
    return files[path]


def _input(files: Mapping[str, bytes], path: str, spec: TensorSpec) -> bytes:
    data = _file(files, path)
    if len(data) != spec.nbytes:
        raise FormatError("model_golden", f"{path}: {len(data)} bytes, {spec.dtype} {spec.shape} takes {spec.nbytes}")
    return data


def _output(files: Mapping[str, bytes], path: str, spec: TensorSpec) -> bytes:
    data = _file(files, path)  # an output's shape may depend on the input: only whole elements are certain
    if len(data) % DTYPES[spec.dtype]:
        raise FormatError("model_golden", f"{path}: {len(data)} bytes are no whole number of {spec.dtype}")
    return data
