"""The chain stage while the registries' mirror refuses: nothing new goes out, what is on its way is followed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal_gateway import chainstage
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain import keystore
from edgeseal_gateway.chainstage import ChainStage
from edgeseal_gateway.config import Config
from edgeseal_gateway.figures import Figures
from edgeseal_gateway.store import anchors
from tests.fakes.submitter import Rig


class Mirror:
    """A mirror that refuses as long as a test says so."""

    refuses: EdgesealError | None = None

    def __init__(self, *_: Any) -> None:
        pass

    def step(self) -> int:
        if Mirror.refuses is not None:
            raise Mirror.refuses
        return 0


@pytest.fixture
def stage(rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ChainStage:
    """The chain stage of the rig's gateway, on its endpoint."""
    monkeypatch.setattr(chainstage, "EvmClient", lambda url: rig.node)
    monkeypatch.setattr(chainstage, "Mirror", Mirror)
    monkeypatch.setattr(keystore, "open_account", lambda *_: rig.account)
    monkeypatch.setattr(Mirror, "refuses", None)
    chain = SimpleNamespace(
        confirmations=1, poll_ms=1, max_fee_gwei=500, spend_per_hour_gwei=10**9, spend_per_day_gwei=10**9,
        balance_alarm_days=7,
    )  # fmt: skip
    config = SimpleNamespace(chain=chain, network=lambda: rig.profile, path=tmp_path / "gateway.yaml")
    made = ChainStage(
        cast(Config, config), rig.database, cast(Pkcs11Signer, rig.signer), rig.lease, Board(), Figures(),
        lambda: None, rig.wall_ms,
    )  # fmt: skip
    made.step()
    assert len(rig.node.sent) == 1
    return made


def refused(stage: ChainStage, error: EdgesealError, times: int = 2) -> None:
    """Step while the mirror refuses: the first step finds it out, and from then on what is on its way is followed."""
    Mirror.refuses = error
    for _ in range(times):
        for endpoint in stage._endpoints.every:
            endpoint.again_at = 0.0  # an endpoint that failed is asked again after a while
        with pytest.raises(EdgesealError):
            stage.step()


@pytest.mark.parametrize(
    "error", [UsageError("gateway_replaced", "another key's heads are taken"), Unavailable("rpc_answer", "no logs")]
)
def test_what_is_on_its_way_is_followed_and_nothing_new_is_sent(
    rig: Rig, stage: ChainStage, error: EdgesealError
) -> None:
    rig.mine(8)
    refused(stage, error)
    assert rig.state() == anchors.FINAL
    size = rig.grow("one")
    rig.wait(100)
    refused(stage, error)
    assert len(rig.account.signed) == len(rig.node.sent) == 1 and rig.state(size) == anchors.QUEUED
    Mirror.refuses = None
    for _ in range(2):
        stage._endpoints.every[0].again_at = 0.0
        stage.step()
    assert rig.state(size) == anchors.SENT
    rig.audit()


def test_on_a_chain_whose_final_blocks_are_others_nothing_is_followed(rig: Rig, stage: ChainStage) -> None:
    rig.mine(8)
    refused(stage, Unavailable("rpc_finality", "another block stands there"), 3)
    assert rig.state() == anchors.SENT
