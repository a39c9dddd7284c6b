"""Each row of the tamper table, and that honest worlds pass."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from edgeseal.verify import QUESTIONS, verify
from tests.tamper.__main__ import table
from tests.tamper.by_gateway import rotated
from tests.tamper.rows import ROWS, Row, partial, state_of
from tests.world import simple


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.make.__name__)
def test_row(row: Row) -> None:
    evidence = row.make()
    verdict = verify(evidence.bundle, evidence.trust, evidence.chain, [row.question], evidence.reexecuted)
    answer = verdict.questions[row.question]
    assert (answer.answer, answer.ground or answer.reason) == (row.answer, row.reason), answer.detail
    assert verdict.exit_code == row.exit_code
    if row.answer == "failed" and row.seq is not None:
        assert verdict.failures[0][1].seq == row.seq
    whole = verify(evidence.bundle, evidence.trust, evidence.chain, reexecuted=evidence.reexecuted)
    assert whole.questions[row.question] == answer  # asking for more changes no answer
    if row.answer != "ok":
        assert whole.exit_code == 2 if "failed" in {a.answer for a in whole.questions.values()} else 3
    json.dumps(whole.as_json())


ASKED = [question for question in QUESTIONS if question != "reexecution"]


def test_an_honest_world_is_ok_on_a_public_chain() -> None:
    world, device = simple()
    verdict = verify(world.bundle(), world.trust(), state_of(world, device), ASKED)
    assert {q: (a.answer, a.reason, a.detail) for q, a in verdict.questions.items() if a.answer != "ok"} == {}
    assert verdict.exit_code == 0
    grounds = {q: a.ground for q, a in verdict.questions.items()}
    assert {q for q, ground in grounds.items() if ground == "ATTESTED"} == {"model_identity", "cadence"}


def test_an_orderly_rotation_of_the_gateways_key_changes_no_answer() -> None:
    world, device, _ = rotated()
    verdict = verify(world.bundle(), world.trust(), state_of(world, device), ASKED)
    assert {q: a.detail for q, a in verdict.questions.items() if a.answer != "ok"} == {}


def test_on_a_chain_run_by_the_operator_nothing_about_time_or_view_is_proved() -> None:
    world, device = simple()
    verdict = verify(world.bundle(), world.trust("operator"), state_of(world, device), ASKED)
    assert verdict.exit_code == 0
    attested = {
        q for q, a in verdict.questions.items() if a.ground == "ATTESTED" and "operator-run chain" in (a.by or "")
    }
    assert attested >= {
        "completeness",
        "single_view_device",
        "single_view_fleet",
        "existed_by",
        "existed_after",
        "key_valid",
    }


def test_without_trust_only_what_needs_none_is_answered() -> None:
    world, _ = simple()
    verdict = verify(world.bundle())
    assert {q for q, a in verdict.questions.items() if a.answer == "ok"} == {
        "integrity", "position", "completeness", "append_only", "model_identity", "policy", "cadence"
    }  # fmt: skip
    assert verdict.exit_code == 3


def test_a_bundle_about_one_device_is_answered_from_receipts_and_snapshot_paths() -> None:
    world, device = simple()
    world.device("cam-2")
    world.anchor()
    verdict = verify(world.bundle([device], **partial(world, device, set())), world.trust(), ask=ASKED)
    assert {q: (a.reason, a.detail) for q, a in verdict.questions.items() if a.answer != "ok"} == {}
    assert verdict.questions["completeness"].ground == "ATTESTED"
    assert (verdict.questions["completeness"].by or "").startswith("gateway ")


def test_every_question_of_an_empty_bundle_is_not_answered() -> None:
    world, _ = simple()
    verdict = verify(world.bundle([], statements=(), heads=[], anchors=[]), world.trust())
    assert {a.answer for a in verdict.questions.values()} == {"not_answered"}
    assert verdict.exit_code == 3


def test_architecture_prints_this_table() -> None:
    page = (Path(__file__).parents[2] / "ARCHITECTURE.md").read_text("utf-8")
    assert table() in page, "run: python -m tests.tamper ARCHITECTURE.md"
