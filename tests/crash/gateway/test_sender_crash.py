"""The sender on a real chain: killed before and after each step, on a chain that forgets, and beside other people's
work.
"""

from __future__ import annotations

import contextlib
import dataclasses
import random
import secrets
from pathlib import Path

import pytest

from edgeseal import cbor, evmproof, statements
from edgeseal.adapters.evm import Account, EvmClient, Transaction
from edgeseal.errors import InvariantBroken, Unavailable
from edgeseal.fleetlog_event import decode_anchored
from edgeseal_console.demo.parts import Chain
from edgeseal_gateway.chain import history
from edgeseal_gateway.chain.anchor import call_data
from edgeseal_gateway.chain.budget import SpendLimits
from edgeseal_gateway.chain.endpoints import SILENT_S, Endpoints
from edgeseal_gateway.chain.fees import Bounds
from edgeseal_gateway.chain.lease import Lease
from edgeseal_gateway.chain.means import Means, Settings
from edgeseal_gateway.chain.mirror import Mirror
from edgeseal_gateway.chain.sender import Sender
from edgeseal_gateway.chain.sendstate import SendRules
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer, found_log
from edgeseal_gateway.store import anchors, attempts, fleetlog, operations, orders
from edgeseal_gateway.store.database import Database
from tests.fakes.submitter import Crash, Dying
from tests.gatewaystore import Founded
from tests.integration.gateway.rig import Network, until
from tests.tenant import SoftSigner, Tenant
from tests.world import Key

KINDS = ("before-commit", "after-commit")


class Wire(EvmClient):
    """The real node; the process may end just before or just after a transaction is handed to it."""

    def __init__(self, url: str, crash: str = "") -> None:
        super().__init__(url)
        self.crash = crash
        self.sent: list[bytes] = []

    def send_raw(self, transaction: bytes) -> bytes:
        self.sent.append(transaction)
        if self.crash == "before-send":
            raise Crash
        found = super().send_raw(transaction)
        if self.crash == "after-send":
            raise Crash
        return found


class Anchored(Founded):
    """A founded store whose fleet log is open on a real chain."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        self.path = folder / "gateway.db"
        self.signer = SoftSigner(secrets.randbelow(1 << 64) + 1)
        root = Key(secrets.randbelow(1 << 64) + 1)
        self.chain = chain
        self.network = Network(chain, root, self.signer.public_key)
        self.profile = self.network.profile
        self.tenant = Tenant(self.profile, root, self.signer.public_key)
        self.clock, self.monotonic, self.policy = 1_000, 0.0, AnchorPolicy(1, None)
        self.account = Account(secrets.token_bytes(32))
        chain.fund("0x" + self.account.address.hex())
        Database.create(self.path)
        with Database(self.path).write() as connection:
            found_log(connection, self.signer, self.profile.fleet_log, statements.decode(self.tenant.keysets[0]))
        self.open(Database(self.path))
        self.restart()
        self.tenant.heads.append(self.read(self._newest_head))

    def restart(
        self, crash: str = "", store: str = "", confirmations: int = 1, spare: int = 0, others: tuple[str, ...] = ()
    ) -> None:
        """Begin anew on the store, as a restarted process does; crash at the given place, with more endpoints."""
        database = Dying(self.path)
        self.open(database)
        self.wire = Wire(self.chain.url)
        self.mirror = Mirror(self.wire, self.profile, database, self.signer.public_key.kid)
        lease = Lease(database, self.seconds, self.now_ms, "here", alone_here=True, ttl_s=10**9)
        lease.hold()
        means = Means(
            self.profile, database, self.account, self.signer.public_key,
            Endpoints([self.wire, *map(EvmClient, others)], self.profile, self.seconds, lambda: 0.0), lease,
            SendRules.of(self.profile, confirmations),
            Settings(Bounds.of(None, 500 * 10**9), SpendLimits(10**19, 10**19)), self.now_ms, self.seconds,
        )  # fmt: skip
        self.sender = Sender(means)
        self.anchored = self.mirror.step()
        while self.sequencer.step():
            pass
        self.wire.crash, database.mode, database.spare = crash, store, spare

    def seconds(self) -> float:
        return self.monotonic

    def work(self) -> None:
        """Step until nothing is wanted or under way."""

        def done() -> bool:
            self.mirror.step()
            self.sender.step()
            return self.read(anchors.open_anchor) is None and self.read(anchors.newest_wanted) is None

        until(done, "the anchor is final")

    def finals(self) -> list[int]:
        return [one.size for one in self.ask(anchors.final_from, 0, 100)]

    def audit(self) -> None:
        """Check the chain against the store, and each anchor's evidence as a stranger would."""
        size, root = self.network.fleet.call("head", self.profile.fleet_log)
        assert self.ask(fleetlog.root_at, size) == bytes(root)
        assert self.finals()[-1] == size
        for one in self.ask(anchors.final_from, 0, 100):
            assert one.evidence is not None
            made = cbor.decode(one.evidence, max_size=1 << 20)
            proved = evmproof.verify_log(
                made["block"], made["header"], made["receipt"], made["index"], made["nodes"], made["contract"],
                made["log"],
            )  # fmt: skip
            event = decode_anchored(proved.log)
            assert (event.log_id, event.size) == (self.profile.fleet_log, one.size)


@pytest.fixture
def anchored(tmp_path: Path, shared_chain: Chain) -> Anchored:
    return Anchored(tmp_path, shared_chain)


@pytest.mark.parametrize(
    ("crash", "store", "spare"),
    [("", "before-commit", 1), ("", "after-commit", 1), ("before-send", "", 0), ("after-send", "", 0),
     ("", "before-commit", 2), ("", "after-commit", 2)],
    ids=["signed-not-stored", "stored-not-sent", "about-to-send", "sent-not-noted", "taken-not-noted", "noted"],
)  # fmt: skip
def test_killed_around_sending(anchored: Anchored, crash: str, store: str, spare: int) -> None:
    anchored.restart(crash, store, spare=spare)
    with pytest.raises(Crash):
        anchored.sender.step()
    before = list(anchored.wire.sent)
    stored = [one.raw for one in anchored.ask(attempts.of_anchor, 2)]
    anchored.restart()
    anchored.work()
    anchored.audit()
    assert anchored.finals() == [2]
    if stored:
        assert before in ([], stored) and set(anchored.wire.sent) <= set(stored), "the very same bytes"
    assert anchored.wire.transaction_count(anchored.account.address) == 1


@pytest.mark.parametrize("store", ["before-commit", "after-commit"])
def test_killed_around_the_evidence(anchored: Anchored, store: str) -> None:
    anchored.sender.step()
    until(lambda: anchored.network.anchored() == 2, "it is mined")
    anchored.restart(store=store)
    with pytest.raises(Crash):
        anchored.sender.step()
    anchored.restart()
    anchored.work()
    anchored.audit()
    assert anchored.wire.transaction_count(anchored.account.address) == 1


def test_anchors_follow_each_other(anchored: Anchored) -> None:
    anchored.work()
    for name in ("one", "two"):
        anchored.hand_in(anchored.tenant.enrolment(anchored.tenant.device_of(name)))
        anchored.sequence()
        anchored.work()
    anchored.audit()
    assert anchored.finals() == [2, 4, 6]


def test_a_transaction_that_the_pool_lost_is_sent_again(tmp_path: Path, chain: Chain) -> None:
    anchored = Anchored(tmp_path, chain)
    chain.call("evm_setAutomine", False)
    anchored.sender.step()
    (attempt,) = anchored.ask(attempts.of_anchor, 2)
    chain.call("anvil_dropTransaction", "0x" + attempt.hash.hex())
    anchored.sender.step()
    assert anchored.wire.sent == [attempt.raw, attempt.raw]
    chain.call("evm_setAutomine", True)
    chain.call("anvil_mine")
    anchored.work()
    anchored.audit()


def test_a_block_that_was_replaced_is_not_final(tmp_path: Path, chain: Chain) -> None:
    anchored = Anchored(tmp_path, chain)
    anchored.restart(confirmations=3)
    anchored.sender.step()
    until(lambda: anchored.network.anchored() == 2, "it is mined")
    assert not anchored.sender.step()
    chain.call("anvil_reorg", 1, [])
    assert anchored.network.anchored() == 0
    anchored.sender.step()
    chain.call("anvil_mine", "0x3")
    anchored.work()
    anchored.audit()
    assert anchored.finals() == [2]


def test_a_stuck_transaction_is_replaced_and_either_may_be_mined(tmp_path: Path, chain: Chain) -> None:
    anchored = Anchored(tmp_path, chain)
    chain.call("evm_setAutomine", False)
    anchored.sender.step()
    anchored.monotonic += 100
    anchored.sender.step()
    one, two = anchored.ask(attempts.of_anchor, 2)
    assert one.nonce == two.nonce and two.max_fee > one.max_fee and two.tip > one.tip
    chain.call("evm_setAutomine", True)
    chain.call("anvil_mine")
    anchored.work()
    anchored.audit()
    assert anchored.wire.transaction_count(anchored.account.address) == 1


def test_somebody_else_brought_our_head(anchored: Anchored) -> None:
    """Anyone may: the signature is ours. The anchor is taken over with its evidence, and nothing is sent."""

    head = anchored.ask(fleetlog.head_at, anchored.profile.fleet_log, 2)
    assert head is not None
    data = anchored.ask(call_data, anchored.network.fleet_abi, head, anchored.signer.public_key, 0)
    anchored.network.operator.send(anchored.profile.fleet_log_contract, data)
    anchored.work()
    anchored.audit()
    assert anchored.wire.sent == []


def test_the_logs_history_is_walked_back_to_its_opening(anchored: Anchored) -> None:
    """Key changes, several anchors, blocks of other people's between them: found without a scan."""
    anchored.work()
    anchored.chain.call("anvil_mine", "0x5")
    for name in ("one", "two"):
        anchored.hand_in(anchored.tenant.enrolment(anchored.tenant.device_of(name)))
        anchored.sequence()
        anchored.work()
    abi, log = anchored.network.fleet_abi, anchored.profile.fleet_log
    other = Key(98).public
    change = abi.encode("setGatewayKey", log, other.x, other.y)
    anchored.network.operator.send(anchored.profile.fleet_log_contract, change)
    topics = {abi.event_topic(name): name for name in ("Opened", "Anchored", "GatewayKeyChanged")}
    found = list(history.events(anchored.network.fleet, log))
    assert [topics[entry.log.topics[0]] for entry in found] == ["GatewayKeyChanged", *["Anchored"] * 3, "Opened"]


def test_somebody_else_used_the_nonce(anchored: Anchored) -> None:
    """The transaction can never be mined: noticed after some looks. Nothing more is signed until a person answers; then
    the anchor goes out under the next nonce.
    """
    anchored.restart("before-send")
    with pytest.raises(Crash):
        anchored.sender.step()
    foreign = anchored.account.sign(Transaction(31337, 0, anchored.account.address, b"", 21_000, 10**11, 10**9))
    anchored.wire.crash = ""
    EvmClient(anchored.chain.url).send_raw(foreign.raw)
    until(lambda: anchored.wire.transaction_count(anchored.account.address) == 1, "the foreign one is mined")
    anchored.restart()
    for _ in range(4):
        anchored.sender.step()
    assert anchored.sender.blocked is not None and anchored.sender.blocked.code == "foreign_nonce"
    with anchored.database.write() as connection:
        operations.ask(connection, "resume", None, "the treasurer paid a bill from it", anchored.clock)
    anchored.work()
    anchored.audit()


def test_a_refusing_contract_costs_nothing(anchored: Anchored) -> None:
    """The contract was told of another gateway key: the estimate fails, nothing is signed, the board says why."""
    other = Key(99).public
    abi = anchored.network.fleet_abi
    data = abi.encode("setGatewayKey", anchored.profile.fleet_log, other.x, other.y)
    anchored.network.operator.send(anchored.profile.fleet_log_contract, data)
    anchored.sender.step()
    assert anchored.sender.blocked is not None and anchored.sender.blocked.code == "anchor_refused"
    assert anchored.sender.blocked.remedy
    assert "WrongKey" in anchored.sender.blocked.message and anchored.wire.sent == []
    with pytest.raises(Exception, match="gateway_replaced"):
        anchored.mirror.step()


def test_an_empty_account_waits_for_funds(anchored: Anchored) -> None:
    address = "0x" + anchored.account.address.hex()
    anchored.chain.fund(address, 1)
    anchored.sender.step()
    assert anchored.sender.blocked is not None and anchored.sender.blocked.code == "funds"
    assert anchored.wire.sent == []
    anchored.chain.fund(address)
    anchored.work()
    assert anchored.sender.blocked is None


def test_one_of_two_endpoints_is_dead(anchored: Anchored) -> None:
    """Nothing waits for it but what is called final, and that for a quarter of an hour only."""
    anchored.restart(others=("http://127.0.0.1:9",))
    until(lambda: anchored.sender.step() or anchored.ask(anchors.confirmed), "confirmed by the one that lives")
    assert anchored.finals() == [] and anchored.ask(anchors.finality, 2) == "CONFIRMED"
    anchored.monotonic += SILENT_S + 1
    anchored.work()
    anchored.audit()


def ordeal(anchored: Anchored, rounds: int, chance: random.Random) -> None:
    """Load, reorganisations, lost pools, empty accounts and ends of the process on a real chain, then an audit."""
    chain, address = anchored.chain, "0x" + anchored.account.address.hex()
    for number in range(rounds):
        anchored.hand_in(anchored.tenant.enrolment(anchored.tenant.device_of(f"device-{number}")))
        anchored.restart(confirmations=4, spare=chance.randrange(4), store=chance.choice(["", *KINDS]))
        with contextlib.suppress(Crash):
            for _ in range(3):
                anchored.sender.step()
                anchored.sequence()
        trouble = chance.randrange(3)
        if trouble == 0:
            chain.call("anvil_reorg", chance.randrange(1, 4), [])
        elif trouble == 1:
            chain.fund(address, 1)
        else:
            chain.call("anvil_dropAllTransactions")
        anchored.restart(confirmations=4)
        with contextlib.suppress(Unavailable):
            anchored.sender.step()
        chain.fund(address)
        chain.call("anvil_mine", hex(chance.randrange(1, 4)))
    anchored.restart(confirmations=4)

    def done() -> bool:
        chain.call("anvil_mine")
        anchored.sequence()
        anchored.mirror.step()
        anchored.sender.step()
        final, wanted = anchored.ask(anchors.newest_final), anchored.ask(anchors.newest_wanted)
        flying, size = anchored.ask(anchors.in_flight), anchored.ask(fleetlog.size)
        return not flying and wanted is None and final is not None and final.size == size

    until(done, "everything is final")
    anchored.audit()
    events = history.events(anchored.network.fleet, anchored.profile.fleet_log)
    topic = anchored.network.fleet_abi.event_topic("Anchored")
    sizes = [decode_anchored(one.log).size for one in events if one.log.topics[0] == topic]
    assert sizes[::-1] == anchored.finals(), "none lost, none twice"


def test_reorganisations_and_ends_during_load(tmp_path: Path, chain: Chain) -> None:
    ordeal(Anchored(tmp_path, chain), 5, random.Random(5))


@pytest.mark.soak
@pytest.mark.parametrize("seed", range(20))
def test_reorganisations_and_ends_during_load_for_long(tmp_path: Path, chain: Chain, seed: int) -> None:
    ordeal(Anchored(tmp_path, chain), 60, random.Random(seed))


def test_another_chain_or_contract_is_never_written_to(anchored: Anchored) -> None:

    for changes, code in (
        ({"chain_id": 1}, "chain_id"),
        ({"fleet_log_code": bytes(32)}, "contract_code"),
        ({"identity_registry": bytes(20)}, "contract_code"),
    ):
        profile = dataclasses.replace(anchored.profile, **changes)
        with pytest.raises(InvariantBroken, match=code):
            Mirror(anchored.wire, profile, anchored.database, b"").step()
    with pytest.raises(Unavailable):
        Mirror(EvmClient("http://127.0.0.1:9"), anchored.profile, anchored.database, b"").step()


def test_the_registrys_word_on_keys_is_mirrored(anchored: Anchored) -> None:
    anchored.work()
    device = anchored.tenant.device_of("cam")
    anchored.hand_in(anchored.tenant.enrolment(device))
    anchored.sequence()
    anchored.network.register(device.key.public, 0)
    anchored.mirror.step()
    assert anchored.known(device).state == "active"
    registry, log = anchored.network.registry, anchored.profile.fleet_log
    suspend = registry.contract.encode("suspendKey", log, device.key.kid, 2)
    anchored.network.operator.send(registry.address, suspend)
    anchored.mirror.step()
    assert anchored.known(device).state == "revoked"
    assert anchored.read(orders.revoked)[0][3] == "registry"
    back = registry.contract.encode("reinstateKey", log, device.key.kid, 100)
    anchored.network.operator.send(registry.address, back)
    anchored.mirror.step()
    assert anchored.known(device).state == "active"
    anchored.network.revoke(device.key.kid, 2)
    anchored.restart()
    assert anchored.known(device).state == "revoked"
    assert anchored.read(orders.revoked) == [(device.key.kid, "device", 2, "registry")]


def test_a_head_that_is_not_signed_yet_is_waited_for(anchored: Anchored) -> None:
    """The token is down between decision and signature: the anchor is wanted, and cannot go out before the
    signature.
    """
    anchored.work()
    anchored.hand_in(anchored.tenant.next_keyset())

    class Down(SoftSigner):
        def sign(self, message: bytes) -> bytes:
            if b"fleet-head" in message:
                raise Unavailable("token_failed", "gone")
            return anchored.signer.sign(message)

    down = Down()
    down.public_key = anchored.signer.public_key
    sequencer = Sequencer(anchored.database, down, anchored.profile.fleet_log, anchored.policy, lambda: 0.0)
    with pytest.raises(Unavailable):
        sequencer.step()
    wanted = anchored.read(anchors.newest_wanted)
    assert wanted is not None and not anchored.sender.step() and len(anchored.wire.sent) == 1
    anchored.sequence()
    anchored.work()
    anchored.audit()
