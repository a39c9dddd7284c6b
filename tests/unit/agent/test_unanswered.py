"""A log that ends answers every command it took: with what was done, or that it was not."""

from __future__ import annotations

from contextlib import closing as closed_after
from functools import partial
from types import SimpleNamespace
from typing import Any

import pytest

from edgeseal.errors import Unavailable
from edgeseal.record import decode_body
from edgeseal_agent import closing, decommission, identity, rotation, unanswered
from edgeseal_agent.config import Config

from .loop import Agent, wait
from .test_epochs import Rig, check_seam, kinds, rig, store_of

__all__ = ["rig"]


def received(settings: Config, count: int) -> bool:
    return kinds(settings).count("command.received") == count


def take(rig: Rig, settings: Config, count: int, acts: dict[int, tuple[str, dict[str, Any]]]) -> list[bytes]:
    """Let the log take commands and end before anything is obeyed but what ``acts`` records of some; return digests."""
    with identity.exclusive(settings.state_dir), closing._writing(settings, store_of(settings), 1) as (journal, sealer):
        known = identity.Identity.of(store_of(settings).meta())
        parts: Any = SimpleNamespace(
            fleet=rig.side, store=store_of(settings), journal=journal, identity=known, sealer=sealer
        )
        agent = Agent(parts)
        agent.uplink.start(agent.link, agent.commands)
        agent.uplink.connected()
        digests = []
        for number in range(count):
            with agent.link.lock:
                sent = rig.side.order(agent.log, "ping", {"text": str(number)})
                reply = rig.side.deliver(rig.side.orders[-1])
            agent.link.push(*reply)
            digests.append(sent.digest)
            wait(partial(received, settings, number + 1))
            if number in acts:
                kind, fields = acts[number]
                journal.append(kind, {**fields, "cmd": sent.digest})
        agent.stop()
    return digests


def results(settings: Config) -> list[dict[str, Any]]:
    with closed_after(store_of(settings).reader()) as connection:
        rows = connection.execute("SELECT body FROM records WHERE kind = 'command.result' ORDER BY seq").fetchall()
    return [decode_body("command.result", body) for (body,) in rows]


ACTIVATED = {
    "model": bytes(32), "file": bytes(32), "name": "digits", "version": "1", "prev": None, "golden": 1,
}  # fmt: skip
REJECTED = {"model": bytes(32), "reason": "golden_differs", "detail": "no"}


def test_a_rotated_log_answers_first(rig: Rig) -> None:
    old, new = rig.init(), rig.config(2)
    digests = take(rig, old, 4, {1: ("model.activated", ACTIVATED), 2: ("model.rejected", REJECTED)})
    rig.provision()
    rotation.rotate(old, new)
    check_seam(rig, old, new)
    assert [(found["cmd"], found["ok"], found["reason"]) for found in results(old)] == [
        (digests[0], False, "log_closed"), (digests[1], True, None), (digests[2], False, "golden_differs"),
        (digests[3], False, "log_closed"),
    ]  # fmt: skip
    rotation.rotate(old, new)
    assert len(results(old)) == 4, "a second call answers nothing twice"


def test_an_end_that_was_cut_off_answers_each_command_once(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = rig.init(), rig.config(2)
    digests = take(rig, old, 3, {})
    rig.provision()
    real, calls = unanswered._note, []

    def cut(connection: Any, digest: bytes) -> None:
        calls.append(digest)
        if len(calls) == 2:
            raise Unavailable("store_failed", "the power went")
        real(connection, digest)

    with monkeypatch.context() as patched:
        patched.setattr(unanswered, "_note", cut)
        with pytest.raises(Unavailable):
            rotation.rotate(old, new)
    assert kinds(old)[-1] != "closed"
    rotation.rotate(old, new)
    assert [found["cmd"] for found in results(old)] == digests
    check_seam(rig, old, new)


def test_a_decommissioned_log_answers_too(rig: Rig) -> None:
    old = rig.init()
    (digest,) = take(rig, old, 1, {})
    decommission.decommission(old, "sold", 60, rig.link)
    assert kinds(old)[-2:] == ["command.result", "closed"] and results(old)[0]["cmd"] == digest
