"""The fault table: every system call with which the agent changes a file × {failed, failed although carried out, power
cut}, then a restart and an audit of everything that was ever told.

The rows are not written down: a reference life is recorded (``faultscenario.live``) and each of its calls is a row.
What fails in a row is really the call, below SQLite and Python (``faultdisk.c``). A row that fails is printed, and the
others are run all the same. The whole table can be run in shares: ``EDGESEAL_FAULT_ROWS=2/5`` is the second of five.
"""

from __future__ import annotations

import errno
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from edgeseal_console.demo.parts import CHECKOUT
from tests.crash.agent import faultdisk, faultscenario
from tests.crash.agent.faultdisk import AFTER, FAIL, STUCK, Call, Disk

SEED: Final = "EDGESEAL_SEED"
SHARE: Final = "EDGESEAL_FAULT_ROWS"
MEMORY: Final = Path("/dev/shm")
WAYS: Final = (
    (FAIL, errno.EIO, "EIO"), (FAIL, errno.ENOSPC, "ENOSPC"), (AFTER, errno.EIO, "EIO although carried out"),
    (STUCK, errno.ENOSPC, "ENOSPC from then on"), (STUCK, errno.EROFS, "EROFS from then on"),
)  # fmt: skip
LEFT: Final = ("nothing", "all", "some")
Tell = Callable[[str], None]
TOLD_EVERY: Final = 50
REACHED: Final = 0.7
FAULTS, CUTS, SYNCS = 16, 40, 4
"""Rows of each kind in the short form."""


class Lives:
    """Lives devices over the disk that fails, each in a process of its own, forked from one that is warm."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._errors = (folder / "stderr").open("w")
        library = faultdisk.compile_to(folder)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.crash.agent.faultscenario"],
            cwd=CHECKOUT, env={**os.environ, "LD_PRELOAD": str(library)},
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._errors, text=True,
        )  # fmt: skip

    def device(self) -> Path:
        """Make the folder of a new device."""
        folder = self.folder / "device"
        shutil.rmtree(folder, ignore_errors=True)
        faultscenario.prepare(folder)
        return folder

    def run(self, folder: Path, at: int = 0, how: int = 0, error: int = 0, goes_on: bool = False) -> list[Call]:
        """Live in ``folder`` and return all calls so far."""
        log = folder / "calls"
        row = {"folder": str(folder), "log": str(log), "at": at, "how": how, "error": error, "goes_on": goes_on}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(row) + "\n")
        self._process.stdin.flush()
        code = self._process.stdout.readline().strip()
        assert code == "0", f"the device ended with {code}: {(self.folder / 'stderr').read_text()[-3000:]}"
        return faultdisk.read_log(log)

    def audit(self, folder: Path, calls: list[Call]) -> None:
        """Restart there and hold the history against what was told."""
        out = self.folder / "out"
        shutil.rmtree(out, ignore_errors=True)
        faultscenario.audit(folder, faultdisk.told(calls), out)

    def close(self) -> None:
        """End the warm process."""
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(60)
        self._process.stdout.close()
        self._errors.close()


@pytest.fixture(scope="module")
def lives() -> Iterator[Lives]:
    """In memory where that is possible: the disk is the library's, and what lies under it need not be slow."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as folder:
        found = Lives(Path(folder))
        yield found
        found.close()


@pytest.fixture(scope="module")
def reference(lives: Lives) -> list[Call]:
    """The calls of a life in which nothing fails, and that it is a whole one."""
    folder = lives.device()
    calls = lives.run(folder)
    lives.audit(folder, calls)
    assert faultdisk.told(calls)[-1] == "end"
    assert {call.op for call in calls} == set("OWTSRUDA") and len(calls) > 600
    shutil.copytree(folder, lives.folder / "reference")
    return calls


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str]) -> Tell:
    """Prints a line at once."""

    def say(text: str) -> None:
        with capsys.disabled():
            print(text, flush=True)

    return say


@pytest.fixture
def chance(tell: Tell) -> random.Random:
    """Chance under a seed that is printed."""
    seed = int(os.environ.get(SEED) or random.SystemRandom().randrange(2**32))
    tell(f"\nfault table: {SEED}={seed}")
    return random.Random(seed)


FORMS = [False, pytest.param(True, marks=[pytest.mark.soak, pytest.mark.timeout(7200)])]


class Rows:
    """The rows that are run: all of them, or this run's share, or so many by chance; and which of them did not hold."""

    def __init__(
        self, kind: str, rows: list[Any], count: int, chance: random.Random, every: bool, tell: Tell
    ) -> None:  # fmt: skip
        part, of = map(int, (os.environ.get(SHARE) or "1/1").split("/"))
        self.rows = rows[part - 1 :: of] if every else sorted(chance.sample(rows, min(count, len(rows))))
        self._kind, self._every, self._print = f"{kind}, {part}/{of}", every, tell
        self._failed: list[str] = []

    def __iter__(self) -> Iterator[Any]:
        """Yield them, saying how far it is."""
        for number, row in enumerate(self.rows):
            if number % TOLD_EVERY == 0:
                self._tell(f"{number} of {len(self.rows)} rows run, {len(self._failed)} failed")
            yield row
        self._tell(f"{len(self.rows)} of {len(self.rows)} rows run, {len(self._failed)} failed")
        assert not self._failed, "\n".join(self._failed)

    @contextmanager
    def row(self, words: list[str]) -> Iterator[None]:
        """Run one row; when it does not hold, say which it was, in words that the row itself adds to."""
        try:
            yield
        except Exception as error:
            self._failed.append(f"row: {', '.join(words)}\n{type(error).__name__}: {error}")
            self._tell(self._failed[-1])

    def _tell(self, text: str) -> None:
        if self._every:
            self._print(f"{self._kind}: {text}")


@pytest.mark.parametrize("every", FORMS)
def test_a_call_that_fails(lives: Lives, reference: list[Call], chance: random.Random, every: bool, tell: Tell) -> None:
    calls = {call.number: call for call in reference if call.number}
    rows = [
        (number, way)
        for number, call in calls.items()
        for way in range(len(WAYS))
        if WAYS[way][1] != errno.ENOSPC or call.op in "OWDR"
    ]
    hit, table = 0, Rows("failing calls", rows, FAULTS, chance, every, tell)
    for number, way in table:
        how, error, name = WAYS[way]
        with table.row(words := [str(calls[number]), name]):
            folder = lives.device()
            done = lives.run(folder, number, how, error)
            failed = [call for call in done if call.failed]
            hit += bool(failed)
            words.append(f"this time {failed[0]}" if failed else "not reached")
            lives.audit(folder, done)
    # A life is not the same to the last call each time: a row near its end may find nothing to fail.
    assert hit >= REACHED * len(table.rows), f"only {hit} rows failed as they should"


def test_a_file_system_that_is_read_only_is_called_that(lives: Lives, reference: list[Call]) -> None:
    folder = lives.folder / "device"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(lives.folder / "reference", folder)
    before = {path: path.read_bytes() for path in (folder / "state").rglob("*") if path.is_file()}
    (folder / "calls").unlink()
    calls = lives.run(folder, 1, STUCK, errno.EROFS, goes_on=True)
    assert faultdisk.told(calls) == ["ended store_read_only"]
    assert {path: path.read_bytes() for path in before} == before
    lives.audit(folder, reference)


@pytest.mark.parametrize("every", FORMS)
def test_a_power_cut_after_any_call(
    lives: Lives, reference: list[Call], chance: random.Random, every: bool, tell: Tell
) -> None:
    rows = [(number, how) for number in range(1, len(reference) + 1) for how in LEFT]
    disk, played, table = Disk(), 0, Rows("power cuts", rows, CUTS, chance, every, tell)
    for number, how in table:
        for call in reference[played:number]:
            disk.play(call)
        played = number
        folder = lives.folder / "device"
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for name in ("agent.yaml", "pack.cbor"):
            shutil.copy(lives.folder / "reference" / name, folder)
        disk.leave(folder / "state", how, chance)
        with table.row([f"power cut after {reference[number - 1]}", f"of what was not synced {how} is there"]):
            lives.audit(folder, reference[:number])


@pytest.mark.parametrize("every", FORMS)
def test_a_sync_that_failed_and_a_power_cut_after_the_restart(
    lives: Lives, reference: list[Call], chance: random.Random, every: bool, tell: Tell
) -> None:
    """Linux says once that a sync failed; after that the pages pass for clean. The restart may not build on them."""
    rows = [call.number for call in reference if call.op == "S"]
    table = Rows("syncs that failed", rows, SYNCS, chance, every, tell)
    for number in table:
        with table.row(words := ["EIO, restart, power cut"]):
            folder = lives.device()
            first = lives.run(folder, number, FAIL, errno.EIO)
            words.append(str(next((call for call in first if call.failed), "not reached")))
            done = lives.run(folder, goes_on=True)
            disk = Disk()
            for call in done:
                disk.play(call)
            shutil.rmtree(folder / "state")
            disk.leave(folder / "state", "nothing", chance)
            lives.audit(folder, done)
