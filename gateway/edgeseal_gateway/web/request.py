"""What endpoints share: reading a request's parts strictly, and turning errors into answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from edgeseal import limits
from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal_gateway import export

Call = Callable[[Request], Response]
BODY_S: Final = 30.0
"""How long a request's body may take to come, and a second more for each SLOWEST bytes of its limit."""
SLOWEST: Final = 100_000
_NOT_FOUND: Final = frozenset(
    {"device_unknown", "statement_unknown", "package_unknown", "not_sequenced", "no_head", "offer_unknown"}
)
_CONFLICT: Final = frozenset(
    {
        "keyset_stale", "command_stale", "command_expired", "command_id", "already_enrolled", "audience_unknown",
        "until_ahead", "gateway_key_missing", "keyset_unknown", "claim_used", "claim_expired", "claim_revoked",
        "tpm_differs",
    }
)  # fmt: skip


def cbor_answer(data: bytes) -> Response:
    """Return an answer of CBOR bytes."""
    return Response(data, media_type="application/cbor")


def read_hex(text: str, what: str) -> bytes:
    """Return 32 bytes given as lower-case hex. Raises UsageError ``query``."""
    try:
        found = bytes.fromhex(text)
    except ValueError:
        found = b""
    if len(found) != limits.DIGEST or text != found.hex():
        raise UsageError("query", f"{what} is 64 lower-case hexadecimal characters")
    return found


def position(request: Request, name: str) -> int:
    """Return a number of the path, as :func:`number` does one of the query. Raises UsageError ``query``."""
    return _number(request.path_params[name], name, 1 << 62)


def number(request: Request, name: str, default: int, most: int) -> int:
    """Return a number of the query, ``default`` where it is missing, at most ``most``. Raises UsageError ``query``."""
    text = request.query_params.get(name)
    return default if text is None else _number(text, name, most)


def _number(text: str, name: str, most: int) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        raise UsageError("query", f"{name} is a number")
    return min(int(text), most)


def paging(request: Request, most: int = export.MAX_LIMIT) -> tuple[int, int]:
    """Return (from, limit) of the query."""
    return number(request, "from", 0, 1 << 62), max(1, number(request, "limit", most, most))


def sizes(request: Request) -> list[int] | None:
    """Return the sizes that the query lists, None where it lists none. Raises UsageError ``query``."""
    text = request.query_params.get("sizes")
    if text is None:
        return None
    parts = text.split(",")
    if len(parts) > export.MAX_LIMIT or not all(p.isascii() and p.isdigit() and len(p) <= 18 for p in parts):
        raise UsageError("query", "sizes is a list of numbers")
    return [int(part) for part in parts]


def subject(request: Request) -> str | None:
    """Return the audience that the query names by ``log`` or ``group``, None for neither."""
    log, group = request.query_params.get("log"), request.query_params.get("group")
    if log is not None:
        return read_hex(log, "log").hex()
    return None if group is None else f"group:{group}"


def failed(error: EdgesealError) -> Response:
    """Return the JSON of an error under the HTTP status that fits it."""
    body = {"code": error.code, "message": error.message, "remedy": error.remedy}
    if error.code in _NOT_FOUND:
        return JSONResponse(body, 404)
    if error.code in _CONFLICT:
        return JSONResponse(body, 409)
    if error.code == "body_too_large":
        return JSONResponse(body, 413)
    if error.code == "body_too_slow":
        return JSONResponse(body, 408)
    return JSONResponse(body, 503 if isinstance(error, Unavailable | InvariantBroken) else 400)


async def answered(act: Callable[[bytes], Response], body: bytes | Response) -> Response:
    """Let ``act`` answer for a request's body on a worker thread; a body that is an answer already is the answer."""
    if isinstance(body, Response):
        return body
    try:
        return await run_in_threadpool(act, body)
    except EdgesealError as error:
        return failed(error)


def guarded(call: Call) -> Call:
    """Return ``call`` with our errors turned into answers."""

    def guarded(request: Request) -> Response:
        try:
            return call(request)
        except EdgesealError as error:
            return failed(error)

    return guarded


async def read_body(request: Request, most: int) -> bytes | Response:
    """Return the request's body, or the answer that it is too large or too slow: read no further than the limits."""
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_S + most / SLOWEST):
            async for piece in request.stream():
                found += piece
                if len(found) > most:
                    return failed(UsageError("body_too_large", f"the limit is {most} bytes"))
    except TimeoutError:
        return failed(UsageError("body_too_slow", "the body did not come in time"))
    return bytes(found)
