"""Nothing can be recorded: the model goes on, what it missed is counted, and told as soon as that is possible."""

from __future__ import annotations

import json
import shutil
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from edgeseal.adapters.packagedir import read_package
from edgeseal.errors import InvariantBroken, Unavailable
from edgeseal.model import package_digest
from edgeseal.record import decode_body
from edgeseal_agent import degraded, status
from edgeseal_agent.config import Config, load
from edgeseal_agent.degraded import NAME, SIZE, Ledger, Unrecorded, is_recorders
from edgeseal_agent.identity import STORE_NAME
from edgeseal_agent.store import Store, set_meta
from edgeseal_console.demo.parts import CHECKOUT

from .conftest import Bench

PACKAGE = CHECKOUT / "models" / "digits" / "package"
FULL = Unavailable("disk_full", "no room")


def gaps(bench: Bench) -> list[dict[str, Any]]:
    return [decode_body("gap", body) for (body,) in bench.rows("SELECT body FROM records WHERE kind = 'gap'")]


def test_an_episode_is_told_once(bench: Bench, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path)
    ledger.make_room()
    assert (tmp_path / NAME).stat().st_size == SIZE
    ledger.tell(bench.store, bench.journal)
    assert gaps(bench) == []
    ledger.begin("disk_full")
    for _ in range(3):
        ledger.count()
    ledger.begin("disk_full")  # tried again, failed again: the same episode
    killed = Ledger(tmp_path)  # what a kill leaves: the file
    assert killed.tally == ledger.tally and killed.tally.count == 3
    before = (tmp_path / NAME).read_bytes()
    killed.tell(bench.store, bench.journal)
    (gap,) = gaps(bench)
    assert (gap["what"], gap["count"]) == ("inferences", 3) and "disk_full" in gap["detail"]
    (tmp_path / NAME).write_bytes(before)  # killed between the record and the file
    again = Ledger(tmp_path)
    again.tell(bench.store, bench.journal)
    assert len(gaps(bench)) == 1 and Ledger(tmp_path).tally.id == ""
    assert (tmp_path / NAME).stat().st_size == SIZE, "rewritten in place, with the room it has"


def test_none_is_hidden_by_spoiling_the_file(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(b"{")
    Ledger(tmp_path).tell(bench.store, bench.journal)
    (gap,) = gaps(bench)
    assert "could not be read" in gap["detail"]


def test_a_disk_that_takes_nothing_leaves_the_count_in_memory(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = Ledger(tmp_path / "read-only")  # the file cannot be there
    ledger.begin("store_read_only")
    ledger.count()
    ledger.tell(bench.store, bench.journal)
    assert [gap["count"] for gap in gaps(bench)] == [1]


def test_only_the_recorders_own_failures_degrade() -> None:
    assert is_recorders(FULL) and is_recorders(Unavailable("store_failed", ""))
    assert not is_recorders(Unavailable("token_failed", "")) and not is_recorders(InvariantBroken("store_damaged", ""))


def device(bench: Bench, folder: Path) -> Config:
    """A device whose store is the bench's, with the digits active and two inputs and a text waiting."""
    state, inbox = folder / "state", folder / "inbox"
    state.mkdir()
    inbox.mkdir()
    digest = package_digest(read_package(PACKAGE))
    bench.journal.execute(lambda c: set_meta(c, "model", digest)).result(60)
    bench.close()
    with closing(bench.store.connect()) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    shutil.copy(bench.path, state / STORE_NAME)
    shutil.copytree(PACKAGE, state / "packages" / digest.hex())
    manifest = json.dumps({"why": "no input of this model"}).encode()
    (inbox / "0.png").write_bytes(manifest)
    example = CHECKOUT / "models" / "digits" / "held-out.zip"
    shutil.unpack_archive(example, folder / "images")
    for number, image in enumerate(sorted((folder / "images").rglob("*.png"))[:2], 1):
        shutil.copy(image, inbox / f"{number}.png")
    (folder / "agent.yaml").write_text(
        "schema: edgeseal-agent/1\nname: cam-1\nstate_dir: state\nprovisioning: pack.cbor\n"
        "key: {token: t, label: k, create: true}\nstorage: {on_failure: degrade}\n"
        "source: {kind: watch, path: inbox, settle_ms: 0, poll_ms: 5}\n"
    )
    return load(folder / "agent.yaml")


def test_the_model_goes_on_and_every_run_is_counted(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = device(bench, tmp_path)
    monkeypatch.setattr(degraded, "RETRY_S", 1.0)
    ledger = Ledger(config.state_dir)
    ledger.make_room()
    unrecorded, stopping = Unrecorded(config, ledger), threading.Event()
    while ledger.tally.count < 3:
        unrecorded.carry_on(FULL, stopping)
    assert ledger.tally.count == 3 and Ledger(config.state_dir).tally.count == 3
    assert sorted(path.name for path in (tmp_path / "inbox.done").iterdir()) == ["1.png", "2.png"]
    assert [path.name for path in (tmp_path / "inbox.failed").iterdir()] == ["0.png"]
    with closing(Store(config.state_dir / STORE_NAME).reader()) as connection:
        assert connection.execute("SELECT count(*) FROM records").fetchone() == (2,), "nothing was recorded"
    report = status.status(config)
    assert report["unrecorded"] == 3 and "unrecorded  3 inferences" in status.as_text(report)
    stopping.set()
    unrecorded.carry_on(FULL, stopping)


def test_what_stands_in_the_way_is_waited_out(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = device(bench, tmp_path)
    monkeypatch.setattr(degraded, "RETRY_S", 0.05)
    (config.state_dir / STORE_NAME).unlink()
    ledger = Ledger(config.state_dir)
    Unrecorded(config, ledger).carry_on(FULL, threading.Event())
    assert ledger.tally.count == 0 and ledger.tally.code == "disk_full"
