"""When two executions owe each other the same bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from edgeseal.errors import FormatError
from edgeseal.runtime import RuntimeInfo, exactness, parse_runtime

BASE = RuntimeInfo("ai-edge-litert", "2.3.0", "xnnpack", "auto", 1, "x86_64")


@pytest.mark.parametrize(
    "current",
    [BASE, replace(BASE, version="1.4.0"), replace(BASE, threads=4), replace(BASE, arch="aarch64")],
)
def test_integer_models_are_exact_across_version_threads_and_architecture(current: RuntimeInfo) -> None:
    answer = exactness(BASE, current, "integer")
    assert answer.owed
    assert answer.differences == ()


@pytest.mark.parametrize(
    ("current", "word"),
    [
        (replace(BASE, family="tflite-runtime"), "family"),
        (replace(BASE, delegate="none"), "delegate"),
        (replace(BASE, resolver="builtin"), "resolver"),
    ],
)
def test_a_difference_is_named(current: RuntimeInfo, word: str) -> None:
    answer = exactness(BASE, current, "integer")
    assert not answer.owed
    assert len(answer.differences) == 1
    assert word in answer.differences[0]


def test_floating_point_is_never_owed() -> None:
    answer = exactness(BASE, BASE, "float")
    assert not answer.owed
    assert "floating point" in answer.differences[0]


def test_without_a_delegate_the_architecture_counts() -> None:
    bare = replace(BASE, delegate="none", resolver="builtin")
    assert exactness(bare, bare, "integer").owed
    answer = exactness(bare, replace(bare, arch="aarch64"), "integer")
    assert not answer.owed
    assert "architecture" in answer.differences[0]


def test_a_runtime_goes_through_a_record_and_back() -> None:
    assert parse_runtime(BASE.to_list()) == BASE


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("runtime_shape", None),
        ("runtime_shape", BASE.to_list()[:5]),
        ("runtime_type", [1, *BASE.to_list()[1:]]),
        ("runtime_type", [*BASE.to_list()[:4], True, "x86_64"]),
        ("runtime_type", [*BASE.to_list()[:4], "1", "x86_64"]),
        ("runtime_range", [*BASE.to_list()[:4], 0, "x86_64"]),
        ("runtime_range", ["", *BASE.to_list()[1:]]),
        ("runtime_range", ["x" * 65, *BASE.to_list()[1:]]),
    ],
)
def test_arrays_that_name_no_runtime(code: str, value: object) -> None:
    with pytest.raises(FormatError) as caught:
        parse_runtime(value)
    assert caught.value.code == code
