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
.soft{color:var(--soft)}code{font:13px ui-monospace,monospace}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(11rem,1fr));gap:.8rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:.6rem;padding:.8rem 1rem}
.card b{display:block;font-size:1.35rem;font-weight:600;font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:.6rem}
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.5rem .9rem;border-top:1px solid var(--line);
vertical-align:top}thead th{border-top:0;color:var(--soft);font-weight:500}td.n{text-align:right;
font-variant-numeric:tabular-nums}.good{color:var(--good)}.bad{color:var(--bad)}.wait{color:var(--wait)}
.alarm{border-left:4px solid var(--bad);margin:0 0 .8rem}
"""


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
    log = f"<code>{_short(state['fleet_log'])}</code>"
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
        f"<code>{_short(one['audience'])}</code>, by operator <code>{_short(one['operator'])}</code>, block "
        f'{one["block"]:,}<br><span class="soft">notice {_text(one["digest"])}</span></div>'
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
        ("statements in the fleet log", f"{state['size']:,}", "signed" if state["head"] else "nothing signed yet"),
        (
            "final on the chain",
            f"{final['size']:,}" if final else "–",
            f"block {final['number']:,}" if final else "nothing is final yet",
        ),
        (
            "confirmed, not final",
            f"{max(confirmed):,}" if confirmed else "–",
            "the chain may still take it back" if confirmed else "nothing between confirmed and final",
        ),
        (
            "on the way to the chain",
            f"{waiting:,}" if waiting else "–",
            ", ".join(f"{one['size']:,} {one['state']}" for one in on_way) or ("waits" if waiting else ""),
        ),
        *([] if account is None or account["words"] is None else [("account", account["funds"], account["words"])]),
    )
    shown = "".join(
        f'<div class="card"><span class="soft">{_text(name)}</span><b>{_text(value)}</b>'
        f'<span class="soft">{_text(note)}</span></div>'
        for name, value, note in cards
    )
    return f'<div class="cards">{shown}</div>'


def _plural(devices: dict[str, int]) -> str:
    others = [f"{count} {state}" for state, count in devices.items() if count and state != "active"]
    return ", ".join(others) or "none frozen, revoked or closed"


def _devices(devices: list[dict[str, Any]]) -> str:
    heads = ("device", "state", "model", "records", "anchored", "assurance", "last heard", "refused")
    rows = [
        (
            f"{_text(one['name'])}<br><code class=soft>{_short(one['log'])}</code>",
            f'<span class="{_colour(one["state"])}">{_text(one["state"])}</span>',
            _model(one["model"]),
            f"{one['size']:,}",
            _anchored(one),
            _text(one["assurance"]),
            _when(one["last_contact"]),
            _text(", ".join(f"{code} {n}" for code, n in one["refusals"].items()) or "–"),
        )
        for one in devices
    ]
    return "<h2>Who runs what</h2>" + _table(heads, rows, "No device is enrolled yet.", {3, 4})


def _anchored(one: dict[str, Any]) -> str:
    behind = one["size"] - one["anchored_size"]
    return f"{one['anchored_size']:,}" + (f'<br><span class="wait">{behind:,} to come</span>' if behind else "")


def _model(model: dict[str, Any] | None) -> str:
    if model is None:
        return '<span class="soft">none yet</span>'
    name = f"{model['name']} {model['version']}"
    return f"{_text(name)}<br><code class=soft>{_short(model['package'])}</code>"


def _applicants(applicants: list[dict[str, Any]]) -> str:
    if not applicants:
        return ""
    rows = [(f"<code>{_text(one['log'])}</code>", f"{one['size']:,}", _when(one["last"])) for one in applicants]
    return "<h2>Asked and not enrolled</h2>" + _table(("log", "records", "last asked"), rows, "", {1})


def _refusals(refusals: list[dict[str, Any]]) -> str:
    rows = [
        (
            _text(one["code"]),
            f"<code>{_short(one['log'])}</code>",
            f"{one['n']:,}",
            _when(one["at"]),
            _text(one["detail"]) + (f'<br><span class="soft">{_text(one["remedy"])}</span>' if one["remedy"] else ""),
        )
        for one in refusals
    ]
    heads = ("reason", "log", "times", "last", "said")
    return "<h2>Refused</h2>" + _table(heads, rows, "Nothing was refused.", {2})


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]], none: str, numbers: set[int]) -> str:
    """Return a table of cells that are HTML already."""
    if not rows:
        return f'<p class="soft">{_text(none)}</p>'
    top = "".join(f'<th scope="col">{_text(name)}</th>' for name in heads)
    cells = "".join(
        "<tr>"
        + "".join(f'<td class="n">{cell}</td>' if at in numbers else f"<td>{cell}</td>" for at, cell in enumerate(row))
        + "</tr>"
        for row in rows
    )
    return f'<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>{cells}</tbody></table></div>'


def _colour(state: str) -> str:
    return {"active": "good", "closed": "soft"}.get(state, "bad")


def _text(value: object) -> str:
    return escape(str(value))


def _short(value: str) -> str:
    return escape(value[:12] + "…")


def _when(at_ms: int | None) -> str:
    if not at_ms:
        return "–"
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(at_ms / 1000))
