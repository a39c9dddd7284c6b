"""What the verifier says: answers to questions, one by one, and their roll-up (format.md 16).

There is no bare "valid". An answer is ``ok`` with its ground, ``failed`` with a reason, or ``not_answered``: this
evidence cannot reach the question, and the reason says why.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from edgeseal.errors import UsageError

SCHEMA: Final = "edgeseal-verdict/1"
QUESTIONS: Final = (
    "integrity",
    "attribution",
    "position",
    "completeness",
    "append_only",
    "single_view_device",
    "single_view_fleet",
    "existed_by",
    "existed_after",
    "key_valid",
    "command_authority",
    "model_identity",
    "policy",
    "cadence",
    "reexecution",
)
NEED_TRUST: Final = frozenset(
    {
        "attribution",
        "key_valid",
        "command_authority",
        "single_view_device",
        "single_view_fleet",
        "existed_by",
        "existed_after",
    }
)
"""Questions that without a trust file are never answered."""

OK: Final = "ok"
FAILED: Final = "failed"
NOT_ANSWERED: Final = "not_answered"
PROVED: Final = "PROVED"
ATTESTED: Final = "ATTESTED"

EXIT_OK: Final = 0
EXIT_FAILED: Final = 2
EXIT_NOT_ANSWERED: Final = 3

MAX_FAILURES: Final = 200
"""Failures kept for one question of one log; more are counted."""


@dataclass(frozen=True, slots=True)
class Answer:
    """One question's answer. ``ground`` and ``by`` (who attests; None for PROVED) belong to ok, ``reason`` to the
    others.
    """

    answer: str
    detail: str
    ground: str | None = None
    by: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of format.md 16."""
        if self.answer == OK:
            return {"answer": OK, "ground": self.ground, "by": self.by, "detail": self.detail}
        return {"answer": self.answer, "reason": self.reason, "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Failure:
    """One place where something is wrong: the log (None: the fleet log) and the record or position, where there is
    one.
    """

    log: bytes | None
    seq: int | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class Unanswered:
    """One reason why a question cannot be answered for a log (None: the fleet log)."""

    log: bytes | None
    reason: str
    detail: str


@dataclass(frozen=True, slots=True)
class DeviceVerdict:
    """The answers about one device log."""

    log: bytes
    kid: bytes | None
    records: int
    questions: dict[str, Answer]
    assurance: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class ChainShown:
    """What is proved of the chain's state, beside the answers.

    ``blocks`` are (hash, number, time in seconds, anchored size or None); ``commands`` are (device log, record, digest
    of the command, whether the command log on chain holds it, None where nothing shows it).
    """

    blocks: tuple[tuple[bytes, int, int, int | None], ...]
    commands: tuple[tuple[bytes, int, bytes, bool | None], ...]

    def as_json(self) -> dict[str, Any]:
        """Return the ``chain`` block of format.md 16."""
        return {
            "blocks": [
                {"block": block.hex(), "number": number, "time": time, "size": size}
                for block, number, time, size in self.blocks
            ],
            "commands": [
                {"log": log.hex(), "seq": seq, "digest": digest.hex(), "logged": logged}
                for log, seq, digest, logged in self.commands
            ],
        }


@dataclass(frozen=True, slots=True)
class Verdict:
    """The whole answer to one bundle. ``asked`` are the questions that count for the exit code; ``refused`` says
    that the bundle could not be read as a whole, which fails whatever was asked.

    ``activated`` are the packages that valid operator commands in the histories activated: what a re-execution may
    run."""

    asked: tuple[str, ...]
    questions: dict[str, Answer]
    failures: list[tuple[str, Failure]]
    unanswered: list[tuple[str, Unanswered]]
    devices: list[DeviceVerdict]
    records: int
    heads: int
    statements: int
    refused: bool = False
    activated: frozenset[bytes] = frozenset()
    chain: ChainShown | None = None

    @property
    def exit_code(self) -> int:
        """0: all asked are ok; 2: something failed; 3: nothing failed and something asked is not answered."""
        said = {self.questions[question].answer for question in self.asked}
        return EXIT_FAILED if FAILED in said or self.refused else EXIT_NOT_ANSWERED if NOT_ANSWERED in said else EXIT_OK

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of format.md 16; bytes in lower-case hex."""
        return {
            "schema": SCHEMA,
            "questions": {question: answer.as_json() for question, answer in self.questions.items()},
            "failures": [
                {"question": q, "log": _hex(f.log), "seq": f.seq, "reason": f.reason, "detail": f.detail}
                for q, f in self.failures
            ],
            "unanswered": [
                {"question": q, "log": _hex(u.log), "reason": u.reason, "detail": u.detail} for q, u in self.unanswered
            ],
            "devices": [
                {
                    "log": device.log.hex(),
                    "kid": _hex(device.kid),
                    "records": device.records,
                    "assurance": device.assurance,
                    "questions": {question: answer.as_json() for question, answer in device.questions.items()},
                }
                for device in self.devices
            ],
            "records": self.records,
            "heads": self.heads,
            "statements": self.statements,
            "chain": None if self.chain is None else self.chain.as_json(),
        }


def roll_up(answers: Iterable[Answer]) -> Answer:
    """Return one answer for many: any failed → failed, else any not answered → not answered, else ok on the weakest
    ground.
    """
    given = list(answers)
    for wanted in (FAILED, NOT_ANSWERED):
        chosen = [answer for answer in given if answer.answer == wanted]
        if chosen:
            return Answer(wanted, chosen[0].detail + _others(chosen), reason=chosen[0].reason)
    if not given:
        return Answer(NOT_ANSWERED, "the bundle holds no device log", reason="no_device")
    attested = [answer for answer in given if answer.ground == ATTESTED]
    chosen = attested or given
    by = "; ".join(dict.fromkeys(answer.by for answer in attested if answer.by)) or None
    return Answer(OK, chosen[0].detail + _others(given), ground=ATTESTED if attested else PROVED, by=by)


def _others(answers: list[Answer]) -> str:
    more = len(answers) - 1
    return f" (so for {more} more log{'s' if more > 1 else ''})" if more else ""


def check_asked(asked: Iterable[str]) -> tuple[str, ...]:
    """Return the questions asked for, in the order of QUESTIONS. Raises UsageError ``unknown_question``."""
    wanted = set(asked)
    unknown = sorted(wanted - set(QUESTIONS))
    if unknown or not wanted:
        named = ", ".join(unknown) or "nothing asked"
        raise UsageError("unknown_question", f"no such question: {named}", f"ask for any of {', '.join(QUESTIONS)}")
    return tuple(question for question in QUESTIONS if question in wanted)


def _hex(data: bytes | None) -> str | None:
    return None if data is None else data.hex()
