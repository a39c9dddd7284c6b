"""attribution: whose key signed the history, and whether who vouched for it might (format.md 8.1–8.5).

What each party can do to these answers: a bundle author can leave statements out (not answered); a device can name
any tenant in its genesis, which only an operator's enrolment confirms; a gateway can hide a revocation from the
fleet log, so that without the registry the answer is on the gateway's word; the registry, read under the rules for
RPC, wins over statements.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from edgeseal.attestation import Attested
from edgeseal.bundle import Bundle
from edgeseal.ekchain import Times
from edgeseal.errors import EvidenceError
from edgeseal.head import SignedFleetHead
from edgeseal.statements.enrolment import Enrolment
from edgeseal.trust import Trust
from edgeseal.verify.attested import Assurance, assurance, judge_same_tpm, read_evidence
from edgeseal.verify.case import Case
from edgeseal.verify.chain import RegistryKey
from edgeseal.verify.history import History
from edgeseal.verify.logs import Compared, need_signed
from edgeseal.verify.standing import judge_operator_proved
from edgeseal.verify.view import View


def enrolment_of(history: History, view: View) -> tuple[int, Enrolment] | None:
    """Return (position, enrolment) of a log: the first whose position is proved; None if there is none."""
    for placed in view.fleet.enrolments(history.log):
        content = placed.statement.content
        if isinstance(content, Enrolment) and view.proved(placed.position):
            return placed.position, content
    return None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who a device was enrolled as, and what is shown of the key: its assurance, and evidence that holds."""

    enrolment: Enrolment
    assurance: Assurance
    shown: Attested | None


def identity_of(history: History, view: View, bundle: Bundle, trust: Trust | None) -> Identity | None:
    """Return who a log's device was enrolled as, None where no enrolment is shown; evidence that does not hold fails
    attribution. Raises what Bundle raises.
    """
    found = enrolment_of(history, view)
    if found is None:
        return None
    position, enrolment = found
    placed = next(p for p in view.fleet.enrolments(history.log) if p.position == position)
    shown = read_evidence(enrolment, bundle, history.cases["attribution"])
    operator = placed.statement.signed.kid.hex()
    doubt = _doubt_of_asking(history, view, position)
    level = assurance(enrolment, shown, operator, trust, doubt, _asked_in(history, view, position, enrolment))
    return Identity(enrolment, level, shown)


def _doubt_of_asking(history: History, view: View, position: int) -> str | None:
    """Return why it is not proved that who asked a TPM was an operator then; a gateway that helps one who was can hide
    the keyset that removed him, unless a chain holds the log in which it does not stand.
    """
    if doubt_of_enrolment(history, view, position) is not None:
        return "nothing shows that who asked its TPM was an operator whose key counted then"
    if not view.on_chain(position):
        return "that who asked its TPM was an operator then is on the gateway's word alone"
    return None


def _asked_in(history: History, view: View, position: int, enrolment: Enrolment) -> Times:
    """Return between which times a device was enrolled: after its genesis was made, which names a fleet head, and with
    it all that stood in the fleet log by then; by the first believed block that holds the enrolment.
    """
    holds = view.anchor_of(position)
    after = None
    if history.genesis is not None and history.first_leaf == enrolment.genesis:
        try:
            head = SignedFleetHead.decode(history.genesis["fleet"]).head
            after = view.time_below(head.size) if view.main.get(head.size) == head.root else None
        except EvidenceError:
            after = None  # attribution says so
    return Times(after, None if holds is None else holds.time)


def doubt_of_enrolment(history: History, view: View, position: int) -> tuple[str, str] | None:
    """Return as (reason, detail) why it is not shown that the enrolment of a log at ``position`` is by an operator
    whose key counted there; None where it is.
    """
    placed = next(p for p in view.fleet.enrolments(history.log) if p.position == position)
    doubt = Case("attribution", history.log)
    judge_operator(doubt, view, placed.statement.signed.kid, position, f"the enrolment at {position}")
    for failure in doubt.failures:
        return "not_enrolled", failure.detail
    for entry in doubt.open:
        return entry.reason, entry.detail
    told = view.subject(history.log.hex())
    if told.entry is not None and told.entry.valid_from not in (None, position):
        return "statements_missing", f"the snapshot at {told.as_of} knows an enrolment at {told.entry.valid_from} first"
    return view.order(position)[1]


def judge_attribution(
    history: History, compared: Compared, view: View, identity: Identity | None, others: Iterable[Identity]
) -> None:
    """Answer attribution: (1) heads are signed by the key whose log this is, and cover what is shown; (2) genesis and
    key.bound name this tenant, this fleet log and this key; (3) an operator with that scope enrolled this very log,
    with this very genesis; (4) no TPM but this one was enrolled under its name.
    """
    case = history.cases["attribution"]
    # (1)
    if history.key is None:
        case.leave_open("no_head", "no head of this log has a signature that could be checked")
        return
    need_signed(case, history, compared)
    # (2)
    genesis, bound = history.genesis, history.bound
    if genesis is None or bound is None:
        case.leave_open("genesis_missing", "genesis and key.bound are not here")
        return
    for defect in history.defects:
        if view.sure(defect):
            case.fail(defect.reason, defect.detail, 0)
        else:
            case.leave_open("keysets_incomplete", f"{defect.detail}, and nothing shows that these are all keysets")
    if genesis["root"] != view.fleet.root:
        case.fail("foreign_root", f"genesis names tenant root {genesis['root'].hex()}", 0)
    if genesis["home"] != view.fleet.log:
        case.fail("foreign_log", f"genesis names home fleet log {genesis['home'].hex()}", 0)
    if bound["key"] != history.key.point:
        case.fail("wrong_key", "key.bound names another key than the one that signs the heads", 1)
    # (3)
    found = enrolment_of(history, view)
    if found is None:
        case.leave_open("not_enrolled", "no enrolment of this log by an operator is shown to stand in the fleet log")
        return
    position, enrolment = found
    if enrolment.genesis != history.first_leaf:
        case.fail("genesis_mismatch", f"the enrolment at {position} is of another genesis record", 0)
    placed = next(p for p in view.fleet.enrolments(history.log) if p.position == position)
    operator = placed.statement.signed.kid.hex()
    judge_operator(case, view, placed.statement.signed.kid, position, f"the enrolment at {position}")
    ground, _ = view.order(position)
    problem = doubt_of_enrolment(history, view, position)
    if problem:
        case.leave_open(*problem)
    detail = (
        f"key {history.key.kid.hex()} signed every head and is the key enrolled at {position}; that it is device "
        f"{enrolment.name!r}, assurance {enrolment.assurance}, is ATTESTED by operator {operator}"
    )
    case.stand(ground.ground, ground.by, detail)
    # (4)
    if identity is not None:
        case.note(identity.assurance.detail)
        if identity.shown is not None:
            judge_same_tpm(case, identity.shown, [o.shown for o in others if o.shown is not None])


def judge_standing(case: Case, key: RegistryKey, position: int, what: str, seq: int | None = None) -> None:
    """Judge by the registry whether a key was valid at a position: past its end it fails where the end was registered
    by then, and stays open, repudiated after receipt, where it was registered later (8.5).
    """
    if any(i.start <= position and (i.until is None or position < i.until) for i in key.intervals):
        return
    ended = [i for i in key.intervals if i.until is not None and i.until <= position]
    late = [i for i in ended if i.ended_at is None or position < i.ended_at]
    if late:
        case.leave_open("repudiated", f"{what} is repudiated after receipt: the key ended at {late[0].until}")
    elif ended:
        case.fail("key_revoked", f"{what} stands past the key's end, registered at {ended[0].ended_at}", seq)
    else:
        case.fail("before_validity", f"{what} stands before the key was valid", seq)


def judge_operator(case: Case, view: View, kid: bytes, position: int, what: str, seq: int | None = None) -> None:
    """Judge an operator's key by the registry too, where it was read or proved and knows the key: the registry wins
    over keysets.
    """
    state = view.anchors.state
    key = state.keys.get(kid) if state else None
    if key is not None:
        judge_standing(case, key, position, what, seq)
    if view.states is not None:
        known = max((anchor.size for anchor in view.anchors.believed), default=0)
        judge_operator_proved(case, view.states, kid, position, what, seq, state.number if state else -1, known)
