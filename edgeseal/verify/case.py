"""What has been found for one question about one log, while it is being looked at."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgeseal.verify.verdict import (
    ATTESTED,
    FAILED,
    MAX_FAILURES,
    NOT_ANSWERED,
    OK,
    PROVED,
    QUESTIONS,
    Answer,
    Failure,
    Unanswered,
)


class Case:
    """What has been found for one question about one log, while it is being looked at. Starts with nothing in its
    favour:
    it takes :meth:`prove` or :meth:`attest` to make it ok.
    """

    def __init__(self, question: str, log: bytes | None) -> None:
        self.question = question
        self.log = log
        self.failures: list[Failure] = []
        self.more = 0
        self.open: list[Unanswered] = []
        self._ground: str | None = None
        self._by: list[str] = []
        self._details: list[str] = []

    def fail(self, reason: str, detail: str, seq: int | None = None) -> None:
        """Note that something is wrong."""
        if len(self.failures) < MAX_FAILURES:
            self.failures.append(Failure(self.log, seq, reason, detail))
        else:
            self.more += 1

    def leave_open(self, reason: str, detail: str) -> None:
        """Note that the evidence does not reach; the same reason is kept once."""
        if all(entry.reason != reason for entry in self.open):
            self.open.append(Unanswered(self.log, reason, detail))

    def take(self, other: Case) -> None:
        """Take over what another case about the same question found wrong or left open."""
        for failure in other.failures:
            self.fail(failure.reason, failure.detail, failure.seq)
        self.more += other.more
        for entry in other.open:
            self.leave_open(entry.reason, entry.detail)

    def prove(self, detail: str) -> None:
        """Note that this part holds by hashes, signatures and recomputation alone."""
        self._ground = self._ground or PROVED
        self._details.append(detail)

    def attest(self, by: str, detail: str) -> None:
        """Note that this part holds on the word of ``by``: the whole answer is then ATTESTED."""
        self._ground = ATTESTED
        if by not in self._by:
            self._by.append(by)
        self._details.append(detail)

    def stand(self, ground: str, by: str | None, detail: str) -> None:
        """Note that this part holds on the ground given."""
        if ground == ATTESTED:
            self.attest(by or "", detail)
        else:
            self.prove(detail)

    def note(self, detail: str) -> None:
        """Add to what an ok answer says, without making it one."""
        self._details.append(detail)

    def answer(self) -> Answer:
        """Return the answer: any failure → failed, else anything open → not answered, else ok on the weakest ground."""
        if self.failures:
            first = self.failures[0]
            rest = len(self.failures) + self.more - 1
            return Answer(FAILED, first.detail + (f" (and {rest} more)" if rest else ""), reason=first.reason)
        if self.open:
            return Answer(NOT_ANSWERED, "; ".join(entry.detail for entry in self.open), reason=self.open[0].reason)
        if self._ground is None:
            return Answer(NOT_ANSWERED, "nothing in this evidence speaks to it", reason="no_evidence")
        by = "; ".join(self._by) if self._ground == ATTESTED else None
        return Answer(OK, "; ".join(self._details), ground=self._ground, by=by)


@dataclass(slots=True)
class Cases:
    """The cases about one log, one a question asked; a question not asked is looked at into nothing."""

    log: bytes | None
    asked: frozenset[str]
    cases: dict[str, Case] = field(default_factory=dict)

    def __getitem__(self, question: str) -> Case:
        """Return the case of a question, made on first use."""
        if question not in self.cases:
            self.cases[question] = Case(question, self.log)
        return self.cases[question]

    def answers(self) -> dict[str, Answer]:
        """Return the answers to what was asked, in the order of QUESTIONS."""
        return {question: self[question].answer() for question in QUESTIONS if question in self.asked}
