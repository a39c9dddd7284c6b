"""S24-S27: nothing is signed beyond the budget or the balance, and what waits for money goes on by itself."""

from __future__ import annotations

from edgeseal_gateway.chain.budget import HOUR_MS, SpendLimits
from edgeseal_gateway.chain.means import Settings
from edgeseal_gateway.store import anchors, attempts
from tests.fakes.chain import ANCHOR_GAS
from tests.fakes.submitter import ETHER, Rig


def limit(rig: Rig, per_hour: int, per_day: int = 10 * ETHER) -> None:
    rig.sender.use(Settings(rig.settings.bounds, SpendLimits(per_hour, per_day)))


def trouble(rig: Rig) -> str | None:
    return None if rig.sender.blocked is None else rig.sender.blocked.code


def test_S24_nothing_is_signed_beyond_the_budget(rig: Rig) -> None:
    limit(rig, per_hour=ANCHOR_GAS)
    rig.step(3)
    assert trouble(rig) == "spend_limit" and "chain.spend_per_hour_gwei" in str(rig.sender.blocked)
    assert rig.account.signed == [] and rig.attempts() == [] and rig.node.sent == []


def test_S24_a_limit_that_is_raised_while_it_runs_counts_from_the_next_signature(rig: Rig) -> None:
    limit(rig, per_hour=ANCHOR_GAS)
    rig.step()
    assert rig.account.signed == []
    limit(rig, per_hour=ETHER)
    rig.step()
    assert len(rig.account.signed) == 1 and trouble(rig) is None


def test_S24_the_budget_is_spent_by_what_was_signed_also_before_a_restart(rig: Rig) -> None:
    rig.work(2)
    ((_, paid),) = rig.ask(attempts.spent, 0)
    size = rig.grow("cam-1")
    rig.settings.limits = SpendLimits(paid + rig.attempts()[0].most - 1, 10 * ETHER)
    rig.restart()
    rig.step(2)
    assert trouble(rig) == "spend_limit" and len(rig.account.signed) == 1
    rig.wait(HOUR_MS // 1000 + 1)
    rig.work(size)
    assert len(rig.account.signed) == 2
    rig.audit()


def test_S24_what_is_not_mined_yet_counts_with_the_most_it_can_cost(rig: Rig) -> None:
    rig.step()
    (only,) = rig.attempts()
    assert rig.ask(attempts.spent, 0) == [(only.at_ms, only.most)]
    rig.mine()
    rig.step()
    ((_, wei),) = rig.ask(attempts.spent, 0)
    assert 0 < wei < only.most, "mined: what it did cost"


def test_S25_the_balance_must_cover_what_is_in_flight_and_what_comes(rig: Rig) -> None:
    rig.step()
    first = rig.attempts()[0]
    rig.chain.fund(rig.account.address, first.most)
    rig.wait(60)
    rig.step()
    assert trouble(rig) == "funds", "the replacement costs more than the account holds"
    assert len(rig.attempts()) == 1 and len(rig.account.signed) == 1
    rig.chain.fund(rig.account.address, ETHER)
    rig.step()
    assert len(rig.attempts()) == 2


def test_S26_without_funds_it_waits_burns_no_nonce_and_goes_on_by_itself(rig: Rig) -> None:
    rig.chain.fund(rig.account.address, 0)
    rig.step(5)
    assert rig.state() == anchors.BLOCKED_FUNDS and trouble(rig) == "funds"
    assert rig.sender.blocked is not None and rig.sender.blocked.remedy is not None
    assert rig.account.signed == [] and rig.ask(attempts.next_nonce) in (None, 0)
    rig.restart()
    rig.step()
    assert rig.state() == anchors.BLOCKED_FUNDS
    rig.chain.fund(rig.account.address, ETHER)
    rig.work(2)
    assert trouble(rig) is None and [one.nonce for one in rig.attempts()] == [0]
    rig.audit()


def test_S26_funds_that_run_out_between_anchors_hold_up_only_what_comes(rig: Rig) -> None:
    rig.work(2)
    size = rig.grow("cam-1")
    rig.chain.fund(rig.account.address, 1)
    rig.step(3)
    assert rig.state(size) == anchors.BLOCKED_FUNDS and rig.finals() == [2]
    size = rig.grow("cam-2")
    rig.chain.fund(rig.account.address, ETHER)
    wanted = rig.ask(anchors.newest_wanted)
    assert wanted is not None
    rig.work(wanted.size)
    rig.audit()
    assert rig.finals()[0] == 2 and len(rig.anchored_events()) == 2


def test_S27_one_transaction_is_unmined_at_a_time(rig: Rig) -> None:
    rig.step()
    for name in ("cam-1", "cam-2", "cam-3"):
        rig.grow(name)
        rig.step(2)
    assert {one.nonce for one in rig.account.signed} == {0}
    rig.node.final_lie = 0
    rig.confirm()
    rig.sequence()
    rig.step()
    assert {one.nonce for one in rig.account.signed} == {0, 1}, "confirmed: the next need not wait for finality"
