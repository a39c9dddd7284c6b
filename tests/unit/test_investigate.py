"""The investigator's commands over a bundle on disk: exit codes, JSON, escaping, and what is refused."""

from __future__ import annotations

import json
import random
import zipfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseal import cbor, trust
from edgeseal.errors import FormatError
from edgeseal.segment import header_only
from edgeseal.verify import Answer
from edgeseal_console import cli
from edgeseal_console.investigate import replay, report
from edgeseal_console.investigate.escape import safe
from edgeseal_console.investigate.inspect import identify
from edgeseal_console.investigate.opening import opened
from edgeseal_console.investigate.verify import ground
from tests.world import Device, World, simple

EVIL = "\x1b[2Jé‮<script>alert(1)</script>"


def write(folder: Path, files: dict[str, bytes]) -> Path:
    path = folder / "case.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


@pytest.fixture
def case(tmp_path: Path) -> tuple[World, Device, Path, Path]:
    world, device = simple()
    device.add("fault", what="disk", detail=EVIL)
    device.seal()
    world.deliver(device)
    world.anchor()
    trusted = tmp_path / "trust.yaml"
    trusted.write_bytes(trust.render(world.trust()))
    return world, device, write(tmp_path, world.files()), trusted


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    code = cli.main([str(word) for word in words])
    return code, capsys.readouterr().out


def as_json(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, Any]:
    code, out = run(capsys, *words, "--json")
    return code, json.loads(out)


def test_verify_answers_and_exits_by_what_was_asked(case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, bundle, trusted = case
    assert run(capsys, "verify", bundle, "--trust", trusted, "--ask", "integrity,existed_by")[0] == 0
    code, out = run(capsys, "verify", bundle, "--trust", trusted)
    assert code == 0 and "not_reexecuted" in out and "PROVED" in out
    assert run(capsys, "verify", bundle, "--trust", trusted, "--ask", "integrity,reexecution")[0] == 3
    code, verdict = as_json(capsys, "verify", bundle)
    assert code == 3 and verdict["questions"]["attribution"]["reason"] == "no_trust"


def test_verify_reads_a_folder_as_it_reads_a_zip(case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, bundle, trusted = case
    with zipfile.ZipFile(bundle) as archive:
        archive.extractall(tmp_path / "folder")
    zipped = as_json(capsys, "verify", bundle, "--trust", trusted)
    assert as_json(capsys, "verify", tmp_path / "folder", "--trust", trusted) == zipped
    (tmp_path / "folder" / "README").unlink()
    (tmp_path / "folder" / "README").symlink_to("/etc/passwd")
    code, verdict = as_json(capsys, "verify", tmp_path / "folder", "--trust", trusted)
    assert code == 2 and verdict["failures"][0]["reason"] == "bundle_link"


def test_verify_names_the_exact_place(case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, device, _, trusted = case
    files = world.files()
    name = next(name for name in files if name.startswith("records/"))
    fields = cbor.decode(files[name], max_size=1 << 20)
    body = bytearray(fields["items"][17][2])
    body[40] ^= 1
    fields["items"][17][2] = bytes(body)
    bundle = write(tmp_path, files | {name: cbor.encode(fields)})
    code, verdict = as_json(capsys, "verify", bundle, "--trust", trusted)
    assert code == 2
    hit = verdict["failures"][0]
    assert (hit["question"], hit["log"], hit["seq"]) == ("integrity", device.log.hex(), 17)


@pytest.mark.parametrize("content", [b"", b"no zip at all", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_bundle_fails(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "case.zip"
    path.write_bytes(content)
    code, verdict = as_json(capsys, "verify", path, "--ask", "integrity")
    assert code == 2 if content[:2] != b"PK" else code == 3
    assert verdict["questions"]["integrity"]["answer"] != "ok"


def test_mistakes_of_the_caller_are_not_evidence(case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, _, bundle, _ = case
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text("schema: edgeseal-trust/1\nschema: edgeseal-trust/1\n")
    assert run(capsys, "verify", bundle, "--trust", wrong)[0] == 1
    assert run(capsys, "verify", tmp_path / "absent.zip")[0] == 1
    assert run(capsys, "verify", bundle, "--ask", "valid")[0] == 1
    assert run(capsys, "report", bundle, "--out", bundle)[0] == 1


def test_an_endpoint_that_is_down_leaves_questions_open(case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    world, _, bundle, trusted = case
    trusted.write_bytes(trust.render(world.trust(blocks=[])))
    ask = ("--rpc", "http://127.0.0.1:9", "--ask", "existed_by,single_view_fleet")
    code, verdict = as_json(capsys, "verify", bundle, "--trust", trusted, *ask)
    assert code == 3 and verdict["questions"]["existed_by"]["reason"] == "rpc_not_believed"
    assert cli.main(["verify", str(bundle), "--rpc", "http://127.0.0.1:9", "--ask", "integrity"]) == 0
    assert "nothing is taken from --rpc" in capsys.readouterr().err, "also where no question leans on it"


def test_nothing_from_evidence_reaches_the_terminal_or_the_page_raw(
    case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, _, bundle, trusted = case
    page = tmp_path / "report.html"
    code, told = run(capsys, "replay", bundle, "--trust", trusted)
    assert code == 0 and "fault" in told and "\x1b" not in told and "‮" not in told
    assert run(capsys, "report", bundle, "--trust", trusted, "--out", page)[0] == 0
    text = page.read_text()
    assert "<script" not in text and "\x1b" not in text and "‮" not in text and "&lt;script&gt;" in text
    assert "default-src 'none'" in text and "http" not in text.replace("http-equiv", "")


def test_replay_tells_the_history_in_order(case: Any, capsys: pytest.CaptureFixture[str]) -> None:
    _, device, bundle, _ = case
    code, verdict = as_json(capsys, "replay", bundle, "--ask", "integrity")
    told = verdict["timeline"]
    assert code == 0 and [e["kind"] for e in told][:4] == ["genesis", "key.bound", "boot", "command.received"]
    assert sum(event["count"] for event in told) == device.size
    assert [event["seq"] for event in told] == sorted(event["seq"] for event in told)
    assert [event["kind"] for event in told if event["gap"]] == ["fault"]


def test_inspect_reads_every_kind_of_object(case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    world, device, bundle, trusted = case
    objects = {
        "statement": world.keysets[0],
        "fleet head (7.2)": world.heads[0],
        "receipt (10)": world.receipt(3),
        "record header (4)": device.records[3].header,
        "public key (2.1)": device.key.public.encode(),
        "anchor evidence (14.1)": world.anchors[0].encode(),
        "opening (3.1)": device.openings[0].encode(),
    }
    for title, data in objects.items():
        assert identify(data)[0] == title
        path = tmp_path / "object"
        path.write_bytes(data)
        code, found = as_json(capsys, "inspect", path)
        assert code == 0 and found["object"] == title
    assert run(capsys, "inspect", bundle)[0] == 0 and run(capsys, "inspect", trusted)[0] == 0
    (tmp_path / "object").write_bytes(b"\xff\x00 nothing of ours")
    assert run(capsys, "inspect", tmp_path / "object")[0] == 2


def test_inspect_takes_any_bytes_with_named_errors_only(case: Any) -> None:
    world, device, _, _ = case
    dice = random.Random(3)
    files = world.files()
    seeds = [world.keysets[0], device.heads[0], world.receipt(3), device.records[3].header, trust.render(world.trust())]
    seeds += [data for name, data in files.items() if name.startswith(("records/", "chain/", "statements/"))]
    for _ in range(3_000):
        data = bytearray(dice.choice(seeds))
        for _ in range(dice.randrange(3)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        with suppress(FormatError):
            identify(bytes(data[: dice.choice((len(data), dice.randrange(len(data) + 1)))]))
        with suppress(FormatError):
            identify(dice.randbytes(dice.randrange(40)))


def test_collecting_two_devices_exports_keeps_what_each_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, first = simple()
    second = world.device("cam-2")
    second.infer(3)
    second.seal()
    exports = []
    for number, device in enumerate((first, second)):
        folder = tmp_path / str(number)
        folder.mkdir()
        exports += ["--device", write(folder, world.files([device], statements=(), anchors=[], heads=world.heads[:1]))]
    out = tmp_path / "both.zip"
    assert run(capsys, "collect", *exports, "--out", out)[0] == 0
    code, verdict = as_json(capsys, "verify", out, "--ask", "integrity,append_only")
    assert code == 0 and verdict["records"] == first.size + second.size
    assert run(capsys, "collect", *exports, "--out", out)[0] == 1  # it exists


def test_two_exports_of_one_device_are_put_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The older one still has bodies that were thinned since; neither is lost, whichever is named first."""
    world, device = simple()
    shorter = device.items()[:27]
    thinned = [header_only(i.header or b"", "quota") if n == 20 else i for n, i in enumerate(device.items())]
    exports = []
    for name, items in (("old", shorter), ("new", thinned)):
        (tmp_path / name).mkdir()
        exports.append(write(tmp_path / name, world.files([device], items={device.log: items})))
    for number, order in enumerate((exports, exports[::-1])):
        out = tmp_path / f"{number}.zip"
        assert run(capsys, "collect", "--device", order[0], "--device", order[1], "--out", out)[0] == 0
        code, told = as_json(capsys, "replay", out, "--ask", "integrity")
        assert code == 0 and told["records"] == device.size and told["timeline_cut"] is False
        assert [event for event in told["timeline"] if event["gap"]] == []
        with opened(out) as bundle:
            assert sum(1 for _ in bundle.openings(device.log)) == len(device.openings)
    holed = world.files([device], items={device.log: shorter})
    more = world.files([device], items={device.log: device.items()[30:]}, start=30)
    holed |= {name: data for name, data in more.items() if "records/" in name}
    assert run(capsys, "collect", "--device", write(tmp_path, holed), "--out", tmp_path / "no.zip")[0] == 1


def test_a_report_and_a_timeline_say_where_they_end(
    case: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    _, _, bundle, _ = case
    monkeypatch.setattr(report, "MAX_EVENTS", 5)
    monkeypatch.setattr(replay, "MAX_EVENTS", 5)
    page = tmp_path / "report.html"
    assert run(capsys, "report", bundle, "--out", page)[0] == 3
    text = page.read_text()
    assert "The first 5 events only" in text and "None in this history" not in text and ">fault<" in text
    _, told = as_json(capsys, "replay", bundle, "--ask", "integrity")
    assert len(told["timeline"]) == 5 and told["timeline_cut"] is True


def test_an_end_that_is_missing_and_records_left_out_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, device = simple()
    files = world.files([device], items={device.log: device.items()[:30]})
    _, told = as_json(capsys, "replay", write(tmp_path, files), "--ask", "integrity")
    last = told["timeline"][-1]
    assert (last["kind"], last["seq"], last["count"], last["gap"]) == ("missing", 30, device.size - 30, True)
    device.infer(2)  # never sealed
    assert run(capsys, "collect", "--device", write(tmp_path, world.files()), "--out", tmp_path / "out.zip")[0] == 0
    (tmp_path / "again").mkdir()
    code = cli.main(["collect", "--device", str(tmp_path / "case.zip"), "--out", str(tmp_path / "again" / "out.zip")])
    told = capsys.readouterr()
    assert code == 0 and "2 records left out" in told.out and "no signed head covers them" in told.err


def test_what_is_attested_is_never_shown_as_proved() -> None:
    attested = Answer("ok", "", ground="ATTESTED", by=None)
    assert ground(attested) == "ATTESTED by nobody named"
    assert ground(replace(attested, by="gateway ab")) == "ATTESTED by gateway ab"
    assert ground(replace(attested, ground="PROVED")) == "PROVED"


def test_safe_escapes_what_could_deceive() -> None:
    assert safe("a\x00b\r\n\x1b‮​é") == "a\\u{0}b\\u{d}\\u{a}\\u{1b}\\u{202e}\\u{200b}é"
    assert len(safe("x" * 9_999)) < 2_100
