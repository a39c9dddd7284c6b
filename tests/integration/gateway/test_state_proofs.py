"""The contracts' state, proved by a real node from the real bytecode, kept by the gateway, checked with no network."""

from __future__ import annotations

import contextlib
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgeseal import cbor, contractstate, statements
from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, Rejected
from edgeseal.adapters.evmstate import StateReader
from edgeseal.bundle import AnchorEvidence, Bundle
from edgeseal.bundlewriter import Writer
from edgeseal.commandlog import Entry, audience_id, chain_after
from edgeseal.commitment import domain
from edgeseal.container import MemorySource
from edgeseal.errors import Unavailable
from edgeseal.head import Anchored
from edgeseal.network import Deployed
from edgeseal.stateevidence import AccountEvidence
from edgeseal.trust import ChainTrust, Trust
from edgeseal.verify import verify
from edgeseal.verify.chain import Anchors
from edgeseal.verify.state import States
from edgeseal_console.demo.parts import Chain
from edgeseal_console.gateway import GatewayClient
from edgeseal_console.investigate.collectstate import ChainState
from edgeseal_gateway import export
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain import anchor as anchoring
from edgeseal_gateway.chain.mirror import Mirror
from edgeseal_gateway.chain.stateproofs import KEPT_BY_NODES, TRIES, StateProofs
from edgeseal_gateway.config import ApiConfig
from edgeseal_gateway.sequencer import AnchorPolicy, found_log
from edgeseal_gateway.store import anchors, fleetlog, orders, statekeep, statelost
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.server import Server
from tests.gatewaystore import Founded
from tests.integration.gateway.rig import Network
from tests.tenant import SoftSigner, Tenant, segment_of
from tests.world import MODEL, Device, Key

DEVICE, OPERATOR, GATEWAY, PUBLISHER, APPROVER = range(5)
LINE = sha256(b"digits").digest()
AHEAD_S = 600
"""How far ahead grants begin: no grant may lie in the past, however slow the machine."""


class OnChain(Founded):
    """A founded store whose fleet log, keys, commands and models are in real contracts."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        self.path = folder / "gateway.db"
        self.signer = SoftSigner(secrets.randbelow(1 << 64) + 1)
        root, self.publisher, self.approver = (Key(secrets.randbelow(1 << 64) + 1) for _ in range(3))
        self.network = network = Network(chain, root, self.signer.public_key)
        self.client = client = network.operator.client
        self.commands, self.models = (self._deploy(name) for name in ("CommandLog", "ModelRegistry"))
        further = [Deployed(one.address, client.code_hash(one.address)) for one in (self.commands, self.models)]
        self.profile = replace(network.profile, command_log=further[0], model_registry=further[1])
        self.tenant = Tenant(self.profile, root, self.signer.public_key)
        self.clock, self.monotonic, self.policy = 1_000, 0.0, AnchorPolicy(None, None)
        self.anchored: list[AnchorEvidence] = []
        self.size = 0
        self.mirror = Mirror(self.client, self.profile, Database(self._created()), self.signer.public_key.kid)
        parts = Parts(
            Database(self.path), folder / "index.db", folder, self.profile, self.signer.public_key.kid, Board(),
            lambda: None, frozenset(),
        )  # fmt: skip
        self.server = Server(ApiConfig("127.0.0.1", 0, None, None), parts)
        self.server.start(lambda error: None)
        with Database(self.path).write() as connection:
            found_log(connection, self.signer, self.profile.fleet_log, statements.decode(self.tenant.keysets[0]))
        self.open(Database(self.path))
        self.chain_holds(0)
        self.sequence()
        self.tenant.heads.append(self.read(self._newest_head))
        for key, role in (
            (self.tenant.operator.public, OPERATOR), (self.signer.public_key, GATEWAY),
            (self.publisher.public, PUBLISHER), (self.approver.public, APPROVER),
        ):  # fmt: skip
            network.register(key, role)

    def _created(self) -> Path:
        Database.create(self.path)
        return self.path

    def _deploy(self, name: str) -> BoundContract:
        contract = Contract(name)
        registry = self.network.registry.address.rjust(32, b"\0")
        address = self.network.operator.send(None, contract.bytecode + registry).contract
        return BoundContract(self.client, contract, address)

    def send(self, contract: BoundContract, function: str, *values: Any) -> None:
        self.network.operator.send(contract.address, contract.contract.encode(function, *values))

    def signed(self, key: Key, message: bytes) -> tuple[bytes, bytes, bytes, bytes]:
        signature = key.sign(message)
        return key.public.x, key.public.y, signature[:32], signature[32:]

    def approve_model(self) -> None:
        """Bring one version through proposal, approval and release."""
        tenant, at, deadline = self.profile.tenant_root.kid, self.models.address, 2**40
        where = (31337).to_bytes(32, "big") + at
        self.send(self.models, "setPolicy", tenant, LINE, (1, False, 0))
        digests = (MODEL, b"\x01" * 32, b"\x02" * 32, bytes(32))
        numbers = (3).to_bytes(8, "big") + (0).to_bytes(8, "big")
        message = domain("model-propose") + where + tenant + LINE + numbers + b"".join(digests)
        proposal = (tenant, LINE, 3, 0, *digests)
        by = self.signed(self.publisher, message + deadline.to_bytes(8, "big"))
        self.send(self.models, "propose", proposal, deadline, by)
        message = domain("model-approve") + where + tenant + LINE + (3).to_bytes(8, "big") + MODEL + bytes(32)
        by = self.signed(self.approver, message + deadline.to_bytes(8, "big"))
        self.send(self.models, "approve", tenant, LINE, 3, bytes(32), deadline, by)
        self.send(self.models, "makeDeployable", tenant, LINE, 3)

    def log_command(self, digest: bytes, position: int, audience: bytes) -> None:
        """Have an anchored command logged on chain too."""
        log, deadline = self.profile.fleet_log, 2**40
        chain = chain_after(bytes(32), [Entry(digest, position, 1)])
        message = domain("command-log") + (31337).to_bytes(32, "big") + self.commands.address + log + audience + chain
        by = self.signed(self.tenant.operator, message + deadline.to_bytes(8, "big"))
        self.send(self.commands, "setScope", log, self.tenant.operator.kid, bytes(32), 0b111111)
        self.send(self.commands, "log", log, audience, [(digest, position, 1)], deadline, by)

    def anchor(self) -> AnchorEvidence:
        """Bring a head above the anchored one to the contract, and note it as final."""
        if self.ask(fleetlog.size) <= self.size:
            self.hand_in(self.tenant.next_keyset())
        log, now = self.profile.fleet_log, fleetlog.newest_head
        self.policy = AnchorPolicy(1, None)
        self.open(self.database)
        self.sequence()
        head = self.read(lambda connection: now(connection, log))
        assert head is not None
        fleet = self.network.fleet
        data = self.read(lambda c: anchoring.call_data(c, fleet.contract, head, self.signer.public_key, self.size))
        receipt = self.network.operator.send(fleet.address, data)
        found = anchoring.evidence(self.client, 31337, fleet.address, receipt, anchoring.meant(head))
        assert found is not None
        index, proof = found
        with self.database.write() as connection:
            anchors.finish(
                connection, head.head.size, receipt.block_hash, receipt.block_number, receipt.tx, index, proof
            )
        self.size = head.head.size
        self.anchored.append(AnchorEvidence.decode(proof))
        return self.anchored[-1]

    def hand_over(self, device: Device, start: int) -> None:
        self.take(device, segment_of(device, start))
        assert not self.refused(device)
        self.sequence()

    def files(self, device: Device) -> dict[str, bytes]:
        """A bundle's files as collect writes them, from the store."""
        files: dict[str, bytes] = {}
        writer = Writer(files.__setitem__)
        writer.records(device.log, [tuple(item.as_list()) for item in device.items()])
        writer.heads(device.log, device.heads)
        writer.statements((leaf.pos, leaf.statement) for leaf in self.leaves())
        log = self.profile.fleet_log
        writer.fleet(log, self.read(lambda c: export.fleet_heads(c, log, 0, 4_096, None)), [], [])
        for found in self.anchored:
            writer.anchor(found)
        self.mirror.step()
        with GatewayClient(self.server.url) as client:

            def page(path: str, query: Any) -> Any:
                return cbor.decode(client.get_bytes(path, query), max_size=1 << 24, max_items=1 << 20)

            ChainState([], page, lambda text: None).write(writer, client.get("/v1/export/index"), {})
        writer.finish()
        return files

    def trust(self) -> Trust:
        """What a stranger would be told, on a public chain: the blocks, and no endpoint."""
        profile = self.profile
        blocks = frozenset(found.block for found in self.anchored)
        chain = ChainTrust(
            31337, "public", profile.fleet_log_contract, profile.identity_registry, profile.fleet_log_code,
            profile.registry_code, blocks, (), profile.command_log, profile.model_registry,
        )  # fmt: skip
        return Trust(profile.tenant_root, profile.fleet_log, chain)

    def reader(self) -> StateReader:
        header = self.client.header("latest")
        assert header is not None
        made = StateReader(self.client, header)
        profile = self.profile
        assert profile.command_log is not None and profile.model_registry is not None
        made.accounts(
            31337,
            [
                profile.fleet_log_contract, profile.identity_registry, profile.command_log.address,
                profile.model_registry.address,
            ],
        )  # fmt: skip
        return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OnChain]:
    """A tenant on a real chain: a granted model, a device that was told to activate it and did, all anchored."""
    folder = tmp_path_factory.mktemp("state")
    with Chain(folder) as chain:
        made = OnChain(folder, chain)
        made.approve_model()
        with made.database.write() as connection:
            orders.add_package(connection, MODEL, "digits", "3", 10)
        yield made
        made.server.stop()


def granted(place: OnChain, audience: bytes) -> None:
    block = place.client.header("latest")
    assert block is not None
    tenant = place.profile.tenant_root.kid
    begins = max(block.timestamp, int(time.time())) + AHEAD_S
    place.send(place.models, "grant", tenant, LINE, 3, audience, begins, 2**39)


def worked(place: OnChain) -> Device:
    """Return a device that activated the model on command between two anchors."""
    device = place.device("cam-1")
    place.network.register(device.key.public, DEVICE)
    granted(place, audience_id("all"))
    place.hand_over(device, 0)
    place.client.request("evm_increaseTime", hex(2 * AHEAD_S))  # later blocks are past the beginning of the grant
    first = place.anchor()
    newest = place.read(lambda c: fleetlog.newest_head(c, place.profile.fleet_log))
    assert newest is not None
    device.anchored = Anchored(place.profile.fleet_log, newest.head.size, newest.head.root, 31337, first.block)
    start = device.last[0]
    device.seal()
    place.hand_over(device, start)
    start = device.last[0]
    device.activate(MODEL)
    device.infer(3)
    device.heartbeat()
    device.seal()
    place.hand_over(device, start)
    place.anchor()
    return device


@pytest.fixture(scope="module")
def device(place: OnChain) -> Device:
    return worked(place)


ASKED = ("existed_by", "single_view_fleet", "key_valid", "command_authority", "model_identity", "attribution")


def captured(place: OnChain, connect: Callable[[str], EvmClient] = EvmClient) -> None:
    StateProofs(place.profile, place.database, connect).step()


def test_the_layout_is_that_of_the_bytecode(place: OnChain) -> None:
    log, tenant, registry = place.profile.fleet_log, place.profile.tenant_root.kid, place.network.registry
    other = Key(secrets.randbelow(1 << 64) + 1)
    place.network.register(other.public, PUBLISHER)
    kid = other.kid
    for function, values in (("suspendKey", (0,)), ("reinstateKey", (place.size + 5,)), ("suspendKey", (0,))):
        place.send(registry, function, log, kid, *values)
    granted(place, b"\x05" * 32)
    reader = place.reader()
    fleet, keys = place.profile.fleet_log_contract, place.profile.identity_registry
    head = reader.ask(fleet, partial(contractstate.log_head, log=log))
    assert (head.size, head.root) == tuple(place.network.fleet.call("head", log))
    for one in (kid, place.tenant.operator.kid, place.signer.public_key.kid):
        state = reader.ask(keys, partial(contractstate.key_state, log=log, kid=one))
        role, status, last, start, until = registry.call("keyOf", log, one)
        assert state is not None
        assert (contractstate.ROLES.index(state.role), contractstate.STATUSES.index(state.status)) == (role, status)
        assert (state.last_block, state.intervals[-1]) == (last, (start, None if until == 2**64 - 1 else until))
        earlier = registry.call("earlierIntervals", log, one)
        assert [list(pair) for pair in state.intervals[:-1]] == [list(pair) for pair in zip(*earlier, strict=True)]
    assert reader.ask(keys, partial(contractstate.key_state, log=log, kid=b"\x77" * 32)) is None
    version = reader.ask(place.models.address, partial(contractstate.version_state, tenant=tenant, artifact=MODEL))
    told = place.models.call("versionOf", tenant, LINE, 3)
    assert version is not None and (version.line, version.version) == (LINE, 3)
    assert version.deployable_at == told[9] and version.ended_at is None and told[10] == 0
    asked = partial(contractstate.grants, tenant=tenant, artifact=MODEL, audience=b"\x05" * 32)
    (span,) = reader.ask(place.models.address, asked)
    for moment in (span[0] - 1, span[0], span[1] - 1, span[1]):
        allowed = place.models.call("isDeployable", tenant, MODEL, b"\x05" * 32, moment)
        assert allowed == (span[0] <= moment < span[1])


def test_from_a_bundle_and_a_trust_file_with_no_network(place: OnChain, device: Device) -> None:
    captured(place)
    verdict = verify(Bundle(MemorySource(place.files(device))), place.trust(), ask=ASKED)
    assert {q: (a.reason, a.detail) for q, a in verdict.questions.items() if a.answer != "ok"} == {}
    grounds = {q: a.ground for q, a in verdict.questions.items()}
    assert grounds == dict.fromkeys(ASKED, "PROVED") | {"model_identity": "ATTESTED"}
    assert "approved and granted" in verdict.questions["model_identity"].detail
    assert verdict.chain is not None and verdict.chain.blocks[-1][3] == place.size


def test_what_is_kept_already_is_not_asked_for_again(place: OnChain, device: Device) -> None:
    captured(place)
    calls: list[Sequence[bytes]] = []

    class Counting(EvmClient):
        def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
            calls.append(slots)
            return super().proof(address, slots, block)

    place.anchor()
    captured(place, Counting)
    asked = [slots for slots in calls if slots]
    assert len(calls) - len(asked) == 4, "one call for each contract"
    assert len(asked) == 1, "only the fleet log's own slots changed"
    verdict = verify(Bundle(MemorySource(place.files(device))), place.trust(), ask=["key_valid"])
    assert verdict.questions["key_valid"].ground == "PROVED"


def test_a_revocation_is_proved_and_a_command_logged_on_chain_is_shown(place: OnChain) -> None:
    second = place.device("cam-2")
    place.network.register(second.key.public, DEVICE)
    place.hand_over(second, 0)
    place.anchor()
    place.network.revoke(second.key.kid, 4)
    place.anchor()
    captured(place)
    found = verify(Bundle(MemorySource(place.files(second))), place.trust(), ask=["key_valid"]).questions["key_valid"]
    assert (found.answer, found.reason) == ("not_answered", "repudiated")
    position = place.leaves()[-3].pos
    digest = place.leaves()[-3].digest  # the contract does not read statements: any that is anchored will do
    place.log_command(digest, position, second.log)
    reader = place.reader()
    ask = partial(contractstate.command_tip, log=place.profile.fleet_log, audience=second.log)
    tip = reader.ask(place.commands.address, ask)
    chain, entries, _, _ = place.commands.call("chainOf", place.profile.fleet_log, second.log)
    assert (tip.head, tip.entries) == (chain, entries) == (
        chain_after(bytes(32), [Entry(digest, position, 1)]), 1
    )  # fmt: skip
    place.anchor()
    captured(place)
    bundle = Bundle(MemorySource(place.files(second)))
    assert [found.entries for found in bundle.commands()] == [((digest, position, 1),)]
    states = States(place.trust())
    anchors_seen = Anchors(place.trust(), None)
    anchors_seen.load(bundle.anchors())
    states.load(bundle, anchors_seen)
    logged = states.logged(second.log)
    assert logged is not None and logged.complete and logged.digests == {digest}


def test_a_node_that_lies_gives_nothing_to_keep(place: OnChain, device: Device) -> None:
    class Lying(EvmClient):
        def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
            nodes = super().proof(address, slots, block)
            return [node[:-1] + bytes([node[-1] ^ 1]) for node in nodes]

    block = place.anchor().block
    with pytest.raises(Unavailable) as caught:
        captured(place, Lying)
    assert caught.value.code == "rpc_answer"
    assert place.ask(statekeep.standing, block) == "pending"
    captured(place)
    assert place.ask(statekeep.standing, block) == "kept"


@pytest.mark.parametrize("moment", ["before-commit", "after-commit"])
def test_a_crash_while_proofs_are_kept_loses_none(place: OnChain, device: Device, moment: str) -> None:
    class Crash(BaseException):
        """The end of the process."""

    class Dying(Database):
        @contextlib.contextmanager
        def write(self) -> Iterator[sqlite3.Connection]:
            with super().write() as connection:
                yield connection
                if moment == "before-commit":
                    raise Crash
            raise Crash

    block = place.anchor().block
    with pytest.raises(Crash):
        StateProofs(place.profile, Dying(place.path)).step()
    assert place.ask(statekeep.standing, block) == ("pending" if moment == "before-commit" else "kept")
    captured(place)
    verdict = verify(Bundle(MemorySource(place.files(device))), place.trust(), ask=["key_valid"])
    assert verdict.questions["key_valid"].ground == "PROVED"


def test_a_state_that_nodes_have_forgotten_is_given_up_and_said_so(place: OnChain, device: Device) -> None:
    class Forgetful(EvmClient):
        behind = 0

        def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
            raise Rejected(-32000, "missing trie node", b"")

        def block_number(self) -> int:
            return super().block_number() + self.behind

    block = place.anchor().block
    with pytest.raises(Unavailable):
        captured(place, Forgetful)
    assert place.ask(statekeep.standing, block) == "pending"
    Forgetful.behind = KEPT_BY_NODES + 1
    captured(place, Forgetful)
    assert place.ask(statekeep.standing, block) == "lost"
    found = verify(Bundle(MemorySource(place.files(device))), place.trust(), ask=["key_valid"]).questions["key_valid"]
    assert (found.answer, found.reason) == ("not_answered", "state_stale")


def test_answers_that_never_hold_are_given_up_once_the_block_is_old(place: OnChain, device: Device) -> None:
    class Lying(EvmClient):
        behind = 0

        def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
            if block == lied_about:
                if self.behind:
                    raise Unavailable("rpc_unreachable", f"{self.url}: HTTP 403")
                return [b"\x00" * 40]
            return super().proof(address, slots, block)

        def block_number(self) -> int:
            return super().block_number() + self.behind

    honest = place.anchor().block
    lied_about = place.anchor().block  # the newest is looked at first
    proofs = StateProofs(place.profile, place.database, Lying)
    for _ in range(TRIES + 1):
        with pytest.raises(Unavailable):
            proofs.step()
    assert place.ask(statekeep.standing, lied_about) == "pending", "a node may still have that state"
    assert place.ask(statekeep.standing, honest) == "kept", "one block does not hold the others up"
    Lying.behind = KEPT_BY_NODES + 1
    before = place.read(statelost.summary)
    for _ in range(TRIES - 1):
        with pytest.raises(Unavailable):
            proofs.step()
    proofs.step()
    assert place.ask(statekeep.standing, lied_about) == "lost"
    after = place.read(statelost.summary)
    assert (after["lost"], after["pending"]) == (before["lost"] + 1, before["pending"] - 1)
    reason = after["newest_lost"]["reason"]
    assert f"{KEPT_BY_NODES}" in reason and "HTTP 403" in reason and place.profile.endpoints[0] not in reason
    with GatewayClient(place.server.url) as client:
        assert client.get("/v1/status")["state_proofs"] == after


def test_each_endpoint_is_asked_before_a_block_goes_without(place: OnChain, device: Device) -> None:
    class Old(EvmClient):
        def block_number(self) -> int:
            return super().block_number() + KEPT_BY_NODES + 1

    class Pruned(Old):
        def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
            raise Rejected(-32000, "missing trie node", b"")

    block = place.anchor().block
    url = place.profile.endpoints[0]
    two = replace(place.profile, endpoints=(url, f"{url}/?archive"))
    proofs = StateProofs(two, place.database, lambda at: Pruned(at) if at == url else Old(at))
    with pytest.raises(Unavailable):
        proofs.step()
    proofs.step()
    assert place.ask(statekeep.standing, block) == "kept"


def test_a_contract_that_is_younger_than_an_anchor_holds_nothing_up(place: OnChain, device: Device) -> None:
    block = place.anchor().block
    younger = place._deploy("ModelRegistry")
    profile = replace(place.profile, model_registry=Deployed(younger.address, bytes(32)))
    StateProofs(profile, place.database).step()
    assert place.ask(statekeep.standing, block) == "kept"
    evidence = AccountEvidence.decode(place.read(lambda c: statekeep.accounts(c, 0, 1_000))[-1])
    _, accounts = evidence.verify()
    assert (evidence.block, accounts[younger.address]) == (block, None)
    assert accounts[place.profile.identity_registry] is not None


def test_what_is_kept_decodes(place: OnChain, device: Device) -> None:
    with place.database.read() as connection:
        for found in statekeep.accounts(connection, 0, 100):
            assert cbor.decode(found, max_size=1 << 24)["chain"] == 31337
