"""Which of several gateways on one store may sign: a lease with a fencing token.

Clocks: the holder measures its own time on a monotonic clock that also runs while the machine is suspended, and stops
a third before the lease ends; others read its end as wall time in the store. Wall clocks that differ can make another
take the lease early or late. That costs nothing but a stop: what counts is the token, which :func:`fence` compares
inside the very transaction that stores what is to be sent, so that a holder which was paused, or whose lease was
taken, cannot store a transaction any more, and what is not stored is not sent.

What a lease cannot see is a second copy of the store. There the chain decides: the account's nonces and the contract,
which takes each size once.
"""

from __future__ import annotations

import secrets
import sqlite3
import threading
from collections.abc import Callable
from typing import Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable
from edgeseal_gateway.store import leases
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.store.leases import LeaseRow

TTL_S: Final = 30.0
"""How long a lease stands without being renewed."""
RENEW_S: Final = 10.0
"""How often the holder renews it."""


def fence(connection: sqlite3.Connection, token: int) -> None:
    """Check, in the transaction that is about to store something to be sent, that ``token`` is the newest.

    Raises InvariantBroken ``lease_lost``: another gateway has taken over; this process must stop.
    """
    newest = leases.read(connection).token
    if newest != token:
        raise InvariantBroken(
            "lease_lost",
            f"this gateway signs under token {token}, the store's newest is {newest}: another gateway has taken over",
            "run one gateway on a store; this one stops, and waits for its turn when it is started again",
        )


class Lease:
    """One process's claim to sign. ``held`` and ``token`` may be read from any thread, the rest is one thread's."""

    def __init__(
        self,
        database: Database,
        monotonic: Callable[[], float],
        wall_ms: Callable[[], int],
        place: str,
        alone_here: bool = False,
        ttl_s: float = TTL_S,
    ) -> None:
        """Claim nothing yet.

        Args:
            monotonic: seconds that never jump, and go on while the machine is suspended (CLOCK_BOOTTIME).
            wall_ms: wall time in ms.
            place: the boot of the machine this process runs on (``/proc/sys/kernel/random/boot_id``).
            alone_here: the caller holds the state directory's lock, so a holder of the same boot is dead: its lease
                is taken without waiting.
            ttl_s: seconds a lease stands without being renewed.
        """
        self._database = database
        self._monotonic = monotonic
        self._wall_ms = wall_ms
        self._place = place
        self._alone_here = alone_here
        self._ttl_s = ttl_s
        self._holder = secrets.token_bytes(16)
        self._lock = threading.Lock()
        self._token = 0
        self._until = 0.0
        self._watched: tuple[LeaseRow, float] | None = None

    @property
    def token(self) -> int:
        """The fencing token, 0 before the first :meth:`acquire`."""
        return self._token

    def held(self) -> bool:
        """Tell whether this process may sign now, by its own monotonic time."""
        with self._lock:
            return self._token > 0 and self._monotonic() < self._until

    def fence(self, connection: sqlite3.Connection) -> None:
        """Check this process's token in the transaction that stores what is signed. Raises as :func:`fence`."""
        fence(connection, self._token)

    def trouble(self) -> EdgesealError | None:
        """Return why this process may not sign now, or None."""
        if self.held():
            return None
        return Unavailable(
            "lease_not_held",
            "this gateway does not hold the store's lease, so it signs nothing",
            "status names the gateway that holds it, if one does; otherwise it is taken again within seconds",
        )

    def hold(self) -> None:
        """Acquire the lease, or renew the one held: called every RENEW_S seconds. Raises as these two."""
        if self._token:
            self.renew()
        else:
            self.acquire()

    def acquire(self) -> int:
        """Take the lease if nobody else has it; return the new token. Durable when it returns.

        Raises:
            Unavailable: ``lease_held``: another gateway has it, until then nothing may be signed here; the store's.
        """
        began = self._monotonic()
        with self._database.write() as connection:
            row = leases.read(connection)
            if not self._may_take(row):
                raise Unavailable(
                    "lease_held",
                    f"another gateway signs for this store (token {row.token}); this one waits, and signs nothing",
                    "stop one of them; if the other is dead, this one takes over by itself within a minute",
                )
            token = leases.take(connection, row, self._holder, self._place, self._end_ms())
            if token is None:
                raise InvariantBroken("lease_lost", "the lease changed inside one transaction")
        # Durable: the lease under a new token. A crash here leaves it to expire, or to a successor on this machine.
        self._have(token, began)
        return token

    def renew(self) -> None:
        """Move the lease's end, also after it passed, as long as nobody took it.

        Raises InvariantBroken ``lease_lost``: somebody did. Unavailable: the store; the lease goes on to its end.
        """
        began = self._monotonic()
        with self._database.write() as connection:
            if not leases.extend(connection, self._token, self._holder, self._end_ms()):
                fence(connection, self._token)
                raise InvariantBroken("lease_lost", "the lease was given up by this process and used again")
        # Durable: the new end. Nobody has had the lease between the two.
        self._have(self._token, began)

    def release(self) -> None:
        """Let go, so that a successor need not wait. Idempotent. Raises Unavailable: then it expires by itself."""
        token, self._token, self._until = self._token, 0, 0.0
        if token:
            with self._database.write() as connection:
                leases.release(connection, token, self._holder)
            # Durable: nobody holds it; the token is never given again.

    def _have(self, token: int, began: float) -> None:
        with self._lock:
            self._token, self._until = token, began + self._ttl_s * 2 / 3
        self._watched = None

    def _end_ms(self) -> int:
        return self._wall_ms() + int(self._ttl_s * 1000)

    def _may_take(self, row: LeaseRow) -> bool:
        """Tell whether a stored lease is free: let go, expired by wall time, of a process that is dead, or, where its
        end lies further ahead than any lease lasts, unchanged for one lease's time as we measure it.
        """
        if row.holder in (b"", self._holder) or (self._alone_here and row.place == self._place):
            return True
        if row.until_ms <= self._wall_ms() + int(self._ttl_s * 1000):
            return row.until_ms <= self._wall_ms()
        now = self._monotonic()
        if self._watched is None or self._watched[0] != row:
            self._watched = row, now
        return now - self._watched[1] > self._ttl_s
