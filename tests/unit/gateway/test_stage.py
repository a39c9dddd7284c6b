"""What a stage's failures mean: waited out and shown, or the end of the process with its reason."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal_gateway import stage
from edgeseal_gateway.board import Board
from edgeseal_gateway.stage import Fate, Stage


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[BaseException | None]], tuple[Board, Fate]]:
    """Run a stage through a list of outcomes, then end it; return what it left."""
    monkeypatch.setattr(stage, "FIRST_PAUSE_S", 0.001)

    def play(outcomes: list[BaseException | None]) -> tuple[Board, Fate]:
        board, fate, left = Board(), Fate(), list(outcomes)

        def step() -> float:
            outcome = left.pop(0)
            if not left:
                fate.end()
            if outcome is not None:
                raise outcome
            return 0.0

        made = Stage("test", step, board, fate)
        made.start()
        made.join(60)
        assert not made.is_alive()
        return board, fate

    return play


def test_a_world_that_is_down_is_waited_out(
    run: Callable[[list[BaseException | None]], tuple[Board, Fate]],
) -> None:
    down = Unavailable("broker_unreachable", "gone", "start it")
    board, fate = run([down, UsageError("funds", "none"), down, None])
    assert board.troubles() == [] and fate.error is None
    board, fate = run([None, down])
    assert [one["code"] for one in board.troubles()] == ["broker_unreachable"] and fate.error is None


@pytest.mark.parametrize(
    ("error", "code"),
    [(InvariantBroken("chain_contradicts", "two histories"), "chain_contradicts"), (KeyError("x"), "unexpected")],
)
def test_a_broken_invariant_ends_the_process(
    run: Callable[[list[BaseException | None]], tuple[Board, Fate]], error: BaseException, code: str
) -> None:
    _, fate = run([None, error, None])
    assert fate.ended and isinstance(fate.error, EdgesealError) and fate.error.code == code


def test_the_first_reason_stays() -> None:
    fate = Fate()
    threading.Thread(target=fate.end, args=(InvariantBroken("one", "1"),)).start()
    assert fate.wait(60)
    fate.end(InvariantBroken("two", "2"))
    assert isinstance(fate.error, InvariantBroken) and fate.error.code == "one"
