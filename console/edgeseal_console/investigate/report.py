"""``edgeseal report``: one self-contained HTML page for people: what was asked and answered, what happened, what is
missing, which bytes.

Everything that comes from evidence is escaped twice: for control and bidirectional characters, then for HTML. The
page loads nothing and runs nothing, which its own content policy enforces.
"""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import FormatError, Unavailable, UsageError
from edgeseal.trust import Trust
from edgeseal.verify import Verdict
from edgeseal_console.investigate.escape import safe
from edgeseal_console.investigate.meaning import ASKED, EXITS
from edgeseal_console.investigate.opening import opened, read_trust
from edgeseal_console.investigate.timeline import Event, events
from edgeseal_console.investigate.verify import chain_line, counted, ground, judge, questions

MAX_EVENTS: Final = 5_000
"""Events of one log on the page; `edgeseal replay` tells all."""

_STYLE: Final = """
body{font:15px/1.45 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#1b1b1b}
h1{font-size:1.5rem}h2{font-size:1.15rem;margin-top:2rem;border-bottom:1px solid #bbb}
table{border-collapse:collapse;width:100%}td,th{text-align:left;vertical-align:top;padding:.25rem
.5rem;border-bottom:1px solid #ddd;overflow-wrap:anywhere}
td:nth-child(-n+2){overflow-wrap:normal} td:first-child,td:nth-child(3){min-width:11rem}
code,.hash,td.hash{font:12px/1.4 ui-monospace,monospace;overflow-wrap:anywhere}
.ok{color:#0a5f2c}.failed{color:#a40000;font-weight:bold}.not_answered{color:#7a5200}.gap td{background:#fff3d6}
.small{font-size:.85rem;color:#555}
@media screen and (max-width:44rem){body{margin:1rem auto}thead{display:none}tr,td{display:block}
tr{padding:.4rem 0;border-bottom:1px solid #ddd}td,td:first-child{border:0;padding:.1rem 0;min-width:0}
td:first-child{font-weight:600}td:first-child .small{font-weight:400}}
@media print{body{margin:0;max-width:none}h2{break-after:avoid}tr{break-inside:avoid}thead{display:table-header-group}}
"""
_MEANING: Final = (
    "ok: this evidence shows it, on the ground given. failed: this evidence shows the contrary. not "
    "answered: this evidence cannot reach the "
    "question. PROVED: by hashes, signatures and recomputation. ATTESTED: on the word of the one named. "
    "Nothing here says that an output was "
    "correct, fair, compliant or safe."
)


def run(args: Any) -> int:
    """Write the report on ``args.bundle`` to ``args.out``, which must not exist; return the verdict's exit code.

    Raises UsageError ``out_exists``, a bundle that is not there, a trust file that cannot be read; Unavailable
    ``report_unwritable``.
    """
    if args.out.exists():
        raise UsageError("out_exists", f"{args.out} exists", "choose another name or remove it")
    trust = read_trust(args.trust)
    verdict = counted(judge(args.bundle, trust, args.rpc, questions(args.ask)), args.ask)
    try:
        with args.out.open("x", encoding="utf-8") as page:
            for part in pages(args.bundle, args.trust, trust, verdict, datetime.now(UTC)):
                page.write(part + "\n")
    except OSError as error:
        raise Unavailable("report_unwritable", f"{args.out}: {error.strerror}") from error
    print(f"{args.out}: written")
    return verdict.exit_code


def pages(bundle: Path, trust_file: Path | None, trust: Trust | None, verdict: Verdict, now: datetime) -> Iterator[str]:
    """Yield the page's parts in order. ``now`` is printed as this computer's clock, vouched for by nobody."""
    yield (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="Content-Security-Policy" '
        "content=\"default-src 'none'; style-src 'unsafe-inline'\"><title>edgeseal report</title>"
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><h1>Report on evidence of edge devices</h1>"
    )
    yield from _custody(bundle, trust_file, trust, now)
    yield from _answers(verdict)
    yield from _findings(verdict)
    for device in verdict.devices:
        yield f"<h2>Device log <span class=hash>{device.log.hex()}</span></h2>"
        yield _table(
            ("question", "answer", "ground or reason", "detail"), (_answer(*pair) for pair in device.questions.items())
        )
    yield from _timelines(bundle)
    yield "</body></html>"


def _custody(bundle: Path, trust_file: Path | None, trust: Trust | None, now: datetime) -> Iterator[str]:
    rows = [
        ("evidence", str(bundle)),
        ("SHA-256 of the evidence", _digest(bundle) if bundle.is_file() else "a folder: pack it to hash it"),
    ]
    if trust and trust_file:
        rows += [("trust file", str(trust_file)), ("SHA-256 of the trust file", _digest(trust_file))]
        rows += [("tenant root key", trust.tenant_root.kid.hex()), ("fleet log", trust.fleet_log.hex())]
    else:
        rows.append(("trust file", "none: keys are known by thumbprint only"))
    rows.append(("written", f"{now:%Y-%m-%dT%H:%M:%SZ} by this computer's clock"))
    yield "<h2>Custody</h2>"
    yield _table((), ((_cell(name), f"<td class=hash>{_text(value)}</td>") for name, value in rows))


def _answers(verdict: Verdict) -> Iterator[str]:
    yield "<h2>Verdict</h2>"
    counts = (
        f"{verdict.records} records, {verdict.heads} device heads, {verdict.statements} fleet statements, "
        f"{len(verdict.devices)} device logs"
    )
    yield f"<p>{_text(counts)}. Exit code {verdict.exit_code}: {_text(EXITS[verdict.exit_code])}.</p>"
    if verdict.chain is not None:
        yield f"<p>{_text(chain_line(verdict.chain))}.</p>"
    answers = ((_asked(q), *_answer(q, answer)[1:]) for q, answer in verdict.questions.items())
    yield _table(("question", "answer", "ground or reason", "detail"), answers)
    yield f"<p class=small>{_text(_MEANING)}</p>"


def _asked(question: str) -> str:
    return f"<td>{_text(question)}<div class=small>{_text(ASKED[question])}</div></td>"


def _answer(question: str, answer: Any) -> tuple[str, ...]:
    said = f'<td class="{answer.answer}">{_text(answer.answer.replace("_", " "))}</td>'
    return _cell(question), said, _cell(ground(answer)), _cell(answer.detail)


def _findings(verdict: Verdict) -> Iterator[str]:
    for title, found in (
        ("What failed, and where", verdict.failures),
        ("What is not answered, and why", verdict.unanswered),
    ):
        yield f"<h2>{title}</h2>"
        if not found:
            yield "<p>Nothing.</p>"
            continue
        rows = (
            (
                _cell(q),
                _cell(_place(entry)),
                _cell(getattr(entry, "seq", None)),
                _cell(entry.reason),
                _cell(entry.detail),
            )
            for q, entry in found
        )
        yield _table(("question", "log", "at", "reason", "detail"), rows)


def _timelines(path: Path) -> Iterator[str]:
    try:
        with opened(path) as bundle:
            for log in bundle.logs():
                yield f"<h2>What happened: log <span class=hash>{log.hex()[:16]}…</span></h2>"
                yield "<p class=small>In order of sequence; times are the device's own; marked rows are gaps.</p>"
                gaps, others = _first(event for event in events(bundle, log) if event.gap)
                told, more = _first(events(bundle, log))
                yield f"<h3>Gaps and faults</h3>{_timeline(gaps) if gaps else '<p>None in this history.</p>'}"
                yield _more("gaps and faults") if others else ""
                yield f"<h3>Timeline</h3>{_timeline(told)}"
                yield _more("events") if more else ""
    except FormatError as error:
        yield f"<p class=failed>The bundle cannot be read on: {_text(error.message)}</p>"


def _first(told: Iterator[Event]) -> tuple[list[Event], bool]:
    """Return the first MAX_EVENTS events, and whether there are more."""
    found = list(islice(told, MAX_EVENTS))
    return found, next(told, None) is not None


def _more(what: str) -> str:
    return f"<p>The first {MAX_EVENTS} {what} only; <code>edgeseal replay</code> tells all.</p>"


def _timeline(told: Iterable[Event]) -> str:
    rows = "".join(map(_row, told))
    heads = "".join(f"<th>{name}</th>" for name in ("seq", "device time", "kind", "records", "what"))
    return f"<table><thead><tr>{heads}</tr></thead>{rows}</table>"


def _row(event: Event) -> str:
    mark = " class=gap" if event.gap else ""
    cells = "".join(map(_cell, (event.seq, event.time, event.kind, event.count, event.text)))
    return f"<tr{mark}>{cells}</tr>"


def _table(heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{_text(name)}</th>" for name in heads)
    top = f"<thead><tr>{head}</tr></thead>" if heads else ""
    return f"<table>{top}{''.join(f'<tr>{chr(10).join(row)}</tr>' for row in rows)}</table>"


def _cell(value: object) -> str:
    return f"<td>{'' if value is None else _text(value)}</td>"


def _text(value: object) -> str:
    return html.escape(safe(value), quote=True)


def _place(entry: Any) -> str:
    return entry.log.hex()[:16] + "…" if entry.log else "fleet log"


def _digest(path: Path) -> str:
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
