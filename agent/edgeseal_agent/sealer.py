"""The sealer: signs stored head payloads, in order, one at a time; after a restart the same payloads again.

It runs beside the journal, so that a slow token never holds up a record. The token itself is used by one thread only,
the adapter's; this one waits for it.
"""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import closing, suppress
from typing import Any, Final, Protocol

from edgeseal import cose, statements
from edgeseal.errors import EdgesealError, Unavailable
from edgeseal.head import DeviceHead
from edgeseal_agent.background import Follower
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store

logger = logging.getLogger(__name__)

MAX_SIGNED_TOGETHER: Final = 32
"""Most heads signed before their signatures are stored in one transaction."""
RETRY_S: Final = (0.2, 1.0, 5.0, 15.0)


class Signer(Protocol):
    """The device key."""

    @property
    def public_key(self) -> cose.PublicKey:
        """The public key, known without the token."""

    def sign(self, message: bytes) -> bytes:
        """Return a checked 64-byte low-S ES256 signature over ``message``. Raises Unavailable while the token is
        away.
        """


def sign_head(payload: bytes, signer: Signer) -> bytes:
    """Return the signed device head over a stored payload. Raises what the signer raises."""
    unsigned = statements.prepare(DeviceHead.from_payload(payload), signer.public_key.kid)
    return unsigned.assemble(signer.sign(unsigned.to_be_signed))


class Sealer:
    """Signs what the journal cuts. ``offer`` is the journal's ``on_head``; ``start`` takes up what a crash left
    unsigned.
    """

    def __init__(self, store: Store, signer: Signer, on_sealed: Callable[[int], None] | None = None) -> None:
        self._store = store
        self._signer = signer
        self._on_sealed = on_sealed
        self._queue: queue.SimpleQueue[tuple[int, bytes] | None] = queue.SimpleQueue()
        self._sealed = threading.Condition()
        self._size = 0
        self._failure: Exception | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._ended = False

    @property
    def size(self) -> int:
        """The size of the newest signed and stored head."""
        return self._size

    @property
    def failure(self) -> Exception | None:
        """Why signing stopped, or the token's last refusal while it is retried; None when all is well."""
        return self._failure

    def offer(self, size: int, payload: bytes) -> None:
        """Queue one durable payload for signing. Returns at once."""
        self._queue.put((size, payload))

    def start(self, journal: Journal) -> None:
        """Sign in a thread of its own from now on, the payloads that an earlier run left unsigned first."""
        with closing(self._store.reader()) as connection:
            (self._size,) = connection.execute(
                "SELECT coalesce(max(size), 0) FROM heads WHERE signed IS NOT NULL"
            ).fetchone()
            left = connection.execute("SELECT size, payload FROM heads WHERE signed IS NULL ORDER BY size").fetchall()
        done = {size for size, _ in left}
        self._thread = threading.Thread(target=self._run, args=(journal, left, done), name="sealer", daemon=True)
        self._thread.start()

    def wait_for(self, size: int, timeout_s: float) -> None:
        """Return once a signed head of at least ``size`` is durable.

        Raises:
            Unavailable: ``not_sealed`` when ``timeout_s`` passed first, or signing stopped.
        """
        with self._sealed:
            done = self._sealed.wait_for(lambda: self._size >= size or self._ended, timeout_s)
        if not done or self._size < size:
            raise Unavailable(
                "not_sealed", f"no signed head covers size {size} yet: {self._failure or 'the token is slow'}"
            )

    def stop(self) -> None:
        """Sign what is queued, then stop. Idempotent; raises nothing."""
        self._stopping.set()
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    def _run(self, journal: Journal, left: list[Any], done: set[int]) -> None:
        Follower().begin()
        try:
            self._sign_all(journal, left, done)
        except Exception as error:  # whatever nobody foresaw too: the agent must not go on without this thread
            self._failure = error
        finally:
            with self._sealed:
                self._ended = True
                self._sealed.notify_all()

    def _sign_all(self, journal: Journal, left: list[Any], done: set[int]) -> None:
        batch: list[tuple[int, bytes] | None] = list(left)
        while True:
            heads = [item for item in batch if item is not None]
            if heads and not self._seal(journal, heads):
                return
            if None in batch:
                return
            batch = [self._queue.get()]
            with suppress(queue.Empty):
                while len(batch) < MAX_SIGNED_TOGETHER:
                    batch.append(self._queue.get_nowait())
            batch = [item for item in batch if item is None or item[0] not in done]

    def _seal(self, journal: Journal, heads: list[tuple[int, bytes]]) -> bool:
        """Sign and store; False when signing has to end. A crash before the commit signs the same payloads again."""
        try:
            signed = [(size, self._sign(payload)) for size, payload in heads]
            journal.store_signed(signed).result()
        except (EdgesealError, OSError) as error:
            self._failure = error
            return False
        if self._failure is not None:
            logger.info("the token signs again")
        self._failure = None
        with self._sealed:
            self._size = max(self._size, heads[-1][0])
            self._sealed.notify_all()
        if self._on_sealed is not None:
            self._on_sealed(self._size)
        return True

    def _sign(self, payload: bytes) -> bytes:
        """Sign one payload, trying again while the token is away and nobody asked to stop."""
        for attempt in range(1 << 62):
            try:
                return sign_head(payload, self._signer)
            except Unavailable as error:
                if self._failure is None:
                    logger.warning("the token does not sign: %s; records go on without a head", error)
                self._failure = error
                if self._stopping.wait(RETRY_S[min(attempt, len(RETRY_S) - 1)]):
                    raise
        raise AssertionError("unreachable")
