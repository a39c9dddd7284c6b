"""The agent as a process: real token, real model, real broker."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import zipfile
from contextlib import closing
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgeseal import commitment, container
from edgeseal.bundle import Bundle
from edgeseal.merkle import leaf_hash
from edgeseal.model import encode_package
from edgeseal.record import Header, decode_body
from edgeseal_agent import recovery
from edgeseal_agent.store import Store
from edgeseal_console.demo.parts import Broker
from tests.agentrig import MODEL, AgentRig, Gateway, wait
from tests.fleetside import FleetSide, Reply, make_pack


def package_files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def bodies(rig: AgentRig, kind: str) -> list[dict[str, Any]]:
    reader = Store(rig.folder / "state" / "journal.db").reader()
    rows = reader.execute("SELECT body FROM records WHERE kind = ? ORDER BY seq", (kind,)).fetchall()
    reader.close()
    return [decode_body(kind, body) for (body,) in rows]


def test_from_images_to_receipts(rig: AgentRig, gateway: Gateway) -> None:
    rig.drop(60)
    rig.start()
    wait(lambda: rig.done() == 60)
    wait(lambda: rig.status()["acknowledged"] >= 60)
    rig.stop()
    held = gateway.held(rig.log)
    assert rig.acks == {seq: held[seq] for seq in range(2, len(held))}  # 0 and 1 are init's
    status = rig.status()
    assert (status["unsent"], status["unsealed"], status["daemon"]["running"]) == (0, 0, False)
    kinds = gateway.side.kinds(rig.log)
    assert kinds[:3] == ["genesis", "key.bound", "boot"] and kinds[-1] == "shutdown"
    assert kinds.count("inference") == 60 and kinds.count("model.activated") == 1
    classes = [body["pub"]["class"] for body in bodies(rig, "inference")]
    assert len(set(classes)) > 1 and all(0 <= found <= 9 for found in classes)
    boot = bodies(rig, "boot")[0]
    assert (boot["reason"], boot["clean"]) == ("init", True)


def test_the_broker_is_down_for_the_first_half(rig: AgentRig, gateway: Gateway, broker: Broker) -> None:
    """Done-when 4: nothing lost, order kept, all receipts arrive."""
    broker.kill()
    rig.drop(100, "first")
    rig.start()
    wait(lambda: rig.done() == 100)
    assert rig.status()["acknowledged"] == 0 and gateway.held(rig.log) == []
    broker.start()
    rig.drop(100, "second")
    wait(lambda: rig.done() == 200)
    wait(lambda: rig.status()["unsent"] == 0 or rig.status()["acknowledged"] >= 203)
    rig.stop()
    held = gateway.held(rig.log)
    assert rig.acks == {seq: held[seq] for seq in range(2, len(held))}
    assert rig.status()["unsent"] == 0
    assert gateway.side.kinds(rig.log).count("inference") == 200


def test_a_model_comes_by_command_and_a_bad_one_leaves_it(
    tmp_path: Path, gateway: Gateway, broker: Broker
) -> None:  # fmt: skip
    rig = AgentRig.enrolled(tmp_path / "device", gateway, broker)
    files = package_files(MODEL / "package")
    with gateway.lock:
        good = _publish(gateway.side, files)
        broken = dict(files)
        golden = next(path for path in sorted(files) if path.startswith("golden/") and "out" in path)
        broken[golden] = bytes(byte ^ 0x55 for byte in files[golden])
        bad = _publish(gateway.side, broken)
    try:
        rig.start()
        _order(gateway, rig, good)
        wait(lambda: len(bodies(rig, "command.result")) == 1)
        rig.drop(5)
        wait(lambda: rig.done() == 5)
        _order(gateway, rig, bad)
        _order(gateway, rig, b"\x01" * 32)
        wait(lambda: len(bodies(rig, "command.result")) == 3)
        rig.drop(5, "later")
        wait(lambda: rig.done() == 10)
        rig.stop()
        assert [body["ok"] for body in bodies(rig, "command.result")] == [True, False, False]
        rejected = bodies(rig, "model.rejected")
        assert [body["reason"] for body in rejected] == ["golden_differs", "package_unavailable"]
        assert rejected[0]["model"] == bad
        assert {body["model"] for body in bodies(rig, "inference")} == {good}
        (activated,) = bodies(rig, "model.activated")
        assert activated["cmd"] == sha256(gateway.side.orders[0].sent.raw).digest()
        rig.start()  # and after a restart the commanded model runs again, without a new activation
        rig.drop(3, "again")
        wait(lambda: rig.done() == 13)
        rig.stop()
        assert len(bodies(rig, "model.activated")) == 1
    finally:
        rig.close()


def _publish(side: FleetSide, files: dict[str, bytes]) -> bytes:
    from edgeseal.model import package_digest

    digest = package_digest(files)
    side.packages[digest] = encode_package(files)
    return digest


def _order(gateway: Gateway, rig: AgentRig, model: bytes) -> None:
    def make(side: FleetSide) -> Reply:
        side.order(rig.log, "model.activate", {"model": model})
        return side.deliver(side.orders[-1])

    gateway.do(make)


def test_the_export_holds_everything_and_opens(rig: AgentRig, gateway: Gateway) -> None:
    rig.drop(10)
    rig.start()
    gateway.do(lambda side: (side.order(rig.log, "ping", {"text": "hello"}), side.deliver(side.orders[-1]))[1])
    wait(lambda: rig.done() == 10 and bodies(rig, "command.result"))
    running = rig.folder / "running"
    counts = json.loads(rig.run("export", "--out", str(running), "--json"))
    assert counts["records"] > 12 and counts["inputs"] == 10 and counts["models"] == 1
    wait(lambda: rig.status()["acknowledged"] > 12)
    rig.stop()
    out = rig.folder / "device.zip"
    rig.run("export", "--out", str(out))
    assert "out_exists" in rig.run("export", "--out", str(out), code=1)
    with out.open("rb") as file:
        _check_bundle(Bundle(container.ZipSource(file)), rig, gateway)


def _check_bundle(bundle: Bundle, rig: AgentRig, gateway: Gateway) -> None:
    assert bundle.logs() == [rig.log]
    items = [item for _, chunk in bundle.records(rig.log) for item in chunk]
    held = gateway.side.logs[rig.log].items
    assert [(item[1], item[2]) for item in items] == [(item.header, item.body) for item in held]
    assert len(list(bundle.heads(rig.log))) >= len(gateway.side.logs[rig.log].heads)
    statements = dict(bundle.statements())
    assert all(gateway.side.world.statements[pos] == raw for pos, raw in statements.items()) and len(statements) > 2
    assert len(bundle.packages()) == 1
    opened = set()
    for opening in bundle.openings(rig.log):
        header = Header.decode(items[opening.seq][1])
        body = decode_body(header.kind, items[opening.seq][2])
        if opening.field == "args":
            continue
        data = opening.data if opening.file is None else bundle.input(opening.file)
        assert data is not None
        commitment.verify(opening.field, body[opening.field], opening.salt, data)
        opened.add((header.kind, opening.field))
    assert opened == {
        ("inference", "input"),
        ("inference", "tensor"),
        ("inference", "output"),
        ("command.result", "result"),
    }


def test_inputs_that_do_not_fit_are_faults_and_set_aside(rig: AgentRig) -> None:
    (rig.inbox / "a.png").write_bytes(b"\x89PNG\r\n\x1a\nno image")
    (rig.inbox / "b.txt").write_bytes(b"text")
    rig.drop(1)
    rig.start()
    wait(lambda: rig.done() == 1 and len(list((rig.folder / "inbox.failed").iterdir())) == 2)
    rig.stop()
    details = sorted(body["detail"] for body in bodies(rig, "fault"))
    assert [detail.split(": ")[1] for detail in details] == ["input_image", "input_kind"]


def test_a_list_once(rig: AgentRig) -> None:
    with zipfile.ZipFile(MODEL / "held-out.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".png")][:20]
        archive.extractall(rig.folder / "set", names)
    listing = rig.folder / "list.txt"
    listing.write_text("".join(f"set/{name}\n" for name in names))
    rig.start("--list", str(listing), "--once")
    rig.wait_end()
    assert len(bodies(rig, "inference")) == 20 and rig.status()["unsealed"] == 0
    rig.start("--list", str(listing), "--once")  # worked through: nothing happens again
    rig.wait_end()
    assert len(bodies(rig, "inference")) == 20
    rig.start("--list", str(listing), "--once", "--again")
    rig.wait_end()
    assert len(bodies(rig, "inference")) == 40


def test_two_agents_on_one_state_are_refused(rig: AgentRig) -> None:
    rig.start()
    wait(lambda: rig.status()["daemon"]["running"])
    assert "already_running" in rig.run("run", code=1)
    rig.stop()


def test_run_makes_no_state_and_init_no_second_one(rig: AgentRig, tmp_path: Path, gateway: Gateway) -> None:
    assert "state_exists" in rig.run("init", code=1)
    fresh = AgentRig(tmp_path / "fresh", make_pack(gateway.side.world))
    assert "state_missing" in fresh.run("run", code=1)
    assert not (fresh.folder / "state" / "journal.db").exists()
    os.rename(rig.folder / "state" / "journal.db", rig.folder / "gone.db")
    for command in ("run", "status", "init"):
        assert "store_lost" in rig.run(command, code=1), "a history is never begun anew silently"


def test_a_pack_of_another_root_is_refused(tmp_path: Path) -> None:
    from edgeseal.pack import Pack
    from tests.world import World

    mine, other = Pack.decode(make_pack(World(1))), Pack.decode(make_pack(World(2)))
    spoiled = {
        "log_id": Pack(mine.root, mine.chain, mine.contract, mine.nonce, other.log, mine.keyset, mine.head),
        "wrong_key": Pack(mine.root, mine.chain, mine.contract, mine.nonce, mine.log, other.keyset, mine.head),
        "wrong_log": Pack(mine.root, mine.chain, mine.contract, mine.nonce, mine.log, mine.keyset, other.head),
    }
    for code, pack in spoiled.items():
        rig = AgentRig(tmp_path / code, pack.encode())
        assert code in rig.run("init", code=1)
        assert not (rig.folder / "state" / "journal.db").exists()
    rig = AgentRig(tmp_path / "torn", mine.encode()[:-1])
    assert "cbor_" in rig.run("init", code=1)


def test_check_says_what_is_wrong_and_how_to_mend_it(rig: AgentRig) -> None:
    found = {finding["what"]: finding for finding in json.loads(rig.run("check", "--json"))["findings"]}
    assert {
        name: found[name]["state"] for name in ("store", "epoch secret", "device key", "model", "broker")
    } == dict.fromkeys(("store", "epoch secret", "device key", "model", "broker"), "ok")
    (rig.folder / "state" / "epoch.secret").chmod(0o644)
    (rig.folder / "state" / "token" / "edge.pin").write_text("wrong-pin\n")
    said = rig.run("check", "--json", code=1)
    assert said == ""  # findings stand on standard output
    found = {finding["what"]: finding for finding in json.loads(rig.run("check", "--json", code=None))["findings"]}
    assert found["epoch secret"]["state"] == "fail" and "0600" in found["epoch secret"]["detail"]
    assert found["device key"]["state"] == "fail" and "PIN" in found["device key"]["remedy"]


def test_a_sudden_and_a_clean_end_are_told_apart(rig: AgentRig) -> None:
    rig.start()
    wait(lambda: rig.status()["size"] >= 3)
    rig.stop(signal.SIGKILL, code=None)
    rig.start()
    wait(lambda: len(bodies(rig, "boot")) == 2)
    rig.stop(signal.SIGINT)
    rig.start()
    wait(lambda: len(bodies(rig, "boot")) == 3)
    rig.stop()
    assert [(body["reason"], body["clean"]) for body in bodies(rig, "boot")] == [
        ("init", True), ("start", False), ("start", True),
    ]  # fmt: skip
    headers = [Header.decode(row) for row in _headers(rig)]
    boots = [header.boot for header in headers]
    assert boots == sorted(boots) and boots[0] == 1 and max(boots) == 4


SMALL_QUOTA_INPUTS = 1_500


def _headers(rig: AgentRig) -> list[bytes]:
    reader = Store(rig.folder / "state" / "journal.db").reader()
    rows = reader.execute("SELECT header FROM records ORDER BY seq").fetchall()
    reader.close()
    return [header for (header,) in rows]


def test_a_quota_that_is_reached_stops_clearly_and_loses_nothing(
    tmp_path: Path, gateway: Gateway, broker: Broker
) -> None:
    rig = AgentRig.enrolled(
        tmp_path / "device",
        gateway,
        broker,
        extra=[f"model: {{package: {MODEL / 'package'}}}", "storage: {quota_mb: 1}"],
    )
    try:
        rig.drop(1000)
        rig.start()
        rig.wait_end(code=1)
        assert "quota_reached" in rig.said() and "storage.quota_mb" in rig.said()
        rig.config.write_text(rig.config.read_text().replace("quota_mb: 1}", "quota_mb: 100}"))
        rig.start()
        wait(lambda: rig.done() == 1000)
        wait(lambda: rig.status()["acknowledged"] > 1000)
        rig.stop()
        held = gateway.held(rig.log)
        assert rig.acks == {seq: held[seq] for seq in range(2, len(held))}
        assert gateway.side.kinds(rig.log).count("inference") == 1000
    finally:
        rig.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_disk_that_fills_up_stops_clearly_and_loses_nothing(tmp_path: Path) -> None:
    """A real full disk: a file system of a few megabytes, with nothing kept back as a reserve."""
    rig = AgentRig(
        tmp_path / "device",
        make_pack(FleetSide().world),
        extra=[f"model: {{package: {MODEL / 'package'}}}", "storage: {min_free_mb: 0}"],
    )
    rig.init()
    state, small = rig.folder / "state", tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "none", str(small)], capture_output=True)
    if mounted.returncode:
        pytest.skip("needs root")  # of a container that may not mount
    try:
        shutil.copytree(state, small / "state")
        rig.config.write_text(rig.config.read_text().replace("state_dir: state", f"state_dir: {small / 'state'}"))
        rig.drop(3000)
        rig.start()
        rig.wait_end(code=1)
        assert "disk_full" in rig.said() and "free disk space" in rig.said()
        subprocess.run(["mount", "-o", "remount,size=50m", str(small)], check=True)
        rig.start("--once")
        rig.wait_end()
        store = Store(small / "state" / "journal.db")
        assert recovery.check(store) > 3000
        with closing(store.reader()) as reader:
            rows = reader.execute("SELECT header FROM records ORDER BY seq").fetchall()
            kinds = dict(reader.execute("SELECT kind, count(*) FROM records GROUP BY kind").fetchall())
        leaves = [leaf_hash(header).hex() for (header,) in rows]
        assert rig.acks == {seq: leaves[seq] for seq in range(2, len(leaves))}
        assert kinds["inference"] == 3000 == rig.done()
    finally:
        rig.close()
        subprocess.run(["umount", str(small)], check=True)


def test_a_quota_may_cost_inputs_instead(tmp_path: Path) -> None:
    rig = AgentRig(
        tmp_path / "device",
        make_pack(FleetSide().world),
        extra=[f"model: {{package: {MODEL / 'package'}}}", "storage: {quota_mb: 1, when_full: drop_inputs}"],
    )
    rig.init()
    rig.drop(1000)
    rig.start("--once")
    rig.wait_end()
    assert len(bodies(rig, "inference")) == 1000 and len(bodies(rig, "gap")) == 1


def test_inputs_wait_at_a_small_quota_until_thinning_made_room(tmp_path: Path) -> None:
    """Far more inputs than a quota of a megabyte takes as they are, faster than bodies go."""
    rig = AgentRig(
        tmp_path / "device",
        make_pack(FleetSide().world),
        extra=[
            f"model: {{package: {MODEL / 'package'}}}",
            "storage: {quota_mb: 1, when_full: thin, min_free_mb: 1}",
            "seal: {head_every: 256}",
        ],
    )
    rig.init()
    rig.drop(SMALL_QUOTA_INPUTS)
    rig.start("--once")
    rig.wait_end()
    store = Store(rig.folder / "state" / "journal.db")
    assert recovery.check(store) > SMALL_QUOTA_INPUTS
    with closing(store.reader()) as reader:
        kinds = dict(reader.execute("SELECT kind, count(*) FROM records GROUP BY kind").fetchall())
    assert kinds["inference"] == SMALL_QUOTA_INPUTS == rig.done() and kinds["thinned"] > 1
    assert store.bytes_in_use() < 1_048_576


def test_a_quota_that_was_lowered_is_thinned_to(tmp_path: Path) -> None:
    """The store is beyond it when the agent starts: it makes room first, and only then takes inputs."""
    rig = AgentRig(
        tmp_path / "device",
        make_pack(FleetSide().world),
        extra=[f"model: {{package: {MODEL / 'package'}}}", "storage: {quota_mb: 100, when_full: thin}"],
    )
    rig.init()
    rig.drop(1_200)
    rig.start("--once")
    rig.wait_end()
    store = Store(rig.folder / "state" / "journal.db")
    assert store.bytes_in_use() > 1_048_576, "with its inputs"
    rig.config.write_text(rig.config.read_text().replace("quota_mb: 100", "quota_mb: 1"))
    rig.drop(100, "later")
    rig.start("--once")
    rig.wait_end()
    assert rig.done() == 1_300 and store.bytes_in_use() < 1_048_576
    assert recovery.check(store) > 1_300
