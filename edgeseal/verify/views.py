"""single_view_device, single_view_fleet: whether everybody was shown the same history (format.md 5.2, 7, 9).

What each party can do to these answers: root with the device key can sign two histories, a gateway two fleet logs;
where both sides are here it is shown (failed). That there is no second side can only be said from all statements, a
snapshot path, or the chain, whose contract takes one growing log. A device's ``seen`` is its word alone: where it
contradicts a signed head one of the two lied, and the answer stays open.
"""

from __future__ import annotations

from collections.abc import Iterable

from edgeseal.statements.enrolment import Enrolment
from edgeseal.statements.revocation import Revocation
from edgeseal.verify.case import Case, Cases
from edgeseal.verify.history import History
from edgeseal.verify.identity import enrolment_of
from edgeseal.verify.logs import Compared, compare
from edgeseal.verify.view import View


def judge_device(history: History, compared: Compared, view: View, others: dict[bytes, History]) -> None:
    """Answer single_view_device: (1) no two signed heads contradict each other or the records; (2) each head names
    the signed head before it; (3) no other log of this device runs beside it; (4) something shows that there are no
    more heads than these."""
    case = history.cases["single_view_device"]
    # (1)
    by_size: dict[int, set[bytes]] = {}
    for fact in history.heads:
        by_size.setdefault(fact.head.size, set()).add(fact.head.root)
    for size, roots in by_size.items():
        if len(roots) > 1:
            case.fail("fork", f"the device key signed {len(roots)} roots at size {size}", size)
    for fact in compared.contradicted:
        if fact.head.size < compared.top:
            case.fail(
                "fork",
                f"the signed head of size {fact.head.size} is no prefix of that of size {compared.top}",
                fact.head.size,
            )
        elif len(by_size[fact.head.size]) == 1:
            case.leave_open(
                "root_mismatch", "the records shown do not match every signed head, so a fork cannot be ruled out"
            )
    # (2)
    _judge_chain(history, compared, by_size, case)
    # (3)
    _judge_parallel(history, view, others, case)
    # (4)
    if compared.beyond:
        case.leave_open(
            "records_missing", "a signed head lies beyond the records shown and cannot be compared with them"
        )
    told = view.subject(history.log.hex())
    if told.problem:
        reason, detail = told.problem
        (case.fail if reason == "snapshot_contradicts" else case.leave_open)(reason, detail)
    if told.ground is None or not compared.matched:
        case.leave_open("no_snapshot", "nothing shows that there are no other heads of this log")
        return
    placed = [f for f in compared.matched if f.position is not None and view.proved(f.position)]
    if not placed:
        case.leave_open("no_receipt", "the fleet log is not shown to hold a head of this log, so it rules out no other")
    elif max(fact.head.size for fact in placed) < compared.top:
        case.leave_open(
            "not_sequenced", f"the head of size {compared.top} is not in the fleet log, nor another ruled out"
        )
    if placed and told.as_of <= max(fact.position or 0 for fact in placed):
        case.leave_open("no_snapshot", f"what tells of other heads reaches position {told.as_of} only")
    detail = f"{len(compared.matched)} heads in one line, as of fleet log size {told.as_of} ({told.ground.how})"
    case.stand(told.ground.ground, told.ground.by, detail)


def _judge_chain(history: History, compared: Compared, by_size: dict[int, set[bytes]], case: Case) -> None:
    sizes = sorted(by_size)
    below = {size: sizes[index - 1] if index else 0 for index, size in enumerate(sizes)}
    for fact in history.heads:
        size, root = fact.head.prev
        known = by_size.get(size)
        recomputed = history.roots.get(size) if size <= compared.top else None
        if (known is not None and root not in known) or (size and recomputed is not None and recomputed != root):
            case.fail(
                "fork",
                f"the head of size {fact.head.size} follows another head of size {size} than the one signed",
                size,
            )
        elif size < below[fact.head.size]:
            skipped = below[fact.head.size]
            detail = (
                f"the head of size {fact.head.size} says it follows size {size}, but the key also signed size {skipped}"
            )
            case.fail("fork", detail, skipped)


def _judge_parallel(history: History, view: View, others: dict[bytes, History], case: Case) -> None:
    mine = enrolment_of(history, view)
    if mine is None:
        return
    if not view.complete:
        case.note("other keys of the same device were not looked for, since not all statements are here")
        return
    position, enrolment = mine
    for at, content in view.fleet.named.get(enrolment.name, ()):
        if content.log == history.log or not view.proved(at):
            continue
        (_, first), second = sorted(((position, history.log), (at, content.log)))
        if _revoked(first, second[0], view):
            continue
        logs = f"{first.hex()} and {second[1].hex()}"
        old = others.get(first)
        if old is None or not _whole(old):
            detail = f"whether the first log of device {enrolment.name!r} was closed is not shown: {logs}"
            case.leave_open("predecessor_missing", detail)
        elif old.closed_at is None or old.closed_at >= compare(old).top:
            case.fail("parallel_logs", f"device {enrolment.name!r} has two logs at once: {logs}")
        elif not _ended(old, old.closed_at, second, view, others.get(second[1])):
            detail = f"nothing shows that the first log of device {enrolment.name!r} ended before the second: {logs}"
            case.leave_open("seam_open", detail)


def _whole(history: History) -> bool:
    """Say whether the records shown reach every head of a log that is shown, with none missing between."""
    newest = max((fact.head.size for fact in history.heads), default=0)
    return not history.holes and not history.bare and 0 < newest <= compare(history).top


def _revoked(log: bytes, position: int, view: View) -> bool:
    """Say whether the key of a log was revoked in the fleet log below a position."""
    kids = [
        p.statement.content.key.kid for p in view.fleet.enrolments(log) if isinstance(p.statement.content, Enrolment)
    ]
    return any(
        p.position < position and isinstance(p.statement.content, Revocation)
        for kid in kids
        for p in view.fleet.subjects.get(kid.hex(), ())
    )


def _ended(old: History, closed_at: int, following: tuple[int, bytes], view: View, new: History | None) -> bool:
    """Say whether a log's end came before the log that follows: its head stood in the fleet log before that one's
    enrolment did, or that one's genesis, which the enrolment names, names the end.
    """
    if any(f.head.size > closed_at and f.position is not None and f.position < following[0] for f in old.heads):
        return True
    if new is None or new.genesis is None or new.genesis["prev"] is None:
        return False
    enrolled = enrolment_of(new, view)
    named = enrolled is not None and enrolled[1].genesis == new.first_leaf
    return named and tuple(new.genesis["prev"]) == (old.log, old.size, old.roots.get(old.size))


def judge_fleet(cases: Cases, view: View, histories: Iterable[History]) -> None:
    """Answer single_view_fleet and the fleet's part of append_only and position: (1) no two signed or anchored heads
    contradict each other; (2) every leaf is what it claims and every snapshot tells the truth; (3) no device was
    shown another log; (4) a believed chain, whose contract takes one growing log, holds a head of this view."""
    case, grows = cases["single_view_fleet"], cases["append_only"]
    # (1)
    for reason, detail in view.forks:
        for one in (case, grows):
            (one.leave_open if reason == "retired_key" else one.fail)(reason, detail)
    for reason, detail in view.failures:
        grows.fail(reason, detail)
    if view.unlinked:
        sizes = ", ".join(str(size) for size, _ in view.unlinked[:5])
        for one in (case, grows):
            one.leave_open("unlinked", f"signed heads of size {sizes} are not shown to belong to the same log")
    # (2)
    for defect in view.fleet.defects:
        if not view.sure(defect):
            detail = f"nothing shows that the keysets here are all there were: {defect.detail}"
            cases["position"].leave_open("keysets_incomplete", detail)
            continue
        cases["single_view_fleet" if defect.reason == "snapshot_false" else "position"].fail(
            defect.reason, defect.detail, defect.position
        )
    for where in view.fleet.unjudged[:1]:
        cases["position"].leave_open("no_keyset", f"no keyset is shown that names the gateway of {where}")
    # (3)
    for history in histories:
        _judge_witness(history, view, case)
    # (4)
    if len(view.main) > 1:
        grows.prove(f"{len(view.main)} heads of the fleet log, each a prefix of the next")
    settled = view.settled
    if settled is None:
        reason, detail = (
            view.anchors.open or [("no_anchor", "no head of this fleet log is shown on a chain that is believed")]
        )[0]
        case.leave_open(reason, detail)
        return
    detail = f"the chain's contract took size {settled.size} in block {settled.number} ({settled.ground.how})"
    case.stand(settled.ground.ground, settled.ground.by, detail)
    top = max(view.main, default=0)
    if top > settled.size:
        case.attest(view.gateway, f"that there is no other log above it, up to size {top}, is its gateway's word")


def _judge_witness(history: History, view: View, case: Case) -> None:
    top = max(view.main, default=0)
    for fact in history.heads:
        seen = fact.head.seen
        if seen is None or seen.log != view.fleet.log:
            continue
        known = view.root_at(seen.size)
        if known is not None and known != seen.root:
            detail = f"device log {history.log.hex()[:16]}… says it was shown another fleet head of size {seen.size}"
            case.leave_open("witness_contradicts", detail)
            return
        if known is None and seen.size < top:
            detail = f"a device says it was shown a fleet head of size {seen.size}, which nothing links to this log"
            case.leave_open("unlinked", detail)
