"""When an RPC endpoint is believed, and that one that lies about root, code or block never makes an answer ok."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from eth_abi.abi import encode

from edgeseal.adapters.evm import Contract, Rejected
from edgeseal.bundle import Bundle
from edgeseal.container import MemorySource
from edgeseal.errors import Unavailable
from edgeseal.evmproof.receipt import Log
from edgeseal.trust import ChainTrust, Trust
from edgeseal.verify import verify
from edgeseal.verify.chain import ChainView, RegistryKey
from edgeseal_console.investigate.chaincheck import read_chain
from edgeseal_console.investigate.chainread import Asked
from edgeseal_console.investigate.keyread import in_force, intervals
from edgeseal_console.investigate.verify import keys_to_ask
from tests.chainstate import OPEN, REVOKED
from tests.eventchain import Event
from tests.tamper.by_chain import told as on_chain
from tests.tamper.by_chain import trust_of
from tests.world import CHAIN, CODE, CONTRACT, MODEL, REGISTRY, Device, World, simple

FLEET, KEYS = Contract("FleetLog"), Contract("IdentityRegistry")
A, B, C = "http://a.example:8545", "http://b.example:8545", "http://a.example:8545/other"


@dataclass
class Header:
    number: int
    hash: bytes
    timestamp: int
    rlp: bytes = b""


@dataclass
class Told:
    log: Log


@dataclass
class Node:
    """A node over one world's chain, that can be told to lie."""

    url: str
    world: World
    device: Device
    size: int | None = None
    root: bytes | None = None
    code: bytes = CODE
    chain: int = CHAIN
    blocks: dict[int, Header] = field(default_factory=dict)
    finalized: int | None = None
    down: bool = False
    registered: bool = True
    held: tuple[tuple[int, int], ...] = ((3, OPEN),)
    """The intervals of the device's key in the registry's state, in the order they were made."""
    events: dict[int, Event] = field(default_factory=dict)
    """The events about it that the node still has, by block."""

    def __post_init__(self) -> None:
        if not self.blocks:
            self.blocks = {n: Header(n, a.block, self.world.time_s) for n, a in enumerate(self.world.anchors, 1)}

    def chain_id(self) -> int:
        if self.down:
            raise Unavailable("rpc_unreachable", f"{self.url}: no answer")
        return self.chain

    def header(self, block: Any) -> Header | None:
        if isinstance(block, bytes):
            return next((h for h in self.blocks.values() if h.hash == block), None)
        top = max(self.blocks) if block == "latest" else self.finalized or max(self.blocks)
        return self.blocks.get(top if isinstance(block, str) else block)

    def code_hash(self, address: bytes, block: Any = "latest") -> bytes:
        return self.code

    def call(self, to: bytes, data: bytes, block: Any = "latest") -> bytes:
        if to == CONTRACT:
            size = self.world.size if self.size is None else self.size
            return size.to_bytes(32, "big") + (self.root or self.world.root_hash())
        assert to == REGISTRY
        if not self.registered or self.device.key.kid not in data:
            raise Rejected(3, "execution reverted", b"")
        if data.startswith(KEYS.encode("earlierIntervals", bytes(32), bytes(32))[:4]):
            return encode(["uint64[]", "uint64[]"], list(zip(*self.held[:-1], strict=True)) or [[], []])
        status = 1 if self.held[-1][1] == OPEN else 2  # a device, active or suspended
        return encode(["uint64"] * 5, [0, status, max(self.events, default=0), *self.held[-1]])

    def logs(self, addresses: Any, topics: Any, first: int, last: int) -> list[Any]:
        kid = self.device.key.kid
        assert (addresses, topics[2], first) == ([REGISTRY], kid, last)
        found = self.events.get(first)
        if found is None:
            return []
        return [Told(Event(found.contract, found.name, found.values | {"kid": kid}).log(REGISTRY))]

    def proof(self, address: bytes, slots: Any, block: Any) -> list[bytes]:
        raise Rejected(-32601, "the method eth_getProof does not exist", b"")


@dataclass
class Proving(Node):
    """A node that gives proofs of what a world's contracts hold after its last block, after ``bend`` had them."""

    bend: Callable[[list[bytes]], list[bytes]] = list

    def __post_init__(self) -> None:
        super().__post_init__()
        contracts = self.world.contracts
        assert contracts is not None
        for header in self.blocks.values():
            header.rlp = contracts.blocks[header.hash].header

    def proof(self, address: bytes, slots: Any, block: Any) -> list[bytes]:
        contracts = self.world.contracts
        assert contracts is not None
        after = contracts.blocks[block]
        return self.bend([*after.state.nodes.values(), *after.storage[address].nodes.values()])


def asked(nodes: list[Node], trust: Trust) -> Any:
    world, device = nodes[0].world, nodes[0].device
    known = {node.url: node for node in nodes}
    blocks = [anchor.block for anchor in world.anchors]
    looked_up = Asked([device.key.kid], blocks, [MODEL], [device.log, "all"])
    return read_chain(trust, [node.url for node in nodes], looked_up, known.__getitem__)


def told(world: World, *, endpoints: tuple[str, ...] = (), kind: str = "public", **changes: Any) -> Trust:
    """Return a trust file's content that names no block."""
    chain = ChainTrust(CHAIN, kind, CONTRACT, REGISTRY, CODE, CODE, frozenset(), endpoints)
    return replace(world.trust(), chain=replace(chain, **changes))


def answers(nodes: list[Node], trust: Trust, *questions: str) -> dict[str, tuple[str, str | None]]:
    verdict = verify(nodes[0].world.bundle(), trust, asked(nodes, trust), questions)
    return {q: (a.answer, a.ground or a.reason) for q, a in verdict.questions.items()}


CHAIN_QUESTIONS = ("single_view_fleet", "existed_by", "existed_after", "completeness", "key_valid")


def test_a_named_endpoint_is_believed_and_the_answer_says_so() -> None:
    nodes = [Node(A, *simple())]
    trust = told(nodes[0].world, endpoints=(A,))
    assert set(answers(nodes, trust, *CHAIN_QUESTIONS).values()) == {("ok", "PROVED")}
    assert A in asked(nodes, trust).how and "named in the trust file" in asked(nodes, trust).how


def test_on_an_operators_chain_it_is_attested() -> None:
    nodes = [Node(A, *simple())]
    assert set(answers(nodes, told(nodes[0].world, endpoints=(A,), kind="operator"), *CHAIN_QUESTIONS).values()) == {
        ("ok", "ATTESTED")
    }


@pytest.mark.parametrize("other", ["http://a.example:8546", "http://user@a.example:8545", "http://A.example.:8545"])
def test_two_names_of_one_host_are_one_endpoint(other: str) -> None:
    world, device = simple()
    view = asked([Node(A, world, device), Node(other, world, device)], world.trust())
    assert (view.state, view.problems[0][0]) == (None, "rpc_not_believed")


def test_the_registry_is_asked_about_keys_whose_files_were_left_out() -> None:
    world, device = simple()
    files = {name: data for name, data in world.files().items() if not name.startswith("keys/")}
    kids = keys_to_ask(Bundle(MemorySource(files)))
    assert {device.key.kid, world.operator.kid, world.gateway.kid} <= set(kids)


def test_two_independent_endpoints_that_agree_are_believed() -> None:
    world, device = simple()
    nodes = [Node(A, world, device), Node(B, world, device)]
    assert set(answers(nodes, told(world), *CHAIN_QUESTIONS).values()) == {("ok", "PROVED")}


@pytest.mark.parametrize("urls", [(A,), (A, C), (A, A)])
def test_one_host_alone_is_believed_in_nothing(urls: tuple[str, ...]) -> None:
    world, device = simple()
    nodes = [Node(url, world, device) for url in urls]
    view = asked(nodes, told(world))
    assert view.state is None and not view.blocks and view.problems[0][0] == "rpc_not_believed"
    found = answers(nodes, told(world), "single_view_fleet", "existed_by", "existed_after")
    assert {answer for answer, _ in found.values()} == {"not_answered"}


LIES: dict[str, tuple[dict[str, Any], str]] = {
    "root": ({"root": b"\x66" * 32}, "rpc_disagree"),
    "size": ({"size": 99}, "rpc_disagree"),
    "code": ({"code": b"\x66" * 32}, "code_mismatch"),
    "block": ({"blocks": {4: Header(4, b"\x66" * 32, 1)}}, "rpc_disagree"),
    "chain": ({"chain": 1}, "wrong_chain"),
    "nothing": ({"down": True}, "rpc_unreachable"),
}


@pytest.mark.parametrize("lie", LIES)
def test_where_one_of_two_lies_neither_is_believed(lie: str) -> None:
    changes, reason = LIES[lie]
    world, device = simple()
    nodes = [Node(A, world, device), Node(B, world, device, **changes)]
    assert [problem[0] for problem in asked(nodes, told(world)).problems] == [reason]
    found = answers(nodes, told(world), "single_view_fleet", "existed_by", "existed_after")
    assert {answer for answer, _ in found.values()} == {"not_answered"}


@pytest.mark.parametrize("lie", LIES)
def test_a_named_endpoint_that_lies_makes_nothing_ok_that_its_lie_touches(lie: str) -> None:
    world, device = simple()
    nodes = [Node(A, world, device, **LIES[lie][0])]
    question = "existed_after" if lie == "block" else "single_view_fleet"
    assert answers(nodes, told(world, endpoints=(A,)), question)[question][0] != "ok"


def test_a_block_that_is_not_final_is_not_believed() -> None:
    world, device = simple()
    node = Node(A, world, device, finalized=2, size=6, root=world.root_hash(6))
    view = asked([node], told(world, endpoints=(A,)))
    assert view.state.number == 2
    assert view.blocks == {anchor.block for anchor in world.anchors[:2]}
    assert answers([node], told(world, endpoints=(A,)), "existed_by")["existed_by"][0] == "not_answered"


def test_without_code_hashes_no_state_is_believed() -> None:
    world, device = simple()
    view = asked([Node(A, world, device)], told(world, endpoints=(A,), registry_code=None))
    assert view.problems[0][0] == "code_unknown" and view.state is None


def test_a_key_the_registry_does_not_know_is_not_answered() -> None:
    world, device = simple()
    found = answers([Node(A, world, device, registered=False)], told(world, endpoints=(A,)), "key_valid")
    assert found["key_valid"] == ("not_answered", "not_registered")


def test_intervals_of_a_key_follow_its_events() -> None:
    events = [
        ("KeyRegistered", {"from": 3}),
        ("KeySuspended", {"until": 10, "anchored": 12}),
        ("KeyReinstated", {"from": 12}),
        ("KeyRevoked", {"until": 8, "anchored": 20}),
    ]
    assert [(i.start, i.until, i.ended_at) for i in intervals(events)] == [(3, 8, 12), (12, 12, 20)]
    assert [(i.start, i.until, i.ended_at) for i in intervals(events[:3])] == [(3, 10, 12), (12, None, None)]


def happened(name: str, previous: int, **values: int) -> Event:
    return Event("IdentityRegistry", name, {**values, "prevBlock": previous})


def read_key(node: Node) -> RegistryKey | None:
    view: ChainView = asked([node], told(node.world, endpoints=(A,)))
    assert view.state is not None
    return view.state.keys.get(node.device.key.kid)


def test_a_key_that_was_reinstated_keeps_its_earlier_interval_on_a_node_that_pruned_its_logs() -> None:
    node = Node(A, *simple())
    end = node.world.size  # every head stands below
    node.held = ((3, end), (end, OPEN))
    node.events = {9: happened("KeyReinstated", 7, **{"from": end, "anchored": end})}  # that of block 7 is pruned
    trust = told(node.world, endpoints=(A,))
    assert answers([node], trust, "key_valid") == {"key_valid": ("ok", "PROVED")}
    node.events = {9: happened("KeySuspended", 7, until=end, anchored=end)}
    node.held = ((3, end),)
    assert answers([node], trust, "key_valid") == {"key_valid": ("ok", "PROVED")}


def test_a_later_lower_end_cuts_earlier_intervals_without_any_event() -> None:
    node = Node(A, *simple(), held=((3, 10), (12, 8)))
    found = read_key(node)
    assert found is not None and [(i.start, i.until, i.ended_at) for i in found.intervals] == [
        (3, 8, None),
        (12, 12, None),
    ]
    assert [(i.start, i.until) for i in in_force([(0, 5), (6, None)])] == [(0, 5), (6, None)]


def test_events_say_when_an_end_was_registered_where_they_add_up_to_the_state() -> None:
    node = Node(A, *simple(), held=((3, 10), (12, 8)))
    node.events = {
        1: happened("KeyRegistered", 0, **{"from": 3}),
        2: happened("KeySuspended", 1, until=10, anchored=12),
        3: happened("KeyReinstated", 2, **{"from": 12}),
        4: happened("KeyRevoked", 3, until=8, anchored=20),
    }
    found = read_key(node)
    assert found is not None and [i.ended_at for i in found.intervals] == [12, 20]
    del node.events[1]
    assert (found := read_key(node)) is not None and [i.ended_at for i in found.intervals] == [None, None]


def test_one_of_two_endpoints_may_have_pruned_its_logs() -> None:
    world, device = simple()
    whole, pruned = Node(A, world, device, held=((3, 10),)), Node(B, world, device, held=((3, 10),))
    whole.events = {
        1: happened("KeyRegistered", 0, **{"from": 3}),
        2: happened("KeySuspended", 1, until=10, anchored=12),
    }
    pruned.events = {2: whole.events[2]}
    view: ChainView = asked([whole, pruned], told(world))
    assert view.state is not None and view.problems == ()
    assert [(i.until, i.ended_at) for i in view.state.keys[device.key.kid].intervals] == [(10, None)]
    pruned.held = ((3, 9),)
    assert asked([whole, pruned], told(world)).problems[0][0] == "rpc_disagree"


def test_more_intervals_than_the_contract_keeps_are_not_believed() -> None:
    node = Node(A, *simple(), held=((0, 1),) * 17 + ((3, OPEN),))
    view = asked([node], told(node.world, endpoints=(A,)))
    assert view.state is None and view.problems[0][0] == "rpc_answer"


def proving(revoked: bool = False, **options: Any) -> tuple[Proving, Trust]:
    """Return a named endpoint that gives proofs, and a trust file that names it and no block."""
    world, device = on_chain((lambda made, one: made.key(one.key.kid, 0, (0, 6), status=REVOKED)) if revoked else None)
    trust = trust_of(world)
    assert trust.chain is not None
    chain = replace(trust.chain, blocks=frozenset(), endpoints=(A,))
    return Proving(A, world, device, **options), replace(trust, chain=chain)


def test_an_endpoint_that_gives_proofs_is_read_by_them() -> None:
    node, trust = proving()
    assert set(answers([node], trust, *CHAIN_QUESTIONS).values()) == {("ok", "PROVED")}
    found = verify(node.world.bundle(), trust, asked([node], trust))
    assert "approved and granted" in found.questions["model_identity"].detail
    assert found.chain is not None and found.chain.blocks[-1][3] == node.world.size


def test_calls_that_lie_are_not_asked_where_proofs_are_given() -> None:
    node, trust = proving(revoked=True)  # the calls of this fake say that the key is active
    assert answers([node], trust, "key_valid") == {"key_valid": ("not_answered", "repudiated")}
    liar, trust = proving(root=b"\x66" * 32, size=5)
    assert answers([liar], trust, "single_view_fleet") == {"single_view_fleet": ("ok", "PROVED")}


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (CODE, b"\xdd" * 32),  # the code
        ((6).to_bytes(8, "big") + bytes(8), OPEN.to_bytes(8, "big") + bytes(8)),  # the end of the key
        (b"", b""),  # nothing: half of the nodes are left out
    ],
)
def test_proofs_that_lie_make_no_answer_ok(old: bytes, new: bytes) -> None:
    node, trust = proving(revoked=True)
    bent: list[bytes] = []

    def bend(nodes: list[bytes]) -> list[bytes]:
        if not old:
            return nodes[: len(nodes) // 2]
        made = [one.replace(old, new) for one in nodes]
        bent.extend(one for one, before in zip(made, nodes, strict=True) if one != before)
        return made

    node.bend = bend
    view = asked([node], trust)
    assert view.state is None and view.problems[0][0] in ("rpc_answer", "code_mismatch")
    assert bent or not old
    assert {answer for answer, _ in answers([node], trust, "existed_by", "single_view_fleet").values()} == {
        "not_answered"
    }


def test_an_endpoint_that_contradicts_a_block_of_the_trust_file_is_believed_in_nothing() -> None:
    world, device = simple()
    other = Header(2, b"\x77" * 32, world.time_s)
    node = Node(A, world, device)
    known = {**node.blocks, 2: other}
    stale = {number + 100: header for number, header in node.blocks.items()}
    node.blocks = {**stale, **known}
    trust = told(world, endpoints=(A,), blocks=frozenset(anchor.block for anchor in world.anchors))
    view = asked([node], trust)
    assert view.state is None and view.problems[0][0] == "rpc_disagree"
