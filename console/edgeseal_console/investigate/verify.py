"""``edgeseal verify``: a bundle, what to trust, perhaps a chain → answers, one line a question, and an exit code."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseal import statements
from edgeseal.bundle import Bundle
from edgeseal.errors import EvidenceError, FormatError, UsageError
from edgeseal.statements.enrolment import Enrolment
from edgeseal.statements.keyset import Keyset
from edgeseal.trust import Trust
from edgeseal.verify import QUESTIONS, Answer, ChainView, Reexecution, Verdict, refused, verify
from edgeseal.verify.times import when
from edgeseal.verify.verdict import ChainShown
from edgeseal_console.investigate.escape import safe
from edgeseal_console.investigate.opening import opened, read_trust

_MARKS = {"ok": "ok    ", "failed": "FAILED", "not_answered": "  ?   "}


def run(args: Any) -> int:
    """Verify ``args.bundle`` with ``args.trust``, ``args.rpc``, ``args.ask``; print the verdict; return its exit code.

    Raises UsageError for arguments, a bundle that is not there, or a trust file that cannot be read.
    """
    trust = read_trust(args.trust)
    verdict = judge(args.bundle, trust, args.rpc, questions(args.ask), progress=progress_to_stderr(args.json))
    verdict = counted(verdict, args.ask)
    print(json.dumps(verdict.as_json(), indent=1) if args.json else render(verdict, trust is not None))
    return verdict.exit_code


def judge(
    path: Path,
    trust: Trust | None,
    rpc: Sequence[str] = (),
    ask: Sequence[str] = QUESTIONS,
    reexecuted: Mapping[bytes, Reexecution] | None = None,
    progress: Any = None,
) -> Verdict:
    """Return the verdict on the bundle at ``path``; evidence that cannot be read at all is a verdict too
    (``refused``).
    """
    try:
        with opened(path) as bundle:
            return verify(bundle, trust, _chain(bundle, trust, rpc), ask, reexecuted, progress)
    except FormatError as error:
        return refused(ask, error)


def questions(ask: str | None) -> tuple[str, ...]:
    """Return the questions of ``--ask a,b``; all of them where nothing is asked for in particular. Raises
    UsageError.
    """
    if ask is None:
        return QUESTIONS
    wanted = tuple(word.strip() for word in ask.split(",") if word.strip())
    unknown = [word for word in wanted if word not in QUESTIONS]
    if unknown or not wanted:
        raise UsageError(
            "unknown_question",
            f"no such question: {safe(', '.join(unknown) or ask)}",
            f"ask for any of {', '.join(QUESTIONS)}",
        )
    return wanted


def counted(verdict: Verdict, ask: str | None) -> Verdict:
    """Return the verdict with an exit code that leaves re-execution out where nothing in particular was asked for:
    that question is `replay --reinfer`'s to answer, and is shown as not answered here.
    """
    return verdict if ask is not None else replace(verdict, asked=tuple(q for q in verdict.asked if q != "reexecution"))


def progress_to_stderr(quiet: bool) -> Any:
    """Return what prints each step of a long run, where somebody is there to read it."""
    if quiet or not sys.stderr.isatty():
        return None
    return lambda text: print(f"  … {text}", file=sys.stderr)


def render(verdict: Verdict, trusted: bool) -> str:
    """Return the verdict for people: a line a question, its ground, and why it is not answered."""
    lines = [f"{verdict.records} records, {verdict.heads} device heads, {verdict.statements} fleet statements", ""]
    for question, answer in verdict.questions.items():
        lines.append(f"{_MARKS[answer.answer]}  {question:<18}  {safe(ground(answer))}")
        lines.append(f"        {safe(answer.detail)}")
    if verdict.chain is not None:
        lines += ["", chain_line(verdict.chain)]
    for title, found in (("failures", verdict.failures), ("not answered", verdict.unanswered)):
        if found:
            lines += ["", f"{title}:"]
            lines += [
                f"  {question:<18}  {_place(entry)}{entry.reason}: {safe(entry.detail)}" for question, entry in found
            ]
    if any(entry.reason == "foreign_root" for _, entry in verdict.failures):
        lines += ["", "The trust file names another tenant root than this evidence: is it the one meant for it?"]
    if not trusted:
        lines += [
            "",
            "No --trust file: keys are known by thumbprint only. Take one from whoever you trust, not from "
            "this bundle's author.",
        ]
    return "\n".join(lines)


def ground(answer: Answer) -> str | None:
    """Return in words on what an answer stands, the reason code of one that is not ok; escape it before it is shown."""
    if answer.answer != "ok":
        return answer.reason
    return "PROVED" if answer.ground == "PROVED" else f"ATTESTED by {answer.by or 'nobody named'}"


def chain_line(chain: ChainShown) -> str:
    """Return in words which state of the chain was proved, and how many commands are in it."""
    _, number, time, size = chain.blocks[-1]
    reach = "" if size is None else f", fleet log size {size} there"
    held = sum(logged is True for *_, logged in chain.commands)
    logged = f"; {held} of {len(chain.commands)} commands were also logged on chain" if chain.commands else ""
    return f"chain state proved after {len(chain.blocks)} blocks, the newest {number} of {when(time)}{reach}{logged}"


def _place(entry: Any) -> str:
    log = f"log {entry.log.hex()[:16]}…" if entry.log else "fleet log"
    seq = getattr(entry, "seq", None)
    return f"{log}{f', at {seq}' if seq is not None else ''}  "


def _chain(bundle: Bundle, trust: Trust | None, rpc: Sequence[str]) -> ChainView | None:
    if not rpc:
        return None
    # These load web3: only when a chain is asked.
    from edgeseal_console.investigate.chaincheck import read_chain
    from edgeseal_console.investigate.chainread import Asked

    blocks = [anchor.block for anchor in bundle.anchors()]
    groups = (group for content in _contents(bundle) if isinstance(content, Enrolment) for group in content.groups)
    audiences: list[bytes | str] = [*bundle.logs(), *dict.fromkeys(groups)]
    view = read_chain(trust, rpc, Asked(keys_to_ask(bundle), blocks, bundle.packages(), audiences))
    for reason, detail in view.problems:  # the evidence may answer without the endpoint: then no question names it
        print(f"edgeseal: nothing is taken from --rpc: {safe(detail)} [{reason}]", file=sys.stderr)
    return view


def keys_to_ask(bundle: Bundle) -> list[bytes]:
    """Return the kids that the registry is asked about: those in ``keys/``, and whoever keysets and enrolments name.

    Whoever made the bundle can leave a file of ``keys/`` out, and the registry's word on that key with it; a keyset
    left out is noticed. Raises what Bundle raises.
    """
    found: list[bytes] = []
    for content in _contents(bundle):
        if isinstance(content, Keyset):
            found += [member.key.kid for member in content.members]
        elif isinstance(content, Enrolment):
            found.append(content.key.kid)
    return list(dict.fromkeys([*found, *(key.kid for key in bundle.public_keys())]))


def _contents(bundle: Bundle) -> Iterator[statements.Content]:
    """Yield what the bundle's statements say, as far as they can be read; the verifier says what is wrong with them."""
    for _, raw in bundle.statements():
        try:
            yield statements.decode(raw).content
        except EvidenceError:
            continue
