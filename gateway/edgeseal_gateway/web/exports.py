"""The export endpoints: evidence in the forms a bundle keeps it, paged."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from edgeseal import cbor
from edgeseal.stateevidence import MAX_STATE_SLOTS
from edgeseal_gateway import export, stateexport
from edgeseal_gateway.store import orders
from edgeseal_gateway.web.parts import Parts, device_of
from edgeseal_gateway.web.request import Call, cbor_answer, guarded, number, paging, read_hex, sizes


class Exports:
    """The endpoints under ``/v1/export``. Each runs in a worker thread of its own and may block on the store."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def routes(self) -> list[Route]:
        """Return every route."""
        calls: dict[str, Call] = {
            "index": self.contents, "statements": self.statements, "receipts": self.receipts,
            "fleet-heads": self.fleet_heads, "consistency": self.consistency, "snapshots": self.snapshots,
            "records/{log}": self.records, "heads/{log}": self.heads, "anchors": self.anchors, "keys": self.keys,
            "evidence": self.evidence, "accounts": self.accounts, "storage/{root}": self.storage,
            "commands/{audience}": self.commands,
        }  # fmt: skip
        return [Route(f"/v1/export/{path}", guarded(call), methods=["GET"]) for path, call in calls.items()]

    def contents(self, request: Request) -> Response:
        """What there is to export."""
        with self._parts.database.read() as connection:
            found = export.index(connection, self._parts.profile)
            packages = [digest.hex() for digest, *_ in orders.packages(connection)]
        return JSONResponse(found | {"packages": packages})

    def _export(self, ask: Callable[[sqlite3.Connection], Any]) -> Response:
        with self._parts.database.read() as connection:
            return cbor_answer(cbor.encode(ask(connection)))

    def statements(self, request: Request) -> Response:
        """Statements by position."""
        start, limit = paging(request)
        below = number(request, "below", -1, 1 << 62)
        return self._export(lambda c: export.statements(c, start, limit, None if below < 0 else below))

    def receipts(self, request: Request) -> Response:
        """Receipts under one head."""
        start, limit = paging(request, 2_048)
        size, log = number(request, "size", 0, 1 << 62), self._parts.profile.fleet_log
        return self._export(lambda c: export.receipts(c, log, start, limit, size))

    def fleet_heads(self, request: Request) -> Response:
        """Signed fleet heads."""
        start, limit = paging(request)
        wanted, log = sizes(request), self._parts.profile.fleet_log
        return self._export(lambda c: export.fleet_heads(c, log, start, limit, wanted))

    def consistency(self, request: Request) -> Response:
        """Proofs between sizes."""
        wanted = sizes(request) or []
        return self._export(lambda c: export.consistency(c, wanted))

    def snapshots(self, request: Request) -> Response:
        """What a snapshot says of subjects."""
        start, limit = paging(request)
        pos, subs = number(request, "pos", 0, 1 << 62), request.query_params.getlist("sub")
        return self._export(lambda c: export.snapshots(c, pos, subs, start, limit))

    def records(self, request: Request) -> Response:
        """A device's records as sent."""
        start, limit = paging(request)
        return self._export(lambda c: export.records(c, device_of(c, request), start, limit))

    def heads(self, request: Request) -> Response:
        """A device's signed heads."""
        start, limit = paging(request)
        return self._export(lambda c: export.heads(c, device_of(c, request), start, limit))

    def anchors(self, request: Request) -> Response:
        """Anchor evidence."""
        start, limit = paging(request)
        return self._export(lambda c: export.anchor_evidence(c, start, limit))

    def accounts(self, request: Request) -> Response:
        """Proofs of the contracts' accounts after anchors' blocks, by block number."""
        start, limit = paging(request, 64)
        return self._export(lambda c: stateexport.accounts(c, start, limit))

    def storage(self, request: Request) -> Response:
        """Proofs of slots under one storage root; ``from`` is a slot in hex."""
        root = read_hex(request.path_params["root"], "root")
        start = read_hex(request.query_params.get("from", bytes(32).hex()), "from")
        return self._export(lambda c: stateexport.storage(c, root, start, MAX_STATE_SLOTS))

    def commands(self, request: Request) -> Response:
        """Commands to an audience that were logged on chain, by their number."""
        start, limit = paging(request, 2_048)
        audience, log = read_hex(request.path_params["audience"], "audience"), self._parts.profile.fleet_log
        return self._export(lambda c: stateexport.commands(c, log, audience, start, limit))

    def keys(self, request: Request) -> Response:
        """Public keys of everybody."""
        return self._export(lambda c: export.keys(c, self._parts.profile))

    def evidence(self, request: Request) -> Response:
        """Refused bytes that were kept."""
        start, limit = paging(request)
        return self._export(lambda c: export.evidence(c, start, limit))
