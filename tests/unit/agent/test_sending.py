"""The uplink's state machine, driven by hand."""

from __future__ import annotations

from edgeseal_agent.configlink import UplinkConfig
from edgeseal_agent.sending import GRACE_S, SendState

CONFIG = UplinkConfig(inflight_segments=4, receipt_timeout_s=30, retry_min_s=1, retry_max_s=8, flush_s=0)


def connected(acknowledged: int = 10) -> SendState:
    state = SendState(CONFIG, acknowledged)
    assert not state.may_send(0)
    state.connect(0)
    return state


def test_the_window_opens_with_receipts_and_never_beyond_its_limit() -> None:
    state, sent = connected(), 10
    for expected in (1, 2, 4, 4):
        burst = 0
        while state.may_send(0):
            sent += 5
            burst += 1
            state.has_sent(sent, 0)
        assert burst == expected and state.in_flight == expected
        state.receipt(sent)
    assert state.acknowledged == sent and state.in_flight == 0


def test_a_refusal_waits_longer_each_time_and_a_receipt_ends_that() -> None:
    state, now = connected(), 0.0
    for wait_s in (1, 2, 4, 8, 8):
        assert state.may_send(now)
        state.has_sent(20, now)
        state.refuse("quota", 10, now)
        state.refuse("quota", 10, now)  # the same burst
        assert state.sent == 10 and not state.may_send(now + wait_s - 0.01) and state.wait_s(now) == wait_s
        now += wait_s
    state.receipt(10)
    state.refuse("quota", 10, now)
    assert state.wait_s(now) == 1


def test_enrolment_ends_the_wait_of_an_unknown_key_and_of_nothing_else() -> None:
    state = connected()
    state.refuse("unknown_key", 0, 0)
    assert not state.may_send(0.5)
    state.resend(0, 0.5)
    assert state.may_send(0.5) and state.sent == 0
    state.refuse("root_mismatch", 0, 1)
    state.resend(0, 1)
    assert not state.may_send(1)


def test_a_request_for_what_is_under_way_waits_a_moment() -> None:
    state = connected(0)
    state.has_sent(64, 0)
    state.resend(0, 0.2)
    assert state.sent == 64 and not state.is_crossed(0.3)
    state.receipt(64)
    assert not state.is_crossed(0.2 + GRACE_S) and state.sent == 64
    state.has_sent(128, 2)
    state.resend(64, 2.1)
    assert state.wait_s(2.1) == GRACE_S
    assert state.is_crossed(2.1 + GRACE_S) and state.sent == 64 and state.in_flight == 0


def test_what_gets_no_receipt_is_sent_again() -> None:
    state = connected(10)
    state.has_sent(20, 0)
    assert not state.is_overdue(29) and state.wait_s(29) == 1
    assert state.is_overdue(30) and state.sent == 10
    assert not state.may_send(30) and state.may_send(31)


def test_a_lost_connection_starts_over_from_the_receipts() -> None:
    state = connected(10)
    state.has_sent(20, 0)
    state.disconnect()
    assert not state.may_send(1) and state.wait_s(1) is None
    state.connect(2)
    assert state.may_send(2) and state.sent == 10
