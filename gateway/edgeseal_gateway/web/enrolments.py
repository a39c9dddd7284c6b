"""The endpoints of enrolment: ``/v1/enrol`` for devices that have a claim token, ``/v1/enrolments`` for operators."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgeseal import cbor, limits
from edgeseal.errors import EdgesealError, UsageError
from edgeseal_gateway import enrolling
from edgeseal_gateway.store import enrolling as store
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.request import answered, cbor_answer, failed, guarded, number, read_body, read_hex

MAX_LISTED: Final = 1_000
MAX_WAIT_S: Final = 30.0
_POLL_S: Final = 0.5


class Enrolments:
    """A letter box between a device that nobody knows yet and the operator who is to know it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return every route."""
        return [
            Route("/v1/enrol", self.post_offer, methods=["POST"]),
            Route("/v1/enrol/{offer}", self.of_device, methods=["GET"]),
            Route("/v1/enrol/{offer}/reply", self.post_reply, methods=["POST"]),
            Route("/v1/enrolments", guarded(self.listed), methods=["GET"]),
            Route("/v1/enrolments/{offer}", guarded(self.of_operator), methods=["GET"]),
            Route("/v1/enrolments/{offer}/ask", self.post_ask, methods=["POST"]),
            Route("/v1/enrolments/{offer}/evidence", self.post_evidence, methods=["POST"]),
            Route("/v1/export/enrolments", guarded(self.export), methods=["GET"]),
        ]

    # ---- Devices, by their claim ---------------------------------------------------------------------------------

    async def post_offer(self, request: Request) -> Response:
        """Take an offer, and its claim token with it."""
        token = _token(request)

        def keep(data: bytes) -> Response:
            with self._parts.database.write() as connection:
                found = enrolling.offered(connection, token, data, time.time_ns() // 1_000_000)
            # Durable: the offer, its claim used up. The same offer again is answered in the same way.
            return JSONResponse({"offer": found.digest.hex()}, 202)

        return await answered(keep, await read_body(request, limits.MAX_OFFER))

    async def of_device(self, request: Request) -> Response:
        """What the operator asks, once he does; with ``wait``, as soon as something has changed.

        A device that waits takes no worker thread: many may wait at once.
        """
        try:
            token, offer = _token(request), _offer(request)
            deadline = time.monotonic() + min(float(number(request, "wait", 0, 3_600)), MAX_WAIT_S)
            known = request.query_params.get("state")
            while True:
                found = await run_in_threadpool(self._look, token, offer)
                if found["state"] != known or time.monotonic() >= deadline:
                    return JSONResponse(found)
                await asyncio.sleep(_POLL_S)
        except EdgesealError as error:
            return failed(error)

    def _look(self, token: bytes, offer: bytes) -> dict[str, Any]:
        with self._parts.database.read() as connection:
            one = enrolling.of_device(connection, token, offer)
            state = enrolling.shown(connection, one)["state"]
        return {"state": state, "ask": None if one.ask is None else one.ask.hex()}

    async def post_reply(self, request: Request) -> Response:
        """Take the device's answer."""
        token, offer = _token(request), _offer(request)

        def keep(data: bytes) -> Response:
            with self._parts.database.write() as connection:
                enrolling.of_device(connection, token, offer)
                store.reply(connection, offer, data)
            return JSONResponse({"offer": offer.hex()}, 202)

        return await answered(keep, await read_body(request, enrolling.MAX_LETTER))

    # ---- Operators -----------------------------------------------------------------------------------------------

    def listed(self, request: Request) -> Response:
        """Who applied."""
        with self._parts.database.read() as connection:
            found = [enrolling.shown(connection, one) for one in store.exchanges(connection, MAX_LISTED)]
        return JSONResponse({"enrolments": found})

    def of_operator(self, request: Request) -> Response:
        """One application's letters."""
        with self._parts.database.read() as connection:
            one = enrolling.of_operator(connection, _offer(request))
            found = enrolling.shown(connection, one)
        letters = {"data": one.data.hex(), "reply": None if one.reply is None else one.reply.hex()}
        return JSONResponse(found | letters)

    async def post_ask(self, request: Request) -> Response:
        """Keep what the operator asks."""
        return await self._keep(request, enrolling.MAX_LETTER, enrolling.asked)

    async def post_evidence(self, request: Request) -> Response:
        """Keep the transcript of an enrolment that is about to be signed."""
        return await self._keep(request, limits.MAX_ENROLMENT, enrolling.accepted)

    async def _keep(self, request: Request, most: int, act: Callable[..., object]) -> Response:
        def keep(data: bytes) -> Response:
            offer = _offer(request)
            with self._parts.database.write() as connection:
                act(connection, offer, data)
            return JSONResponse({"offer": offer.hex()}, 202)

        return await answered(keep, await read_body(request, most))

    def export(self, request: Request) -> Response:
        """The transcripts kept, by digest."""
        after = request.query_params.get("after")
        start = b"" if after is None else read_hex(after, "after")
        with self._parts.database.read() as connection:
            found = store.evidence(connection, start, 64)
        return cbor_answer(cbor.encode([data for _, data in found]))


def _offer(request: Request) -> bytes:
    return read_hex(request.path_params["offer"], "offer")


def _token(request: Request) -> bytes:
    """Return the claim token of ``Authorization: Claim …``; empty where there is none, which no claim is."""
    kind, _, text = request.headers.get("authorization", "").partition(" ")
    try:
        return bytes.fromhex(text) if kind == "Claim" else b""
    except ValueError:
        raise UsageError("claim_unknown", "the claim is hexadecimal") from None
