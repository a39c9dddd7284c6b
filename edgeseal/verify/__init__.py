"""Bytes → verdict. Pure: the caller brings the bundle, what to trust, and what a chain said; the same input gives
the same answer.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from edgeseal.bundle import Bundle
from edgeseal.errors import FormatError
from edgeseal.trust import Trust
from edgeseal.verify.chain import ChainState, ChainView, Interval, RegistryKey
from edgeseal.verify.models import Reexecution
from edgeseal.verify.verdict import QUESTIONS, Answer, Failure, Unanswered, Verdict, check_asked
from edgeseal.verify.verification import Verification

__all__ = [
    "QUESTIONS",
    "Answer",
    "ChainState",
    "ChainView",
    "Interval",
    "Reexecution",
    "RegistryKey",
    "Verdict",
    "refused",
    "verify",
]


def verify(
    bundle: Bundle,
    trust: Trust | None = None,
    chain: ChainView | None = None,
    ask: Iterable[str] = QUESTIONS,
    reexecuted: Mapping[bytes, Reexecution] | None = None,
    progress: Callable[[str], None] | None = None,
) -> Verdict:
    """Return the verdict on a bundle.

    Args:
        bundle: untrusted evidence.
        trust: whom to believe; None leaves the questions of ``NEED_TRUST`` unanswered.
        chain: what RPC endpoints said and may be believed, under the rules of :class:`ChainView`.
        ask: the questions that count for the exit code and are answered.
        reexecuted: what running inferences again gave, by device log id.
        progress: told what is being read, for people who wait.

    Raises:
        FormatError: a file of the bundle cannot be read at all (container, layout, CBOR): the evidence as a whole is
        refused.
        UsageError: ``unknown_question``.
    """
    asked = check_asked(ask)
    return Verification(bundle, trust, chain, asked, reexecuted or {}, progress or (lambda text: None)).run()


def refused(ask: Iterable[str], error: FormatError) -> Verdict:
    """Return the verdict on evidence that cannot be read as a whole: integrity fails with the reason, nothing else
    is answered.
    """
    asked = check_asked(ask)
    failure = Answer("failed", f"the bundle is refused: {error.message}", reason=error.code)
    rest = Answer("not_answered", "the bundle is refused", reason=error.code)
    questions = {question: failure if question == "integrity" else rest for question in asked}
    failures = [("integrity", Failure(None, None, error.code, error.message))]
    unanswered = [
        (question, Unanswered(None, error.code, rest.detail)) for question in asked if question != "integrity"
    ]
    return Verdict(asked, questions, failures, unanswered, [], 0, 0, 0, refused=True)
