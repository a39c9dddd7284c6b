"""command_authority: whether every command the device took was an authorised operator's, for this device, in its
place (format.md 8.4).

What each party can do to this answer: root with the device key can invent records, but not an operator's signature,
nor a gateway's receipt; a gateway cannot command, and what it withholds shows where a later command was taken; the
position of a command is what its receipt binds.
"""

from __future__ import annotations

from edgeseal import statements
from edgeseal.commitment import Opening
from edgeseal.errors import EvidenceError
from edgeseal.merkle import leaf_hash
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment
from edgeseal.verify.case import Case
from edgeseal.verify.commands import Commands, Taken
from edgeseal.verify.fleet import UNSURE
from edgeseal.verify.history import History
from edgeseal.verify.identity import doubt_of_enrolment, enrolment_of, judge_operator
from edgeseal.verify.logs import Compared, need_signed
from edgeseal.verify.view import View


def judge_commands(
    history: History, commands: Commands, compared: Compared, view: View, openings: dict[tuple[int, str], Opening]
) -> frozenset[bytes]:
    """Answer command_authority, for each command taken: (1) the newest keyset below its position lets its signer
    order this; (2) tenant and audience are this device's; (3) its place in the fleet log is proved; (4) it stands
    above the enrolment and every earlier command; (5) it had not expired; (6) its arguments open where they are
    here; then (7) no command to this device was passed over.

    Returns the packages that commands activated which are without any fault and leave nothing open.
    """
    activated: set[bytes] = set()
    case = history.cases["command_authority"]
    if history.holes:
        case.leave_open("records_missing", "records are missing, commands could be among them")
    if not history.records:
        case.leave_open("no_records", "the bundle holds no record of this log")
        return frozenset()
    if not history.holes:
        need_signed(case, history, compared)
    for seq, defect in commands.unsure:
        detail = f"record {seq}: its receipt does not hold: {defect.detail}"
        if view.sure(defect):
            case.fail(defect.reason, detail, seq)
        else:
            case.leave_open("keysets_incomplete", f"{detail}, and nothing shows that these are all keysets")
    found = enrolment_of(history, view)
    if found is None and commands.taken:
        case.leave_open("not_enrolled", "no enrolment is shown, so this device's audiences are not known")
        return frozenset()
    last = found[0] if found else 0
    doubt = doubt_of_enrolment(history, view, found[0]) if found and commands.received else None
    for taken in commands.received:
        one = Case(case.question, case.log)
        package = _judge_one(history, taken, view, found[1] if found else None, last, openings, one)
        if doubt is not None and isinstance(taken.command.audience, str):
            one.leave_open(*doubt)  # who enrolled the device said which groups it is of
        sound = not one.failures and not one.open and taken.seq < compared.top and view.order(taken.position)[1] is None
        activated |= {package} if package is not None and sound else set()
        case.take(one)
        last = max(last, taken.position)
    if found and commands.taken:
        _judge_withheld(history, commands, view, found, case)
    if not commands.taken:
        case.prove("no command was taken")
        return frozenset()
    note_logged(history, commands, view, case)
    if view.anchors.state is None and (view.states is None or not view.states.registry):
        case.note("what the identity registry says of its operators was not read")
    ground, problem = view.order(last)
    if problem:
        case.leave_open(*problem)
    case.stand(
        ground.ground, ground.by, f"{len(commands.taken)} commands taken, each by an authorised operator, in its place"
    )
    return frozenset(activated)


def _judge_one(
    history: History,
    taken: Taken,
    view: View,
    enrolment: Enrolment | None,
    last: int,
    openings: dict[tuple[int, str], Opening],
    case: Case,
) -> bytes | None:
    """Judge one command; return the package that it validly activates, None for any other."""
    _judge_signer(taken, view, case)
    _judge_audience(history, taken, view, enrolment, case)
    _judge_place(taken, view, last, case)
    _judge_expiry(history, taken, view, case)
    return _judge_args(taken, openings, case)


def _judge_signer(taken: Taken, view: View, case: Case) -> None:
    """(1) The newest keyset below the command's position lets its signer order this; the registry agrees."""
    seq, position = taken.seq, taken.position
    keyset = view.fleet.keyset_below(position)
    if keyset is None:
        case.leave_open("no_keyset", f"no keyset below position {position} is shown")
    else:
        try:
            taken.statement.signed.verify(statements.signer(taken.statement, keyset))
        except EvidenceError as error:
            problem = view.order(position)[1] if error.code in UNSURE else None
            if problem is not None:
                case.leave_open(*problem)
            else:
                case.fail(error.code, f"the command in record {seq}: {error.message}", seq)
    judge_operator(case, view, taken.statement.signed.kid, position, f"the command in record {seq}", seq)


def _judge_audience(history: History, taken: Taken, view: View, enrolment: Enrolment | None, case: Case) -> None:
    """(2) It is of this device's tenant, for its log or a group of its enrolment."""
    command, seq = taken.command, taken.seq
    if command.tenant != view.fleet.root:
        case.fail("foreign_root", f"the command in record {seq} is of another tenant", seq)
    audiences = {history.log, *(enrolment.groups if enrolment else ())}
    if command.audience not in audiences:
        case.fail("wrong_audience", f"the command in record {seq} is for {command.sub}", seq)


def _judge_place(taken: Taken, view: View, last: int, case: Case) -> None:
    """(3) Its place in the fleet log is proved; (4) it is above ``last``, the enrolment's or an earlier command's."""
    seq, position = taken.seq, taken.position
    stands = view.fleet.leaves.get(position)
    if stands is not None and view.proved(position) and stands != leaf_hash(taken.statement.signed.raw):
        case.fail(
            "fork",
            f"position {position} of the fleet log holds another statement than the command in record {seq}",
            seq,
        )
    elif view.main.get(taken.head[0]) != taken.head[1] and not (stands is not None and view.proved(position)):
        case.leave_open(
            "no_receipt", f"position {position} of the command in record {seq} is not shown to be in this log"
        )
    if position <= last:
        case.fail("command_replayed", f"the command in record {seq} stands at {position}, not above {last}", seq)


def _judge_expiry(history: History, taken: Taken, view: View, case: Case) -> None:
    """(5) The fleet log, as far as the device had seen it or the receipt shows it, had not reached its end."""
    seq, end = taken.seq, taken.command.expires_size
    seen = [
        f.head.seen.size
        for f in history.heads
        if f.head.size <= seq and f.head.seen and f.head.seen.log == view.fleet.log
    ]
    if end <= max([taken.head[0], *seen[-1:]]):
        case.fail("command_expired", f"the command in record {seq} ended at fleet size {end}", seq)


def _judge_args(taken: Taken, openings: dict[tuple[int, str], Opening], case: Case) -> bytes | None:
    """(6) Its arguments open where they are here; return the package they name, None for none."""
    opening = openings.get((taken.seq, "args"))
    if opening is None or opening.data is None:
        return None
    try:
        package = taken.command.open_args(opening.salt, opening.data).get("model")
    except EvidenceError as error:
        case.fail(error.code, f"the arguments of the command in record {taken.seq}: {error.message}", taken.seq)
        return None
    return package if isinstance(package, bytes) else None


def note_logged(history: History, commands: Commands, view: View, case: Case) -> None:
    """Note which commands CommandLog is proved to hold too, where the trust file names one. It changes no answer: that
    a command was logged on chain is nobody's duty."""
    states = view.states
    if states is None or states.trust.chain is None or states.trust.chain.command_log is None:
        return
    held = unknown = 0
    for taken in commands.received:
        told = states.logged(taken.command.audience)
        found = told is not None and taken.digest in told.digests
        known = told is not None and (found or told.complete)
        states.commands.append((history.log, taken.seq, taken.digest, found if known else None))
        held, unknown = held + found, unknown + (not known)
    rest = f", of {unknown} nothing shows it" if unknown else ""
    case.note(f"{held} of {len(commands.received)} commands also stand in the command log on chain{rest}")


def _judge_withheld(history: History, commands: Commands, view: View, found: tuple[int, Enrolment], case: Case) -> None:
    """(7) Commands arrive in order of position: one below the last taken that no record names was never shown to the
    device.
    """
    position, enrolment = found
    last = max(taken.position for taken in commands.taken.values())
    subjects = [history.log.hex(), *(f"group:{name}" for name in enrolment.groups)]
    for sub in subjects:
        told = view.subject(sub, last + 1)
        if told.problem and told.problem[0] != "newer_anchor":
            case.leave_open(*told.problem)
        elif told.as_of <= last:
            case.leave_open("no_snapshot", f"what tells of commands to {sub} reaches position {told.as_of} only")
        for placed in view.fleet.subjects.get(sub, ()):
            if not isinstance(placed.statement.content, Command) or not position < placed.position < last:
                continue
            if placed.statement.digest not in commands.taken and placed.statement.digest not in commands.refused:
                flood = ", unless among the refusals that it only counted" if commands.uncounted else ""
                detail = f"the command at {placed.position} never reached this device's history{flood}"
                case.leave_open("command_withheld", detail)
