"""How many costly questions are answered at once: the others wait for their turn, and are told when to come again.

A page of an export, the list of all devices or a package take memory and a worker thread. Without a bound a few that
ask at once would leave none for anybody else; small questions never wait here.
"""

from __future__ import annotations

import asyncio
from typing import Final

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

COSTLY: Final = ("/v1/export/", "/v1/devices", "/v1/commands", "/v1/packages", "/metrics")
MAX_AT_ONCE: Final = 8
"""Costly questions answered at one time."""
MAX_UPLOADS: Final = 1
"""Packages taken in at one time: each is held in memory, whole."""
PATIENCE_S: Final = 5.0
"""How long one waits for its turn."""
ANSWER_S: Final = 600.0
"""How long a turn may take, the sending included: whoever does not read must not keep others from asking."""
RETRY_AFTER_S: Final = 5


class Turns:
    """Passes requests on, costly ones in turns; one that waited too long is answered 503 ``busy`` with Retry-After."""

    def __init__(self, app: ASGIApp, patience_s: float = PATIENCE_S, answer_s: float = ANSWER_S) -> None:
        self._app = app
        self._patience_s = patience_s
        self._answer_s = answer_s
        self._reads = asyncio.Semaphore(MAX_AT_ONCE)
        self._uploads = asyncio.Semaphore(MAX_UPLOADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or say that it is too much now."""
        if scope["type"] != "http" or not _is_costly(scope["path"]):
            await self._app(scope, receive, send)
            return
        is_upload = scope["method"] == "PUT"
        turns = self._uploads if is_upload else self._reads
        try:
            await asyncio.wait_for(turns.acquire(), self._patience_s)
        except TimeoutError:
            await _busy(scope, receive, send)
            return
        try:
            # A body that comes in has a limit of its own for its time (request.read_body).
            await self._answer(scope, receive, send, None if is_upload else self._answer_s)
        finally:
            turns.release()

    async def _answer(self, scope: Scope, receive: Receive, send: Send, limit_s: float | None) -> None:
        """Pass the request on; an answer that nobody takes in time is broken off."""
        began = False

        async def sending(message: Message) -> None:
            nonlocal began
            began = True
            await send(message)

        try:
            async with asyncio.timeout(limit_s):
                await self._app(scope, receive, sending)
        except TimeoutError:
            if not began:
                await _busy(scope, receive, send)


def _is_costly(path: str) -> bool:
    return path == "/" or path.startswith(COSTLY)


async def _busy(scope: Scope, receive: Receive, send: Send) -> None:
    body = {
        "code": "busy", "message": "too much is asked for at once", "remedy": f"ask again in {RETRY_AFTER_S} seconds",
    }  # fmt: skip
    await JSONResponse(body, 503, {"Retry-After": str(RETRY_AFTER_S)})(scope, receive, send)
