"""The end of a log and the beginning of the next: rotation, what is lost with a store, decommissioning."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import closing as closed_after
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import edgeseal.adapters.pkcs11
from edgeseal import topics
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal.head import SignedDeviceHead
from edgeseal.messages import Refusal
from edgeseal.pack import Pack
from edgeseal.record import decode_body
from edgeseal.statements.enrolment import device_log_id
from edgeseal_agent import (
    closing,
    decommission,
    identity,
    incidents,
    initialise,
    lost,
    predecessor,
    recovery,
    rotation,
    status,
)
from edgeseal_agent.config import Config, load
from edgeseal_agent.configkey import KeyConfig
from edgeseal_agent.initialise import initialise as make
from edgeseal_agent.store import Store
from tests.fleetside import FleetSide, make_pack
from tests.world import Key

from .conftest import Bench, SoftSigner
from .loop import LoopLink

TEXT = """schema: edgeseal-agent/1
name: cam-1
epoch: {epoch}
groups: [all]
state_dir: state-{epoch}
provisioning: pack.cbor
key: {{token: edge, label: device-{epoch}, pin_file: pin}}
"""
TAMPER = {"what": "lid", "detail": "open"}


class Rig:
    """A device's configurations, its keys by label, and the gateway in memory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.side = FleetSide()
        self.keys = {"device-1": Key(51), "device-2": Key(52), "device-3": Key(53)}
        self.destroyed: list[str] = []
        self.provision()

    def provision(self) -> None:
        """Write the pack of the fleet as it is now."""
        (self.folder / "pack.cbor").write_bytes(make_pack(self.side.world))

    def config(self, epoch: int) -> Config:
        path = self.folder / f"agent-{epoch}.yaml"
        path.write_text(TEXT.format(epoch=epoch))
        return load(path)

    def signer(self, key: KeyConfig, expected: Any = None) -> SoftSigner:
        if key.label in self.destroyed and expected is None:
            raise UsageError("token_key_unknown", "there is no such key in the token")
        return SoftSigner(self.keys[key.label])

    def init(self) -> Config:
        found = self.config(1)
        self.side.enrol(make(found).as_json())
        return found

    def link(self, settings: Config, log: bytes, uplink: Any) -> Any:
        made = Wire(self.side)
        made.uplink = uplink
        return made

    def dial(self, settings: Config, log: bytes, received: Any) -> Any:
        made = Wire(self.side)
        made.uplink = lost._Answers(received)  # type: ignore[assignment]
        return made


class Wire(LoopLink):
    """A link that is up once it is started."""

    def start(self) -> None:
        assert self.uplink is not None
        self.uplink.connected()

    def stop(self, timeout_s: float) -> None:
        self.close()


@pytest.fixture
def rig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    made = Rig(tmp_path)
    monkeypatch.setattr(identity, "open_signer", made.signer)
    monkeypatch.setattr(identity, "destroy_key", lambda key: made.destroyed.append(key.label))
    monkeypatch.setattr(edgeseal.adapters.pkcs11, "token_model", lambda key: "SoftHSM v2")
    yield made


def store_of(settings: Config) -> Store:
    return Store.open(settings.state_dir / identity.STORE_NAME)


def kinds(settings: Config) -> list[str]:
    with closed_after(store_of(settings).reader()) as connection:
        return [kind for (kind,) in connection.execute("SELECT kind FROM records ORDER BY seq")]


def body(settings: Config, seq: int) -> dict[str, Any]:
    with closed_after(store_of(settings).reader()) as connection:
        return decode_body(*connection.execute("SELECT kind, body FROM records WHERE seq = ?", (seq,)).fetchone())


def heads(settings: Config) -> list[Any]:
    with closed_after(store_of(settings).reader()) as connection:
        return connection.execute("SELECT size, root FROM heads WHERE signed IS NOT NULL ORDER BY size").fetchall()


def check_seam(rig: Rig, old: Config, new: Config) -> None:
    assert kinds(old)[-2:] == ["key.rotated", "closed"] and kinds(new) == ["genesis", "key.bound"]
    following = device_log_id(rig.keys["device-2"].kid)
    rotated = body(old, len(kinds(old)) - 2)
    assert rotated["next"] == body(old, len(kinds(old)) - 1)["next"] == following
    assert rotated["key"] == rig.keys["device-2"].public.point
    size, root = heads(old)[-1]
    assert body(new, 0)["prev"] == [device_log_id(rig.keys["device-1"].kid), size, root] and size == len(kinds(old))
    assert body(new, 0)["epoch"] == 2 and heads(new)[-1][0] == 2


def test_a_rotation_ties_both_logs(rig: Rig) -> None:
    old, new = rig.init(), rig.config(2)
    request = rotation.rotate(old, new)
    assert request["log"] == device_log_id(rig.keys["device-2"].kid).hex()
    check_seam(rig, old, new)
    assert rotation.rotate(old, new) == request, "a second call changes nothing"
    check_seam(rig, old, new)


@pytest.mark.parametrize(
    ("module", "name"),
    [
        (initialise, "_begin"), (recovery, "begin"), (closing, "close_log"), (initialise, "_write_log"),
        (initialise, "_finish"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("done", [False, True])
def test_a_rotation_that_was_cut_off_is_taken_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, module: Any, name: str, done: bool
) -> None:
    old, new = rig.init(), rig.config(2)
    real: Callable[..., Any] = getattr(module, name)

    def cut(*arguments: Any) -> Any:
        if done:
            real(*arguments)
        raise Unavailable("store_failed", "the power went")

    with monkeypatch.context() as patched:
        patched.setattr(module, name, cut)
        with pytest.raises(Unavailable):
            rotation.rotate(old, new)
    rotation.rotate(old, new)
    check_seam(rig, old, new)


def test_a_half_written_end_is_finished_and_not_doubled(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = rig.init(), rig.config(2)
    public = rig.keys["device-2"].public
    with identity.exclusive(old.state_dir), closing._writing(old, store_of(old), 1) as (journal, _):
        journal.append("key.rotated", {"next": device_log_id(public.kid), "key": public.point})
    rotation.rotate(old, new)
    check_seam(rig, old, new)
    with pytest.raises(UsageError, match="closed_otherwise"):
        rotation.rotate(old, _other(rig))


def _other(rig: Rig) -> Config:
    """The configuration of epoch 2 with a third key, in a place of its own."""
    path = rig.folder / "other.yaml"
    path.write_text(TEXT.format(epoch=2).replace("device-2", "device-3").replace("state-2", "state-other"))
    return load(path)


@pytest.mark.parametrize("newer", ["command", "keyset"])
def test_a_pack_that_knows_less_than_the_old_log_opens_none(rig: Rig, newer: str) -> None:
    """What the old epoch obeyed, or what its keyset forbids, must not be brought to the new one again."""
    old, new = rig.init(), rig.config(2)
    store, world = identity.open_store(old), rig.side.world
    size = Pack.decode((rig.folder / "pack.cbor").read_bytes()).verify()[1].size
    with closed_after(store.connect()) as connection:
        if newer == "command":
            connection.execute("INSERT INTO meta VALUES ('command_pos', ?)", (size,))
        else:
            connection.execute("INSERT INTO keysets VALUES (2, ?)", (world.next_keyset(),))
    with pytest.raises(UsageError, match="pack_stale"):
        rotation.rotate(old, new)
    assert kinds(old)[-1] != "closed", "nothing was ended"
    world.add(world.keysets[-1] if newer == "keyset" else world.next_keyset())
    world.head()
    rig.provision()
    rotation.rotate(old, new)
    check_seam(rig, old, new)


def test_what_does_not_follow_is_refused(rig: Rig) -> None:
    old = rig.init()
    with pytest.raises(UsageError, match="successor_config"):
        rotation.rotate(old, rig.config(3))
    rig.keys["device-2"] = rig.keys["device-1"]
    with pytest.raises(UsageError, match="same key"):
        rotation.rotate(old, rig.config(2))
    with pytest.raises(UsageError, match="predecessor_missing"):
        make(_other(rig))
    assert kinds(old) == ["genesis", "key.bound"]


def test_nothing_follows_closed(bench: Bench) -> None:
    """Neither in the same batch nor after a restart; what is no record goes on."""
    tickets = [bench.journal.submit("closed", {"reason": "sold", "next": None})]
    tickets += [bench.journal.submit("tamper", TAMPER) for _ in range(3)]
    tickets[0].result(60)
    for ticket in tickets[1:]:
        with pytest.raises(UsageError, match="log_closed"):
            ticket.result(60)
    bench.sealer.wait_for(3, 60)
    bench.close()
    with pytest.raises(UsageError, match="log_closed"):
        bench.open()
    bench.open(boot=3)
    with pytest.raises(UsageError, match="log_closed"):
        bench.journal.append("tamper", TAMPER)
    assert bench.journal.execute(lambda c: c.execute("SELECT count(*) FROM records").fetchone()[0]).result(60) == 3


def test_a_closed_log_is_sent_to_its_end(rig: Rig) -> None:
    old = rig.init()
    rotation.rotate(old, rig.config(2))
    statement = rig.side.world.next_keyset()
    rig.side.world.add(statement)  # the gateway's key may change meanwhile: keysets are still followed
    rig.side.world.head()
    with identity.exclusive(old.state_dir):
        assert closing.send_rest(old, store_of(old), 60, threading.Event(), rig.link)
        assert rig.side.kinds(device_log_id(rig.keys["device-1"].kid)) == kinds(old)
        assert kinds(old)[-1] == "closed"
        with closed_after(store_of(old).reader()) as connection:
            assert connection.execute("SELECT max(version) FROM keysets").fetchone() == (2,)
        with pytest.raises(UsageError, match="no_uplink"):
            closing.send_rest(old, store_of(old), 60, threading.Event())


def test_decommissioning_destroys_the_key_last(rig: Rig) -> None:
    old = rig.init()
    rig.side.silent = True
    with pytest.raises(Unavailable, match="receipt_missing"):
        decommission.decommission(old, "sold", 0.3, rig.link)
    assert kinds(old)[-1] == "closed" and not rig.destroyed
    rig.side.silent = False
    report = decommission.decommission(old, "another word", 60, rig.link)
    assert rig.destroyed == ["device-1"] and report["reason"] == "sold" and report["size"] == len(kinds(old))
    told = status.status(old)
    assert told["closed"] == {"reason": "sold", "next": None} and "closed      for good: sold" in status.as_text(told)
    shown = SignedDeviceHead.decode(bytes.fromhex(report["head"])).verify(rig.keys["device-1"].public)
    assert (shown.size, shown.root.hex()) == (report["size"], report["root"])
    assert json.loads((old.state_dir / decommission.NOTE_NAME).read_text()) == report
    assert decommission.decommission(old, "sold", 0, rig.link) == report
    assert "closed" not in kinds(old)[:-1]


def test_a_decommissioning_killed_before_its_note_ends_with_it(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rig.init()
    with monkeypatch.context() as patched:
        patched.setattr(identity, "write_file", _power_cut)
        with pytest.raises(Unavailable):
            decommission.decommission(old, "sold", 60, rig.link)
    assert rig.destroyed == ["device-1"]
    assert decommission.decommission(old, "sold", 60, rig.link)["reason"] == "sold"
    with pytest.raises(UsageError, match="reason_invalid"):
        decommission.decommission(old, "", 60, rig.link)


def test_without_a_way_to_the_gateway_nothing_ends(rig: Rig) -> None:
    old = rig.init()
    with pytest.raises(UsageError, match="no_uplink"):
        decommission.decommission(old, "sold", 60)
    assert "closed" not in kinds(old) and not rig.destroyed


def test_root_leaves_another_accounts_state_alone(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    old = rig.init()
    before = sorted(old.state_dir.rglob("*"))
    others = SimpleNamespace(st_uid=54_321)
    with monkeypatch.context() as patched:
        patched.setattr("os.geteuid", lambda: 0)
        patched.setattr(Path, "stat", lambda path, **_: others)
        with pytest.raises(UsageError, match="wrong_account") as caught, identity.exclusive(old.state_dir):
            pass
        with pytest.raises(UsageError, match="wrong_account"):
            incidents.ask(old.state_dir, incidents.Request(incidents.new_id(), "open", 0, "why"))
        assert not identity.is_running(old.state_dir), "who only looks is not refused"
    assert caught.value.remedy == "runuser -u #54321 -- edgeseal-agent …"
    assert sorted(old.state_dir.rglob("*")) == before


def _power_cut(*arguments: Any) -> None:
    raise Unavailable("store_failed", "the power went")


def test_a_rotated_log_is_not_decommissioned(rig: Rig) -> None:
    old = rig.init()
    rotation.rotate(old, rig.config(2))
    with pytest.raises(UsageError, match="closed_otherwise"):
        decommission.decommission(old, "sold", 60, rig.link)
    assert not rig.destroyed


def lose(rig: Rig) -> Config:
    """A device whose store is gone after the gateway had some of it."""
    old = rig.init()
    with identity.exclusive(old.state_dir), closing._writing(old, store_of(old), 1) as (journal, sealer):
        for _ in range(3):
            journal.append("tamper", TAMPER)
        sealer.wait_for(5, 60)
    with identity.exclusive(old.state_dir):
        assert closing.send_rest(old, store_of(old), 60, threading.Event(), rig.link)
    for path in old.state_dir.glob(identity.STORE_NAME + "*"):
        path.unlink()
    return old


def test_a_lost_store_is_never_replaced_silently(rig: Rig) -> None:
    old = lose(rig)
    for refused in (lambda: identity.open_store(old), lambda: make(old)):
        with pytest.raises(UsageError, match="store_lost") as caught:
            refused()
        assert "init --successor" in str(caught.value.remedy)


def test_the_gateway_tells_how_far_a_lost_log_reached(rig: Rig, tmp_path: Path) -> None:
    old = lose(rig)
    found = lost.ask(old, 60, rig.dial)
    assert (found.size, found.epoch, found.log) == (5, 1, device_log_id(rig.keys["device-1"].kid))
    assert found.root == rig.side.logs[found.log].frontier.root() and "lost" in str(found.lost)
    file = tmp_path / "lost.json"
    file.write_text(json.dumps(found.as_json()))
    assert predecessor.read(file) == found
    new = rig.config(2)
    make(new, lambda key: predecessor.read(file))
    assert body(new, 0)["prev"] == [found.log, found.size, found.root]
    assert store_of(new).meta()[predecessor.LOST] == found.lost


def test_nothing_shown_is_said_to_be_nothing(rig: Rig) -> None:
    old = rig.config(1)
    found = lost.ask(old, 60, rig.dial)  # not enrolled: the gateway knows no such log
    assert (found.size, found.root, found.head) == (0, bytes(32), None)
    silent = Wire(rig.side)
    silent.lose = lambda kind: True
    with pytest.raises(Unavailable, match="gateway_silent"):
        lost.ask(old, 0.3, lambda *_: silent)
    unasked = lost.unanswered(old)
    assert (unasked.size, unasked.head) == (0, None) and "did not answer" in str(unasked.lost)
    rig.init()
    with pytest.raises(UsageError, match="state_exists"):
        lost.ask(old, 60, rig.dial)


def test_a_gateway_can_neither_invent_a_head_nor_hide_that_it_holds_more(rig: Rig) -> None:
    old = lose(rig)
    log = device_log_id(rig.keys["device-1"].kid)
    held = rig.side.logs[log]
    held.told = Pack.decode((rig.folder / "pack.cbor").read_bytes()).verify()[1].size
    first = rig.side._receipt(held, log, min(held.positions))

    class Liar(Wire):
        def publish(self, topic: str, payload: bytes) -> None:
            assert self.uplink is not None
            for reply in (
                first,
                (topics.down(log, "receipt"), b"\x00"),
                (topics.down(log, "refusal"), Refusal(log, "device_behind", "", 9).encode()),
            ):
                self.uplink.received(*reply, lambda: None)

    def dial(settings: Config, log: bytes, received: Any) -> Any:
        made = Liar(rig.side)
        made.uplink = lost._Answers(received)  # type: ignore[assignment]
        return made

    found = lost.ask(old, 2, dial)
    assert found.size == min(held.positions) and "it says that it holds 9" in str(found.lost)


@pytest.mark.parametrize(
    "change",
    [
        {"size": 4}, {"root": "00" * 32}, {"head": None}, {"log": "00" * 32}, {"schema": "another"}, {"x": "00"},
        {"epoch": "1"}, {"name": None}, {"lost": 1}, {"head": "00"},
    ],
    ids=str,
)  # fmt: skip
def test_a_predecessor_whose_parts_do_not_fit_is_refused(rig: Rig, tmp_path: Path, change: dict[str, Any]) -> None:
    found = lost.ask(lose(rig), 60, rig.dial)
    file = tmp_path / "lost.json"
    file.write_text(json.dumps({**found.as_json(), **change}))
    with pytest.raises(UsageError, match="predecessor_unreadable"):
        predecessor.read(file)


def test_another_device_is_no_successor(rig: Rig) -> None:
    found = lost.ask(lose(rig), 60, rig.dial)
    path = rig.folder / "stranger.yaml"
    path.write_text(TEXT.format(epoch=2).replace("cam-1", "cam-2"))
    with pytest.raises(EdgesealError, match="predecessor_differs"):
        make(load(path), lambda key: found)
