"""What the running stages measure of themselves, for metrics and status. Thread-safe: values are replaced whole.

Everything that the store knows is read from the store when somebody asks; here is only what a restart may forget.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from edgeseal_gateway.chain.budget import BalanceState


@dataclass(frozen=True, slots=True)
class RpcFigures:
    """One RPC endpoint: its name without anything secret, failed calls since the start, whether it answers now, its
    height.
    """

    name: str
    errors: int
    up: bool
    height: int


@dataclass(frozen=True, slots=True)
class ChainFigures:
    """The account and the chain as last looked at. Amounts in wei; counters since the start; ``nonce``: the account's
    next. ``balance`` None: not known yet. ``spent_hour`` and ``spent_day`` against their limits.
    """

    address: bytes
    nonce: int | None = None
    balance: int | None = None
    state: BalanceState | None = None
    base_fee: int | None = None
    tip: int | None = None
    max_fee: int = 0
    spent_hour: int = 0
    spent_day: int = 0
    limit_hour: int = 0
    limit_day: int = 0
    bumps: int = 0
    reorgs: int = 0
    sent: int = 0
    rpc: tuple[RpcFigures, ...] = field(default=())


@dataclass(frozen=True, slots=True)
class LeaseFigures:
    """Whether this process may sign, and under which fencing token."""

    held: bool
    token: int


class Figures:
    """One place where the stages put their figures and the web reads them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chain: ChainFigures | None = None
        self._lease = LeaseFigures(False, 0)
        self._outbox = 0

    def put_chain(self, found: ChainFigures) -> None:
        """Keep the newest figures of the chain stage."""
        with self._lock:
            self._chain = found

    def put_lease(self, found: LeaseFigures) -> None:
        """Keep how the lease stands."""
        with self._lock:
            self._lease = found

    def put_outbox(self, waiting: int) -> None:
        """Keep how many messages wait for the broker."""
        with self._lock:
            self._outbox = waiting

    @property
    def chain(self) -> ChainFigures | None:
        """The chain stage's figures, None before its first step."""
        with self._lock:
            return self._chain

    @property
    def lease(self) -> LeaseFigures:
        """How the lease stood when last looked at."""
        with self._lock:
            return self._lease

    @property
    def outbox(self) -> int:
        """How many messages waited for the broker when last looked at."""
        with self._lock:
            return self._outbox
