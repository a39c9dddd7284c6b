"""S50: everything an operator needs to watch is in one page of OpenMetrics text, and nothing in it names anybody."""

from __future__ import annotations

from pathlib import Path

import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families

from edgeseal.errors import UsageError
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain.budget import balance_state
from edgeseal_gateway.figures import ChainFigures, Figures, LeaseFigures, RpcFigures
from edgeseal_gateway.store import anchors, fleetlog, refusals
from edgeseal_gateway.web.metrics import Metrics
from edgeseal_gateway.web.page import render
from edgeseal_gateway.web.parts import Parts
from tests.gatewaystore import Founded

from .asked import Asked

ETHER = 10**18


class Watched(Founded):
    """A gateway's store and figures, and what /metrics says of them."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.figures, self.board = Figures(), Board()
        self.parts = Parts(
            self.database, self.path, self.path, self.profile, self.signer.public_key.kid, self.board, lambda: None,
            frozenset(), self.figures,
        )  # fmt: skip

    def scrape(self) -> dict[str, Metric]:
        answer = Asked(Metrics(self.parts).routes()).get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/openmetrics-text")
        assert answer.text.endswith("# EOF\n")
        families = text_string_to_metric_families(answer.text)  # type: ignore[no-untyped-call]
        return {one.name.removeprefix("edgeseal_"): one for one in families}


def value(found: dict[str, Metric], name: str, **labels: str) -> float:
    (sample,) = (one for one in found[name].samples if one.labels == labels)
    return sample.value


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    return Watched(tmp_path)


def test_S50_every_figure_that_an_alarm_needs_is_there(watched: Watched) -> None:
    state = balance_state(10 * ETHER, ETHER, ETHER, 7)
    rpc = RpcFigures("https://node.example", 3, True, 77), RpcFigures("https://other.example", 9, False, 0)
    watched.figures.put_chain(
        ChainFigures(bytes(20), 5, 10 * ETHER, state, 7, 2, 500, 11, 12, 13, 14, bumps=4, reorgs=1, sent=6, rpc=rpc)
    )
    watched.figures.put_lease(LeaseFigures(True, 3))
    watched.figures.put_outbox(8)
    found = watched.scrape()
    assert value(found, "account_nonce") == 5
    assert value(found, "account_balance_wei") == 10 * ETHER
    assert value(found, "account_balance_days") == 9
    assert value(found, "account_funds", state="ok") == 1 and value(found, "account_funds", state="low") == 0
    assert (value(found, "base_fee_wei"), value(found, "tip_wei"), value(found, "max_fee_wei")) == (7, 2, 500)
    assert (value(found, "spent_hour_wei"), value(found, "spend_limit_day_wei")) == (11, 14)
    assert value(found, "fee_bumps") == 4 and value(found, "reorgs") == 1 and value(found, "transactions_sent") == 6
    assert value(found, "rpc_errors", endpoint="https://other.example") == 9
    assert value(found, "rpc_up", endpoint="https://other.example") == 0
    assert value(found, "rpc_height", endpoint="https://node.example") == 77
    assert value(found, "lease_held") == 1 and value(found, "lease_token") == 3
    assert value(found, "outbox_messages") == 8


def test_S50_before_the_chain_was_seen_nothing_is_made_up(watched: Watched) -> None:
    found = watched.scrape()
    assert "account_balance_wei" not in found and "last_final_age_seconds" not in found
    assert value(found, "lease_held") == 0 and value(found, "anchors_pending") == 1


def test_S50_anchors_are_counted_by_state_and_finality(watched: Watched) -> None:
    size = watched.ask(fleetlog.size)
    with watched.database.write() as connection:
        anchors.first_seen(connection, size, 1)
    found = watched.scrape()
    assert value(found, "anchors", state="queued") == 1 and value(found, "anchors_unfinal") == 1
    assert value(found, "anchor_oldest_age_seconds") > 10**6, "since a millisecond after 1970"
    with watched.database.write() as connection:
        anchors.found(connection, size, anchors.CONFIRMED, bytes(32), 7, bytes(32), 0)
    found = watched.scrape()
    assert value(found, "anchors_pending") == 0 and value(found, "anchors_unfinal") == 1
    assert value(found, "anchored_size", finality="confirmed") == size
    assert value(found, "anchored_size", finality="final") == 0 and value(found, "leaves_unfinal") == size
    watched.finish_anchor(size)
    found = watched.scrape()
    assert value(found, "anchors_unfinal") == 0 and value(found, "anchor_oldest_age_seconds") == 0
    assert value(found, "anchored_size", finality="final") == size and value(found, "leaves_unfinal") == 0


def test_S50_what_was_refused_is_counted_by_reason_and_names_nobody(watched: Watched) -> None:
    device = watched.device("a-name-that-must-not-appear")
    with watched.database.write() as connection:
        for log in (device.log, bytes(31) + b"\x07"):
            refusals.count(connection, log, "bad_signature", "detail", 1, 2)
    watched.board.say("broker", UsageError("broker_unreachable", "text with <html> & secrets"))
    text = Asked(Metrics(watched.parts).routes()).get("/metrics").text
    found = watched.scrape()
    assert value(found, "refusals", reason="bad_signature") == 4
    assert value(found, "devices", state="active") == 1
    assert value(found, "trouble", code="broker_unreachable") == 1
    assert device.name not in text and device.log.hex() not in text and "secrets" not in text


def test_S50_the_status_page_says_how_certain_the_chain_is(watched: Watched) -> None:
    from edgeseal_gateway.web import answers

    size = watched.ask(fleetlog.size)
    with watched.database.write() as connection:
        anchors.found(connection, size, anchors.CONFIRMED, bytes(32), 7, bytes(32), 0)
    watched.figures.put_chain(ChainFigures(bytes(20), state=balance_state(0, 1, 0, 7)))
    with watched.database.read() as connection:
        state = answers.status(connection, watched.profile, bytes(32)) | answers.account(watched.figures)
    assert [(one["size"], one["finality"]) for one in state["anchor"]["in_flight"]] == [(size, "CONFIRMED")]
    page = render(state, {"devices": [], "applicants": []}, [])
    assert "confirmed, not final" in page and "may still take it back" in page and "blocked" in page
    assert state["account"]["funds"] == "blocked"
