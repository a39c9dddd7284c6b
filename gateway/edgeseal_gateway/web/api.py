"""The HTTP API of ``gateway/API.md``: requests into questions to the store, answers into JSON or CBOR."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from edgeseal import limits
from edgeseal.errors import EdgesealError, EvidenceError, TrustError, Unavailable, UsageError
from edgeseal.model import MODEL_LIMITS, decode_package, parse_package
from edgeseal.pack import Pack
from edgeseal_gateway import enforcement, export, intake
from edgeseal_gateway.store import fleetlog, orders, refusals
from edgeseal_gateway.web import answers, page, upload
from edgeseal_gateway.web.door import Door
from edgeseal_gateway.web.enrolments import Enrolments
from edgeseal_gateway.web.exports import Exports
from edgeseal_gateway.web.indexes import Indexes
from edgeseal_gateway.web.metrics import Metrics
from edgeseal_gateway.web.operations import Operations
from edgeseal_gateway.web.parts import Parts, device_of
from edgeseal_gateway.web.request import (
    Call,
    answered,
    cbor_answer,
    failed,
    guarded,
    number,
    paging,
    position,
    read_body,
    read_hex,
    subject,
)
from edgeseal_gateway.web.turns import Turns

MAX_WAIT_S: Final = 30.0
MAX_PACKAGE: Final = MODEL_LIMITS.total + (1 << 20)
_POLL_S: Final = 0.05
_SLOWEST_POLL_S: Final = 0.5


class Api:
    """The endpoints. Each runs in a worker thread of its own and may block on the store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._indexes = Indexes(parts.index)

    def routes(self) -> list[Route]:
        """Return every route."""
        gets: dict[str, Call] = {
            "/": self.page, "/v1/health": self.health, "/v1/status": self.status, "/v1/network": self.network,
            "/v1/pack": self.pack, "/v1/keysets": self.keysets, "/v1/audience": self.audience,
            "/v1/commands": self.commands, "/v1/devices": self.devices, "/v1/devices/{log}": self.device,
            "/v1/devices/{log}/history": self.history, "/v1/devices/{log}/records/{seq}/proof": self.proof,
            "/v1/revoked": self.revoked, "/v1/packages": self.packages, "/v1/packages/{digest}": self.package,
        }  # fmt: skip
        return [
            *(Route(path, guarded(call), methods=["GET"]) for path, call in gets.items()),
            *Exports(self._parts).routes(),
            *Enrolments(self._parts).routes(),
            *Operations(self._parts).routes(),
            *Metrics(self._parts).routes(),
            Route("/v1/statements", self.post_statement, methods=["POST"]),
            Route("/v1/statements/{digest}", self.statement, methods=["GET"]),
            Route("/v1/packages/{digest}", self.put_package, methods=["PUT"]),
        ]

    # ---- State ---------------------------------------------------------------------------------------------------

    def page(self, request: Request) -> Response:
        """Who runs what, for people."""
        parts = self._parts
        with parts.database.read() as connection:
            state = answers.status(connection, parts.profile, parts.kid)
            found = answers.device_list(connection, self._indexes.connection)
        state |= answers.account(parts.figures)
        return HTMLResponse(page.render(state, found, parts.board.troubles()), headers=page.HEADERS)

    def health(self, request: Request) -> Response:
        """Ok, or what is the matter."""
        reasons = [one["code"] for one in self._parts.board.troubles()]
        if reasons:
            return JSONResponse({"status": "degraded", "reasons": reasons}, 503)
        return JSONResponse({"status": "ok"})

    def status(self, request: Request) -> Response:
        """Counters and states."""
        parts = self._parts
        with parts.database.read() as connection:
            found = answers.status(connection, parts.profile, parts.kid)
        return JSONResponse(found | answers.account(parts.figures) | {"troubles": parts.board.troubles()})

    def network(self, request: Request) -> Response:
        """The network profile and how far the log is."""
        parts = self._parts
        with parts.database.read() as connection:
            return JSONResponse(answers.network(connection, parts.profile, parts.kid))

    def pack(self, request: Request) -> Response:
        """The provisioning pack of this moment."""
        profile = self._parts.profile
        with self._parts.database.read() as connection:
            head = fleetlog.newest_head(connection, profile.fleet_log)
            keyset = fleetlog.last_of_subject(connection, profile.fleet_log.hex(), "keyset")
        if head is None or keyset is None:
            raise Unavailable("head_unsigned", "no fleet head is signed yet")
        pack = Pack(
            profile.tenant_root, profile.chain_id, profile.fleet_log_contract, profile.nonce, profile.fleet_log,
            keyset.statement, head.signed,
        )  # fmt: skip
        return cbor_answer(pack.encode())

    def keysets(self, request: Request) -> Response:
        """All keysets."""
        with self._parts.database.read() as connection:
            return JSONResponse(answers.keyset_list(connection))

    def revoked(self, request: Request) -> Response:
        """Keys that ended."""
        with self._parts.database.read() as connection:
            return JSONResponse(answers.revoked(connection))

    # ---- Statements ----------------------------------------------------------------------------------------------

    async def post_statement(self, request: Request) -> Response:
        """Judge and queue an operator's statement."""
        return await answered(self._post_statement, await read_body(request, 4 * limits.MAX_STATEMENT))

    def _post_statement(self, body: bytes) -> Response:
        parts = self._parts
        data, salt, args = upload.statement(body)
        try:
            with parts.database.write() as connection:
                accepted = intake.accept(
                    connection, parts.profile, parts.kid, data, salt, args, time.time_ns() // 10**9
                )
        except TrustError as error:
            if error.code in enforcement.REMEDIES:
                with parts.database.write() as connection:
                    at_ms = time.time_ns() // 10**6
                    refusals.count(connection, refusals.OTHERS, error.code, error.message, at_ms)
            raise
        # Durable: the statement in the queue. A restart sequences it.
        parts.wake()
        found = {"digest": accepted.digest.hex(), "typ": accepted.typ, "state": accepted.state, "pos": accepted.pos}
        return JSONResponse(found, 202)

    async def statement(self, request: Request) -> Response:
        """Where a statement stands; with ``wait``, once it is signed (and anchored).

        One who waits takes no worker thread: many may wait at once.
        """
        try:
            digest = read_hex(request.path_params["digest"], "digest")
            deadline = time.monotonic() + min(float(number(request, "wait", 0, 3_600)), MAX_WAIT_S)
            wanted, pause_s = "anchor" if request.query_params.get("anchored") == "1" else "receipt", _POLL_S
            while True:
                found = await run_in_threadpool(self._statement, digest)
                if found[wanted] is not None or time.monotonic() >= deadline:
                    return JSONResponse(found)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, _SLOWEST_POLL_S)
        except EdgesealError as error:
            return failed(error)

    def _statement(self, digest: bytes) -> dict[str, Any]:
        with self._parts.database.read() as connection:
            found = answers.statement(connection, self._parts.profile, digest)
        if found is None:
            raise UsageError("statement_unknown", "no such statement was handed in")
        return found

    def audience(self, request: Request) -> Response:
        """What a new command to an audience needs to name."""
        sub = subject(request)
        if sub is None:
            raise UsageError("query", "name log= or group=")
        profile = self._parts.profile
        with self._parts.database.read() as connection:
            keyset = answers.keyset_version(connection, profile.fleet_log)
            prev = intake.last_command(connection, sub)
            return JSONResponse({"prev": prev.hex(), "size": fleetlog.size(connection), "keyset": keyset})

    def commands(self, request: Request) -> Response:
        """Commands and what became of them."""
        start, limit = paging(request)
        with self._parts.database.read() as connection:
            sub = subject(request)
            return JSONResponse(answers.commands(connection, self._indexes.connection, sub, start, limit))

    # ---- Devices -------------------------------------------------------------------------------------------------

    def devices(self, request: Request) -> Response:
        """All devices, and applicants."""
        with self._parts.database.read() as connection:
            return JSONResponse(answers.device_list(connection, self._indexes.connection))

    def device(self, request: Request) -> Response:
        """One device."""
        with self._parts.database.read() as connection:
            one = device_of(connection, request)
            return JSONResponse(answers.device(connection, self._indexes.connection, one))

    def history(self, request: Request) -> Response:
        """A device's records, decoded."""
        start, limit = paging(request, 256)
        kind = request.query_params.get("kind")
        with self._parts.database.read() as connection:
            one = device_of(connection, request)
            return JSONResponse(answers.history(connection, self._indexes.connection, one, start, limit, kind))

    def proof(self, request: Request) -> Response:
        """What leads from one record to the chain."""
        seq = position(request, "seq")
        with self._parts.database.read() as connection:
            one = device_of(connection, request)
            return JSONResponse(export.proof(connection, self._parts.profile, one, seq))

    # ---- Packages ------------------------------------------------------------------------------------------------

    async def put_package(self, request: Request) -> Response:
        """Take a model package for devices to fetch."""
        digest = request.path_params["digest"]
        body = await read_body(request, MAX_PACKAGE)
        return await answered(lambda data: self._put_package(digest, data), body)

    def _put_package(self, digest: str, body: bytes) -> Response:
        package = parse_package(decode_package(body))
        if package.digest != read_hex(digest, "digest"):
            raise EvidenceError("package_digest", f"these files make package {package.digest.hex()}")
        upload.keep(self._parts.packages, package.digest, body)
        # Durable: the archive. A restart before the next line leaves a file that the same upload puts to use.
        manifest = package.manifest
        with self._parts.database.write() as connection:
            orders.add_package(connection, package.digest, manifest.name, manifest.version, len(body))
        return JSONResponse({"digest": package.digest.hex(), "bytes": len(body)}, 201)

    def packages(self, request: Request) -> Response:
        """Packages that devices can fetch."""
        with self._parts.database.read() as connection:
            found = orders.packages(connection)
        names = ("name", "version", "bytes")
        return JSONResponse(
            {"packages": [{"digest": digest.hex(), **dict(zip(names, rest, strict=True))} for digest, *rest in found]}
        )

    def package(self, request: Request) -> Response:
        """A package's archive."""
        digest = read_hex(request.path_params["digest"], "digest")
        return FileResponse(upload.find(self._parts.packages, digest), media_type="application/cbor")


async def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse({"code": "internal", "message": "the gateway failed to answer", "remedy": "see its log"}, 500)


async def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"code": "no_such_call", "message": "gateway/API.md lists the calls", "remedy": None}, status)


def make_app(parts: Parts) -> ASGIApp:
    """Return the application: routes in turns, behind the door. Nothing listens yet."""
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        Exception: _unexpected, 404: _missing, 405: _missing,
    }  # fmt: skip
    return Door(Turns(Starlette(routes=Api(parts).routes(), exception_handlers=handlers)), parts.tokens)
