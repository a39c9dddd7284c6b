"""HTTP connections that have to say what they want: one that stays silent takes no place from others for long.

uvicorn counts every connection against its limit, from the first packet on, and waits for a request's head for ever.
Twelve dozen silent connections from anywhere would shut out everybody, devices that apply and operators alike.
"""

from __future__ import annotations

import asyncio
from typing import Final

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S: Final = 10.0
"""How long the head of a request may take, from the connection on, or from the answer before."""


class Punctual(H11Protocol):
    """uvicorn's HTTP/1.1, which breaks a connection off whose next request's head is not whole in ``head_s``."""

    head_s = HEAD_S

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first head."""
        self._late: asyncio.TimerHandle | None = None
        super().connection_made(transport)
        self._await_head()

    def data_received(self, data: bytes) -> None:
        """Stop waiting once a head is whole."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._wait_no_more()

    def on_response_complete(self) -> None:
        """Wait for the next head, unless it was there already."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait for nothing more."""
        self._wait_no_more()
        super().connection_lost(exc)

    def _await_head(self) -> None:
        if self._late is None:
            self._late = self.loop.call_later(self.head_s, self._break_off)

    def _wait_no_more(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _break_off(self) -> None:
        self._late = None
        self.transport.abort()
