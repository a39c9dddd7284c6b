"""Attest records: does the TPM tell the same story as the history (``docs/format.md`` 4.5)?

The TPM's signature makes its counts true and ties each to a head of the log; everything else in a record is the
device's word, and is compared with them here. What the checks find belongs to the questions they speak to: order to
``append_only``, records that are gone to ``completeness``, clocks and starts to ``cadence``.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from edgeseal import tpmstate
from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError
from edgeseal.tpmstate import State
from edgeseal.verify.history import History, Seen

SLACK_MS: int = 300_000
"""By how much wall clock and TPM clock may drift apart between two records, beside a share of the time between."""
SHARE: int = 7
"""One part in so many: TPM clocks are allowed to be off by 15 %."""


@dataclass(frozen=True, slots=True)
class Attest:
    """One attest record: its place, and what stands in it, undecoded until a key is known that may have signed it."""

    seq: int
    boot: int
    t: int
    evidence: bytes


class Attests:
    """Watches attest records, and those that name bodies which went. Memory grows with their number."""

    kinds = frozenset({"attest", "thinned", "tombstone"})

    def __init__(self) -> None:
        """Collect for one log."""
        self.found: list[Attest] = []
        self.unread: list[int] = []
        self._gone: list[tuple[int, int]] = []

    def see(self, record: Seen) -> None:
        """Keep a record of the type this module reads, and the place of one whose body is not here."""
        if record.kind == "attest" and record.fields is None:
            self.unread.append(record.seq)
        elif record.kind == "attest" and record.fields and record.fields["type"] == tpmstate.TYPE:
            self.found.append(Attest(record.seq, record.boot, record.t, record.fields["evidence"]))
        elif record.fields is not None:
            self._gone += [(start, end) for start, end in record.fields.get("ranges", ())]

    def stripped(self) -> list[int]:
        """Return the attest records whose bodies are not here and that no record of the log names as gone."""
        return [seq for seq in self.unread if not any(start <= seq < end for start, end in self._gone)]


def leave_attests_open(history: History, attests: Attests, named: bool) -> None:
    """Leave open what attest records would tell where they cannot be judged: the evidence that the enrolment names of a
    TPM (``named``) is not here, or bodies are missing that no record says the device dropped.
    """
    if named and attests.found:
        told = "evidence_withheld", "the TPM's attest records cannot be judged without the enrolment's evidence"
    elif stripped := attests.stripped():
        told = "body_withheld", f"attest record {stripped[0]} cannot be read, and no record says that it went"
    else:
        return
    for question in ("completeness", "cadence"):
        history.cases[question].leave_open(*told)


def judge_attests(history: History, attests: Attests, ak: PublicKey | None, proved: bool = True) -> None:
    """Compare the attest records with the history: (1) each is signed by the attestation key of the enrolment's
    evidence, over a head of this log, whose root is known from the records; (2) what only rises rises; (3) no attest
    record is missing between two; (4) no start of the machine is; (5) the wall clock went on as the TPM's did.

    ``proved`` says that the key is shown to be a TPM's; else that it is one is the operator's word.
    """
    if not attests.found and not attests.unread:
        return
    order = history.cases["append_only"]
    if ak is None:
        order.note(f"{len(attests.found)} attest records are not judged: no attestation key of this device is shown")
        return
    # (1)
    good: list[tuple[Attest, State]] = []
    counted: list[tuple[Attest, State, bool]] = []
    unread = list(attests.unread)
    for attest in attests.found:
        try:
            state = tpmstate.check(attest.evidence, history.log, ak)
        except EvidenceError as error:
            order.fail(error.code, f"attest record {attest.seq}: {error.message}", attest.seq)
            continue
        root = history.roots.get(state.size)
        if not 0 < state.size <= attest.seq or (root is not None and root != state.root):
            order.fail("attest_head", f"attest record {attest.seq} is over no head of this log", attest.seq)
            continue
        counted.append((attest, state, root is not None))
        if root is None:
            unread.append(attest.seq)
        else:
            good.append((attest, state))
    for before, after in pairwise(good):
        _judge_pair(history, before, after)
    _judge_counters(history, counted, attests.unread)
    if unread:
        order.note(
            f"{len(unread)} attest records are not judged: their bodies, or the heads they are over, are not here"
        )
    if good:
        first, last = good[0][1].clock, good[-1][1].clock
        word = "" if proved else " (that it is one is the operator's word)"
        order.note(f"{len(good)} attest records by the TPM{word}, in its own order")
        history.cases["cadence"].note(
            f"between attest records {good[0][0].seq} and {good[-1][0].seq} the TPM was started "
            f"{last.resets - first.resets} times and powered {(last.clock - first.clock) // 1000} s"
        )


def _judge_pair(history: History, before: tuple[Attest, State], after: tuple[Attest, State]) -> None:
    (earlier, old), (later, new) = before, after
    at = f"attest record {later.seq}"
    order = history.cases["append_only"]
    # (2)
    if new.size < old.size:
        order.fail("attest_head", f"{at} is over an older head than attest record {earlier.seq}", later.seq)
    starts, former = (new.clock.resets, new.clock.restarts), (old.clock.resets, old.clock.restarts)
    if starts < former:
        order.fail("tpm_resets_fell", f"{at}: the TPM had been started more often before", later.seq)
        return
    fell = new.clock.clock <= old.clock.clock if starts == former else new.clock.clock < old.clock.clock
    if fell and (starts == former or new.clock.safe):
        order.fail("tpm_clock_fell", f"{at}: the TPM's clock stood later before", later.seq)
        return
    # (4)
    missing = (new.clock.resets - old.clock.resets) - (later.boot - earlier.boot)
    cadence = history.cases["cadence"]
    if missing > 0:
        detail = f"{at}: the TPM was started {missing} times more often than this history has starts"
        cadence.leave_open("boots_missing", detail)
    # (5)
    if not later.t or not earlier.t or not new.clock.safe or not old.clock.safe:
        return
    wall, powered = later.t - earlier.t, new.clock.clock - old.clock.clock
    slack = SLACK_MS + powered // SHARE
    if wall < powered - slack or (starts == former and wall > powered + slack):
        detail = f"{at}: the wall clock went on by {wall // 1000} s while the TPM's went on by {powered // 1000} s"
        cadence.leave_open("clock_contradicts_tpm", detail)


def _judge_counters(history: History, counted: list[tuple[Attest, State, bool]], unread: list[int]) -> None:
    """(2), (3) for the NV counter: it rises by one after each record, so the next shows as much or one more, or as many
    more as there are records between them that cannot be read. Once shown, the same counter must stay shown.

    A record over a head that is not here (the third entry) may have been attested long before: a low count says
    nothing then, a high one tells how far the counter had risen.
    """
    completeness = history.cases["completeness"]
    first = next((at for at, (_, state, _) in enumerate(counted) if state.counter is not None), len(counted))
    last, highest, index = 0, -1, b""
    for attest, state, judged in counted[first:]:
        at, counter = f"attest record {attest.seq}", state.counter
        if counter is None or (index and state.index != index):
            completeness.leave_open("attests_missing", f"{at} does not show the NV counter of attest record {last}")
            continue
        between = sum(last < seq < attest.seq for seq in unread)
        if counter < highest:
            if judged:
                detail = f"{at}: the NV counter stood higher before"
                history.cases["append_only"].fail("tpm_counter_fell", detail, attest.seq)
            continue
        if index and counter > highest + 1 + between:
            more = counter - highest - 1 - between
            detail = f"before {at} the TPM attested {more} times more than this history shows"
            completeness.leave_open("attests_missing", detail)
        last, highest, index = attest.seq, counter, state.index
