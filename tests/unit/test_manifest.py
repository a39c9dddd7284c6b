"""What a manifest may say, and the code of everything it may not."""

from __future__ import annotations

import pytest

from edgeseal.errors import FormatError
from edgeseal.manifest import MODEL_LIMITS, parse_manifest
from edgeseal.runtime import RuntimeInfo
from tests.models import digits


def test_the_committed_manifest_reads_as_written() -> None:
    manifest = parse_manifest(digits.files()["manifest.yaml"])
    assert manifest.runtime == RuntimeInfo("ai-edge-litert", "2.3.0", "xnnpack", "auto", 1, "x86_64")
    assert manifest.arithmetic == "integer"
    assert (manifest.inputs[0].shape, manifest.inputs[0].nbytes, manifest.inputs[0].zero_point) == (
        (1, 8, 8, 1),
        64,
        -128,
    )
    assert manifest.preprocess is not None
    assert manifest.preprocess.offset == (-128.0,)
    assert len(manifest.golden) == 14


@pytest.mark.parametrize(
    ("code", "old", "new"),
    [
        ("model_schema", "edgeseal-model/1", "edgeseal-model/2"),
        ("yaml_unknown_key", 'name: "digits"', 'name: "digits"\nauthor: "x"'),
        ("yaml_unknown_key", "    steps: 16", "    steps: 16\n    more: 1"),
        ("yaml_unknown_key", "    threads: 1", "    threads: 1\n    more: 1"),
        ("yaml_unknown_key", '  channels: "L"', '  channels: "L"\n  gamma: 1'),
        ("yaml_unknown_key", "shape: [1, 8, 8, 1],", "shape: [1, 8, 8, 1], more: 1,"),
        ("yaml_missing_key", 'arithmetic: "integer"\n', ""),
        ("yaml_missing_key", '    delegate: "xnnpack"\n', ""),
        ("yaml_missing_key", "    steps: 16\n", ""),
        ("yaml_duplicate_key", 'name: "digits"', 'name: "digits"\nname: "digits"'),
        ("yaml_alias", 'name: "digits"', 'name: &n "digits"'),
        ("yaml_tag", 'name: "digits"', 'name: !!str "digits"'),
        ("yaml_type", 'version: "1.0.0"', "version: 1.0"),
        ("yaml_type", "    threads: 1", '    threads: "1"'),
        ("yaml_range", 'name: "digits"', 'name: "Digits"'),
        ("yaml_range", 'name: "digits"', 'name: "../digits"'),
        ("yaml_range", 'version: "1.0.0"', 'version: "1 0"'),
        ("yaml_range", 'arithmetic: "integer"', 'arithmetic: "fixed"'),
        ("yaml_range", 'model: "model.tflite"', 'model: "model\\n.tflite"'),
        ("yaml_range", "    threads: 1", "    threads: 0"),
        ("yaml_range", "    steps: 16", "    steps: -1"),
        ("yaml_range", "    absolute: 0.0001", "    absolute: -1"),
        ("yaml_range", "shape: [1, 8, 8, 1]", "shape: [1, -8, 8, 1]"),
        ("yaml_range", "shape: [1, 8, 8, 1]", "shape: [1, true, 8, 1]"),
        ("yaml_range", "shape: [1, 8, 8, 1]", f"shape: {[1] * (MODEL_LIMITS.rank + 1)}"),
        ("yaml_range", 'public: ["class", "label"]', 'public: ["class", "class"]'),
        ("yaml_range", 'public: ["class", "label"]', 'public: ["everything"]'),
        ("yaml_range", "  scale: [1.0]", "  scale: [1.0, 1.0]"),
        ("yaml_range", 'resize: "none"', 'resize: "lanczos"'),
        ("model_public", 'labels: "labels.txt"\n', ""),
        ("model_tensor_too_large", "shape: [1, 8, 8, 1]", "shape: [1, 67108864, 67108864, 1]"),
        ("model_quantisation", "scale: 0.00390625, zero_point: -128", "scale: 0.00390625"),
        ("model_quantisation", 'dtype: "int8", shape: [1, 10]', 'dtype: "float32", shape: [1, 10]'),
        ("model_preprocess", '  channels: "L"', '  channels: "RGB"'),
        ("model_preprocess", '  layout: "NHWC"', '  layout: "NCHW"'),
        ("model_preprocess", "scale: 0.003921568859368563, zero_point: -128", ""),
        ("model_golden", '    - {inputs: ["golden/0-input0.bin"]', "    - {inputs: []"),
    ],
)
def test_refusals_name_their_code(code: str, old: str, new: str) -> None:
    files = digits.files()
    text = files["manifest.yaml"].decode()
    if code == "model_preprocess" and not new:
        text = text.replace("quantise: false", "quantise: true").replace(f", {old}", "")
    elif old.endswith("RGB"):
        text = text.replace(old, new)
    else:
        text = digits.with_manifest(old, new)["manifest.yaml"].decode()
    if "RGB" in new:
        text = text.replace("scale: [1.0]", "scale: 1").replace("offset: [-128.0]", "offset: 0")
    with pytest.raises(FormatError) as caught:
        parse_manifest(text.encode())
    assert caught.value.code == code


def test_no_golden_vector_is_refused() -> None:
    text = digits.files()["manifest.yaml"].decode()
    start = text.index("  vectors:")
    with pytest.raises(FormatError) as caught:
        parse_manifest((text[:start] + "  vectors: []\n").encode())
    assert caught.value.code == "model_golden"


def test_a_manifest_over_its_limit_is_refused_unread() -> None:
    with pytest.raises(FormatError) as caught:
        parse_manifest(b"#" * (MODEL_LIMITS.manifest + 1))
    assert caught.value.code == "yaml_too_large"


def test_preprocessing_defaults_are_what_the_manifest_leaves_out() -> None:
    files = digits.files()
    text = files["manifest.yaml"].decode()
    for line in ("  input: 0\n", '  resize: "none"\n', '  layout: "NHWC"\n', "  quantise: false\n"):
        text = text.replace(line, "")
    assert parse_manifest(text.encode()) == parse_manifest(files["manifest.yaml"])
