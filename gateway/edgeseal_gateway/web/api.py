"""The HTTP API of ``gateway/API.md``: requests into questions to the store, answers into JSON or CBOR."""

from __future__ import annotations

import hmac
import ipaddress
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from edgeseal import cbor, limits
from edgeseal.errors import EdgesealError, EvidenceError, InvariantBroken, Unavailable, UsageError
from edgeseal.model import MODEL_LIMITS, decode_package, parse_package
from edgeseal.network import NetworkProfile
from edgeseal.pack import Pack
from edgeseal_gateway import export, intake
from edgeseal_gateway.board import Board
from edgeseal_gateway.store import devices, fleetlog, orders
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.store.devices import Device
from edgeseal_gateway.web import answers, page, upload
from edgeseal_gateway.web.indexes import Indexes

MAX_WAIT_S: Final = 30.0
MAX_PACKAGE: Final = MODEL_LIMITS.total + (1 << 20)
_POLL_S: Final = 0.05
_NOT_FOUND: Final = frozenset({"device_unknown", "statement_unknown", "package_unknown", "not_sequenced", "no_head"})
_CONFLICT: Final = frozenset(
    {
        "keyset_stale", "command_stale", "command_expired", "command_id", "already_enrolled", "audience_unknown",
        "until_ahead", "gateway_key_missing", "keyset_unknown",
    }
)  # fmt: skip
Call = Callable[[Request], Response]


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API works on. ``wake`` tells the sequencer that something was handed in."""

    database: Database
    index: Path
    packages: Path
    profile: NetworkProfile
    kid: bytes
    board: Board
    wake: Callable[[], None]
    tokens: frozenset[str]


class Api:
    """The endpoints. Each runs in a worker thread of its own and may block on the store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._indexes = Indexes(parts.index)

    def routes(self) -> list[Route]:
        """Return every route."""
        gets: dict[str, Call] = {
            "/": self.page, "/v1/health": self.health, "/v1/status": self.status, "/v1/network": self.network,
            "/v1/pack": self.pack, "/v1/keysets": self.keysets, "/v1/statements/{digest}": self.statement,
            "/v1/audience": self.audience, "/v1/commands": self.commands, "/v1/devices": self.devices,
            "/v1/devices/{log}": self.device, "/v1/devices/{log}/history": self.history,
            "/v1/devices/{log}/records/{seq:int}/proof": self.proof, "/v1/revoked": self.revoked,
            "/v1/packages": self.packages, "/v1/packages/{digest}": self.package,
            "/v1/export/index": self.export_index, "/v1/export/statements": self.export_statements,
            "/v1/export/receipts": self.export_receipts, "/v1/export/fleet-heads": self.export_fleet_heads,
            "/v1/export/consistency": self.export_consistency, "/v1/export/snapshots": self.export_snapshots,
            "/v1/export/records/{log}": self.export_records, "/v1/export/heads/{log}": self.export_heads,
            "/v1/export/anchors": self.export_anchors, "/v1/export/keys": self.export_keys,
            "/v1/export/evidence": self.export_evidence,
        }  # fmt: skip
        return [
            *(Route(path, _guarded(call), methods=["GET"]) for path, call in gets.items()),
            Route("/v1/statements", self.post_statement, methods=["POST"]),
            Route("/v1/packages/{digest}", self.put_package, methods=["PUT"]),
        ]

    # ---- State ---------------------------------------------------------------------------------------------------

    def page(self, request: Request) -> Response:
        """Who runs what, for people."""
        parts = self._parts
        with parts.database.read() as connection:
            state = answers.status(connection, parts.profile, parts.kid)
            found = answers.device_list(connection, self._indexes.connection)
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
        return JSONResponse(found | {"troubles": parts.board.troubles()})

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
        return _cbor(pack.encode())

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
        return await _answered(self._post_statement, await _body(request, 4 * limits.MAX_STATEMENT))

    def _post_statement(self, body: bytes) -> Response:
        parts = self._parts
        data, salt, args = upload.statement(body)
        with parts.database.write() as connection:
            accepted = intake.accept(connection, parts.profile, parts.kid, data, salt, args)
        # Durable: the statement in the queue. A restart sequences it.
        parts.wake()
        found = {"digest": accepted.digest.hex(), "typ": accepted.typ, "state": accepted.state, "pos": accepted.pos}
        return JSONResponse(found, 202)

    def statement(self, request: Request) -> Response:
        """Where a statement stands; with ``wait``, once it is signed (and anchored)."""
        digest = _hex(request.path_params["digest"], "digest")
        deadline = time.monotonic() + min(float(_number(request, "wait", 0, 3_600)), MAX_WAIT_S)
        anchored = request.query_params.get("anchored") == "1"
        while True:
            with self._parts.database.read() as connection:
                found = answers.statement(connection, self._parts.profile, digest)
            if found is None:
                raise UsageError("statement_unknown", "no such statement was handed in")
            if found["anchor" if anchored else "receipt"] is not None or time.monotonic() >= deadline:
                return JSONResponse(found)
            time.sleep(_POLL_S)

    def audience(self, request: Request) -> Response:
        """What a new command to an audience needs to name."""
        sub = _subject(request)
        if sub is None:
            raise UsageError("query", "name log= or group=")
        profile = self._parts.profile
        with self._parts.database.read() as connection:
            keyset = answers.keyset_version(connection, profile.fleet_log)
            prev = intake.last_command(connection, sub)
            return JSONResponse({"prev": prev.hex(), "size": fleetlog.size(connection), "keyset": keyset})

    def commands(self, request: Request) -> Response:
        """Commands and what became of them."""
        start, limit = _paging(request)
        with self._parts.database.read() as connection:
            sub = _subject(request)
            return JSONResponse(answers.commands(connection, self._indexes.connection, sub, start, limit))

    # ---- Devices -------------------------------------------------------------------------------------------------

    def _device(self, connection: Any, request: Request) -> Device:
        found = devices.find(connection, _hex(request.path_params["log"], "log"))
        if found is None:
            raise UsageError("device_unknown", "no device of this log is enrolled here")
        return found

    def devices(self, request: Request) -> Response:
        """All devices, and applicants."""
        with self._parts.database.read() as connection:
            return JSONResponse(answers.device_list(connection, self._indexes.connection))

    def device(self, request: Request) -> Response:
        """One device."""
        with self._parts.database.read() as connection:
            one = self._device(connection, request)
            return JSONResponse(answers.device(connection, self._indexes.connection, one))

    def history(self, request: Request) -> Response:
        """A device's records, decoded."""
        start, limit = _paging(request, 256)
        kind = request.query_params.get("kind")
        with self._parts.database.read() as connection:
            one = self._device(connection, request)
            return JSONResponse(answers.history(connection, self._indexes.connection, one, start, limit, kind))

    def proof(self, request: Request) -> Response:
        """What leads from one record to the chain."""
        seq = min(int(request.path_params["seq"]), 1 << 62)
        with self._parts.database.read() as connection:
            one = self._device(connection, request)
            return JSONResponse(export.proof(connection, self._parts.profile, one, seq))

    # ---- Packages ------------------------------------------------------------------------------------------------

    async def put_package(self, request: Request) -> Response:
        """Take a model package for devices to fetch."""
        digest = request.path_params["digest"]
        body = await _body(request, MAX_PACKAGE)
        return await _answered(lambda data: self._put_package(digest, data), body)

    def _put_package(self, digest: str, body: bytes) -> Response:
        package = parse_package(decode_package(body))
        if package.digest != _hex(digest, "digest"):
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
        digest = _hex(request.path_params["digest"], "digest")
        return _cbor(upload.load(self._parts.packages, digest))

    # ---- Export --------------------------------------------------------------------------------------------------

    def export_index(self, request: Request) -> Response:
        """What there is to export."""
        with self._parts.database.read() as connection:
            found = export.index(connection, self._parts.profile)
            packages = [digest.hex() for digest, *_ in orders.packages(connection)]
        return JSONResponse(found | {"packages": packages})

    def _export(self, ask: Callable[[Any], Any]) -> Response:
        with self._parts.database.read() as connection:
            return _cbor(cbor.encode(ask(connection)))

    def export_statements(self, request: Request) -> Response:
        """Statements by position."""
        start, limit = _paging(request)
        below = _number(request, "below", -1, 1 << 62)
        return self._export(lambda c: export.statements(c, start, limit, None if below < 0 else below))

    def export_receipts(self, request: Request) -> Response:
        """Receipts under one head."""
        start, limit = _paging(request, 2_048)
        size, log = _number(request, "size", 0, 1 << 62), self._parts.profile.fleet_log
        return self._export(lambda c: export.receipts(c, log, start, limit, size))

    def export_fleet_heads(self, request: Request) -> Response:
        """Signed fleet heads."""
        start, limit = _paging(request)
        sizes, log = _sizes(request), self._parts.profile.fleet_log
        return self._export(lambda c: export.fleet_heads(c, log, start, limit, sizes))

    def export_consistency(self, request: Request) -> Response:
        """Proofs between sizes."""
        sizes = _sizes(request) or []
        return self._export(lambda c: export.consistency(c, sizes))

    def export_snapshots(self, request: Request) -> Response:
        """What a snapshot says of subjects."""
        start, limit = _paging(request)
        pos, subs = _number(request, "pos", 0, 1 << 62), request.query_params.getlist("sub")
        return self._export(lambda c: export.snapshots(c, pos, subs, start, limit))

    def export_records(self, request: Request) -> Response:
        """A device's records as sent."""
        start, limit = _paging(request)
        return self._export(lambda c: export.records(c, self._device(c, request), start, limit))

    def export_heads(self, request: Request) -> Response:
        """A device's signed heads."""
        start, limit = _paging(request)
        return self._export(lambda c: export.heads(c, self._device(c, request), start, limit))

    def export_anchors(self, request: Request) -> Response:
        """Anchor evidence."""
        start, limit = _paging(request)
        return self._export(lambda c: export.anchor_evidence(c, start, limit))

    def export_keys(self, request: Request) -> Response:
        """Public keys of everybody."""
        return self._export(lambda c: export.keys(c, self._parts.profile))

    def export_evidence(self, request: Request) -> Response:
        """Refused bytes that were kept."""
        start, limit = _paging(request)
        return self._export(lambda c: export.evidence(c, start, limit))


def _cbor(data: bytes) -> Response:
    return Response(data, media_type="application/cbor")


def _hex(text: str, what: str) -> bytes:
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != limits.DIGEST or text != found.hex():
        raise UsageError("query", f"{what} is 64 lower-case hexadecimal characters")
    return found


def _number(request: Request, name: str, default: int, most: int) -> int:
    text = request.query_params.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise UsageError("query", f"{name} is a number")
    return min(int(text), most)


def _paging(request: Request, most: int = export.MAX_LIMIT) -> tuple[int, int]:
    return _number(request, "from", 0, 1 << 62), max(1, _number(request, "limit", most, most))


def _sizes(request: Request) -> list[int] | None:
    text = request.query_params.get("sizes")
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) > export.MAX_LIMIT or not all(p.isascii() and p.isdigit() and len(p) <= 18 for p in parts):
        raise UsageError("query", "sizes is a list of numbers")
    return [int(part) for part in parts]


def _subject(request: Request) -> str | None:
    log, group = request.query_params.get("log"), request.query_params.get("group")
    if log is not None:
        return _hex(log, "log").hex()
    return None if group is None else f"group:{group}"


def _failed(error: EdgesealError) -> Response:
    """Return the JSON of an error under the HTTP status that fits it."""
    body = {"code": error.code, "message": error.message, "remedy": error.remedy}
    if error.code in _NOT_FOUND:
        return JSONResponse(body, 404)
    if error.code in _CONFLICT:
        return JSONResponse(body, 409)
    if error.code == "body_too_large":
        return JSONResponse(body, 413)
    return JSONResponse(body, 503 if isinstance(error, Unavailable | InvariantBroken) else 400)


async def _answered(act: Callable[[bytes], Response], body: bytes | Response) -> Response:
    if isinstance(body, Response):
        return body
    try:
        return await run_in_threadpool(act, body)
    except EdgesealError as error:
        return _failed(error)


def _guarded(call: Call) -> Call:
    def guarded(request: Request) -> Response:
        try:
            return call(request)
        except EdgesealError as error:
            return _failed(error)

    return guarded


async def _body(request: Request, most: int) -> bytes | Response:
    """Return the request's body, or the answer that it is too large: read no further than the limit."""
    found = bytearray()
    async for piece in request.stream():
        found += piece
        if len(found) > most:
            return _failed(UsageError("body_too_large", f"the limit is {most} bytes"))
    return bytes(found)


class _Door:
    """Lets in who may come: with tokens, those who have one; on loopback, requests that name a loopback host."""

    def __init__(self, app: ASGIApp, tokens: frozenset[str]) -> None:
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or self._may(dict(scope["headers"])):
            await self._app(scope, receive, send)
            return
        body = {"code": "unauthorized", "message": "this request may not come in", "remedy": "send a bearer token"}
        await JSONResponse(body, 401)(scope, receive, send)

    def _may(self, headers: dict[bytes, bytes]) -> bool:
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


async def _unexpected(request: Request, error: Exception) -> Response:
    return JSONResponse({"code": "internal", "message": "the gateway failed to answer", "remedy": "see its log"}, 500)


async def _missing(request: Request, error: Exception) -> Response:
    status = getattr(error, "status_code", 404)
    return JSONResponse({"code": "no_such_call", "message": "gateway/API.md lists the calls", "remedy": None}, status)


def make_app(parts: Parts) -> ASGIApp:
    """Return the application: routes behind the door. Nothing listens yet."""
    handlers: dict[Any, Callable[[Request, Exception], Awaitable[Response]]] = {
        Exception: _unexpected, 404: _missing, 405: _missing,
    }  # fmt: skip
    return _Door(Starlette(routes=Api(parts).routes(), exception_handlers=handlers), parts.tokens)


__all__: Sequence[str] = ("Api", "Parts", "make_app")
