"""Whether a key was valid at a position, by what the registry is proved to hold at blocks (format.md 8.5, 14.3).

The registry's storage holds all intervals of a key, but not at which size an end was registered. Two states bound it:
an end that one state shows was registered at or below the size anchored there.
"""

from __future__ import annotations

from edgeseal.contractstate import KeyState
from edgeseal.verify.case import Case
from edgeseal.verify.state import Believed, States

Told = list[tuple[Believed, KeyState | None]]
"""What each state, oldest first, says of one key."""


def valid_at(key: KeyState, position: int) -> bool:
    """Say whether a key is valid at a position: each interval's start opens what lies above it, its end closes it."""
    valid = False
    for start, until in key.intervals:
        valid = (until is None or position < until) and (valid or position >= start)
    return valid


def judge_proved(case: Case, told: Told, position: int, what: str, seq: int | None = None, read: int = -1) -> bool:
    """Judge a position by every state that reaches it; return whether one does.

    Past the key's end it fails where a state not above the position shows the end already, or where the key is revoked
    for good and no state reaches the position; it stays open, repudiated after receipt, where the end came later, or
    where no state reaches the position and the key had ended but could be reinstated. ``read`` is the number of the
    block up to which an endpoint told of the registry, so that an older proof leaves nothing open.
    """
    reaching = [(state, key) for state, key in told if state.size is not None and state.size > position]
    before = [(state, key) for state, key in told if state.size is not None and state.size <= position]
    ended = [state for state, key in before if key is not None and _ended(key, position)]
    if not reaching:
        state, final = before[-1] if before else (None, None)
        if state is None or final is None or valid_at(final, position):
            return False
        if final.status == "revoked":
            case.fail("key_revoked", f"{what} stands past the key's end, which block {state.number} shows", seq)
        elif state.number > read:
            detail = f"{what} stands where the key was not valid by block {state.number}, and no later state is proved"
            case.leave_open("state_stale", detail)
        return False
    for state, key in reaching:
        if key is None or valid_at(key, position):
            continue
        if all(position < start for start, _ in key.intervals):
            case.fail("before_validity", f"{what} stands before the key was valid", seq)
        elif ended:
            case.fail("key_revoked", f"{what} stands past the key's end, which block {ended[0].number} shows", seq)
        else:
            detail = f"{what} is repudiated after receipt: block {state.number} shows that the key had ended before it"
            case.leave_open("repudiated", detail)
        break
    return True


def judge_operator_proved(
    case: Case, states: States, kid: bytes, position: int, what: str, seq: int | None, read: int, known: int
) -> None:
    """Judge an operator's key by the registry, where it is proved; one it does not know is the keysets' alone.

    ``read`` as in :func:`judge_proved`; -1: no endpoint was asked, so that what the proofs leave out is known from
    nowhere. ``known`` is the largest anchored size that is believed.
    """
    if not states.registry:
        return
    told = states.key(kid)
    if not told and read < 0:
        case.leave_open("state_missing", f"the registry's word on operator {kid.hex()} is not among its proofs here")
    elif told and read < 0 and (told[-1][0].size or 0) < known:
        detail = f"the registry's word on operator {kid.hex()} is of anchored size {told[-1][0].size}, {known} is known"
        case.leave_open("state_stale", detail)
    judge_proved(case, told, position, what, seq, read)


def _ended(key: KeyState, position: int) -> bool:
    return not valid_at(key, position) and any(start <= position for start, _ in key.intervals)
