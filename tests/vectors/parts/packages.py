"""Format 13: model packages: their digest, their paths, what the manifest may say."""

from __future__ import annotations

from tests.vectors.cases import Cases, bad, good
from tests.vectors.encoding import Pairs, cbor, hashed

INPUT, OUTPUT = bytes(range(4)), b"\x00\x40"
MANIFEST = """schema: edgeseal-model/1
name: tiny
version: "1.0.0"
model: model.tflite
labels: labels.txt
public: [class, label]
arithmetic: integer
inputs:
  - {name: "image", dtype: int8, shape: [1, 2, 2, 1], scale: 0.004, zero_point: -128}
outputs:
  - {name: "score", dtype: int8, shape: [1, 2], scale: 0.004, zero_point: -128}
preprocess:
  {input: 0, channels: L, resize: nearest, layout: NHWC, scale: 1, offset: -128, quantise: false}
golden:
  runtime: {family: ai-edge-litert, version: "2.3.0", delegate: xnnpack, resolver: auto, threads: 1, arch: x86_64}
  tolerance: {steps: 16, absolute: 0.0001, relative: 0.001}
  vectors:
    - {inputs: [golden/0-in.bin], outputs: [golden/0-out.bin]}
"""
FILES = {
    "manifest.yaml": MANIFEST.encode(),
    "model.tflite": b"not a real model",
    "labels.txt": "no\nyés\n".encode(),
    "golden/0-in.bin": INPUT,
    "golden/0-out.bin": OUTPUT,
}


SCALED = "scale: 0.004, zero_point: -128}\nout"
INT8 = "dtype: int8, shape: [1, 2, 2, 1]"
VECTORS_LINES = MANIFEST[MANIFEST.index("vectors:") :].rstrip("\n")


def digest(files: dict[str, bytes]) -> bytes:
    """The OpenSSF Model Signing root: files in the order of their paths, part by part."""
    return hashed(*(hashed(files[path]) for path in sorted(files, key=lambda path: path.split("/"))))


def cases() -> Cases:
    """Every case of this part."""
    least = "\n".join(
        line for line in MANIFEST.split("\n") if not line.startswith(("labels", "public", "pre", "  {in"))
    )
    some = {name: data for name, data in FILES.items() if name != "labels.txt"} | {"manifest.yaml": least.encode()}
    for name, description, files in (
        ("whole", "everything a manifest can say", FILES),
        ("least", "no labels, no preprocessing", some),
        ("extra", "a file nothing names", FILES | {"README.md": b"hello", "a/b/c/d": b""}),
    ):
        outcome = {"digest": digest(files), "model_digest": hashed(files["model.tflite"]), "name": "tiny"}
        yield good(name, description, "package", {"files": files}, **outcome)
    yield good("transfer", "as it travels", "package-archive", cbor(FILES), files=FILES)
    yield from paths()
    yield from manifests()
    yield from parts()
    yield from archives()


def paths() -> Cases:
    sets: dict[str, tuple[str, str, list[str]]] = {
        "empty": ("model_empty", "no file", []),
        "many": ("model_too_many_files", "129 files", [f"f{n}" for n in range(129)]),
        "absolute": ("model_path_absolute", "a leading slash", ["/manifest.yaml"]),
        "parent": ("model_path_parent", "..", ["../manifest.yaml"]),
        "dot": ("model_path_parent", ".", ["./manifest.yaml"]),
        "part-empty": ("model_path_parent", "an empty part", ["golden//0"]),
        "hidden": ("model_path_invalid", "a leading dot", [".git"]),
        "backslash": ("model_path_invalid", "a backslash", ["golden\\0"]),
        "space": ("model_path_invalid", "a space", ["my model"]),
        "not-ascii": ("model_path_invalid", "an umlaut", ["modüle"]),
        "newline": ("model_path_invalid", "a newline", ["a\n"]),
        "deep": ("model_path_invalid", "five parts", ["a/b/c/d/e"]),
        "long": ("model_path_invalid", "129 characters", ["a" * 129]),
        "case": ("model_path_duplicate", "two that differ in case", ["Model", "model"]),
        "file-and-folder": ("model_path_duplicate", "a file beside a folder of its name", ["a", "a/b"]),
        "order": ("model_path_order", "two orders, two digests", ["a/b", "a-b"]),
    }
    for name, (code, description, names) in sets.items():
        files = dict.fromkeys(names, b"")
        yield bad(f"path-{name}", code, description, "package", {"files": files})


def manifests() -> Cases:
    first_input = '{name: "image", dtype: int8, shape: [1, 2, 2, 1], scale: 0.004, zero_point: -128}'
    changes: dict[str, tuple[str, str, str, str]] = {
        "schema": ("model_schema", "another version", "edgeseal-model/1", "edgeseal-model/2"),
        "unknown-key": ("yaml_unknown_key", "an unknown key", "arithmetic:", "author: me\narithmetic:"),
        "name-upper": ("yaml_range", "an upper-case name", "name: tiny", "name: Tiny"),
        "name-missing": ("yaml_missing_key", "no name", "name: tiny\n", ""),
        "version-number": ("yaml_type", "a version without quotes", 'version: "1.0.0"', "version: 1.0"),
        "arithmetic": ("yaml_range", "another arithmetic", "arithmetic: integer", "arithmetic: fixed"),
        "no-input": ("yaml_range", "no input", f"\n  - {first_input}", " []"),
        "dtype": ("yaml_range", "an unknown type", 'name: "image", dtype: int8', 'name: "image", dtype: int4'),
        "shape-text": ("yaml_range", "a size in words", "[1, 2, 2, 1]", "[1, two, 2, 1]"),
        "shape-negative": ("yaml_range", "a negative size", "[1, 2, 2, 1]", "[1, -2, 2, 1]"),
        "shape-huge": ("model_tensor_too_large", "a tensor of 4 GiB", "[1, 2, 2, 1]", "[65536, 65536]"),
        "half-quantised": ("model_quantisation", "a scale without zero point", SCALED, "scale: 0.004}\nout"),
        "float-quantised": ("model_quantisation", "a quantised float", INT8, INT8.replace("int8", "float32")),
        "channels": ("model_preprocess", "three channels for one", "channels: L", "channels: RGB"),
        "preprocess-input": ("yaml_range", "an input there is not", "{input: 0", "{input: 1"),
        "public-unknown": ("yaml_range", "something else made public", "[class, label]", "[class, tensor]"),
        "public-label": ("model_public", "a label without labels", "labels: labels.txt\n", ""),
        "golden-none": ("model_golden", "no golden vector", VECTORS_LINES, "vectors: []"),
        "golden-count": ("model_golden", "two files for one input", "[golden/0-in.bin]", "[a.bin, b.bin]"),
        "tolerance": ("yaml_range", "a relative tolerance above 1", "relative: 0.001", "relative: 2"),
        "threads": ("yaml_range", "no thread", "threads: 1", "threads: 0"),
        "alias": ("yaml_alias", "an alias", "labels: labels.txt", "labels: &a labels.txt"),
        "duplicate": ("yaml_duplicate_key", "a key twice", "name: tiny\n", "name: tiny\nname: tiny\n"),
    }  # fmt: skip
    for name, (code, description, old, new) in changes.items():
        assert MANIFEST.count(old) == 1, name
        files = FILES | {"manifest.yaml": MANIFEST.replace(old, new).encode()}
        yield bad(f"manifest-{name}", code, description, "package", {"files": files})


def parts() -> Cases:
    defects: dict[str, tuple[str, str, dict[str, bytes | None]]] = {
        "no-manifest": ("model_file_missing", "no manifest", {"manifest.yaml": None}),
        "no-model": ("model_file_missing", "the model is not there", {"model.tflite": None}),
        "no-labels": ("model_file_missing", "the labels are not there", {"labels.txt": None}),
        "no-golden": ("model_file_missing", "a golden vector is not there", {"golden/0-out.bin": None}),
        "golden-short": ("model_golden", "a golden input of 3 bytes", {"golden/0-in.bin": INPUT[:3]}),
        "labels-empty-line": ("model_labels", "an empty line", {"labels.txt": b"no\n\nyes\n"}),
        "labels-utf8": ("model_labels", "not UTF-8", {"labels.txt": b"\xff\n"}),
        "labels-control": ("model_labels", "a control character", {"labels.txt": b"no\x1b[31m\n"}),
    }
    for name, (code, description, change) in defects.items():
        files = {path: data for path, data in (FILES | change).items() if data is not None}
        yield bad(name, code, description, "package", {"files": files})


def archives() -> Cases:
    ordered = sorted(FILES.items(), key=lambda item: cbor(item[0]))
    twice = cbor(Pairs((("a", b"1"), ("a", b"2"))))
    defects: dict[str, tuple[str, str, bytes]] = {
        "array": ("model_transfer", "an array", cbor([])),
        "text-content": ("model_transfer", "text for a file", cbor({"a": "b"})),
        "integer-path": ("model_transfer", "an integer for a path", cbor({1: b""})),
        "parent": ("model_path_parent", "a way out of the folder", cbor({"../a": b""})),
        "nested": ("cbor_too_deep", "a map for a file", cbor({"a": {}})),
        "order": ("cbor_key_order", "paths in falling order", cbor(Pairs(tuple(reversed(ordered))))),
        "duplicate": ("cbor_duplicate_key", "a path twice", twice),
        "trailing": ("cbor_trailing", "a byte after it", cbor(FILES) + b"\x00"),
        "truncated": ("cbor_truncated", "its last byte missing", cbor(FILES)[:-1]),
    }
    for name, (code, description, data) in defects.items():
        yield bad(f"transfer-{name}", code, description, "package-archive", data)
