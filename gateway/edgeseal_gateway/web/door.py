"""Who may ask at all: those with a token, or, on loopback, requests that name a loopback host."""

from __future__ import annotations

import hmac
import ipaddress

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send


class Door:
    """Lets in who may come: with tokens, those who have one; on loopback, requests that name a loopback host.

    ``/v1/enrol`` is for devices that nobody knows yet: with tokens it is open to all, and asks for a claim itself.
    What a browser sends for a page changes nothing here: browsers name its origin, and no client of ours does.
    """

    def __init__(self, app: ASGIApp, tokens: frozenset[str]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer 401."""
        headers = dict(scope["headers"])
        is_pages = scope["method"] not in ("GET", "HEAD") and b"origin" in headers
        if not is_pages and self._may(scope["path"], headers):
            await self._app(scope, receive, send)
            return
        body = {"code": "unauthorized", "message": "this request may not come in", "remedy": "send a bearer token"}
        await JSONResponse(body, 401)(scope, receive, send)

    def _may(self, path: str, headers: dict[bytes, bytes]) -> bool:
        if self._tokens and (path == "/v1/enrol" or path.startswith("/v1/enrol/")):
            return True
        if not self._tokens:
            return _is_loopback(headers.get(b"host", b"").decode("latin-1"))
        given = headers.get(b"authorization", b"").decode("latin-1").removeprefix("Bearer ").encode("latin-1")
        return any(hmac.compare_digest(given, token.encode()) for token in self._tokens)


def _is_loopback(host: str) -> bool:
    """Tell whether a Host header names this machine: a page of a foreign name that leads here may not ask."""
    name = host[1 : host.find("]")] if host.startswith("[") else host.partition(":")[0]
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
