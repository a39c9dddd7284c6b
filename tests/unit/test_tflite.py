"""Real models on the real runtime: what runs, what is owed, what is refused."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from edgeseal.adapters import tflite
from edgeseal.adapters.tensors import load_inputs
from edgeseal.adapters.tflite import TfliteRunner, check_golden
from edgeseal.errors import EdgesealError, FormatError, Unavailable, UsageError, VerificationError
from edgeseal.model import ModelPackage, parse_package
from tests.models import build, digits


@pytest.fixture(scope="module")
def package() -> ModelPackage:
    return parse_package(digits.files())


@pytest.fixture(scope="module")
def runner(package: ModelPackage) -> Iterator[TfliteRunner]:
    yield TfliteRunner(package.model)


def code_of(error: type[EdgesealError], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    return caught.value.code


def test_the_digits_model_labels_the_held_out_images_as_its_readme_says(
    package: ModelPackage, runner: TfliteRunner
) -> None:
    hits = 0
    for image, digit in digits.held_out():
        (output,) = runner.run(load_inputs(package.manifest, [image]))
        hits += int(np.frombuffer(output, np.int8).argmax() == digit)
    readme = (digits.DIGITS / "README.md").read_text()
    assert f"{hits} of 450" in readme
    assert hits >= 440


def test_the_package_holds_the_trained_model(package: ModelPackage) -> None:
    assert package.model == (digits.DIGITS / "digits.tflite").read_bytes()
    assert package.labels == tuple((digits.DIGITS / "labels.txt").read_text().split())


def test_the_committed_golden_vectors_hold(package: ModelPackage, runner: TfliteRunner) -> None:
    assert check_golden(package, runner) is None  # type: ignore[func-returns-value]


@pytest.mark.parametrize("threads", [1, 2, 4])
def test_thread_counts_and_fresh_interpreters_change_no_bit(package: ModelPackage, threads: int) -> None:
    other = TfliteRunner(package.model, threads=threads)
    assert other.info.threads == threads
    for vector in package.golden:
        assert other.run(vector.inputs) == vector.outputs


def test_what_ran_is_found_and_not_copied_from_configuration(package: ModelPackage) -> None:
    default, bare = TfliteRunner(package.model), TfliteRunner(package.model, resolver="builtin")
    assert (default.info.family, default.info.delegate, default.info.resolver) == ("ai-edge-litert", "xnnpack", "auto")
    assert (bare.info.delegate, bare.info.resolver) == ("none", "builtin")
    assert default.info.arch == os.uname().machine
    assert default.info.version.count(".") >= 1


def test_without_a_delegate_the_golden_vectors_hold_within_tolerance_only(package: ModelPackage) -> None:
    bare = TfliteRunner(package.model, resolver="builtin")
    check_golden(package, bare)
    strict = replace(package.manifest, tolerance=replace(package.manifest.tolerance, steps=0))
    off = [struct.pack("10b", *(v ^ 1 for v in struct.unpack("10b", vector.outputs[0]))) for vector in package.golden]
    shifted = tuple(replace(v, outputs=(o,)) for v, o in zip(package.golden, off, strict=True))
    check_golden(replace(package, golden=shifted), bare)
    assert (
        code_of(VerificationError, lambda: check_golden(replace(package, manifest=strict, golden=shifted), bare))
        == "golden_tolerance"
    )


def test_one_step_off_is_a_difference_where_equality_is_owed(package: ModelPackage, runner: TfliteRunner) -> None:
    first = package.golden[0]
    values = bytearray(first.outputs[0])
    values[0] ^= 1
    changed = replace(package, golden=(replace(first, outputs=(bytes(values),)), *package.golden[1:]))
    assert code_of(VerificationError, lambda: check_golden(changed, runner)) == "golden_differs"


def test_a_changed_weight_fails_the_golden_vectors(package: ModelPackage) -> None:
    model = bytearray(package.model)
    for at in range(8704, 8768):  # within the weights of the hidden layer, half of the file
        model[at] ^= 0x40
    assert code_of(VerificationError, lambda: check_golden(package, TfliteRunner(bytes(model)))) == "golden_differs"


def test_the_manifest_must_describe_the_model_that_runs(package: ModelPackage, runner: TfliteRunner) -> None:
    said = package.manifest
    other = [
        replace(said, inputs=(replace(said.inputs[0], shape=(1, 64)),)),
        replace(said, inputs=(replace(said.inputs[0], zero_point=0),)),
        replace(said, outputs=(replace(said.outputs[0], scale=1.0),)),
        replace(said, outputs=said.outputs * 2),
    ]
    for manifest in other:
        wrong = replace(package, manifest=manifest)
        assert code_of(VerificationError, partial(check_golden, wrong, runner)) == "model_tensor_mismatch"
    floating = replace(package, manifest=replace(said, arithmetic="float"))
    assert code_of(VerificationError, lambda: check_golden(floating, runner)) == "model_arithmetic_mismatch"


def test_an_output_of_another_length_is_named(package: ModelPackage) -> None:
    bare = TfliteRunner(package.model, resolver="builtin")
    changed = replace(package, golden=(replace(package.golden[0], outputs=(bytes(20),)),))
    assert code_of(VerificationError, lambda: check_golden(changed, bare)) == "golden_shape"


def test_a_nan_is_within_no_tolerance() -> None:
    spec = TfliteRunner(build.two_inputs()).outputs[0]
    tolerance = parse_package(digits.files()).manifest.tolerance
    nan, one = struct.pack("<4f", 1, 1, 1, float("nan")), struct.pack("<4f", 1, 1, 1, 1)
    for golden, found in ((one, nan), (nan, one)):
        with pytest.raises(VerificationError) as caught:
            tflite._check_close(spec, golden, found, tolerance, 0)
        assert caught.value.code == "golden_tolerance"


@pytest.mark.parametrize("name", build.MODELS)
def test_models_of_other_kinds_run(name: str) -> None:
    model = build.MODELS[name]()
    first = TfliteRunner(model)
    inputs = [bytes(spec.nbytes) for spec in first.inputs]
    outputs = first.run(inputs)
    assert [len(data) for data in outputs] == [spec.nbytes for spec in first.outputs]
    assert TfliteRunner(model).run(inputs) == outputs
    assert first.arithmetic == ("integer" if "uint8" in name else "float")


def test_two_inputs_are_added_in_the_models_order() -> None:
    runner = TfliteRunner(build.two_inputs())
    left, right = np.arange(16, dtype=np.float32), np.array([2.5], np.float32)
    moved = runner.run([(left + 2.5).tobytes(), bytes(4)])
    assert runner.run([left.tobytes(), right.tobytes()]) == moved
    assert code_of(FormatError, lambda: runner.run([right.tobytes(), left.tobytes()])) == "input_length"
    assert code_of(FormatError, lambda: runner.run([left.tobytes()])) == "input_count"


def test_bytes_that_are_no_model_are_refused(package: ModelPackage) -> None:
    for data in (b"", b"TFL3", b"\x1c\0\0\0TFL3" + bytes(200), package.model[:5000], package.model[::-1]):
        assert code_of(FormatError, partial(TfliteRunner, data)) == "model_unreadable"


def test_options_out_of_range_are_the_callers_error(package: ModelPackage) -> None:
    load = partial(TfliteRunner, package.model)
    for bad in (
        partial(load, threads=0),
        partial(load, threads=1025),
        partial(load, resolver="fast"),
        partial(load, family="tensorflow"),
    ):
        assert code_of(UsageError, bad) == "runtime_option"


def test_a_delegate_that_cannot_be_loaded_is_unavailable(package: ModelPackage) -> None:
    for library in ("/nonexistent/libedgetpu.so.1", "libc.so.6"):
        with pytest.raises(Unavailable, match=library) as caught:
            TfliteRunner(package.model, delegate=library)
        assert caught.value.code == "delegate_failed"


def test_a_family_that_is_not_installed_is_unavailable(package: ModelPackage) -> None:
    assert code_of(Unavailable, lambda: TfliteRunner(package.model, family="tflite-runtime")) == "runtime_missing"


def test_the_runtimes_chatter_is_held_and_other_lines_pass(capfd: pytest.CaptureFixture[str]) -> None:
    with tflite._quiet_stderr():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nERROR: kept\nlast words")
    assert capfd.readouterr().err == "ERROR: kept\nlast words"
    TfliteRunner(build.image_uint8())
    assert capfd.readouterr().err == ""


def test_an_error_inside_still_gives_standard_error_back(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(KeyError), tflite._quiet_stderr():
        raise KeyError
    os.write(2, b"here")
    assert capfd.readouterr().err == "here"
