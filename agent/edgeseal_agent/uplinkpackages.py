"""Fetching a model package from the gateway, chunk after chunk (``docs/format.md`` section 11)."""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edgeseal.errors import Unavailable
from edgeseal.messages import Chunk, Fetch

CHUNK_TIMEOUT_S: Final = 10.0
FETCH_PATIENCE_S: Final = 300.0
"""How long a package may bring no new byte before it is called unavailable."""
NO_PACKAGE: Final = frozenset({"package_unknown", "model_not_approved", "model_revoked", "model_not_granted"})
"""Refusals that answer a ``fetch``: the gateway does not have the package, or the model registry forbids it."""


class PackageFetch:
    """One fetch at a time, for one thread beside the uplink's.

    ``post`` has the uplink's thread call a function, ``publish`` sends a request on that thread. ``counts`` is the
    uplink's, and so is ``stopping``.
    """

    def __init__(
        self, log: bytes, max_bytes: int, post: Callable[[Callable[[], None]], None],
        publish: Callable[[Fetch], None], counts: Counter[str], stopping: threading.Event,
    ) -> None:  # fmt: skip
        self._log, self._max_bytes = log, max_bytes
        self._post, self._publish = post, publish
        self._counts, self._stopping = counts, stopping
        self._chunks: queue.SimpleQueue[Chunk | None] = queue.SimpleQueue()
        self._wanted: tuple[bytes, int] | None = None

    def fetch(self, digest: bytes) -> bytes:
        """Return the archive of a package, asked of the gateway in chunks. For one other thread; blocks.

        Raises Unavailable ``package_unavailable``: too large, or no new byte for FETCH_PATIENCE_S; ``stopping``.
        """
        data = bytearray()
        total: int | None = None
        deadline = time.monotonic() + FETCH_PATIENCE_S
        while total is None or len(data) < total:
            chunk = self._chunk(digest, len(data))
            if self._stopping.is_set():
                raise Unavailable("stopping", "the agent is stopping")
            if chunk is None or not chunk.data:
                if time.monotonic() > deadline:
                    raise Unavailable("package_unavailable", f"the gateway does not send package {digest.hex()}")
                continue
            if chunk.total > self._max_bytes:
                raise Unavailable("package_unavailable", f"{chunk.total} bytes, model.max_package_mb allows fewer")
            total = chunk.total
            data += chunk.data
            deadline = time.monotonic() + FETCH_PATIENCE_S
        return bytes(data[:total])

    def hand_on(self, chunk: Chunk | None) -> None:
        """Hand an answer (None: there is no such package) to the fetch that waits, once.

        What nobody asked for is counted and dropped. For the uplink's thread.
        """
        wanted = self._wanted
        if wanted is None or (chunk is not None and (chunk.package, chunk.offset) != wanted):
            self._counts["dropped_chunk"] += 1
            return
        self._wanted = None
        self._chunks.put(chunk)

    def _chunk(self, digest: bytes, offset: int) -> Chunk | None:
        """Ask for one chunk and return it, None when it did not come in time. Raises Unavailable
        ``package_unavailable``.
        """
        self._wanted = digest, offset
        self._post(lambda: self._ask(digest, offset))
        until = time.monotonic() + CHUNK_TIMEOUT_S
        while (left := until - time.monotonic()) > 0 and not self._stopping.is_set():
            try:
                chunk = self._chunks.get(timeout=min(left, 0.5))
            except queue.Empty:
                continue
            if chunk is None:
                raise Unavailable("package_unavailable", f"the gateway has no package {digest.hex()}")
            if chunk.package == digest and chunk.offset == offset:
                return chunk
        return None

    def _ask(self, digest: bytes, offset: int) -> None:
        with suppress(Unavailable):
            self._publish(Fetch(self._log, digest, offset))
