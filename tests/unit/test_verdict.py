"""Answers, their roll-up, and exit codes."""

from __future__ import annotations

import pytest

from edgeseal.errors import FormatError, UsageError
from edgeseal.verify import QUESTIONS, refused, verify
from edgeseal.verify.case import Case, Cases
from edgeseal.verify.verdict import (
    MAX_FAILURES,
    Answer,
    check_asked,
    roll_up,
)
from tests.world import simple

OK = Answer("ok", "a", ground="PROVED")
SAID = Answer("ok", "b", ground="ATTESTED", by="gateway 1")
SAID_TOO = Answer("ok", "c", ground="ATTESTED", by="gateway 2")
FAILED = Answer("failed", "d", reason="fork")
OPEN = Answer("not_answered", "e", reason="no_snapshot")


@pytest.mark.parametrize(
    ("answers", "answer", "ground", "by"),
    [
        ([OK, OK], "ok", "PROVED", None),
        ([OK, SAID, SAID_TOO], "ok", "ATTESTED", "gateway 1; gateway 2"),
        ([OK, OPEN], "not_answered", None, None),
        ([OPEN, FAILED, OK], "failed", None, None),
        ([], "not_answered", None, None),
    ],
)
def test_roll_up(answers: list[Answer], answer: str, ground: str | None, by: str | None) -> None:
    found = roll_up(answers)
    assert (found.answer, found.ground, found.by) == (answer, ground, by)


def test_a_case_starts_with_nothing_in_its_favour() -> None:
    case = Case("integrity", None)
    assert case.answer().reason == "no_evidence"
    case.prove("hashes")
    assert case.answer().ground == "PROVED"
    case.attest("gateway", "word")
    case.prove("more")
    assert (case.answer().ground, case.answer().by) == ("ATTESTED", "gateway")
    case.leave_open("why", "not reached")
    assert case.answer().answer == "not_answered"
    case.fail("fork", "two")
    assert case.answer().answer == "failed"


def test_failures_are_bounded_and_counted() -> None:
    case = Case("integrity", None)
    for seq in range(MAX_FAILURES + 50):
        case.fail("body_mismatch", "bad", seq)
    assert len(case.failures) == MAX_FAILURES and f"{MAX_FAILURES + 49} more" in case.answer().detail


@pytest.mark.parametrize(("answer", "code"), [(OK, 0), (SAID, 0), (OPEN, 3), (FAILED, 2)])
def test_exit_code_follows_what_was_asked(answer: Answer, code: int) -> None:
    world, _ = simple()
    verdict = verify(world.bundle(), world.trust(), ask=["integrity"])
    verdict.questions["integrity"] = answer
    verdict.questions["policy"] = FAILED  # not asked for: does not count
    assert verdict.exit_code == code


def test_unknown_questions_are_a_usage_error() -> None:
    with pytest.raises(UsageError):
        check_asked(["integrity", "valid"])
    with pytest.raises(UsageError):
        check_asked([])
    assert check_asked(reversed(QUESTIONS)) == QUESTIONS


def test_evidence_that_is_refused_fails_whatever_was_asked() -> None:
    verdict = refused(["existed_by"], FormatError("bundle_link", "a link"))
    assert verdict.exit_code == 2
    verdict = refused(QUESTIONS, FormatError("bundle_link", "a link"))
    assert verdict.questions["integrity"].reason == "bundle_link" and verdict.exit_code == 2


def test_the_json_is_the_formats() -> None:
    world, device = simple()
    fields = verify(world.bundle(), world.trust()).as_json()
    assert set(fields) == {
        "schema", "questions", "failures", "unanswered", "devices", "records", "heads", "statements", "chain"
    }  # fmt: skip
    assert list(fields["questions"]) == list(QUESTIONS)
    assert fields["devices"][0]["log"] == device.log.hex() and fields["devices"][0]["kid"] == device.key.kid.hex()
    assert (fields["records"], fields["heads"], fields["statements"]) == (device.size, len(device.heads), world.size)
    assert set(fields["unanswered"][0]) == {"question", "log", "reason", "detail"}


def test_cases_hold_only_what_was_asked() -> None:
    cases = Cases(None, frozenset({"policy"}))
    cases["integrity"].fail("x", "y")
    assert list(cases.answers()) == ["policy"]
