"""Challenges on a real chain are answered, whatever is killed in between; a head not of our log is said aloud."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgeseal import cose
from edgeseal.head import NO_HEAD, FleetHead, SignedFleetHead
from edgeseal_console.demo.parts import Chain
from edgeseal_gateway.chain.challenges import PACE_S
from edgeseal_gateway.store import fleetlog
from tests.crash.gateway.test_sender_crash import Anchored
from tests.fakes.submitter import Crash
from tests.integration.gateway.rig import until

OPEN, ANSWERED = 1, 2


class Challenged(Anchored):
    """Anchored at size 4, and somebody holds a head of ours."""

    def __init__(self, folder: Path, chain: Chain) -> None:
        super().__init__(folder, chain)
        self.work()
        self.hand_in(self.tenant.enrolment(self.tenant.device_of("one")))
        self.sequence()
        self.work()

    def again(self, store: str = "", spare: int = 0) -> None:
        """Restart, answering challenges."""
        self.restart(store=store, spare=spare)
        self.sender.answer_challenges()

    def challenge(self, signed: bytes) -> FleetHead:
        """Bring a signed head to the contract, as anybody may."""
        held = SignedFleetHead.decode(signed)
        head, signature, key = held.head, held.signed.signature, self.signer.public_key
        brought = (head.size, head.root, head.prev[0], head.prev[1], signature[:32], signature[32:])
        data = self.network.fleet_abi.encode("challenge", head.log, key.x, key.y, brought)
        self.network.operator.send(self.profile.fleet_log_contract, data)
        return head

    def ours(self, size: int) -> bytes:
        """Our own signed head of a size."""
        head = self.ask(fleetlog.head_at, self.profile.fleet_log, size)
        assert head is not None
        return head.signed

    def state(self, head: FleetHead) -> int:
        return int(self.network.fleet.call("challengeOf", head.log, head.size, head.root)[0])

    def answered(self, head: FleetHead) -> bool:
        self.sender.step()
        return self.state(head) == ANSWERED

    def nonce(self) -> int:
        return self.wire.transaction_count(self.account.address)


@pytest.fixture
def challenged(tmp_path: Path, shared_chain: Chain) -> Challenged:
    return Challenged(tmp_path, shared_chain)


def test_each_is_answered_once_at_a_pace(challenged: Challenged) -> None:
    challenged.again()
    older, newest = (challenged.challenge(challenged.ours(size)) for size in (2, 4))
    before = challenged.nonce()
    until(lambda: challenged.answered(older), "the first is answered")
    for _ in range(3):
        challenged.sender.step()
    assert (challenged.state(newest), challenged.nonce()) == (OPEN, before + 1), "the next waits its turn"
    challenged.monotonic += PACE_S
    until(lambda: challenged.answered(newest), "so is the anchored head itself")
    challenged.monotonic += PACE_S
    for _ in range(3):
        challenged.sender.step()
    assert challenged.nonce() == before + 2
    challenged.hand_in(challenged.tenant.enrolment(challenged.tenant.device_of("two")))
    challenged.sequence()
    challenged.work()
    challenged.audit()


@pytest.mark.parametrize("store", ["before-commit", "after-commit"])
def test_killed_around_an_answer(challenged: Challenged, store: str) -> None:
    head, before = challenged.challenge(challenged.ours(2)), challenged.nonce()
    challenged.again(store)
    with pytest.raises(Crash):
        challenged.sender.step()
    challenged.again()
    until(lambda: challenged.answered(head), "it is answered after the restart")
    challenged.monotonic += PACE_S
    for _ in range(3):
        challenged.sender.step()
    assert challenged.nonce() == before + 1


def test_a_head_that_is_not_our_logs_is_said_and_not_answered(challenged: Challenged) -> None:
    challenged.again()
    false = FleetHead(challenged.profile.fleet_log, 3, b"\x66" * 32, NO_HEAD)
    protected = false.protected(challenged.signer.public_key.kid)
    signature = challenged.signer.sign(cose.to_be_signed(protected, false.payload()))
    head, before = challenged.challenge(cose.assemble(protected, false.payload(), signature)), challenged.nonce()
    true = challenged.challenge(challenged.ours(2))
    until(lambda: challenged.answered(true), "the other one is answered all the same")
    challenged.monotonic += PACE_S
    challenged.sender.step()
    assert challenged.sender.blocked is not None
    assert challenged.sender.blocked.code == "challenge_contradicts"
    assert (challenged.state(head), challenged.nonce()) == (OPEN, before + 1)


def test_a_store_that_was_set_back_answers_nothing(tmp_path: Path, chain: Chain) -> None:
    challenged = Challenged(tmp_path, chain)
    challenged.challenge(challenged.ours(2))
    challenged.again()
    with challenged.database.write() as connection:
        connection.execute("DELETE FROM leaf WHERE pos >= 3")
    before = challenged.nonce()
    challenged.sender.step()
    assert challenged.nonce() == before


def test_an_answer_that_sticks_is_given_up_and_given_anew(tmp_path: Path, chain: Chain) -> None:
    challenged = Challenged(tmp_path, chain)
    challenged.again()
    head = challenged.challenge(challenged.ours(2))
    chain.call("evm_setAutomine", False)
    challenged.sender.step()
    challenged.monotonic += 100
    challenged.sender.step()
    assert len(set(challenged.wire.sent)) == 2, "the answer, and an empty transaction that pays more"
    chain.call("evm_setAutomine", True)
    chain.call("anvil_mine")
    challenged.monotonic += PACE_S
    until(lambda: challenged.answered(head), "it is answered with the next nonce")
