"""``/v1/operations``: what a person has the gateway do by hand, and the trail of it.

Whoever may come through the door may ask. A page that a browser shows cannot: it would have to send JSON to another
origin, which browsers do not do unasked, and a request that names an origin is refused.
"""

from __future__ import annotations

import json
import time
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgeseal.errors import UsageError
from edgeseal_gateway.store import operations
from edgeseal_gateway.store.operations import ABANDON, CANCEL, FLUSH, RESUME, Operation
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.request import answered, failed, guarded, paging, read_body

MAX_BODY: Final = 4_096
_TARGETED: Final = {FLUSH: False, CANCEL: True, ABANDON: True, RESUME: False}


class Operations:
    """The endpoints."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return every route."""
        return [
            Route("/v1/operations", guarded(self.every), methods=["GET"]),
            Route("/v1/operations", self.ask, methods=["POST"]),
        ]

    def every(self, request: Request) -> Response:
        """The trail."""
        start, limit = paging(request)
        with self._parts.database.read() as connection:
            found = operations.every(connection, start, limit)
        following = found[-1].id + 1 if len(found) == limit else None
        return JSONResponse({"operations": [shown(one) for one in found], "next": following})

    async def ask(self, request: Request) -> Response:
        """Note that an operation is asked for; the stage it concerns carries it out."""
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json" or "origin" in request.headers:
            return failed(UsageError("content_type", "send application/json, and not from a web page"))
        return await answered(self._ask, await read_body(request, MAX_BODY))

    def _ask(self, body: bytes) -> Response:
        what, target, words = _read(body)
        with self._parts.database.write() as connection:
            number = operations.ask(connection, what, target, words, time.time_ns() // 1_000_000)
        # Durable: that it was asked for, by whom and why. A restart carries it out.
        self._parts.wake()
        return JSONResponse({"id": number, "state": operations.ASKED}, 202)


def _read(body: bytes) -> tuple[str, int | None, str]:
    """Return (what, target, words) of a request. Raises UsageError ``operation``."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise UsageError("operation", "the body is no JSON") from error
    if type(fields) is not dict or not fields.keys() <= {"what", "target", "words"}:
        raise UsageError("operation", "the body is {what, target, words}")
    what, target, words = fields.get("what"), fields.get("target"), fields.get("words")
    if type(what) is not str or what not in _TARGETED or type(words) is not str:
        raise UsageError("operation", f"what is one of {', '.join(_TARGETED)}; words say who asks for it and why")
    if _TARGETED[what]:
        if type(target) is not int or not 0 <= target < 1 << 62:
            raise UsageError("operation", f"{what} needs a target: a nonce, or a size")
    elif target is not None:
        raise UsageError("operation", f"{what} takes no target")
    return what, target, words


def shown(one: Operation) -> dict[str, Any]:
    """Return an operation as the API shows it."""
    return {
        "id": one.id, "at": one.at_ms, "what": one.what, "target": one.target, "words": one.words, "state": one.state,
        "done_at": one.done_at_ms, "outcome": one.outcome,
    }  # fmt: skip
