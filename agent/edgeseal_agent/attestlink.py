"""The gateway's letter box, as a device with a claim token uses it (``gateway/API.md``). Answers are untrusted."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import Unavailable, UsageError

MAX_ANSWER: Final = 1 << 20
TIMEOUT_S: Final = 60.0
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class LetterBox:
    """One gateway, one claim. Blocking; each call may take ``TIMEOUT_S``."""

    def __init__(self, url: str, claim_file: Path, ca_file: Path | None) -> None:
        """Read the claim; nothing is sent.

        Raises UsageError ``claim_file``, ``gateway_url``: no http(s) URL, or http beyond this machine, where the token
        could be read; ``ca_file``.
        """
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UsageError("gateway_url", f"{url:.200} is no http(s) URL")
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise UsageError("gateway_url", "a claim token goes out over https only", "give the gateway's https URL")
        self._url = url.rstrip("/")
        self._token = _token(claim_file)
        try:
            self._context = ssl.create_default_context(cafile=ca_file) if parts.scheme == "https" else None
        except OSError as error:
            raise UsageError("ca_file", f"cannot use {ca_file}: {error}") from error

    @property
    def token(self) -> bytes:
        """The claim token."""
        return self._token

    def offer(self, data: bytes) -> None:
        """Leave the offer; the same one again is harmless. Raises UsageError with the gateway's reason, Unavailable."""
        self._call("/v1/enrol", data)

    def look(self, offer: bytes, state: str | None, wait_s: int) -> dict[str, Any]:
        """Return ``state`` and ``ask`` (bytes or None), after at most ``wait_s`` where the state is still ``state``."""
        query = urllib.parse.urlencode({"wait": wait_s} | ({"state": state} if state else {}))
        found = self._call(f"/v1/enrol/{offer.hex()}?{query}")
        try:
            ask = None if found["ask"] is None else bytes.fromhex(found["ask"])
            return {"state": str(found["state"]), "ask": ask}
        except (KeyError, TypeError, ValueError) as error:
            raise Unavailable("gateway_answer", f"an answer of another shape than the API's: {error!r:.200}") from error

    def reply(self, offer: bytes, data: bytes) -> None:
        """Leave the answer. Raises as :meth:`offer`."""
        self._call(f"/v1/enrol/{offer.hex()}/reply", data)

    def _call(self, path: str, data: bytes | None = None) -> dict[str, Any]:
        headers = {"Authorization": f"Claim {self._token.hex()}", "Content-Type": "application/cbor"}
        request = urllib.request.Request(self._url + path, data, headers)
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=self._context) as answer:
                return _parsed(answer.read(MAX_ANSWER))
        except urllib.error.HTTPError as error:
            said = _parsed(error.read(MAX_ANSWER))
            code, message = str(said.get("code", "gateway_answer")), str(said.get("message", error.reason))[:300]
            remedy = said.get("remedy")
            kind = Unavailable if error.code >= 500 else UsageError
            raise kind(code, message, None if remedy is None else str(remedy)[:300]) from None
        except (OSError, ValueError) as error:
            raise Unavailable("gateway_unreachable", f"{self._url}: {error}", "is the gateway running?") from error


def _parsed(data: bytes) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return found if type(found) is dict else {}


def _token(path: Path) -> bytes:
    """Return the token in a claim file: 64 hexadecimal digits. Raises UsageError ``claim_file``."""
    try:
        with path.open("rb") as file:
            token = bytes.fromhex(file.read(256).decode("ascii").strip())
    except (OSError, ValueError) as error:
        raise UsageError("claim_file", f"cannot read a claim from {path}: {error}") from error
    if len(token) != 32:
        raise UsageError("claim_file", f"{path} holds no claim of 32 bytes", "edgeseal-gateway claim new writes one")
    return token
