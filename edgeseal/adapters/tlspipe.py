"""A TLS client connection in a process of its own: clear bytes on standard input, a socket; TLS on the network.

It is run by its path and needs the standard library alone, so that its OpenSSL can have a configuration that the
program which uses it must not have (``edgeseal.adapters.tpmtls``, docs/adr/0014). It lives as long as both of its
connections: whoever holds the other end of the socket ends it by closing that, or by dying.

    tlspipe.py CA CERTIFICATE KEY              loads the three files and prints the version of OpenSSL
    tlspipe.py CA CERTIFICATE KEY HOST PORT    connects, checks the server as ``context`` says, and carries bytes

What goes wrong is one line on standard error, and exit code 1.
"""

from __future__ import annotations

import _ssl
import ctypes
import select
import signal
import socket
import ssl
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Final, TypeVar

CONNECT_TIMEOUT_S: Final = 10.0
HANDSHAKE_ALARM_S: Final = 60
"""Seconds for connecting, loading and the handshake together; a TPM that hangs inside OpenSSL is ended by the alarm."""
FLUSH_ALARM_S: Final = 5
"""Seconds for what is on its way once one side has closed."""
CHUNK: Final = 65_536
"""Most bytes kept in each direction: nothing more is read before they are written."""

_SIGNING: Final = b"?tpm2.signature=yes,?tpm2.digest!=yes,?tpm2.cipher!=yes"
_LAST_OF_SERVER: Final = (14, 20)
"""ServerHelloDone (TLS 1.2) and Finished (TLS 1.3): the server is checked, and now the client shows itself."""

_Moved = TypeVar("_Moved")


def context(ca: Path | str, certificate: Path | str | None, key: Path | str | None) -> ssl.SSLContext:
    """Return settings for a client: TLS 1.2 or newer, the server's certificate under ``ca`` and for its very name.

    ``certificate`` and ``key`` are what the client shows of itself; never asks for a passphrase. Raises OSError
    (ssl.SSLError is one) and ValueError for files that are missing or no good.
    """
    settings = ssl.create_default_context(cafile=str(ca))
    settings.minimum_version = ssl.TLSVersion.TLSv1_2
    if certificate is not None:
        settings.load_cert_chain(certificate, key, password="")
    return settings


class Pipe:
    """Carries bytes between ``clear`` and ``secure``, both open, until one of them ends."""

    def __init__(self, clear: socket.socket, secure: ssl.SSLSocket) -> None:
        self._clear, self._secure = clear, secure
        self._up, self._down = b"", b""
        self._up_ended = self._down_ended = False

    def run(self) -> None:
        """Return once what was on its way has arrived. Raises OSError: a connection broke."""
        self._clear.setblocking(False)
        self._secure.setblocking(False)
        while not (self._up_ended and not self._up) and not (self._down_ended and not self._down):
            poll = select.poll()
            if not self._up_ended:  # asked without events too: the other end's death shows all the same
                poll.register(self._clear, (0 if self._up else select.POLLIN) | (select.POLLOUT if self._down else 0))
            if wanted := (0 if self._down else select.POLLIN) | (select.POLLOUT if self._up else 0):
                poll.register(self._secure, wanted)
            happened = dict(poll.poll())
            if happened.get(self._clear.fileno(), 0) & (select.POLLHUP | select.POLLERR):
                self._take_the_rest()
            self._step()
        self._secure.settimeout(FLUSH_ALARM_S)
        with suppress(OSError):
            self._secure.unwrap()

    def _take_the_rest(self) -> None:
        """The program is gone: nobody waits for the answers, but what it sent last is still to be delivered."""
        self._clear.setblocking(True)
        while data := self._clear.recv(CHUNK):
            self._up += data
        self._end_up()
        self._down = b""

    def _step(self) -> None:
        """Move what can be moved without waiting."""
        if not self._up and not self._up_ended:
            data = _without_waiting(lambda: self._clear.recv(CHUNK))
            if data == b"":
                self._end_up()
            self._up = data or b""
        if self._up:
            self._up = self._up[_without_waiting(lambda: self._secure.send(self._up)) or 0 :]
        if not self._down and not self._down_ended:
            data = _without_waiting(lambda: self._secure.recv(CHUNK))
            if data == b"":
                self._down_ended = True
                signal.alarm(FLUSH_ALARM_S)
            self._down = data or b""
        if self._down and not self._up_ended:
            self._down = self._down[_without_waiting(lambda: self._clear.send(self._down)) or 0 :]

    def _end_up(self) -> None:
        self._up_ended = True
        signal.alarm(FLUSH_ALARM_S)


def _without_waiting(move: Callable[[], _Moved]) -> _Moved | None:
    """Return what ``move`` returns, None where it would have to wait."""
    try:
        return move()
    except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
        return None


def _sign_in_tpm(settings: ssl.SSLContext) -> None:
    """Have OpenSSL 3.0 check the server by itself and let the TPM sign, in one handshake.

    Which provider does what is one setting for a whole process, and neither value works for both: with its own
    signatures first OpenSSL takes the TPM's key for one of its own, and finds no private part; with the TPM's first the
    TPM is asked to check certificates too, and cannot where a key is larger than its own (tpm2-openssl#113). So the
    setting changes once the server's last message is there. Where that does not work out nothing is signed.
    """
    library = ctypes.CDLL(getattr(_ssl, "__file__", None))

    def seen(_: object, direction: str, version: object, content: object, kind: int, data: bytes) -> None:
        if direction == "read" and content == 22 and kind in _LAST_OF_SERVER:
            library.EVP_set_default_properties(None, _SIGNING)

    settings._msg_callback = seen  # type: ignore[attr-defined]


def _settings(files: list[str]) -> ssl.SSLContext:
    """Load the three files, the key into the TPM. Raises OSError, ValueError."""
    settings = context(*files)
    settings.options |= ssl.OP_NO_RENEGOTIATION  # so that the key is asked once
    _sign_in_tpm(settings)
    return settings


def _carry(files: list[str], host: str, port: int) -> None:
    """Connect, check the server, and carry bytes until one side closes. Raises OSError, ValueError.

    The TPM is not troubled before the broker answers: a device may be offline for weeks.
    """
    with socket.create_connection((host, port), CONNECT_TIMEOUT_S) as plain:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        settings = _settings(files)
        with settings.wrap_socket(plain, server_hostname=host) as secure, socket.socket(fileno=0) as clear:
            signal.alarm(0)
            Pipe(clear, secure).run()


def main(words: list[str]) -> int:
    """Run the command line above; return the exit code."""
    for ignored in (signal.SIGTERM, signal.SIGINT):  # a stop of the whole service: the program still has to say goodbye
        signal.signal(ignored, signal.SIG_IGN)
    signal.alarm(HANDSHAKE_ALARM_S)
    files, where = words[:3], words[3:]
    try:
        if where:
            _carry(files, where[0], int(where[1]))
        else:
            _settings(files)
            print(ssl.OPENSSL_VERSION)
    except ssl.SSLCertVerificationError as error:
        print(f"the broker's certificate is refused: {error.verify_message}", file=sys.stderr)
        return 1
    except (OSError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
