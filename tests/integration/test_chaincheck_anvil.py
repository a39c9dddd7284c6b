"""The chain's word, read by ``edgeseal verify --rpc``'s own code from real contracts on a real node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from edgeseal import merkle
from edgeseal.adapters.evm import BoundContract, EvmClient, FoundLog, Rejected
from edgeseal.bundle import AnchorEvidence
from edgeseal.evmproof import build_receipt_proof
from edgeseal.head import Anchored, Seen, SignedFleetHead
from edgeseal.trust import ChainTrust, Trust
from edgeseal.verify import Verdict, verify
from edgeseal_console.demo.parts import CHAIN_ID, Chain
from edgeseal_console.investigate.chaincheck import read_chain
from edgeseal_console.investigate.chainread import Asked
from tests.integration.gateway.rig import Network
from tests.world import Device, Key, World

DEVICE = 0


class Real:
    """A world in memory whose fleet log is anchored in real contracts."""

    def __init__(self, node: Chain, seed: int) -> None:
        root, gateway = Key(seed * 1000 + 1), Key(seed * 1000 + 2)
        self.network = Network(node, root, gateway.public)
        self.fleet: BoundContract = self.network.fleet
        self.world = World(seed, self.network.profile.fleet_log_contract)
        assert self.world.log == self.network.profile.fleet_log
        self.anchored: tuple[int, bytes] = (0, bytes(32))

    def anchor(self) -> AnchorEvidence:
        """Add a snapshot, sign the head, bring it to the contract, and keep the evidence of it."""
        world = self.world
        world.snapshot()
        raw = SignedFleetHead.decode(world.head())
        size, root, signature = raw.head.size, raw.head.root, raw.signed.signature
        leaves = [merkle.leaf_hash(statement) for statement in world.statements]
        proof = merkle.consistency_path(leaves, self.anchored[0]) if self.anchored[0] else []
        key = world.gateway.public
        data = self.fleet.contract.encode(
            "anchor", world.log, size, root, *raw.head.prev, key.x, key.y, signature[:32], signature[32:], proof
        )
        receipt = self.network.operator.send(self.fleet.address, data)
        self.anchored = (size, root)
        client = self.network.operator.client
        block = client.header(receipt.block_hash)
        assert block is not None
        encoded = [entry.encoded for entry in client.block_receipts(block.hash)]
        nodes = build_receipt_proof(encoded, receipt.index).nodes
        made = AnchorEvidence(
            CHAIN_ID, self.fleet.address, block.hash, block.rlp, encoded[receipt.index], receipt.index, nodes, 0
        )
        world.anchors.append(made)
        for device in world.devices:
            device.seen = Seen(world.log, size, root)
            device.anchored = Anchored(world.log, size, root, CHAIN_ID, block.hash)
        return made

    def device(self) -> Device:
        made = self.world.device("cam-1")
        self.network.register(made.key.public, DEVICE)
        return made

    def work(self, device: Device) -> None:
        device.infer(3)
        device.seal()
        self.world.deliver(device)
        self.anchor()

    def trust(self) -> Trust:
        profile = self.network.profile
        named = ChainTrust(
            CHAIN_ID, "operator", profile.fleet_log_contract, profile.identity_registry, profile.fleet_log_code,
            profile.registry_code, frozenset(), profile.endpoints,
        )  # fmt: skip
        return Trust(self.world.root.public, self.world.log, named)

    def verdict(self, *questions: str, trust: Trust | None = None) -> Verdict:
        trust = trust or self.trust()
        kids = [device.key.kid for device in self.world.devices]
        blocks = [anchor.block for anchor in self.world.anchors]
        view = read_chain(trust, self.network.profile.endpoints, Asked(kids, blocks))
        return verify(self.world.bundle(), trust, view, questions)


@pytest.fixture
def real(chain: Chain) -> Real:
    made = Real(chain, seed=5)
    made.anchor()
    return made


ASKED = ("single_view_fleet", "existed_by", "existed_after", "completeness", "key_valid", "command_authority")


def test_what_the_contracts_hold_makes_the_answers(real: Real) -> None:
    device = real.device()
    real.work(device)
    device.activate()
    real.work(device)
    verdict = real.verdict(*ASKED)
    assert {q: a.detail for q, a in verdict.questions.items() if a.answer != "ok"} == {}
    assert all(a.ground == "ATTESTED" and "operator-run chain" in str(a.by) for a in verdict.questions.values() if a.by)
    elsewhere = replace(real.trust(), chain=replace(real.trust().chain, fleet_log_code=bytes(32)))  # type: ignore[type-var]
    found = real.verdict("single_view_fleet", "existed_by", trust=elsewhere)
    assert {a.reason for a in found.questions.values()} == {"code_mismatch"}


def test_a_revocation_that_the_fleet_log_hides_is_in_the_registry(real: Real) -> None:
    device = real.device()
    real.work(device)
    before = real.world.size
    real.network.revoke(device.key.kid, before)
    assert real.verdict("key_valid").questions["key_valid"].answer == "ok"  # all its heads are older
    real.work(device)
    found = real.verdict("key_valid").questions["key_valid"]
    assert (found.answer, found.reason) == ("failed", "key_revoked")


def test_a_head_received_before_its_key_was_revoked_backwards_is_repudiated(real: Real) -> None:
    device = real.device()
    real.work(device)
    real.network.revoke(device.key.kid, 4)
    found = real.verdict("key_valid").questions["key_valid"]
    assert (found.answer, found.reason) == ("not_answered", "repudiated")


def test_a_key_nobody_registered_is_not_answered(real: Real) -> None:
    device = real.world.device("cam-1")
    real.work(device)
    assert real.verdict("key_valid").questions["key_valid"].reason == "not_registered"


class Pruned(EvmClient):
    """A node that gives no proofs and has the logs of its newest block only."""

    def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
        raise Rejected(-32601, "the method eth_getProof does not exist", b"")

    def logs(self, addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[FoundLog]:
        return super().logs(addresses, topics, first, last) if last == self.block_number() else []


def test_a_reinstated_key_read_by_calls_from_a_node_that_pruned_its_logs(real: Real) -> None:
    device = real.device()
    real.work(device)
    registry, log, kid = real.network.registry, real.world.log, device.key.kid
    for function, position in (("suspendKey", real.world.size), ("reinstateKey", real.world.size)):
        data = registry.contract.encode(function, log, kid, position)
        real.network.operator.send(registry.address, data)
    trust, blocks = real.trust(), [anchor.block for anchor in real.world.anchors]
    view = read_chain(trust, real.network.profile.endpoints, Asked([kid], blocks), Pruned)
    found = verify(real.world.bundle(), trust, view, ("key_valid",)).questions["key_valid"]
    assert (found.answer, found.ground) == ("ok", "ATTESTED"), found.detail
