"""The command line's way to a running gateway: its own API, at the address and with the token of the configuration."""

from __future__ import annotations

import json
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import Unavailable, UsageError
from edgeseal_gateway.config import Config

TIMEOUT_S: Final = 30.0
WAIT_S: Final = 60.0
"""How long a manual operation is waited for; it goes on in the gateway after that."""
MAX_ANSWER: Final = 64 << 20
_LOCAL: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def call(config: Config, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return the JSON answer of the gateway that runs with this configuration; with ``body`` it is a POST.

    Raises Unavailable ``gateway_unreachable``, or UsageError with the gateway's own code and remedy, or ``token_file``.
    """
    api = config.api
    bind = _LOCAL.get(api.bind, api.bind)
    host = f"[{bind}]" if ":" in bind else bind
    request = urllib.request.Request(
        f"{'http' if api.tls is None else 'https'}://{host}:{api.port}{path}",
        None if body is None else json.dumps(body).encode(), {"Content-Type": "application/json"},
    )  # fmt: skip
    context = None
    if api.tls is not None:  # our own certificate, by an address it may not name
        context = ssl.create_default_context(cafile=str(api.tls.ca_file or api.tls.cert_file))
        context.check_hostname = False
    if api.token_file is not None:
        request.add_header("Authorization", f"Bearer {_token(api.token_file)}")
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_S, context=context) as answer:
            found: dict[str, Any] = json.loads(answer.read(MAX_ANSWER))
    except urllib.error.HTTPError as error:
        raise _refused(error) from error
    except (OSError, ValueError) as error:
        raise Unavailable("gateway_unreachable", f"{request.full_url}: {error}", "is the gateway running?") from error
    return found


def _token(path: Path) -> str:
    try:
        return path.read_text("ascii").split()[0]
    except (OSError, UnicodeError, IndexError) as error:
        raise UsageError("token_file", f"cannot read a token from {path}: {error}") from error


def _refused(error: urllib.error.HTTPError) -> UsageError:
    try:
        said = json.loads(error.read(65_536))
        return UsageError(str(said["code"]), str(said["message"]), said.get("remedy"))
    except (ValueError, KeyError, TypeError, OSError):
        return UsageError("gateway_refused", f"the gateway answered {error.code}")


def operate(config: Config, what: str, target: int | None, words: str) -> dict[str, Any]:
    """Have a running gateway do something by hand; return the operation once it is done or refused, or, after WAIT_S,
    as it stands. Raises as :func:`call`.
    """
    asked = call(config, "/v1/operations", {"what": what, "target": target, "words": words})
    deadline = time.monotonic() + WAIT_S
    while True:
        (found,) = call(config, f"/v1/operations?from={asked['id']}&limit=1")["operations"]
        if found["state"] != asked["state"] or time.monotonic() >= deadline:
            return {**found, "ok": found["state"] == "done"}
        time.sleep(0.2)
