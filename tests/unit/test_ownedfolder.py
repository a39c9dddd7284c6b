"""Temporary folders of processes that are gone are swept, those of running ones never."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from edgeseal_console.demo.ownedfolder import OWNER, OwnedFolder, sweep

_MAKES_ONE = """
import sys, time
from pathlib import Path
from edgeseal_console.demo.ownedfolder import OwnedFolder
made = OwnedFolder("broker-", Path(sys.argv[1]))
(made.path / "key").write_text("secret")
print(made.path, flush=True)
time.sleep(600)
"""
US = {os.geteuid()}


def test_a_killed_process_leaves_a_folder_that_the_next_start_removes(tmp_path: Path) -> None:
    live = OwnedFolder("broker-", tmp_path)
    with subprocess.Popen([sys.executable, "-c", _MAKES_ONE, tmp_path], stdout=subprocess.PIPE, text=True) as other:
        try:
            assert other.stdout is not None
            left = Path(other.stdout.readline().strip())
            assert (left / "key").exists()
            assert sweep("broker-", US, tmp_path) == [], "its process runs"
        finally:
            other.kill()
        other.wait()
    assert sweep("broker-", US, tmp_path) == [left]
    assert not left.exists() and live.path.exists()
    live.remove()
    live.remove()
    assert list(tmp_path.iterdir()) == []


def test_what_is_not_such_a_folder_of_ours_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "broker-without-lock").mkdir()
    foreign, elsewhere = tmp_path / "broker-of-another", tmp_path / "elsewhere"
    for folder in (foreign, elsewhere):
        folder.mkdir()
        (folder / OWNER).touch()
    (tmp_path / "broker-link").symlink_to(elsewhere)
    before = sorted(tmp_path.rglob("*"))
    assert sweep("broker-", {os.geteuid() + 1}, tmp_path) == []
    foreign.rename(tmp_path / "not-named-so")
    assert sweep("broker-", US, tmp_path) == []
    (tmp_path / "not-named-so").rename(foreign)
    assert sorted(tmp_path.rglob("*")) == before
