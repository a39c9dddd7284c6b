"""The shape of the body of every kind of record (``docs/format.md`` section 4, "Bodies by kind"): one table, no
behaviour.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgeseal import limits
from edgeseal.errors import FormatError
from edgeseal.schema import (
    Check,
    binary,
    boolean,
    closed,
    code,
    commit,
    digest,
    items,
    log_size_root,
    maybe,
    name,
    one_of,
    point,
    positive,
    pub,
    row,
    text,
    uint,
)

RUNTIME: Final = row(*[text(limits.MAX_RUNTIME_TEXT)] * 4, uint, text(limits.MAX_RUNTIME_TEXT))
"""``[family, version, delegate, resolver, threads, arch]``."""

_id = binary(16, 16)


def _ranges(value: Any, at: str) -> None:
    items(row(uint, uint), limits.MAX_RANGES, 1)(value, at)
    end = -1
    for start, stop in value:
        if not end <= start < stop:
            raise FormatError("range", f"{at}: ranges must rise, not overlap and not be empty")
        end = stop


def _body(fields: Mapping[str, Check]) -> Check:
    return closed({"s": digest, **fields})


_thinned = _body({"ranges": _ranges, "form": one_of(1, 2), "reason": code})

BODIES: Final[Mapping[str, Check]] = {
    "genesis": _body(
        {
            "device": name,
            "epoch": positive,
            "prev": maybe(log_size_root),
            "root": digest,
            "home": digest,
            "fleet": binary(1, limits.MAX_HEAD),
        }
    ),
    "key.bound": _body({"key": point, "keyset": row(positive, digest)}),
    "boot": _body({"reason": one_of("init", "start"), "clean": boolean, "build": text(), "config": digest}),
    "shutdown": _body({"reason": text()}),
    "inference": _body(
        {
            "model": digest,
            "file": digest,
            "rt": RUNTIME,
            "input": commit,
            "tensor": commit,
            "output": commit,
            "pub": pub,
            "us": uint,
            "config": digest,
            "build": text(),
        }
    ),
    "decision.intent": _body({"agent": name, "id": _id, "action": text(), "data": maybe(commit), "pub": pub}),
    "decision.verdict": _body(
        {"agent": name, "id": _id, "allow": boolean, "rule": text(), "data": maybe(commit), "pub": pub}
    ),
    "decision.outcome": _body({"agent": name, "id": _id, "ok": boolean, "data": maybe(commit), "pub": pub}),
    "command.received": _body(
        {"id": _id, "cmd": binary(1, limits.MAX_COMMAND), "receipt": binary(1, limits.MAX_RECEIPT)}
    ),
    "command.refused": _body(
        {"id": maybe(_id), "cmd": digest, "pos": maybe(uint), "reason": code, "detail": text(), "count": positive}
    ),
    "command.result": _body(
        {"id": _id, "cmd": digest, "ok": boolean, "reason": maybe(code), "result": maybe(commit), "pub": pub}
    ),
    "model.activated": _body(
        {
            "model": digest,
            "file": digest,
            "name": name,
            "version": text(64, 1),
            "cmd": maybe(digest),
            "prev": maybe(digest),
            "golden": uint,
        }
    ),
    "model.rejected": _body({"model": digest, "cmd": maybe(digest), "reason": code, "detail": text()}),
    "policy.changed": _body({"version": positive, "keyset": binary(1, limits.MAX_STATEMENT)}),
    "key.rotated": _body({"next": digest, "key": point}),
    "state": _body({"name": name, "pub": pub}),
    "heartbeat": _body({"up": uint, "records": uint, "free": uint, "unsent": uint}),
    "tamper": _body({"what": name, "detail": text()}),
    "fault": _body({"what": name, "detail": text()}),
    "gap": _body({"what": name, "count": uint, "detail": text()}),
    "thinned": _thinned,
    "tombstone": _thinned,
    "attest": _body({"type": name, "evidence": binary(0, limits.MAX_BODY - 1024)}),
    "incident": _body({"id": _id, "state": one_of("open", "closed"), "from": uint, "to": maybe(uint), "why": text()}),
    "closed": _body({"reason": text(), "next": maybe(digest)}),
}
"""Kind → check of its decoded body map, salt included."""
