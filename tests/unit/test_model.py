"""The model package as names and bytes: its digest, its paths, its parts."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256

import pytest

from edgeseal import cbor
from edgeseal.errors import FormatError
from edgeseal.model import (
    MODEL_LIMITS,
    check_sizes,
    decode_package,
    encode_package,
    package_digest,
    parse_labels,
    parse_package,
    public_fields,
)
from tests.models import digits, peer

KNOWN = json.loads((digits.ROOT / "tests" / "models" / "known-digests.json").read_text())


def code_of(call: Callable[[], object]) -> str:
    with pytest.raises(FormatError) as caught:
        call()
    return caught.value.code


@pytest.mark.parametrize("name", KNOWN["digests"])
def test_the_digest_is_the_one_model_signing_puts_under_its_signature(name: str) -> None:
    assert package_digest(peer.cases()[name]).hex() == KNOWN["digests"][name]


def test_the_digest_does_not_depend_on_the_order_files_are_given_in() -> None:
    files = peer.cases()["many"]
    assert package_digest(dict(reversed(files.items()))) == package_digest(files)


def test_every_file_is_under_the_digest() -> None:
    files = digits.files()
    whole = package_digest(files)
    for path, content in files.items():
        assert package_digest({**files, path: content + b"\0"}) != whole, path
    assert package_digest({**files, "README.md": b""}) != whole


@pytest.mark.parametrize(
    ("code", "paths"),
    [
        ("model_empty", []),
        ("model_too_many_files", [f"f{n}" for n in range(MODEL_LIMITS.files + 1)]),
        ("model_path_absolute", ["/etc/passwd"]),
        ("model_path_parent", ["../x"]),
        ("model_path_parent", ["a/../b"]),
        ("model_path_parent", ["a//b"]),
        ("model_path_parent", ["./a"]),
        ("model_path_parent", ["a/"]),
        ("model_path_parent", [""]),
        ("model_path_invalid", [".git"]),
        ("model_path_invalid", ["a/.hidden"]),
        ("model_path_invalid", ["a b"]),
        ("model_path_invalid", ["a\\b"]),
        ("model_path_invalid", ["a\n"]),
        ("model_path_invalid", ["ä"]),
        ("model_path_invalid", ["x" * (MODEL_LIMITS.path + 1)]),
        ("model_path_invalid", ["/".join("a" * (MODEL_LIMITS.path_parts + 1))]),
        ("model_path_duplicate", ["Model.tflite", "model.tflite"]),
        ("model_path_duplicate", ["golden", "golden/0.bin"]),
        ("model_path_duplicate", ["A/b", "a"]),
        ("model_path_order", ["a.b", "a/x"]),
        ("model_path_order", ["a-b/x", "a/x"]),
    ],
)
def test_paths_no_package_may_have(code: str, paths: list[str]) -> None:
    assert code_of(lambda: package_digest(dict.fromkeys(paths, b"x"))) == code


def test_as_many_files_as_the_limit_allows_are_accepted() -> None:
    assert len(package_digest({f"f{n}": b"" for n in range(MODEL_LIMITS.files)})) == 32


def test_sizes_are_refused_from_their_lengths_alone() -> None:
    check_sizes([("a", MODEL_LIMITS.file), ("b", MODEL_LIMITS.total - MODEL_LIMITS.file)])
    assert code_of(lambda: check_sizes([("a", MODEL_LIMITS.file + 1)])) == "model_file_too_large"
    sizes = [(f"f{n}", MODEL_LIMITS.file) for n in range(3)]
    assert code_of(lambda: check_sizes(sizes)) == "model_too_large"


def test_the_package_holds_the_bytes_that_were_hashed() -> None:
    files = digits.files()
    package = parse_package(files)
    assert package.model is files["model.tflite"]
    assert package.model_digest == sha256(files["model.tflite"]).digest()
    assert package.digest == package_digest(files)
    assert (package.manifest.name, package.manifest.version) == ("digits", "1.0.0")
    assert package.labels == tuple("0123456789")
    assert len(package.golden) == 14
    assert package.golden[0].inputs == (files["golden/0-input0.bin"],)


def test_the_package_does_not_change_with_the_map_it_came_from() -> None:
    files = digits.files()
    package = parse_package(files)
    files["model.tflite"] = b"other"
    assert package_digest(package.files) == package.digest


def test_a_file_nothing_names_is_hashed_and_not_read() -> None:
    files = digits.files()
    package = parse_package({**files, "README.md": b"\xff\xfe"})
    assert package.digest != package_digest(files)
    assert package.files["README.md"] == b"\xff\xfe"


@pytest.mark.parametrize("missing", ["manifest.yaml", "model.tflite", "labels.txt", "golden/3-output0.bin"])
def test_a_missing_file_is_named(missing: str) -> None:
    files = digits.files()
    del files[missing]
    with pytest.raises(FormatError, match=missing) as caught:
        parse_package(files)
    assert caught.value.code == "model_file_missing"


def test_golden_tensors_have_their_exact_length() -> None:
    files = digits.files()
    assert code_of(lambda: parse_package({**files, "golden/0-input0.bin": bytes(63)})) == "model_golden"
    wide = digits.with_manifest('dtype: "int8", shape: [1, 10]', 'dtype: "int32", shape: [1, 10]')
    assert code_of(lambda: parse_package(wide)) == "model_golden"


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"a\n\nb",
        b"a\n\n",
        b"\xff",
        b"a\r\nb",
        b"bell\x07",
        b"x" * (MODEL_LIMITS.label + 1),
        b"x" * (MODEL_LIMITS.labels_file + 1),
        b"x\n" * (MODEL_LIMITS.labels + 1),
    ],
)
def test_labels_that_are_refused(data: bytes) -> None:
    assert code_of(lambda: parse_labels(data)) == "model_labels"


def test_labels_are_lines_with_or_without_a_last_newline() -> None:
    assert parse_labels("Hund\nKätzchen\n".encode()) == parse_labels("Hund\nKätzchen".encode()) == ("Hund", "Kätzchen")


def test_public_fields_are_class_and_label_of_the_first_largest_value() -> None:
    package = parse_package(digits.files())
    assert public_fields(package, [struct.pack("10b", -128, 3, 9, 9, -1, 0, 0, 0, 0, 0)]) == {"class": 2, "label": "2"}
    assert public_fields(package, [b""]) == {}
    silent = parse_package(digits.with_manifest('public: ["class", "label"]\n', ""))
    assert public_fields(silent, [bytes(10)]) == {}
    short = replace(package, labels=("0",))
    assert public_fields(short, [bytes([0, 1])]) == {"class": 1}


def test_a_package_travels_as_one_cbor_map_and_comes_back_equal() -> None:
    files = digits.files()
    data = encode_package(files)
    assert decode_package(data) == files
    assert package_digest(decode_package(data)) == package_digest(files)


@pytest.mark.parametrize(
    ("code", "value"),
    [
        ("model_transfer", [b"x"]),
        ("model_transfer", {"a": "text"}),
        ("model_transfer", {1: b"x"}),
        ("model_path_parent", {"../a": b"x"}),
        ("model_empty", {}),
    ],
)
def test_transfers_that_are_no_package(code: str, value: object) -> None:
    assert code_of(lambda: decode_package(cbor.encode(value))) == code


def test_a_transfer_with_one_path_twice_is_refused() -> None:
    twice = b"\xa2" + cbor.encode("a") + cbor.encode(b"1") + cbor.encode("a") + cbor.encode(b"2")
    assert code_of(lambda: decode_package(twice)) == "cbor_duplicate_key"
