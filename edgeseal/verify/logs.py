"""integrity, append_only, position, completeness: whether a device's records are what its key signed, in order,
without a gap.

What each party can do to these answers: a bundle author can edit, drop and reorder files, and finds that the roots
no longer match signed heads (failed) or that something is missing (failed where a signed head shows it, else not
answered); root with the device key can sign two histories, which is a fork where both are shown; a gateway can drop
heads, which a snapshot or all statements show.
"""

from __future__ import annotations

from dataclasses import dataclass

from edgeseal.errors import EvidenceError
from edgeseal.head import check_seen
from edgeseal.verify.case import Case
from edgeseal.verify.history import HeadFact, History
from edgeseal.verify.view import View


@dataclass(frozen=True, slots=True)
class Compared:
    """A log's signed heads against its records: matched, contradicted, and beyond the records shown. ``top`` is the
    largest size matched.
    """

    matched: tuple[HeadFact, ...]
    contradicted: tuple[HeadFact, ...]
    beyond: tuple[HeadFact, ...]
    top: int


def compare(history: History) -> Compared:
    """Sort a log's verified heads by what the records say of them."""
    matched: list[HeadFact] = []
    contradicted: list[HeadFact] = []
    beyond: list[HeadFact] = []
    for fact in history.heads:
        root = history.roots.get(fact.head.size)
        (beyond if root is None else matched if root == fact.head.root else contradicted).append(fact)
    return Compared(
        tuple(matched), tuple(contradicted), tuple(beyond), max((fact.head.size for fact in matched), default=0)
    )


def need_signed(case: Case, history: History, compared: Compared) -> None:
    """Leave a question about records open where a record shown is not one that the key signed: such a record says
    nothing, and whoever made the bundle may have made it.
    """
    if not compared.top:
        case.leave_open("no_head", "no signed head covers the records shown")
    elif compared.top < history.size:
        shown = f"records {compared.top} to {history.size - 1}"
        case.leave_open("uncovered", f"no signed head covers {shown} as they are shown here")


def judge_integrity(history: History, compared: Compared) -> None:
    """Answer integrity: (1) items and headers were checked while reading; (2) heads are there; (3) each root is the
    signed one; (4) no record lies outside every head."""
    case = history.cases["integrity"]
    # (2)
    if not history.records:
        case.leave_open("no_records", "the bundle holds no record of this log")
        return
    if not history.heads:
        case.leave_open(
            "no_head", "no signed head of this log is in the bundle, so nothing ties the records to its key"
        )
        return
    # (3)
    for fact in compared.contradicted:
        if fact.head.size > compared.top:
            start, end = compared.top, fact.head.size
            case.fail(
                "root_mismatch",
                f"records {start} to {end - 1} are not those that the signed head of size {end} covers",
                start,
            )
            break
    if history.holes:
        case.leave_open("records_missing", "records are missing, so the signed roots cannot be recomputed past them")
    # (4)
    elif compared.top < history.size and not case.failures:
        case.leave_open("uncovered", f"no signed head covers records {compared.top} to {history.size - 1}")
    if history.bare:
        case.leave_open("bare_leaf", f"of {history.bare} positions only the leaf hash is here, not the record")
    if compared.top:
        opaque = f", {history.malformed} bodies malformed" if history.malformed else ""
        case.prove(
            f"{compared.top} records are those that key {_kid(history)} signed in {len(compared.matched)} heads{opaque}"
        )


def judge_append_only(history: History, compared: Compared) -> None:
    """Answer append_only for a device log: (1) each head's root is that of a prefix of the records; (2) each head's
    previous head is such a prefix too; (3) the fleet head seen never falls."""
    case = history.cases["append_only"]
    # (1)
    for fact in compared.contradicted:
        if fact.head.size <= compared.top:
            case.fail(
                "fork", f"the signed head of size {fact.head.size} is no prefix of the history shown", fact.head.size
            )
        else:
            case.leave_open("root_mismatch", "the records shown are not those of every signed head")
    if compared.beyond or history.holes:
        case.leave_open("records_missing", "records are missing, so not every head can be compared with them")
    # (2)
    for fact in history.heads:
        size, root = fact.head.prev
        known = history.roots.get(size) if size <= compared.top else None
        if size and known is not None and known != root:
            case.fail(
                "prev_contradicts",
                f"the head of size {fact.head.size} names another head before it at size {size}",
                size,
            )
    # (3)
    earlier = None
    for fact in compared.matched:
        try:
            check_seen(earlier, fact.head.seen)
        except EvidenceError as error:
            case.fail(error.code, f"head of size {fact.head.size}: {error.message}", fact.head.size)
        earlier = fact.head.seen or earlier
    if compared.matched:
        case.prove(f"{len(compared.matched)} heads, each a prefix of the next, recomputed from the records")


def judge_position(history: History, compared: Compared, view: View | None) -> None:
    """Answer position: (1) each record's place in its log is under a signed root; (2) a head that covers it stands
    in the fleet log, by a believed block or on the gateway's word.
    """
    case = history.cases["position"]
    # (1)
    if not compared.top:
        case.leave_open("no_head", "no signed head covers the records shown")
        return
    # (2)
    if view is not None and view.forked:
        case.leave_open(*view.forked)
    placed = [f for f in compared.matched if f.position is not None and view is not None and view.proved(f.position)]
    if not placed or view is None:
        case.leave_open("no_receipt", "no receipt, and not all statements, show a head of this log in the fleet log")
        return
    last = max(placed, key=lambda fact: fact.head.size)
    if last.head.size < history.size:
        left = history.size - last.head.size
        case.leave_open(
            "not_sequenced", f"no head in the fleet log covers the last {left} records, from {last.head.size} on"
        )
    detail = (
        f"records 0 to {last.head.size - 1} have their places in the device log; the head over them stands at "
        f"{last.position} of fleet log {view.fleet.log.hex()[:16]}…"
    )
    anchor = view.anchor_of(last.position or 0)
    if anchor is None:
        case.attest(view.gateway, f"{detail}, by a head that it signed and no believed block holds")
    else:
        case.stand(anchor.ground.ground, anchor.ground.by, f"{detail} ({anchor.ground.how})")


def judge_completeness(history: History, compared: Compared, view: View | None, others: dict[bytes, History]) -> None:
    """Answer completeness: (1) the log begins with genesis and its seam to an earlier log is closed; (2) no position
    is missing; (3) no body that may never go is gone; (4) the history reaches the newest head that anyone shows; (5)
    something shows which is newest."""
    case = history.cases["completeness"]
    if not history.records:
        case.leave_open("no_records", "the bundle holds no record of this log")
        return
    # (1)
    _judge_seam(history, others, case)
    # (2)
    for start, end in history.holes:
        case.fail("records_missing", f"records {start} to {end - 1} are missing", start)
    # (3)
    if history.bare:
        case.leave_open("bare_leaf", f"of {history.bare} positions only the leaf hash is here")
    if history.lost_body:
        seq, kind = history.lost_body
        case.leave_open("bodies_missing", f"the body of {kind} record {seq} may never go and is not here")
    # (4)
    newest = max((fact.head.size for fact in history.heads), default=0)
    if newest > history.size:
        case.fail(
            "tail_missing", f"a signed head covers {newest} records, the bundle ends at {history.size}", history.size
        )
    # (5)
    if view is None:
        case.leave_open("no_snapshot", "no fleet log is shown, so nothing says which head of this log is the newest")
        return
    _judge_newest(history, compared, view, case, others)


def _judge_newest(history: History, compared: Compared, view: View, case: Case, others: dict[bytes, History]) -> None:
    told = view.subject(history.log.hex())
    last = max((f.head.size for f in history.heads if f.position is not None), default=0)
    stated = told.entry.head if told.entry else None
    if stated and stated[0] > history.size:
        detail = f"the snapshot at {told.as_of} knows a head of size {stated[0]}, the bundle ends at {history.size}"
        case.fail("tail_missing", detail, history.size)
    if stated and stated[0] in history.roots and history.roots[stated[0]] != stated[1]:
        case.fail(
            "snapshot_contradicts", f"the snapshot at {told.as_of} knows another root at size {stated[0]}", stated[0]
        )
    if told.problem:
        reason, why = told.problem
        (case.fail if reason == "snapshot_contradicts" else case.leave_open)(reason, why)
    if compared.top < max(last, stated[0] if stated else 0):
        case.leave_open("not_covered", "the records shown do not match the newest head known")
    if not compared.top or told.ground is None:
        case.leave_open("no_head", "no signed head covers the records shown")
        return
    reached = max(
        (f.head.size for f in compared.matched if f.position is not None and view.proved(f.position)), default=0
    )
    if not reached:
        case.leave_open(
            "no_receipt", "no head of this log is shown to stand in the fleet log, which then tells no newest"
        )
    detail = f"all {reached} records up to the newest head as of fleet log size {told.as_of} ({told.ground.how})"
    if reached < compared.top:
        detail += f"; of the {compared.top - reached} after it nothing says whether they are all"
    if history.header_only:
        detail += f"; {history.header_only} bodies are withheld, erased or false, their headers are here"
    if history.successor is not None and history.successor not in others:
        detail += f"; the log that follows, {history.successor.hex()}, is not here"
    case.stand(told.ground.ground, told.ground.by, detail)


def _judge_seam(history: History, others: dict[bytes, History], case: Case) -> None:
    genesis = history.genesis
    if genesis is None or history.bound is None:
        if history.size > 1 and not history.holes and not history.lost_body and not history.bare:
            case.fail("genesis_missing", "the log does not begin with genesis and key.bound", 0)
        else:
            case.leave_open("genesis_missing", "the log's first two records are not whole")
        return
    if genesis["prev"] is None:
        if genesis["epoch"] > 1:
            case.leave_open("seam_open", f"epoch {genesis['epoch']} names no log before it")
        return
    log, size, root = genesis["prev"]
    before = others.get(log)
    began = None if before is None else before.genesis
    if size == 0:
        case.leave_open("seam_open", f"genesis says that nothing is known of the end of log {log.hex()}")
    elif before is None:
        case.leave_open("predecessor_missing", f"the log of the epoch before, {log.hex()}, is not in the bundle")
    elif began is not None and (began["device"], began["epoch"] + 1) != (genesis["device"], genesis["epoch"]):
        detail = f"the log before is of {began['device']!r}, epoch {began['epoch']}"
        case.fail("seam_mismatch", f"epoch {genesis['epoch']} of {genesis['device']!r} follows it: {detail}", 0)
    elif _contradicted(before, size, root):
        case.fail("seam_mismatch", f"genesis names another end of log {log.hex()} than its key signed", 0)
    elif before.roots.get(size) != root or all((f.head.size, f.head.root) != (size, root) for f in before.heads):
        case.leave_open("predecessor_missing", f"the end of log {log.hex()} that genesis names is not shown, or signed")
    elif before.size != size or before.closed_at is None or before.successor is None:
        case.leave_open("seam_open", f"log {log.hex()} was not closed by its own key at the size that genesis names")
    elif before.successor != history.log:
        case.fail("seam_mismatch", f"log {log.hex()} was closed in favour of another log than this one", 0)


def _contradicted(history: History, size: int, root: bytes) -> bool:
    """Say whether the key of a log signed another root at a size than this one: outright, or by a larger head."""
    signed = {fact.head.root for fact in history.heads if fact.head.size == size}
    known = history.roots.get(size) if size <= compare(history).top else None
    return (bool(signed) and root not in signed) or known not in (None, root)


def _kid(history: History) -> str:
    return history.key.kid.hex()[:16] + "…" if history.key else "unknown"
