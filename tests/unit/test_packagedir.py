"""Package folders: read without following anything, written whole or not at all."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseal.adapters import packagedir
from edgeseal.adapters.packagedir import read_package, write_package
from edgeseal.errors import EdgesealError, FormatError, Unavailable, UsageError
from edgeseal.model import MODEL_LIMITS, package_digest
from tests.models import digits


def code_of(error: type[EdgesealError], call: Callable[[], object]) -> str:
    with pytest.raises(error) as caught:
        call()
    return caught.value.code


def test_what_is_written_reads_back(tmp_path: Path) -> None:
    files = digits.files()
    digest = write_package(files, tmp_path / "deep" / "package")
    assert digest == package_digest(files)
    assert read_package(tmp_path / "deep" / "package") == files
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["package"]


def test_an_existing_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    assert code_of(UsageError, lambda: write_package({"a": b"x"}, tmp_path / "package")) == "package_exists"
    assert list((tmp_path / "package").iterdir()) == []


def test_a_package_that_no_reader_accepts_is_not_written(tmp_path: Path) -> None:
    assert code_of(FormatError, lambda: write_package({"../a": b"x"}, tmp_path / "package")) == "model_path_parent"
    assert list(tmp_path.iterdir()) == []


def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[Path] = []

    def full_after_two(path: Path, content: bytes) -> None:
        if len(written) == 2:
            raise OSError(28, "No space left on device", str(path))
        written.append(path)

    monkeypatch.setattr(packagedir, "_write", full_after_two)
    files = {"a": b"1", "b": b"2", "c": b"3"}
    assert code_of(Unavailable, lambda: write_package(files, tmp_path / "package")) == "package_unwritable"
    assert list(tmp_path.iterdir()) == []


def test_the_written_folder_is_readable_by_others(tmp_path: Path) -> None:
    write_package({"golden/0.bin": b"x", "a": b"y"}, tmp_path / "package")
    for folder in (tmp_path / "package", tmp_path / "package" / "golden"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o755


def test_links_are_refused_wherever_they_point(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    for name, target in (("inside", "a"), ("outside", "/etc/passwd"), ("nowhere", "missing"), ("folder", "/etc")):
        link = tmp_path / name
        link.symlink_to(target)
        assert code_of(FormatError, lambda: read_package(tmp_path)) == "package_symlink", name
        link.unlink()
    assert read_package(tmp_path) == {"a": b"x"}


def test_a_pipe_is_refused_without_waiting_for_a_writer(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert code_of(FormatError, lambda: read_package(tmp_path)) == "package_special_file"


def test_a_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path has to be short
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("s")
        assert code_of(FormatError, lambda: read_package(tmp_path)) == "package_special_file"


def test_a_file_replaced_by_a_link_after_it_was_listed_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic link"):
        packagedir._read(tmp_path / "link")


def test_too_many_files_and_too_deep_folders_are_refused(tmp_path: Path) -> None:
    for number in range(MODEL_LIMITS.files + 1):
        (tmp_path / f"f{number}").touch()
    assert code_of(FormatError, lambda: read_package(tmp_path)) == "model_too_many_files"
    deep = tmp_path / "deep"
    deep.joinpath(*["d"] * (MODEL_LIMITS.path_parts + 1)).mkdir(parents=True)
    assert code_of(FormatError, lambda: read_package(deep)) == "model_path_invalid"


def test_many_files_over_many_folders_are_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        for number in range(MODEL_LIMITS.files // 2 + 1):
            (tmp_path / folder / f"f{number}").touch()
    assert code_of(FormatError, lambda: read_package(tmp_path)) == "model_too_many_files"


def test_a_huge_file_is_refused_before_it_is_read(tmp_path: Path) -> None:
    with (tmp_path / "huge").open("wb") as file:
        file.truncate(MODEL_LIMITS.file + 1)  # sparse: takes no space
    assert code_of(FormatError, lambda: read_package(tmp_path)) == "model_file_too_large"
    (tmp_path / "huge").unlink()
    for number in range(3):
        with (tmp_path / f"large{number}").open("wb") as file:
            file.truncate(MODEL_LIMITS.file)
    assert code_of(FormatError, lambda: read_package(tmp_path)) == "model_too_large"


def test_names_are_checked_before_contents(tmp_path: Path) -> None:
    (tmp_path / ".hidden").touch()
    assert code_of(FormatError, lambda: read_package(tmp_path)) == "model_path_invalid"


def test_empty_folders_are_no_part_of_a_package(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "empty").mkdir()
    assert read_package(tmp_path) == {"a": b"x"}


def test_a_missing_folder_is_the_world_being_down(tmp_path: Path) -> None:
    assert code_of(Unavailable, lambda: read_package(tmp_path / "missing")) == "package_unreadable"
