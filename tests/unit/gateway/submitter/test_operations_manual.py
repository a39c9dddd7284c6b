"""S47: what is done by hand is kept with time and words, carried out once, and open to nobody's web page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgeseal.errors import InvariantBroken, UsageError
from edgeseal_gateway import manual
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain.lease import Lease
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer
from edgeseal_gateway.store import anchors, fleetlog, operations
from edgeseal_gateway.web.operations import Operations
from edgeseal_gateway.web.parts import Parts
from tests.gatewaystore import Founded

from .asked import Asked


@pytest.fixture
def founded(tmp_path: Path) -> Founded:
    return Founded(tmp_path)


@pytest.fixture
def web(founded: Founded) -> Asked:
    parts = Parts(
        founded.database, founded.path, founded.path, founded.profile, founded.signer.public_key.kid, Board(),
        lambda: None, frozenset(),
    )  # fmt: skip
    return Asked(Operations(parts).routes())


def ask(web: Asked, what: str = "flush", words: str = "auditor: before Friday", **more: Any) -> Any:
    return web.post("/v1/operations", json={"what": what, "words": words, **more})


def test_S47_what_is_asked_for_is_kept_with_time_words_and_outcome(founded: Founded, web: Asked) -> None:
    assert ask(web).json() == {"id": 1, "state": "asked"}
    assert ask(web, "cancel", "operator: stuck since noon", target=7).status_code == 202
    called: list[int] = []
    assert manual.carry_out_flushes(founded.database, lambda: called.append(1), 9_000) == 1
    assert manual.carry_out_flushes(founded.database, lambda: called.append(1), 9_001) == 0 and called == [1]
    first, second = web.get("/v1/operations").json()["operations"]
    assert (first["state"], first["words"], first["done_at"]) == ("done", "auditor: before Friday", 9_000)
    assert first["at"] > 1_600_000_000_000 and first["outcome"]
    assert (second["state"], second["target"], second["outcome"]) == ("asked", 7, None)
    assert [one.what for one in founded.ask(operations.asked)] == ["cancel"], "the sender's, which carries it out"


def test_S47_an_operation_that_was_carried_out_keeps_its_outcome(founded: Founded) -> None:
    with founded.database.write() as connection:
        number = operations.ask(connection, "flush", None, "why", 1)
        operations.finish(connection, number, operations.DONE, "anchored", 2)
        operations.finish(connection, number, operations.REFUSED, "another outcome", 3)
    (one,) = founded.ask(operations.every, 0, 10)
    assert (one.state, one.outcome, one.done_at_ms) == ("done", "anchored", 2)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"what": "flush", "words": ""}, "operation_words"),
        ({"what": "flush", "words": "   "}, "operation_words"),
        ({"what": "flush", "words": "x" * 401}, "operation_words"),
        ({"what": "flush", "words": "two\nlines"}, "operation_words"),
        ({"what": "flush"}, "operation"),
        ({"what": "flush", "words": "w", "target": 3}, "operation"),
        ({"what": "cancel", "words": "w"}, "operation"),
        ({"what": "cancel", "words": "w", "target": -1}, "operation"),
        ({"what": "cancel", "words": "w", "target": True}, "operation"),
        ({"what": "abandon", "words": "w", "target": 1 << 62}, "operation"),
        ({"what": "reload", "words": "w"}, "operation"),
        ({"what": ["flush"], "words": "w"}, "operation"),
        ({"what": "flush", "words": "w", "more": 1}, "operation"),
        ([], "operation"),
    ],
)
def test_S47_what_makes_no_sense_is_refused_and_not_kept(web: Asked, body: Any, code: str) -> None:
    answer = web.post("/v1/operations", json=body)
    assert answer.status_code == 400 and answer.json()["code"] == code
    assert web.get("/v1/operations").json()["operations"] == []


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json", "Origin": "http://evil.example"},
        {"Content-Type": "application/json", "Origin": "null"},
    ],
)
def test_S47_a_web_page_cannot_ask(web: Asked, headers: dict[str, str]) -> None:
    """A form or script of a foreign page reaches the loopback address with the browser of whoever looks at it."""
    answer = web.post("/v1/operations", content=b'{"what": "flush", "words": "w"}', headers=headers)
    assert answer.status_code == 400 and answer.json()["code"] == "content_type"
    assert web.get("/v1/operations").json()["operations"] == []


def test_S47_nobody_fills_the_store_with_operations(founded: Founded, web: Asked) -> None:
    with founded.database.write() as connection:
        for _ in range(operations.MAX_ASKED):
            operations.ask(connection, "flush", None, "why", 1)
    assert ask(web).json()["code"] == "operations_waiting"
    assert manual.carry_out_flushes(founded.database, lambda: None, 1) == operations.MAX_ASKED
    assert ask(web).status_code == 202
    with pytest.raises(UsageError), founded.database.write() as connection:
        operations.ask(connection, "flush", None, "", 1)


def test_S47_a_flush_anchors_the_next_head_and_only_that(founded: Founded) -> None:
    founded.finish_anchor(founded.ask(fleetlog.size))
    founded.device("cam-1")
    assert founded.ask(anchors.newest_wanted) is None, "the policy would let it wait for a day"
    founded.sequencer.flush()
    size = founded.sequence()
    wanted = founded.ask(anchors.newest_wanted)
    assert wanted is not None and wanted.size == size
    founded.finish_anchor(size)
    founded.device("cam-2")
    assert founded.ask(anchors.newest_wanted) is None, "flushed once"


def test_S47_with_everything_anchored_a_flush_adds_nothing(founded: Founded) -> None:
    size = founded.ask(fleetlog.size)
    founded.finish_anchor(size)
    founded.sequencer.flush()
    assert founded.sequence() == size
    founded.device("cam-1")
    assert founded.ask(anchors.newest_wanted) is None, "what was asked for then is not done later"


def leased(founded: Founded, boot: str) -> tuple[Lease, Sequencer]:
    lease = Lease(founded.database, lambda: founded.monotonic, lambda: int(founded.monotonic * 1000), boot)
    log, policy = founded.profile.fleet_log, AnchorPolicy(None, None)
    return lease, Sequencer(founded.database, founded.signer, log, policy, lambda: founded.monotonic, lease)


def test_S42_without_the_lease_no_fleet_head_is_signed(founded: Founded) -> None:
    first, signing = leased(founded, "boot-a")
    second, waiting = leased(founded, "boot-b")
    first.acquire()
    device = founded.tenant.device_of("cam-1")
    founded.hand_in(founded.tenant.enrolment(device))
    before = len(founded.signer.signed)
    assert not waiting.step() and waiting.blocked is not None and waiting.blocked.code == "lease_not_held"
    assert len(founded.signer.signed) == before
    assert signing.step() and len(founded.signer.signed) > before
    assert not second.held()


def test_S42_a_paused_sequencer_that_wakes_up_after_its_lease_was_taken_signs_nothing(founded: Founded) -> None:
    """It believes in its lease to the end: what stops it is the token, compared where the head is stored."""
    paused, signing = leased(founded, "boot-a")
    paused.acquire()
    other = Lease(founded.database, lambda: 0.0, lambda: 10**12, "boot-b")
    other.acquire()
    device = founded.tenant.device_of("cam-1")
    founded.hand_in(founded.tenant.enrolment(device))
    size, before = founded.ask(fleetlog.size), len(founded.signer.signed)
    assert paused.held()
    with pytest.raises(InvariantBroken, match="lease_lost"):
        signing.step()
    assert founded.ask(fleetlog.size) == size and len(founded.signer.signed) == before
