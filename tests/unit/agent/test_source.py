"""Sources: every input once, whatever was under way when the process ended."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgeseal.errors import FormatError, UsageError
from edgeseal_agent import foldersource
from edgeseal_agent.foldersource import FolderSource
from edgeseal_agent.listsource import ListSource
from edgeseal_agent.source import Source, Waiting

from .conftest import Bench


def folder(bench: Bench, base: Path, settle_ms: int = 0) -> FolderSource:
    def forget(source: str, notes: list[tuple[str, bytes]]) -> None:
        rows = [(source, *note) for note in notes]
        bench.journal.execute(
            lambda c: c.executemany("DELETE FROM taken WHERE source = ? AND name = ? AND mark = ?", rows)
        ).result()

    return FolderSource(bench.store, base / "in", base / "done", base / "failed", settle_ms, forget)


def record(bench: Bench, source: Source, item: Waiting, ok: bool = True) -> None:
    """Make the record of one input durable, and no more."""
    bench.journal.append("state", {"name": "input", "pub": {}}, source.note(item, ok))


def drop(base: Path, name: str, data: bytes = b"x") -> Path:
    path = base / "in" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_files_come_oldest_first_and_move_when_they_are_recorded(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    for place, name in enumerate(("c", "a", "b")):
        os.utime(drop(tmp_path, name, name.encode()), ns=(place, place))
    items = source.waiting()
    assert [item.name for item in items] == ["c", "a", "b"]
    assert [item.read() for item in items] == [(b"c",), (b"a",), (b"b",)]
    assert source.waiting() == []  # given once
    for item in items:
        record(bench, source, item, item.name != "b")
        source.settle(item, item.name != "b")
    assert (names(tmp_path / "in"), names(tmp_path / "done"), names(tmp_path / "failed")) == ([], ["a", "c"], ["b"])
    source.tidy()
    assert bench.rows("SELECT count(*) FROM taken") == [(0,)]


def test_a_crash_before_the_record_gives_the_file_again(bench: Bench, tmp_path: Path) -> None:
    drop(tmp_path, "a")
    assert [item.name for item in folder(bench, tmp_path).waiting()] == ["a"]
    assert [item.name for item in folder(bench, tmp_path).waiting()] == ["a"]


@pytest.mark.parametrize("ok", [True, False])
def test_a_crash_after_the_record_only_moves_the_file(bench: Bench, tmp_path: Path, ok: bool) -> None:
    drop(tmp_path, "a")
    source = folder(bench, tmp_path)
    (item,) = source.waiting()
    record(bench, source, item, ok)
    after = folder(bench, tmp_path)
    assert after.waiting() == [] and names(tmp_path / ("done" if ok else "failed")) == ["a"]
    assert bench.rows("SELECT count(*) FROM taken") == [(0,)]


def test_a_crash_after_the_move_forgets_the_note(bench: Bench, tmp_path: Path) -> None:
    path = drop(tmp_path, "a")
    source = folder(bench, tmp_path)
    (item,) = source.waiting()
    record(bench, source, item)
    path.rename(tmp_path / "done" / "a")
    assert folder(bench, tmp_path).waiting() == []
    assert bench.rows("SELECT count(*) FROM taken") == [(0,)]


def test_a_power_cut_brings_no_input_back_without_its_note(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A move is sure only when its folders are synced; the store may lie on another disk, and be quicker."""
    path = drop(tmp_path, "a")
    source = folder(bench, tmp_path)
    (item,) = source.waiting()
    record(bench, source, item)
    source.settle(item, True)
    (tmp_path / "done" / "a").rename(path)  # the power went, and the move with it
    after = folder(bench, tmp_path)
    assert after.waiting() == [] and names(tmp_path / "done") == ["a"], "moved again, and not taken again"
    steps: list[str] = []
    monkeypatch.setattr(foldersource, "sync_folder", lambda place: steps.append(place.name))
    drop(tmp_path, "b")
    (item,) = after.waiting()
    record(bench, after, item)
    after.settle(item, True)
    monkeypatch.setattr(after, "_forget", lambda source, notes: steps.extend(name for name, _ in notes))
    after.tidy()
    after.tidy()
    assert steps == ["done", "failed", "in", "b"], "the note goes last, and once"


def test_a_note_of_a_later_file_of_that_name_stays(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    for content in (b"first", b"second"):
        drop(tmp_path, "latest.jpg", content)
        (item,) = source.waiting()
        record(bench, source, item)
        if content == b"first":
            source.settle(item, True)
    source.tidy()
    assert bench.rows("SELECT name, mark FROM taken") == [("latest.jpg", b"+" + item.mark)], "it was not moved yet"


def test_the_same_name_again_is_a_new_input(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    for _ in range(3):
        drop(tmp_path, "a.png")
        (item,) = source.waiting()
        record(bench, source, item)
        source.settle(item, True)
    assert names(tmp_path / "done") == ["a.png", "a~2.png", "a~3.png"]


def test_a_name_as_long_as_names_may_be_comes_again(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    wide = "ü" * 125 + ".png"
    for name in ("x" * 255, "x" * 251 + ".png", ".".join(("a", "b" * 250)), wide):
        for _ in range(2):
            drop(tmp_path, name)
            (item,) = source.waiting()
            record(bench, source, item)
            source.settle(item, True)
    assert names(tmp_path / "in") == [] and len(names(tmp_path / "done")) == 8
    assert "ü" * 124 + "~2.png" in names(tmp_path / "done")


def test_a_camera_that_always_writes_to_one_name_is_not_slowed_down(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, real, looked = folder(bench, tmp_path), os.path.lexists, 0

    def lexists(path: str | Path) -> bool:
        nonlocal looked
        looked += 1
        return real(path)

    monkeypatch.setattr(os.path, "lexists", lexists)
    for _ in range(30):
        drop(tmp_path, "latest.jpg")
        (item,) = source.waiting()
        record(bench, source, item)
        looked = 0
        source.settle(item, True)
    assert len(names(tmp_path / "done")) == 30 and looked < 12


def test_what_takes_a_files_place_before_it_is_read_is_not_waited_for(bench: Bench, tmp_path: Path) -> None:
    path = drop(tmp_path, "a")
    (item,) = folder(bench, tmp_path).waiting()
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(FormatError, match="input_unreadable"):
        item.read()


def test_the_files_of_one_input_have_one_limit_together(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgeseal_agent.source.MAX_FILE", 10)
    for name in ("case/0", "case/1"):
        drop(tmp_path, name, b"123456")
    (item,) = folder(bench, tmp_path).waiting()
    with pytest.raises(FormatError, match="input_too_large"):
        item.read()
    drop(tmp_path, "case/1", b"1234")
    assert item.read() == (b"123456", b"1234")


def test_a_new_file_under_a_noted_name_is_not_taken_for_the_old_one(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    old = drop(tmp_path, "a", b"old")
    (item,) = source.waiting()
    record(bench, source, item)
    old.rename(tmp_path / "done" / "a")  # then the crash; and while the agent is down the same name comes again
    drop(tmp_path, "a", b"new")
    (again,) = folder(bench, tmp_path).waiting()
    assert again.read() == (b"new",)


def test_files_still_being_written_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path, settle_ms=3_600_000)
    drop(tmp_path, "growing")
    assert source.waiting() == [] and source.expecting
    quick = folder(bench, tmp_path)
    for name in (".hidden", "a.part", "b.tmp"):
        drop(tmp_path, name)
    assert [item.name for item in quick.waiting()] == ["growing"]
    assert not quick.expecting


def test_a_folder_of_files_is_one_input(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    drop(tmp_path, "case/1.npy", b"second")
    drop(tmp_path, "case/0.npy", b"first")
    (tmp_path / "in" / "empty").mkdir()
    (item,) = source.waiting()
    assert item.read() == (b"first", b"second")
    record(bench, source, item)
    source.settle(item, True)
    assert names(tmp_path / "done" / "case") == ["0.npy", "1.npy"]


def test_names_that_are_not_utf8_are_left_alone(bench: Bench, tmp_path: Path) -> None:
    source = folder(bench, tmp_path)
    os.close(os.open(os.fsencode(tmp_path / "in") + b"/\xff", os.O_CREAT, 0o600))
    assert source.waiting() == []


@pytest.mark.parametrize(("done", "failed"), [("in", "failed"), ("in/done", "failed"), ("done", "in/x")])
def test_folders_inside_the_watched_one_are_refused(bench: Bench, tmp_path: Path, done: str, failed: str) -> None:
    with pytest.raises(UsageError) as caught:
        FolderSource(bench.store, tmp_path / "in", tmp_path / done, tmp_path / failed, 0, lambda source, names: None)
    assert caught.value.code == "source_folder"


Lines = Callable[[str], Path]


def test_a_list_is_taken_line_by_line_and_once(bench: Bench, tmp_path: Path) -> None:
    (tmp_path / "two").mkdir()
    for name in ("a", "b c", "two/0", "two/1"):
        (tmp_path / name).write_bytes(name.encode())
    path = tmp_path / "list"
    path.write_text("# inputs\na\n\n'b c'  a\ntwo\nmissing\n\"unclosed\n")
    source = ListSource(bench.store, path)
    items = source.waiting()
    assert [item.name for item in items] == ["2", "4", "5", "6", "7"]
    assert [item.read() for item in items[:3]] == [(b"a",), (b"b c", b"a"), (b"two/0", b"two/1")]
    for item, code in zip(items[3:], ("input_unreadable", "input_count"), strict=True):
        with pytest.raises(FormatError) as caught:
            item.read()
        assert caught.value.code == code
    assert not source.expecting
    for item in items[:2]:
        record(bench, source, item)
    assert [item.name for item in ListSource(bench.store, path).waiting()] == ["5", "6", "7"]
    path.write_text("a\n")  # another list
    assert [item.name for item in ListSource(bench.store, path).waiting()] == ["1"]


def test_a_line_that_names_a_pipe_is_not_waited_for(bench: Bench, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "list").write_text("pipe\nx\0y\n")
    for item in ListSource(bench.store, tmp_path / "list").waiting():
        with pytest.raises(FormatError, match="input_unreadable"):
            item.read()


def test_a_list_that_is_not_there_says_so(bench: Bench, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        ListSource(bench.store, tmp_path / "none")
    assert caught.value.code == "source_list"
