"""Whether each model was approved and granted when it was activated, by the model registry's proved state (part of
model_identity; format.md 14.3, IModelRegistry).

An activation has no time of its own that could be believed. It came before the first block that holds a head over it,
and after a block that an earlier head of the same log names. The registry never back-dates, so its state after a later
block is its last word on all times before. What each party can do: the device can say when it activated, not when the
blocks were; whoever makes the bundle can leave proofs out (not answered); a registry's admin cannot change the past.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

from edgeseal import contractstate
from edgeseal.commandlog import audience_id
from edgeseal.contractstate import VersionState
from edgeseal.verify.case import Case
from edgeseal.verify.history import History
from edgeseal.verify.identity import doubt_of_enrolment, enrolment_of
from edgeseal.verify.logs import Compared
from edgeseal.verify.models import Models
from edgeseal.verify.state import MODELS, Believed, States
from edgeseal.verify.times import when
from edgeseal.verify.view import View

Span = tuple[int, int]
"""Unix seconds [from, until)."""
_FOR_EVER: int = 2**64


@dataclass(frozen=True, slots=True)
class Window:
    """Between which block times a record was made: ``after`` is None where nothing bounds it from below; ``number`` is
    that of the block that bounds it from above, as several blocks can share a second.
    """

    after: int | None
    by: int
    number: int

    def __str__(self) -> str:
        """Return the bounds for people."""
        return f"by {when(self.by)}" if self.after is None else f"between {when(self.after)} and {when(self.by)}"


def judge_approvals(history: History, models: Models, compared: Compared, view: View | None) -> None:
    """Judge every activation under the log's signed heads: (1) the blocks around it; (2) the version that the package
    is, and what the device and its groups were granted of it; (3) whether that covers all times the activation can be
    of, or none, or has an edge among them."""
    case = history.cases["model_identity"]
    states = view.states if view is not None else None
    chain = states.trust.chain if states is not None else None
    if view is None or states is None or chain is None or chain.model_registry is None:
        case.note("approval was not asked: no trust file names a model registry")
        return
    found = enrolment_of(history, view)
    audiences = [history.log, *(audience_id(group) for group in (found[1].groups if found else ()))]
    doubt = doubt_of_enrolment(history, view, found[0]) if found and models.activations else None
    if doubt is not None:
        case.leave_open(*doubt)  # who enrolled the device said which groups it is of
    newest: Believed | None = None
    for seq, (package, _), _ in models.activations:
        # (1)
        window = _window(seq, compared, view)
        if window is None:
            case.leave_open("not_anchored", f"no believed block holds a head over the activation in record {seq}")
            continue
        # (2), (3)
        newest = _judge(case, states, package, audiences, window, seq) or newest
    if newest is not None:
        detail = (
            f"{len(models.activations)} activations of models that the registry is proved to have approved and granted "
            f"then, after block {newest.number} ({newest.ground.how})"
        )
        case.stand(newest.ground.ground, newest.ground.by, detail)


def _window(seq: int, compared: Compared, view: View) -> Window | None:
    """Return the bounds of a record's time, None where no believed block holds a head over it.

    Of earlier heads only those count that stood in the fleet log before the head over the record did: a device could
    sign others at any later time.
    """
    times = {anchor.block: anchor.time for anchor in view.anchors.believed}
    placed = [(f.head, f.position) for f in compared.matched if f.position is not None and view.proved(f.position)]
    covering = [
        (anchor.number, anchor.time, position)
        for head, position in placed
        if head.size > seq and (anchor := view.anchor_of(position)) is not None
    ]
    if not covering:
        return None
    number, by, place = min(covering)
    named = [
        times[head.anchored.block]
        for head, position in placed
        if head.size <= seq and position < place and head.anchored is not None and head.anchored.block in times
    ]
    return Window(max((time for time in named if time <= by), default=None), by, number)


def _judge(
    case: Case, states: States, package: bytes, audiences: list[bytes], window: Window, seq: int
) -> Believed | None:
    """Judge one activation; return the state it was judged by, if one shows all that it takes."""
    tenant, what = states.trust.tenant_root.kid, f"the activation of {package.hex()[:16]}… in record {seq}, {window}"
    told = states.newest(MODELS, lambda read: contractstate.version_state(read, tenant, package))
    if told is None:
        detail = f"the model registry's word on {package.hex()} is not among its proofs here"
        case.leave_open(*states.open.get(MODELS, ("state_missing", detail)))
        return None
    state, version = told
    if state.number < window.number:
        case.leave_open("state_stale", f"the model registry is proved as of {when(state.time)} only; {what}")
        return None
    if version is None or version.deployable_at is None or version.deployable_at > window.by:
        case.fail("model_not_approved", f"{what}: the registry had not approved and released it", seq)
        return state
    if version.ended_at is not None and window.after is not None and version.ended_at <= window.after:
        case.fail("model_revoked", f"{what}: the registry ended it at {when(version.ended_at)}", seq)
        return state
    spans, missing = _granted(states, state, tenant, package, audiences, version)
    _judge_spans(case, spans, missing, window, what, seq)
    return state


def _granted(
    states: States, state: Believed, tenant: bytes, package: bytes, audiences: list[bytes], version: VersionState
) -> tuple[list[Span], bool]:
    """Return the times in which an activation was allowed, joined where they touch, and whether grants are missing."""
    start, end = version.deployable_at or 0, _FOR_EVER if version.ended_at is None else version.ended_at
    spans: list[Span] = []
    missing = False
    for audience in audiences:
        ask = partial(contractstate.grants, tenant=tenant, artifact=package, audience=audience)
        told = states.at(state, MODELS, ask)
        missing |= told is None
        spans += [(max(begin, start), min(until, end)) for begin, until in told or ()]
    joined: list[Span] = []
    for begin, until in sorted(span for span in spans if span[0] < span[1]):
        if joined and begin <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], until))
        else:
            joined.append((begin, until))
    return joined, missing


def _judge_spans(case: Case, spans: list[Span], missing: bool, window: Window, what: str, seq: int) -> None:
    after = -1 if window.after is None else window.after
    if any(begin <= after and window.by < until for begin, until in spans):
        return
    if missing:
        case.leave_open("state_missing", f"{what}: not all grants of it to this device and its groups are shown")
    elif all(until <= after or window.by < begin for begin, until in spans):
        case.fail("model_not_granted", f"{what}: the registry had not granted it to this device or its groups", seq)
    else:
        case.leave_open("grant_edge", f"{what}: approval or grant began or ended among those times")
