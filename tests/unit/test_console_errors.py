"""What the console says where a person's file, folder or URL cannot be used, and how it leaves."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from edgeseal_console import cli
from edgeseal_console.operate.cli_command import _settled
from tests.models import digits


def refused(capsys: pytest.CaptureFixture[str], *words: object, code: int = 1) -> str:
    """Run the console with ``--json``; return the code of the error that it printed in one line."""
    assert cli.main([*map(str, words), "--json"]) == code
    (line,) = capsys.readouterr().err.splitlines()
    return str(json.loads(line)["code"])


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    assert refused(capsys, "init", "--home", tmp_path / "file" / "ops") == "file_unusable"
    assert cli.main(["init", "--home", str(tmp_path / "file" / "ops")]) == 1
    assert str(tmp_path / "file" / "ops") in capsys.readouterr().err


def test_an_account_that_is_none_is_refused_before_any_key_is_made(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "key").write_text("no key\n")
    for name in ("key", "missing"):
        words = ("init", "--home", tmp_path / "ops", "--account-key", tmp_path / name)
        assert refused(capsys, *words) == "account_key"
    assert not (tmp_path / "ops").exists()


def test_a_gateway_that_cannot_be_meant_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ("--out", tmp_path / "case.zip")
    assert refused(capsys, "collect", "--gateway", "http://[::1", *out) == "gateway_url"
    assert refused(capsys, "collect", "--gateway", "https://x", "--ca-file", tmp_path / "no", *out) == "ca_file"
    assert not (tmp_path / "case.zip").exists()


def test_a_golden_vector_that_differs_is_an_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    package = tmp_path / "package"
    shutil.copytree(digits.DIGITS / "package", package)
    assert cli.main(["model", "inspect", str(package), "--check", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["golden_check"].startswith("passed")
    golden = package / "golden" / "0-output0.bin"
    golden.write_bytes(bytes(byte ^ 0x40 for byte in golden.read_bytes()))
    assert cli.main(["model", "inspect", str(package), "--check"]) == 2
    assert "golden check  failed" in capsys.readouterr().out


def test_a_command_is_answered_when_every_device_said_what_came_of_it() -> None:
    assert _settled([{"state": "done"}, {"state": "refused"}])
    assert not _settled([{"state": "done"}, {"state": "sent"}]) and not _settled([])
