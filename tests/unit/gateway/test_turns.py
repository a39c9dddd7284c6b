"""Costly questions are answered in turns; small ones never wait."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from starlette.types import Message, Receive, Scope, Send

from edgeseal_gateway.web.turns import MAX_AT_ONCE, Turns


class App:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.going = 0
        self.release = asyncio.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.going += 1
        try:
            if scope["path"] != "/v1/health":
                await self.release.wait()
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b""})
        finally:
            self.going -= 1


class Asked:
    """One request and what came of it."""

    def __init__(self, app: Any, path: str, method: str = "GET") -> None:
        self.sent: list[Message] = []
        scope = {"type": "http", "path": path, "method": method, "headers": []}
        self.task = asyncio.ensure_future(app(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def _send(self, message: Message) -> None:
        self.sent.append(message)

    async def status(self) -> int:
        await self.task
        return int(self.sent[0]["status"])

    def header(self, name: bytes) -> bytes:
        found: dict[bytes, bytes] = dict(self.sent[0]["headers"])
        return found[name]


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


def test_too_many_costly_questions_are_told_to_come_again() -> None:
    async def run() -> None:
        app = App()
        turns = Turns(app, patience_s=0.01)
        going = [Asked(turns, "/v1/export/statements") for _ in range(MAX_AT_ONCE)]
        await settle()
        late = Asked(turns, "/")
        assert await late.status() == 503
        assert json.loads(late.sent[1]["body"])["code"] == "busy" and int(late.header(b"retry-after")) > 0
        assert await Asked(turns, "/v1/health").status() == 200
        app.release.set()
        assert {await one.status() for one in going} == {200}
        assert await Asked(turns, "/").status() == 200

    asyncio.run(run())


def test_who_waits_a_little_gets_a_turn() -> None:
    async def run() -> None:
        app = App()
        turns = Turns(app)
        asked = [Asked(turns, "/v1/devices") for _ in range(3 * MAX_AT_ONCE)]
        await settle()
        assert app.going == MAX_AT_ONCE
        app.release.set()
        assert {await one.status() for one in asked} == {200}

    asyncio.run(run())


def test_packages_come_in_one_by_one_and_keep_nobody_from_reading() -> None:
    async def run() -> None:
        app = App()
        turns = Turns(app, patience_s=0.01)
        first = Asked(turns, "/v1/packages/a", "PUT")
        await settle()
        assert await Asked(turns, "/v1/packages/b", "PUT").status() == 503
        read = Asked(turns, "/v1/packages")
        await settle()
        assert app.going == 2
        app.release.set()
        assert (await first.status(), await read.status()) == (200, 200)

    asyncio.run(run())


def test_an_answer_that_takes_too_long_gives_its_turn_away() -> None:
    async def run() -> None:
        app = App()
        turns = Turns(app, answer_s=0.01)
        stuck = [Asked(turns, "/v1/devices") for _ in range(MAX_AT_ONCE)]
        assert {await one.status() for one in stuck} == {503}
        app.release.set()
        assert await Asked(turns, "/v1/devices").status() == 200

    asyncio.run(run())
