"""The mirror on a chain that takes blocks back: rows go with their blocks, final ones stay, nothing is half there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgeseal.adapters.evm import BlockHeader, FoundLog
from edgeseal.errors import Unavailable
from edgeseal_gateway.chain import follow
from edgeseal_gateway.chain.follow import Follower
from edgeseal_gateway.chain.mirror import Mirror
from edgeseal_gateway.store import guard, orders, registry
from edgeseal_gateway.store.database import Database
from tests.eventchain import Event, EventNode
from tests.followedstore import Followed
from tests.world import Device


@pytest.fixture
def followed(tmp_path: Path) -> Followed:
    return Followed(tmp_path)


def test_back_fill_starts_where_the_tenant_was_opened_and_goes_on_from_there(followed: Followed) -> None:
    kid = b"\x01" * 32
    followed.chain.mine_empty(10)
    followed.chain.tenant_block = 12
    followed.chain.mine(Event("IdentityRegistry", "TenantOpened", {"tenant": followed.profile.tenant_root.kid}))
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.look()
    assert followed.node.asked[0] == (12, 12) and min(first for first, _ in followed.node.asked) == 12
    assert followed.status(kid) == "active"
    followed.node.asked.clear()
    followed.chain.mine(followed.key("KeyRevoked", kid, until=3, anchored=5))
    followed.look()
    assert {last for _, last in followed.node.asked} == {14}
    assert followed.read(orders.revoked) == [(kid, "operator", 3, "registry")]
    followed.node.asked.clear()
    followed.look()
    assert followed.node.asked == [], "nothing new, nothing asked"


def test_another_tenants_events_are_not_ours(followed: Followed) -> None:
    foreign = Event("IdentityRegistry", "KeyRegistered", {"logId": b"\x99" * 32, "kid": b"\x01" * 32, "role": 1})
    followed.chain.mine(foreign)
    followed.follower.look()
    assert followed.read(registry.counts) == {}


@pytest.mark.parametrize("depth", range(1, 21))
def test_a_reorganisation_takes_its_rows_along(followed: Followed, depth: int) -> None:
    """A revocation at every depth; the blocks that replace it may say something else."""
    chain, kids = followed.chain, [bytes([n]) * 32 for n in range(1, 6)]
    for kid in kids:
        chain.mine(followed.key("KeyRegistered", kid, role=1))
        followed.look()
    chain.mine_empty(20)
    followed.look()
    chain.mine(followed.key("KeyRevoked", kids[0], until=1))
    for at in range(1, depth):
        chain.mine(*([followed.key("KeySuspended", kids[at % 4 + 1], until=at)] if at < 5 else []))
        if at % 3 == 0:
            followed.look()
    followed.look()
    assert followed.status(kids[0]) == "revoked"
    chain.reorg(depth, (followed.key("KeyRevoked", kids[1], until=1),), grow=depth % 2)
    followed.look()
    assert [followed.status(kid) for kid in kids] == ["active", "revoked", "active", "active", "active"]
    assert [row[0] for row in followed.read(orders.revoked)] == [kids[1]]


def test_a_replaced_block_of_the_same_events_is_read_again(followed: Followed) -> None:
    kid = b"\x01" * 32
    event = followed.key("KeyRegistered", kid, role=1)
    followed.chain.mine(event)
    followed.look()
    followed.chain.reorg(1, (event,))
    followed.look()
    followed.chain.reorg(1, (), (event,), grow=1)
    followed.look()
    assert followed.status(kid) == "active"


def test_a_node_that_fails_half_way_leaves_everything_as_it_was(
    followed: Followed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Never a partial clearing: what was revoked stays revoked until the whole of the new chain is read."""
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.look()
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.look()
    before = followed.read(lambda c: list(c.execute("SELECT * FROM mirrored")))
    followed.chain.reorg(1, (followed.key("KeyRevoked", kid, until=2),))
    monkeypatch.setattr(follow, "SPAN", 1)
    for fails_at in (1, 2, 3):
        followed.node.asked.clear()
        followed.node.fails_at = fails_at
        with pytest.raises(Unavailable):
            followed.follower.look()
        assert followed.read(lambda c: list(c.execute("SELECT * FROM mirrored"))) == before
    followed.node.fails_at = None
    followed.look()
    assert followed.read(orders.revoked) == [(kid, "operator", 2, "registry")]


def test_a_chain_that_moves_while_it_is_read_is_read_again(followed: Followed) -> None:
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.look()
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.node.meanwhile = lambda: followed.chain.reorg(1)
    followed.look()
    assert followed.status(kid) == "active"


def test_a_chain_that_never_stands_still_is_waited_for(followed: Followed) -> None:
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))

    def move() -> None:
        followed.chain.reorg(1, (followed.key("KeyRegistered", kid, role=1),))
        followed.node.meanwhile = move

    followed.node.meanwhile = move
    with pytest.raises(Unavailable, match="rpc_moved"):
        followed.follower.look()
    assert followed.read(registry.counts) == {}


def test_a_node_that_is_behind_takes_nothing_back(followed: Followed) -> None:
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.chain.mine_empty(5)
    followed.look()
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.look()
    for height in (7, 5, 1, 0):
        followed.node.height = height
        assert followed.follower.look().number == 8
        assert followed.status(kid) == "revoked"
    followed.node.height = None
    followed.look()
    followed.chain.reorg(3)
    followed.node.height = 7
    followed.follower.look()
    assert followed.status(kid) == "active", "at a lower height, but on another branch: that is a reorganisation"


def test_events_that_a_node_shows_late_are_found_and_none_is_lost_again(followed: Followed) -> None:
    """Behind a balancer a header may come from one node, and the events of that block, none yet, from another."""
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.look()
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.node.indexed = followed.chain.blocks[-1].number - 1
    followed.follower.look()
    assert followed.status(kid) == "active"
    followed.node.indexed = None
    followed.chain.mine()
    followed.look()
    assert followed.status(kid) == "revoked"
    for _ in range(3):
        followed.chain.mine()
        followed.node.indexed = 2
        followed.follower.look()
        assert followed.status(kid) == "revoked", "its block still stands: a node that shows less takes nothing back"


def test_final_rows_are_kept_whatever_a_node_says(followed: Followed) -> None:
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.chain.mine_empty(4)
    followed.node.final = 5
    followed.look()
    followed.chain.reorg(5)
    with pytest.raises(Unavailable, match="rpc_finality") as caught:
        followed.follower.look()
    assert caught.value.remedy is not None
    assert followed.status(kid) == "revoked"


def test_without_the_tag_depth_makes_final(followed: Followed) -> None:
    followed.node.final = None
    kid = b"\x01" * 32
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.chain.mine_empty(follow.DEPTH + 2)
    followed.look()
    followed.chain.reorg(20)
    followed.look()
    followed.chain.reorg(follow.DEPTH + 2)
    with pytest.raises(Unavailable, match="rpc_finality"):
        followed.follower.look()


def test_a_contract_named_later_is_read_from_the_beginning(followed: Followed) -> None:
    """The profile learns of the command log when its events are long past."""
    kid = b"\x01" * 32
    full, bare = followed.profile, replace(followed.profile, command_log=None, model_registry=None)
    followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.chain.mine(followed.command("ScopeChanged", operator=kid, audience=bytes(32), classes=1))
    followed.chain.mine_empty(follow.OVERLAP + 5)
    followed.follower = Follower(followed.node, bare, Database(followed.path))
    followed.follower.look()
    assert followed.read(registry.counts) == {"KeyRegistered": 1}
    followed.follower = Follower(followed.node, full, Database(followed.path))
    for trouble in ("height", "fails_at"):
        setattr(followed.node, trouble, 5 if trouble == "height" else len(followed.node.asked) + 3)
        with pytest.raises(Unavailable):
            followed.follower.look()
        assert followed.read(registry.counts) == {"KeyRegistered": 1}, "until all is read, what was known is known"
        setattr(followed.node, trouble, None)
    followed.look()
    assert followed.read(registry.counts) == {"KeyRegistered": 1, "ScopeChanged": 1}
    followed.node.asked.clear()
    followed.look()
    assert followed.node.asked == []


def test_few_blocks_are_kept_to_compare_with(followed: Followed) -> None:
    for at in range(40):
        followed.chain.mine()
        followed.node.final = max(0, at - 5)
        followed.look()
    assert len(followed.read(registry.blocks)) <= 10


def test_a_range_too_long_for_the_node_is_asked_in_parts(followed: Followed) -> None:
    kids = [bytes([n]) * 32 for n in range(1, 30)]
    for kid in kids:
        followed.chain.mine(followed.key("KeyRegistered", kid, role=1))
    followed.node.longest = 3
    followed.look()
    assert all(followed.status(kid) == "active" for kid in kids)


@pytest.mark.parametrize(
    "changes",
    [{"block_number": 9}, {"block_number": 1 << 70}, {"log_index": 1 << 63}, {"log": {"address": b"\x99" * 20}},
     {"log": {"data": b"\x01"}}, {"block_hash": b"\x99" * 32}],
    ids=["later", "beyond", "index", "address", "data", "hash"],
)  # fmt: skip
def test_a_log_that_was_not_asked_for_is_no_answer(followed: Followed, changes: dict[str, Any]) -> None:
    followed.chain.mine(followed.key("KeyRegistered", b"\x01" * 32, role=1))

    class Lying(EventNode):
        def logs(self, addresses: Any, topics: Any, first: int, last: int) -> list[FoundLog]:
            found = super().logs(addresses, topics, first, last)
            return [replace(one, **{**changes, "log": replace(one.log, **changes.get("log", {}))}) for one in found]

    follower = Follower(Lying(followed.chain), followed.profile, followed.database)
    with pytest.raises(Unavailable, match="rpc_"):
        follower.look()
    assert followed.read(registry.counts) == {}


@pytest.mark.parametrize("height", [1 << 63, 1 << 200])
def test_a_height_beyond_all_bounds_is_no_answer(followed: Followed, height: int) -> None:
    class Lying(EventNode):
        def header(self, block: Any) -> BlockHeader | None:
            found = super().header(block)
            return replace(found, number=height) if found is not None and block == "latest" else found

    follower = Follower(Lying(followed.chain), followed.profile, followed.database)
    with pytest.raises(Unavailable, match="rpc_answer"):
        follower.look()


def test_nothing_is_signed_before_the_registries_are_read(followed: Followed) -> None:
    """The head counts once the rows do: a node that gives no events leaves the gateway where it was."""
    with followed.database.write() as connection:
        guard.forget_chain(connection)
    mirror = Mirror(followed.node, followed.profile, followed.database, followed.signer.public_key.kid)
    followed.node.fails_at = 1
    with pytest.raises(Unavailable):
        mirror.step()
    blocked = followed.ask(guard.blocked, followed.profile.fleet_log)
    assert blocked is not None and blocked.code == "chain_unknown"
    followed.node.fails_at = None
    mirror.step()
    assert followed.ask(guard.blocked, followed.profile.fleet_log) is None


def test_a_revocation_taken_back_leaves_the_statement_in_force(followed: Followed) -> None:
    """The registry's word goes with its block; an operator's revocation in the fleet log does not."""
    device: Device = followed.device()
    kid = device.key.kid
    followed.chain.mine(followed.key("KeyRegistered", kid, role=0))
    followed.look()
    followed.hand_in(followed.tenant.revocation(kid, 2))
    followed.sequence()
    assert followed.read(orders.revoked) == [(kid, "device", 2, "statement")]
    followed.chain.mine(followed.key("KeyRevoked", kid, until=1))
    followed.look()
    assert followed.read(orders.revoked) == [(kid, "device", 1, "registry")]
    followed.chain.reorg(1)
    followed.look()
    assert followed.read(orders.revoked) == [(kid, "device", 2, "statement")]
    assert followed.known(device).state == "revoked"
