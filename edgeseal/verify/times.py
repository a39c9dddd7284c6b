"""existed_by, existed_after, cadence: when, between which bounds, and whether there was silence (format.md 5.1, 14.1).

No device clock is trusted: the upper bound is the block that took a head over the records, the lower bound a block
whose hash a head names.
What the device's own clock says, gaps between heartbeats among it, is ATTESTED by the device.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

from edgeseal.verify.case import Case
from edgeseal.verify.history import Boot, History, Seen
from edgeseal.verify.identity import doubt_of_enrolment, enrolment_of
from edgeseal.verify.logs import Compared, need_signed
from edgeseal.verify.view import View

GRACE: int = 2
"""Silence longer than this many times the cadence is a gap."""
ANNOUNCED = frozenset({"shutdown", "genesis", "key.bound", "closed"})
"""Kinds after which a device may be silent: it said that it ends, or had not begun."""
CLOCK_SLACK_S: int = 300
"""By how many seconds a device's clock may differ from a block's time before the two contradict each other."""


def judge_existed_by(history: History, compared: Compared, view: View) -> None:
    """Answer existed_by: (1) heads over the records stand in the fleet log; (2) believed anchors cover their
    positions; (3) no record lies outside them."""
    case = history.cases["existed_by"]
    # (1)
    placed = [(f.head.size, f.position) for f in compared.matched if f.position is not None and view.proved(f.position)]
    if not placed:
        case.leave_open("no_receipt", "no head over these records is shown to stand in the fleet log")
        return
    # (2)
    covered = [(size, anchor) for size, position in sorted(placed) if (anchor := view.anchor_of(position))]
    if not covered:
        reason, detail = (view.anchors.open or [("not_anchored", "no believed block holds a head over these records")])[
            0
        ]
        case.leave_open(reason, detail)
        return
    # (3)
    size, anchor = covered[-1]
    if size < history.size:
        case.leave_open("not_anchored", f"the last {history.size - size} records, from {size} on, are not anchored")
    first = covered[0][1]
    detail = (
        f"records 0 to {size - 1} existed by block {anchor.number} at {when(anchor.time)}, the first "
        f"{covered[0][0]} of them by block "
        f"{first.number} at {when(first.time)} ({anchor.ground.how})"
    )
    case.stand(anchor.ground.ground, anchor.ground.by, detail)


def judge_existed_after(history: History, compared: Compared, view: View) -> None:
    """Answer existed_after, a question about heads: (1) the newest head names an anchor; (2) its block is believed;
    (3) what the head says of it is what that block holds."""
    case = history.cases["existed_after"]
    if not compared.matched:
        case.leave_open("no_head", "no signed head covers the records shown")
        return
    # (1)
    head = max((fact.head for fact in compared.matched), key=lambda head: head.size)
    if head.anchored is None:
        case.leave_open("no_block_named", "the newest head names no block")
        return
    # (2)
    ground = view.anchors.belief(head.anchored.block)
    if ground is None:
        case.leave_open("block_not_believed", f"nothing believed says that block {head.anchored.block.hex()} is final")
        return
    # (3)
    trusted = view.anchors.chain_id
    if head.anchored.log != view.fleet.log or head.anchored.chain != trusted:
        case.leave_open("anchor_mismatch", "the newest head names an anchor of another fleet log or chain")
        return
    known = [anchor for anchor in view.anchors.believed if anchor.block == head.anchored.block]
    if known and all(
        (a.size, a.root, a.chain) != (head.anchored.size, head.anchored.root, head.anchored.chain) for a in known
    ):
        case.leave_open("anchor_mismatch", "the newest head names another fleet head than its block holds")
        return
    at = f" of {when(known[0].time)}" if known else ""
    detail = (
        f"the head of size {head.size} was signed after block {head.anchored.block.hex()[:16]}…{at}; records "
        f"inside are not bounded"
    )
    case.stand(ground.ground, ground.by, detail)


class Silence:
    """Watches heartbeats; needs headers only. Memory grows with the number of boots alone."""

    kinds = frozenset({"heartbeat"})

    def __init__(self) -> None:
        """Collect for one log."""
        self.beats = 0
        self.within: dict[int, tuple[int, int]] = {}
        self.ends: dict[int, tuple[int, int, int]] = {}

    def see(self, record: Seen) -> None:
        """Take one heartbeat: keep the longest silence within its boot, and that boot's first and last heartbeat."""
        if not record.kind:
            return
        self.beats += 1
        first, last, _ = self.ends.get(record.boot, (record.mono, record.mono, record.seq))
        self.within[record.boot] = max(self.within.get(record.boot, (0, record.seq)), (record.mono - last, record.seq))
        self.ends[record.boot] = (first, record.mono, record.seq)

    def gaps(self, boots: list[Boot]) -> Iterator[tuple[int | None, int, str]]:
        """Yield (milliseconds, record after it, what) of each boot's silences, and of those between boots that no
        shutdown record announced: None milliseconds where the wall clock was unknown on one side, or fell.
        """
        for number, boot in enumerate(boots):
            first, last, _ = self.ends.get(boot.number, (boot.last_mono, boot.last_mono, boot.last_seq))
            yield first - boot.first_mono, boot.last_seq, "after a start"
            if boot.number in self.within:
                yield (*self.within[boot.number], "within a boot")
                yield boot.last_mono - last, boot.last_seq, "before an end"
            before = boots[number - 1] if number else None
            if before and before.last_kind not in ANNOUNCED:
                told = before.last_t and boot.first_t >= before.last_t
                yield boot.first_t - before.last_t if told else None, boot.first_seq, "between boots"


def judge_cadence(history: History, silence: Silence, compared: Compared, view: View | None) -> None:
    """Answer cadence: (1) an operator's enrolment says how often the device speaks; (2) no two heartbeats of one boot
    lie further apart, nor its start and end from them; (3) no unannounced silence lies between boots; (4) the clocks
    that say so do not contradict the chain.
    """
    case: Case = history.cases["cadence"]
    # (1)
    found = enrolment_of(history, view) if view else None
    if found is None or view is None:
        case.leave_open("no_cadence", "no enrolment is shown, so nothing says how often the device should speak")
        return
    doubt = doubt_of_enrolment(history, view, found[0])
    if doubt is not None:
        case.leave_open(*doubt)
    cadence = found[1].cadence_s
    missing = bool(history.holes or history.bare)
    if missing:
        case.leave_open("records_missing", "records are missing, so silence cannot be told from omission")
    need_signed(case, history, compared)
    # (2), (3)
    for length, seq, what in silence.gaps(history.boots):
        if length is None:
            detail = f"how long it was silent {what} before record {seq} no clock of its own says"
            case.leave_open("clock_unknown", detail)
        elif length > GRACE * cadence * 1000 and not missing:
            detail = f"{length // 1000} s of silence {what} by record {seq}, the cadence is {cadence} s"
            case.fail("silence", detail, seq)
    # (4)
    _judge_clock(case, compared, view)
    key = history.key.kid.hex()[:16] if history.key else "unknown"
    detail = f"{silence.beats} heartbeats, no silence of more than {GRACE * cadence} s"
    case.attest(f"device key {key}…, by its own clocks", detail)


def _judge_clock(case: Case, compared: Compared, view: View) -> None:
    times = {anchor.block: anchor.time for anchor in view.anchors.believed}
    for fact in compared.matched:
        anchored, said = fact.head.anchored, fact.head.clock.t // 1000
        after = times.get(anchored.block) if anchored else None
        placed = fact.position is not None and view.proved(fact.position)
        holds = view.anchor_of(fact.position) if fact.position is not None and placed else None
        if said and after is not None and said < after - CLOCK_SLACK_S:
            bound = f"after {when(after)}"
        elif said and holds is not None and said > holds.time + CLOCK_SLACK_S:
            bound = f"by {when(holds.time)}"
        else:
            continue
        detail = f"the head of size {fact.head.size} was signed {bound} and says {when(said)}"
        case.leave_open("clock_contradicts_chain", detail)
        return


def when(seconds: int) -> str:
    """Return a Unix time in seconds as text, in UTC; what no calendar holds stays a number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"{seconds} s after 1970"
