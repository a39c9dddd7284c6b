"""The gateway's HTTP API, as the console uses it (``gateway/API.md``). Answers are untrusted: callers check what
matters.
"""

from __future__ import annotations

import json
import ssl
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import httpx

from edgeseal.errors import EvidenceError, Unavailable, UsageError

TIMEOUT_S: Final = 60.0
MAX_ANSWER: Final = 64 * 1024 * 1024
"""The longest answer read, in bytes."""


class Refused(EvidenceError):
    """The gateway answered with an error: its reason code, message and remedy, and the HTTP status."""

    def __init__(self, code: str, message: str, remedy: str | None, status: int) -> None:
        super().__init__(code, message, remedy)
        self.status = status


class GatewayClient:
    """One gateway. A context manager; not thread-safe. Every call may block up to a minute.

    Raises Unavailable (``gateway_unreachable``, ``gateway_answer``) when no sensible answer came and :class:`Refused`
    when the gateway said no.
    """

    def __init__(self, url: str, *, token_file: Path | None = None, ca_file: Path | None = None) -> None:
        headers = {}
        if token_file is not None:
            try:
                headers["Authorization"] = f"Bearer {token_file.read_text('ascii').split()[0]}"
            except (OSError, UnicodeError, IndexError) as error:
                raise UsageError("token_file", f"cannot read the API token {token_file}: {error}") from error
        self.url = url.rstrip("/")
        try:
            verify = True if ca_file is None else ssl.create_default_context(cafile=str(ca_file))
            self._http = httpx.Client(base_url=self.url, headers=headers, timeout=TIMEOUT_S, verify=verify)
        except OSError as error:
            raise UsageError("ca_file", f"cannot use the CA certificates {ca_file}: {error}", "a PEM file") from error
        except httpx.InvalidURL as error:
            raise UsageError("gateway_url", f"{url!r:.200} is no URL: {error}", "such as https://host:8420") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._http.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return the JSON answer of a GET."""
        return self._json(self._send("GET", path, query))

    def get_bytes(self, path: str, query: Any = None) -> bytes:
        """Return the raw answer of a GET: CBOR. ``query`` is a dict or a list of pairs."""
        return self._send("GET", path, {} if query is None else query)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """Return the JSON answer of a POST of JSON."""
        return self._json(self._send("POST", path, {}, json=body))

    def post_bytes(self, path: str, body: bytes) -> Any:
        """Return the JSON answer of a POST of CBOR bytes."""
        headers = {"content-type": "application/cbor"}
        return self._json(self._send("POST", path, {}, content=body, headers=headers))

    def put(self, path: str, body: bytes) -> Any:
        """Return the JSON answer of a PUT of CBOR bytes."""
        headers = {"content-type": "application/cbor"}
        return self._json(self._send("PUT", path, {}, content=body, headers=headers))

    def _send(self, method: str, path: str, query: Any, **extra: Any) -> bytes:
        try:
            with self._http.stream(method, path, params=query, **extra) as response:
                data = b""
                for piece in response.iter_bytes():
                    data += piece
                    if len(data) > MAX_ANSWER:
                        raise Unavailable("gateway_answer", f"{path}: an answer of more than {MAX_ANSWER} bytes")
        except httpx.HTTPError as error:
            raise Unavailable(
                "gateway_unreachable", f"{self.url}{path}: {error!r:.300}", "is the gateway running, and this its URL?"
            ) from error
        if response.status_code >= 400:
            raise _refusal(path, response.status_code, data)
        return data

    def _json(self, data: bytes) -> Any:
        try:
            return json.loads(data)
        except ValueError as error:
            raise Unavailable("gateway_answer", f"{self.url}: an answer that is no JSON") from error


def _refusal(path: str, status: int, data: bytes) -> Exception:
    try:
        answer = json.loads(data)
        if status == 503 and "reasons" in answer:
            return Unavailable("gateway_degraded", f"{path}: {', '.join(map(str, answer['reasons']))[:300]}")
        code, message, remedy = str(answer["code"]), str(answer["message"]), answer.get("remedy")
    except (ValueError, KeyError, TypeError, AttributeError):
        return Unavailable("gateway_answer", f"{path}: HTTP status {status}")
    if status == 503:
        return Unavailable(code, message, remedy)
    return Refused(code, message, remedy, status)
