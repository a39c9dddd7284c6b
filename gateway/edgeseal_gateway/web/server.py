"""The HTTP server: uvicorn on a thread, on one socket of ours."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Callable
from pathlib import Path

import uvicorn

from edgeseal.errors import UsageError
from edgeseal_gateway.config import ApiConfig
from edgeseal_gateway.web.api import make_app
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.punctual import Punctual


class Server:
    """Listens from construction on, answers between ``start`` and ``stop``."""

    def __init__(self, api: ApiConfig, parts: Parts) -> None:
        """Bind. Raises UsageError ``api_bind``."""
        family = socket.AF_INET6 if ipaddress.ip_address(api.bind).version == 6 else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_STREAM)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._socket.bind((api.bind, api.port))
        except OSError as error:
            self._socket.close()
            raise UsageError(
                "api_bind", f"cannot listen on {api.bind}:{api.port}: {error}", "choose api.port"
            ) from error
        host, port = self._socket.getsockname()[:2]
        shown = f"[{host}]" if family == socket.AF_INET6 else host
        self.url = f"{'http' if api.tls is None else 'https'}://{shown}:{port}"
        config = uvicorn.Config(
            make_app(parts),
            http=Punctual,
            ws="none",
            log_config=None,
            access_log=False,
            lifespan="off",
            server_header=False,
            limit_concurrency=128,
            timeout_graceful_shutdown=5,
            ssl_certfile=None if api.tls is None else api.tls.cert_file,
            ssl_keyfile=None if api.tls is None or api.tls.key_file is None else str(api.tls.key_file),
        )
        self._server = uvicorn.Server(config)
        self._thread: threading.Thread | None = None

    def start(self, on_failed: Callable[[BaseException], None]) -> None:
        """Answer from now on; ``on_failed`` is told, on the server's thread, if that ends by itself."""

        def serve() -> None:
            try:
                self._server.run(sockets=[self._socket])
            except BaseException as error:
                on_failed(error)

        self._thread = threading.Thread(target=serve, name="web", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Let requests finish, a few seconds at most, and close."""
        self._server.should_exit = True
        if self._thread is not None:
            self._thread.join(10)
        self._socket.close()


def read_tokens(path: Path | None) -> frozenset[str]:
    """Return the API tokens in a file, one a line of at least 16 characters. Raises UsageError ``token_file``."""
    if path is None:
        return frozenset()
    try:
        tokens = frozenset(path.read_text("ascii").split())
    except (OSError, UnicodeError) as error:
        raise UsageError("token_file", f"cannot read {path}: {error}") from error
    if not tokens or any(len(token) < 16 for token in tokens):
        raise UsageError("token_file", f"{path} must hold tokens of at least 16 characters", "openssl rand -hex 32")
    return tokens
