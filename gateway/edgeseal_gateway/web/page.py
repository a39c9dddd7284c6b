"""The one page for people: who runs what, how far it is anchored, what was refused. Plain HTML, nothing fetched from
anywhere.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from html import escape
from typing import Any, Final

HEADERS: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
_STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2733;--soft:#5b6b7b;--line:#dde4ea;--card:#fff;--ground:#f5f7f9;--good:#1f7a4d;
--bad:#b3261e;--wait:#8a6100}
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--soft:#93a4b5;--line:#2b3742;--card:#17202a;--ground:#0f151b;
--good:#5cc98f;--bad:#ff8a80;--wait:#e0b354}}
*{box-sizing:border-box}body{margin:0;background:var(--ground);color:var(--ink);font:15px/1.5 system-ui,sans-serif}
main{max-width:72rem;margin:0 auto;padding:1.5rem}h1{font-size:1.3rem;margin:0}h2{font-size:1.05rem;margin:2rem 0 .6rem}
header{display:flex;flex-wrap:wrap;gap:.5rem 1rem;align-items:baseline;margin-bottom:1.2rem}
.soft{color:var(--soft)}code{font:13px ui-monospace,monospace;overflow-wrap:anywhere}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
.card b{display:block;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;border-top:1px solid var(--line);
padding:.5rem .7rem;vertical-align:top;overflow-wrap:break-word}
td:first-child,td:last-child{overflow-wrap:anywhere;min-width:9rem}td code[title]{white-space:nowrap}
thead th{border-top:0;color:var(--soft);font-weight:500;white-space:nowrap}
.n{text-align:right;font-variant-numeric:tabular-nums;white-space:nowrap}time{display:inline-block;min-width:6.4rem}
.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
.alarm{border-left:4px solid var(--bad);margin:0 0 .8rem}
@media(max-width:50rem){main{padding:1rem}thead{display:none}tr,td{display:block}tr+tr{border-top:2px solid var(--line)}
td,td.n{display:flex;gap:1rem;text-align:left;white-space:normal;border:0;padding:.25rem .9rem}
td::before{content:attr(data-of);color:var(--soft);flex:0 0 6rem}}
"""


MAX_DEVICES: Final = 500
MAX_APPLICANTS: Final = 100
"""Rows of the page; the API lists all of them."""


def render(state: dict[str, Any], found: dict[str, Any], troubles: list[dict[str, str | None]]) -> str:
    """Return the page for a status, a device list and the stages' troubles, as the API gives them. Everything is
    escaped.
    """
    body = "".join(
        (
            _top(state), _troubles(state, troubles), _halts(state["registries"]["halts"]), _cards(state),
            _devices(found["devices"]),
            _applicants(found["applicants"]), _refusals(state["newest_refusals"]),
        )
    )  # fmt: skip
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>edgeseal gateway</title>'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def _top(state: dict[str, Any]) -> str:
    log = _id(state["fleet_log"])
    return (
        f'<header><h1>edgeseal gateway</h1><span class="soft">fleet log {log}, as of {_when(_now_ms())}</span></header>'
    )


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _troubles(state: dict[str, Any], troubles: list[dict[str, str | None]]) -> str:
    blocked = state["signing_blocked"]
    every = ([{"stage": "signing", **blocked}] if blocked else []) + troubles
    return "".join(
        f'<div class="card alarm"><strong class="bad">{_text(one["stage"])}: {_text(one["code"])}</strong><br>'
        f'{_text(one["message"])}<br><span class="soft">{_text(one["remedy"] or "")}</span></div>'
        for one in every
    )


def _halts(halts: list[dict[str, Any]]) -> str:
    return "".join(
        f'<div class="card alarm"><strong class="bad">emergency halt on chain</strong> for audience '
        f"{_id(one['audience'])}, by operator {_id(one['operator'])}, block "
        f'{one["block"]:,}<br><span class="soft">notice <code>{_text(one["digest"])}</code></span></div>'
        for one in halts
    )


def _cards(state: dict[str, Any]) -> str:
    anchor, devices = state["anchor"], state["devices"]
    final = anchor["final"]
    on_way = [one for one in anchor["in_flight"] if one["finality"] == "PENDING"]
    confirmed = [one["size"] for one in anchor["in_flight"] if one["finality"] == "CONFIRMED"]
    waiting = anchor["wanted"] or (on_way[-1]["size"] if on_way else None)
    account = state.get("account")
    cards = (
        ("devices active", devices["active"], _plural(devices)),
        ("records held", f"{state['records']:,}", f"{state['bytes'] / 1e6:,.1f} MB"),
        ("statements in the fleet log", f"{state['size']:,}", _signed(state)),
        ("final on the chain", f"{final['size']:,}" if final else "–", _final(anchor)),
        (
            "confirmed, not final",
            f"{max(confirmed):,}" if confirmed else "–",
            "the chain may still take it back" if confirmed else "nothing between confirmed and final",
        ),
        (
            "on the way to the chain",
            f"{waiting:,}" if waiting else "–",
            ", ".join(f"{one['size']:,} {one['state']}" for one in on_way) or ("waits" if waiting else "nothing waits"),
        ),
        *([] if account is None or account["words"] is None else [("account", account["funds"], account["words"])]),
    )
    shown = "".join(
        f'<div class="card"><span class="soft">{_text(name)}</span><b>{_text(value)}</b>'
        f'<span class="soft">{_text(note)}</span></div>'
        for name, value, note in cards
    )
    return f'<div class="cards">{shown}</div>'


def _signed(state: dict[str, Any]) -> str:
    """Return how far the gateway's signature reaches: what stands above it has no receipt."""
    if state["head"] is None:
        return "nothing signed yet"
    size = state["head"]["size"]
    return "all under a signed head" if size == state["size"] else f"{size:,} under a signed head"


def _final(anchor: dict[str, Any]) -> str:
    if anchor["final"] is None:
        return "nothing is final yet"
    by_tag = anchor["final_by"] == "tag"
    return f"block {anchor['final']['number']:,}" + ("" if by_tag else ", final by its depth: the operator's word")


def _plural(devices: dict[str, int]) -> str:
    others = [f"{count:,} {state}" for state, count in devices.items() if count and state != "active"]
    return ", ".join(others) or "none in another state"


def _devices(devices: list[dict[str, Any]]) -> str:
    heads = ("device", "state", "model", "records", "final", "assurance", "last heard", "refused")
    first = sorted(devices, key=_is_well)[:MAX_DEVICES]
    rows = [
        (
            f"<span>{_text(one['name'])}<br>{_id(one['log'])}</span>",
            f'<span class="{_colour(one["state"])}">{_text(one["state"])}</span>',
            _model(one["model"]),
            f"{one['size']:,}",
            _anchored(one),
            _text(one["assurance"]),
            _when(one["last_contact"]),
            _text(", ".join(f"{code} {n:,}" for code, n in one["refusals"].items()) or "–"),
        )
        for one in first
    ]
    table = _table(heads, rows, "No device is enrolled yet.", {3, 4})
    return "<h2>Who runs what</h2>" + table + _rest(len(devices), len(first), "those to look at first", "/v1/devices")


def _is_well(one: dict[str, Any]) -> bool:
    return one["state"] in ("active", "closed") and not one["refusals"]


def _rest(every: int, shown: int, which: str, path: str) -> str:
    if shown == every:
        return ""
    return f'<p class="soft">{shown:,} of {every:,}, {which}; all of them: <code>GET {path}</code></p>'


def _anchored(one: dict[str, Any]) -> str:
    """Return how many records are under a final anchor, and how many are not."""
    behind = one["size"] - one["anchored_size"]
    text = f'<br><span class="wait">{behind:,} not final</span>' if behind else ""
    return f"<span>{one['anchored_size']:,}{text}</span>"


def _model(model: dict[str, Any] | None) -> str:
    if model is None:
        return '<span class="soft">none yet</span>'
    name = f"{model['name']} {model['version']}"
    return f"<span>{_text(name)}<br>{_id(model['package'])}</span>"


def _applicants(applicants: list[dict[str, Any]]) -> str:
    if not applicants:
        return ""
    first = applicants[:MAX_APPLICANTS]
    rows = [(f"<code>{_text(one['log'])}</code>", f"{one['size']:,}", _when(one["last"])) for one in first]
    table = _table(("log", "records", "last asked"), rows, "", {1})
    return "<h2>Asked and not enrolled</h2>" + table + _rest(len(applicants), len(first), "the newest", "/v1/devices")


def _refusals(refusals: list[dict[str, Any]]) -> str:
    rows = [
        (
            _text(one["code"]),
            _id(one["log"]) if one["log"].strip("0") else "–",
            f"{one['n']:,}",
            _when(one["at"]),
            _said(one["detail"], one["remedy"]),
        )
        for one in refusals
    ]
    heads = ("reason", "log", "times", "last", "said")
    return "<h2>Refused</h2>" + _table(heads, rows, "Nothing was refused.", {2})


def _said(detail: str, remedy: str | None) -> str:
    text = f'<br><span class="soft">{_text(remedy)}</span>' if remedy else ""
    return f"<span>{_text(detail)}{text}</span>"


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], none: str, numbers: set[int]) -> str:
    """Return a table of cells that are HTML already."""
    if not rows:
        return f'<p class="soft">{_text(none)}</p>'
    marks = ["class=n" if at in numbers else "" for at in range(len(heads))]
    top = "".join(f'<th scope="col" {mark}>{_text(name)}</th>' for name, mark in zip(heads, marks, strict=True))
    cells = "".join(
        "<tr>"
        + "".join(
            f'<td data-of="{_text(name)}" {mark}>{cell}</td>'
            for name, mark, cell in zip(heads, marks, row, strict=True)
        )
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{cells}</tbody></table></div>'


def _colour(state: str) -> str:
    return {"active": "good", "closed": "soft"}.get(state, "bad")


def _text(value: object) -> str:
    return escape(str(value))


def _id(value: str) -> str:
    """Return the beginning of an id in hex; the whole of it shows under the pointer."""
    return f'<code class="soft" title="{_text(value)}">{_text(value[:12])}…</code>'


def _when(at_ms: int | None) -> str:
    if not at_ms:
        return "–"
    return time.strftime("<time>%Y-%m-%d %H:%M:%S UTC</time>", time.gmtime(at_ms / 1000))
