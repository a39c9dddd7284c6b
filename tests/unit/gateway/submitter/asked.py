"""The API's endpoints asked without a server: no socket, no thread of a server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.routing import Route


class Asked:
    """Asks routes and returns the answers."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self._app = Starlette(routes=list(routes))

    def get(self, path: str) -> httpx.Response:
        return self._ask("GET", path)

    def post(self, path: str, **content: Any) -> httpx.Response:
        return self._ask("POST", path, **content)

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        async def ask() -> httpx.Response:
            transport = httpx.ASGITransport(app=self._app)
            async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1") as client:
                return await client.request(method, path, **content)

        return asyncio.run(ask())
