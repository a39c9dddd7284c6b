"""key_valid: whether the key of a log was valid where its heads stand (format.md 8.5, 14.3).

What each party can do to this answer: a gateway can hide a revocation from the fleet log, so that without the registry
it is on the gateway's word; the registry, proved in the bundle or read under the rules for RPC, wins over statements;
whoever makes the bundle can leave proofs out, or show older ones (not answered).
"""

from __future__ import annotations

from edgeseal.statements.revocation import Revocation
from edgeseal.verify.case import Case
from edgeseal.verify.chain import RegistryKey
from edgeseal.verify.fleet import Placed
from edgeseal.verify.history import History
from edgeseal.verify.identity import doubt_of_enrolment, enrolment_of, judge_standing
from edgeseal.verify.standing import Told, judge_proved
from edgeseal.verify.state import REGISTRY
from edgeseal.verify.view import View


def judge_key_valid(history: History, view: View) -> None:
    """Answer key_valid: (1) the key was enrolled, from a position on; (2) every head of it in the fleet log stands
    within the key's validity, by the registry where an endpoint that is believed says it; (3) and where it is proved;
    (4) what neither reaches, heads above the anchored size they know among it, by the revocations among all statements
    of the key."""
    case = history.cases["key_valid"]
    # (1)
    found = enrolment_of(history, view)
    if history.key is None or found is None:
        case.leave_open("not_enrolled", "no enrolment of this log is shown to stand in the fleet log")
        return
    placed = sorted(f.position for f in history.heads if f.position is not None and view.proved(f.position))
    if not placed:
        case.leave_open("no_receipt", "no head of this log is shown to stand in the fleet log")
        return
    if placed[0] < found[0]:
        case.fail("before_enrolment", f"a head stands at {placed[0]}, below the enrolment at {found[0]}")
    problem = view.order(found[0])[1]
    if problem:
        case.leave_open(*problem)
    newest = max(fact.head.size for fact in history.heads)
    if newest > max(fact.head.size for fact in history.heads if fact.position in placed):
        detail = f"the head of size {newest} is not in the fleet log: nothing says whether the key was valid then"
        case.leave_open("not_sequenced", detail)
    # (2)
    state = view.anchors.state
    said = state is not None and view.anchors.ground_of_state() is not None
    if state is not None and said:
        _by_registry(case, view, state.keys.get(history.key.kid), placed, state.size)
    # (3)
    proved = _by_proofs(case, view, history.key.kid, placed, state.number if state is not None and said else -1)
    # (4)
    rest = [position for position in placed if state is None or not said or position >= state.size]
    if rest and not proved:
        _by_statements(history, view, rest, found[0])


def _by_proofs(case: Case, view: View, kid: bytes, placed: list[int], read: int) -> bool:
    """Judge by the registry's proved states; return whether they reach every head and the newest anchor known.

    ``read`` is the number of the block whose registry an endpoint told; -1: none was asked, so that what the proofs
    leave out is known from nowhere.
    """
    alone = read < 0
    states = view.states
    if states is None or not states.registry:
        if states is not None and REGISTRY in states.open:
            case.note(states.open[REGISTRY][1])
        return False
    told: Told = states.key(kid)
    if not told:
        if alone:
            case.leave_open("state_missing", "the registry's word on this key is not among its proofs here")
        return alone
    newest, key = told[-1]
    assert newest.size is not None
    if key is None:
        case.leave_open("not_registered", "the identity registry does not know this key for this fleet log")
        return True
    if key.role != "device":
        case.fail("wrong_role", f"the registry knows this key as {key.role}")
    reached = [judge_proved(case, told, position, f"the head at {position}", read=read) for position in placed]
    known = max((anchor.size for anchor in view.anchors.believed), default=0)
    if newest.size < known:
        if alone:
            detail = f"the registry is proved as of anchored size {newest.size}, a block with size {known} is known"
            case.leave_open("state_stale", detail)
        return alone
    if not all(reached):
        return False
    detail = (
        f"{len(placed)} heads within the validity that the identity registry is proved to hold after block "
        f"{newest.number}, as of anchored size {newest.size} ({newest.ground.how})"
    )
    case.stand(newest.ground.ground, newest.ground.by, detail)
    unknown = max((state.size or 0 for state, before in told if before is None), default=0)
    late = sum(position < unknown for position in placed)
    if late:
        case.note(f"{late} of them lie below anchored size {unknown}, at which it did not know the key yet")
    return True


def _by_registry(case: Case, view: View, key: RegistryKey | None, placed: list[int], size: int) -> None:
    ground = view.anchors.ground_of_state()
    assert ground is not None
    if key is None:
        case.leave_open("not_registered", "the identity registry does not know this key for this fleet log")
        return
    if key.role != "device":
        case.fail("wrong_role", f"the registry knows this key as {key.role}")
    for position in placed:
        judge_standing(case, key, position, f"the head at {position}")
    detail = (
        f"{len(placed)} heads within the validity the identity registry gives, as of anchored size {size} "
        f"({ground.how})"
    )
    case.stand(ground.ground, ground.by, detail)


def _by_statements(history: History, view: View, placed: list[int], start: int) -> None:
    case = history.cases["key_valid"]
    assert history.key is not None
    doubt = doubt_of_enrolment(history, view, start)
    if doubt is not None:
        case.leave_open(*doubt)
    told = view.subject(history.key.kid.hex(), placed[-1] + 1)
    if told.ground is None or told.problem:
        case.leave_open(*(told.problem or ("no_snapshot", "nothing shows that there is no revocation of this key")))
    elif told.as_of <= placed[-1]:
        case.leave_open("no_snapshot", f"what tells of revocations reaches position {told.as_of} only")
    entry = view.subject(history.log.hex()).entry
    for revocation in told.placed:
        content = revocation.statement.content
        if isinstance(content, Revocation):
            _apply(case, revocation, content, placed)
    if entry and entry.valid_until is not None and not told.placed:
        case.leave_open("revoked", f"a snapshot says the key ended at {entry.valid_until}, the revocation is not here")
    proved, state = view.states.key(history.key.kid) if view.states else [], view.anchors.state
    reach = f"is proved as of size {proved[-1][0].size} only" if proved else "was not read"
    reach = reach if state is None else f"was read as of size {state.size} only"
    detail = (
        f"{len(placed)} heads from {start} on; no revocation in the fleet log as of {told.as_of}; the registry {reach}"
    )
    case.attest(view.gateway, detail)


def _apply(case: Case, placed_at: Placed, content: Revocation, placed: list[int]) -> None:
    for position in placed:
        if position >= placed_at.position:
            case.fail("key_revoked", f"a head stands at {position}, past the key's revocation at {placed_at.position}")
        elif position >= content.until:
            detail = f"the head at {position} is repudiated after receipt: the key ended at {content.until}"
            case.leave_open("repudiated", detail)
