"""Packing and describing models of every kind, on the real runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from edgeseal.adapters.packagedir import read_package
from edgeseal.adapters.tensors import load_inputs
from edgeseal.adapters.tflite import TfliteRunner, check_golden
from edgeseal.errors import EdgesealError, FormatError, Unavailable, UsageError
from edgeseal.manifest import Preprocess, TensorSpec
from edgeseal.model import parse_package
from edgeseal_console.operate import models
from edgeseal_console.operate.models import default_preprocess, inspect, pack
from tests.models import build, digits


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("built")
    for name, make in build.MODELS.items():
        (folder / name).write_bytes(make())
    return folder


def code_of(error: type[EdgesealError], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("name", build.MODELS)
def test_any_model_becomes_a_package_that_passes_its_own_golden_vectors(name: str, built: Path, tmp_path: Path) -> None:
    steps: list[str] = []
    packed = pack(built / name, "own", "1.0", tmp_path / "package", progress=steps.append)
    package = parse_package(read_package(tmp_path / "package"))
    assert package == packed.package
    assert package.model == (built / name).read_bytes()
    check_golden(package, TfliteRunner(package.model))
    assert len(steps) >= 4
    outputs = {vector.outputs for vector in package.golden}
    assert len(outputs) == len(package.golden)  # a golden vector that repeats another one's answer shows nothing new


def test_packing_twice_gives_the_same_digest(built: Path, tmp_path: Path) -> None:
    first = pack(built / "image-uint8.tflite", "own", "1.0", tmp_path / "a")
    assert pack(built / "image-uint8.tflite", "own", "1.0", tmp_path / "b").package.digest == first.package.digest
    assert pack(built / "image-uint8.tflite", "own", "1.1", tmp_path / "c").package.digest != first.package.digest


def test_an_image_model_packed_without_a_word_takes_png(built: Path, tmp_path: Path) -> None:
    package = pack(built / "image-float32.tflite", "own", "1.0", tmp_path / "package").package
    Image.new("RGB", (640, 480), (255, 0, 51)).save(tmp_path / "x.png")
    (tensor,) = load_inputs(package.manifest, [(tmp_path / "x.png").read_bytes()])
    values = np.frombuffer(tensor, np.float32).reshape(224, 224, 3)
    assert np.allclose(values, [1.0, 0.0, 0.2])
    assert len(TfliteRunner(package.model).run([tensor])[0]) == 40


def test_a_two_input_model_takes_npy(built: Path, tmp_path: Path) -> None:
    package = pack(built / "two-inputs.tflite", "own", "1.0", tmp_path / "package").package
    assert package.manifest.preprocess is None
    for name, shape in (("left", (1, 16)), ("right", (1, 1))):
        np.save(tmp_path / f"{name}.npy", np.ones(shape, np.float32))
    raw = [(tmp_path / f"{name}.npy").read_bytes() for name in ("left", "right")]
    assert len(TfliteRunner(package.model).run(load_inputs(package.manifest, raw))[0]) == 16


def test_preprocessing_labels_and_samples_are_taken_from_files(tmp_path: Path) -> None:
    image, digit = digits.held_out()[7]
    (tmp_path / "x.png").write_bytes(image)
    packed = pack(
        digits.DIGITS / "digits.tflite",
        "digits",
        "2.0",
        tmp_path / "package",
        preprocess=digits.DIGITS / "preprocess.yaml",
        labels=digits.DIGITS / "labels.txt",
        samples=[[tmp_path / "x.png"]],
    )
    assert packed.package.manifest.preprocess == parse_package(digits.files()).manifest.preprocess
    assert packed.package.manifest.public == ("class", "label")
    assert packed.package.golden[0].outputs[0].index(127) == digit
    assert len(packed.package.golden) == 1 + models.SEEDED_VECTORS


def test_labels_that_do_not_fit_the_output_are_carried_and_not_shown(tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text("yes\nno\n")
    packed = pack(
        digits.DIGITS / "digits.tflite", "digits", "2.0", tmp_path / "package", labels=tmp_path / "labels.txt"
    )
    assert packed.package.labels == ("yes", "no")
    assert packed.package.manifest.public == ()


@pytest.mark.parametrize(
    ("spec", "scale", "offset"),
    [
        (TensorSpec("t", "uint8", (1, 9, 8, 3), 0.5, 3), 1.0, 0.0),
        (TensorSpec("t", "int8", (1, 9, 8, 1), 0.5, 3), 1.0, -128.0),
        (TensorSpec("t", "float32", (1, 9, 8, 3), None, None), 1 / 255, 0.0),
    ],
)
def test_the_default_for_images(spec: TensorSpec, scale: float, offset: float) -> None:
    depth = spec.shape[3]
    expected = Preprocess(
        0, "RGB" if depth == 3 else "L", "bilinear", "NHWC", (scale,) * depth, (offset,) * depth, quantise=False
    )
    assert default_preprocess([spec]) == expected


def test_no_default_for_what_is_no_image() -> None:
    image = TensorSpec("t", "uint8", (1, 8, 8, 3), None, None)
    for shape in ((8, 8, 3), (2, 8, 8, 3), (1, 8, 8, 4), (1, 3, 8, 8)):
        assert default_preprocess([TensorSpec("t", "uint8", shape, None, None)]) is None
    assert default_preprocess([TensorSpec("t", "int32", (1, 8, 8, 3), None, None)]) is None
    assert default_preprocess([image, image]) is None


def test_what_cannot_be_packed_says_so_and_leaves_nothing(built: Path, tmp_path: Path) -> None:
    model = built / "image-uint8.tflite"
    (tmp_path / "junk.tflite").write_bytes(b"junk")
    (tmp_path / "bad.yaml").write_text("channels: L\nscale: 1\noffset: 0\n")
    (tmp_path / "odd.yaml").write_text("channels: RGB\nscale: 1\noffset: 0\ngamma: 2\n")
    (tmp_path / "bad.txt").write_bytes(b"\xff")
    (tmp_path / "wrong.npy").write_bytes(b"\x93NUMPY")
    before = sorted(tmp_path.iterdir())
    out = tmp_path / "package"

    def attempt(
        error: type[EdgesealError], tflite: Path = model, name: str = "own", version: str = "1", **more: object
    ) -> str:
        return code_of(error, lambda: pack(tflite, name, version, out, **more))  # type: ignore[arg-type]

    assert attempt(UsageError, tflite=tmp_path / "missing.tflite") == "file_unreadable"
    assert attempt(FormatError, tflite=tmp_path / "junk.tflite") == "model_unreadable"
    assert attempt(UsageError, name="Own Model") == "pack_argument"
    assert attempt(UsageError, version="") == "pack_argument"
    assert attempt(UsageError, preprocess=tmp_path / "bad.yaml") == "pack_argument"
    assert attempt(UsageError, preprocess=tmp_path / "odd.yaml") == "pack_argument"
    assert attempt(FormatError, labels=tmp_path / "bad.txt") == "model_labels"
    assert attempt(FormatError, samples=[[tmp_path / "wrong.npy"]]) == "input_npy"
    assert sorted(tmp_path.iterdir()) == before
    out.mkdir()
    assert attempt(UsageError) == "package_exists"


def test_inspect_names_digests_tensors_and_the_golden_environment(tmp_path: Path) -> None:
    package = parse_package(digits.files())
    text = inspect(digits.DIGITS / "package", check=True)
    assert package.digest.hex() in text
    assert package.model_digest.hex() in text
    for words in ("digits 1.0.0", "int8 [1, 8, 8, 1]", "14 vectors by ai-edge-litert", "golden check  passed on"):
        assert words in text
    assert "golden check" not in inspect(digits.DIGITS / "package")
    bare = inspect(digits.DIGITS / "digits.tflite")
    assert package.model_digest.hex() in bare
    assert "arithmetic    integer" in bare
    assert code_of(Unavailable, lambda: inspect(tmp_path / "missing")) == "package_unreadable"


def test_inspect_says_when_golden_vectors_fail(tmp_path: Path) -> None:
    files = {**digits.files(), "golden/0-output0.bin": bytes(10)}
    for path, content in files.items():
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_bytes(content)
    assert "golden check  failed: golden_differs" in inspect(tmp_path, check=True)
