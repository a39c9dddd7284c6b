"""What to send next and when to send it again: the uplink's state machine, without clock, store or network.

It is told of heads, receipts, refusals and connections, and asked what may go out now. Sizes are device-log sizes,
times are monotonic seconds handed in.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

from edgeseal_agent.configlink import UplinkConfig

UNKNOWN_KEY: Final = "unknown_key"
"""The refusal of a log that is not enrolled yet."""
GRACE_S: Final = 1.0
"""How long a segment under way may take before a request for it is taken at its word."""


@dataclass(frozen=True, slots=True)
class InFlight:
    """A segment that was sent and has no receipt yet: positions from ``start`` up to ``size``."""

    start: int
    size: int
    sent_s: float


class SendState:
    """Tracks one device log's way to the gateway.

    ``acknowledged`` is the size a checked receipt covers, ``sent`` the size sent so far in this attempt. The window
    opens from one segment to the configured number as receipts come, and closes to one when something is refused or
    times out.
    """

    def __init__(self, config: UplinkConfig, acknowledged: int) -> None:
        self._config = config
        self.acknowledged = acknowledged
        self.sent = acknowledged
        self.connected = False
        self._in_flight: deque[InFlight] = deque()
        self._window = 1
        self._backoff_s = float(config.retry_min_s)
        self._hold_until_s = 0.0
        self._hold_code = ""
        self._asked: tuple[int, float] | None = None

    @property
    def in_flight(self) -> int:
        """How many segments await their receipt."""
        return len(self._in_flight)

    def may_send(self, now_s: float) -> bool:
        """Say whether another segment may go out now, from position ``sent``."""
        return self.connected and now_s >= self._hold_until_s and len(self._in_flight) < self._window

    def has_sent(self, size: int, now_s: float, accounted_at: int | None = None) -> None:
        """Take note of a segment that went out. One whose missing bodies a later record accounts for (``accounted_at``
        larger than its size) gets no receipt of its own, so none is waited for.
        """
        if accounted_at is None or accounted_at <= size:
            self._in_flight.append(InFlight(self.sent, size, now_s))
        self.sent = size

    def connect(self, now_s: float) -> None:
        """The link is up: what was in flight may be lost, so sending begins at what is acknowledged."""
        self.connected = True
        self._restart(self.acknowledged)
        self._hold_until_s = now_s

    def disconnect(self) -> None:
        """The link is down."""
        self.connected = False
        self._in_flight.clear()

    def receipt(self, size: int) -> None:
        """A checked receipt covers everything below ``size``."""
        self.acknowledged = max(self.acknowledged, size)
        self.sent = max(self.sent, self.acknowledged)
        while self._in_flight and self._in_flight[0].size <= size:
            self._in_flight.popleft()
        self._window = min(self._config.inflight_segments, self._window * 2)
        self._backoff_s = float(self._config.retry_min_s)
        self._hold_until_s = 0.0
        self._hold_code = ""

    def resend(self, start: int, now_s: float) -> None:
        """The gateway holds ``start`` records and wants what follows.

        What is under way since a moment ago gets the moment to arrive: the request may have crossed it. After an
        enrolment it ends the wait that ``unknown_key`` began.
        """
        if self._hold_code == UNKNOWN_KEY:
            self._hold_until_s = now_s
        under_way = any(item.start <= start < item.size and now_s - item.sent_s < GRACE_S for item in self._in_flight)
        if under_way:
            self._asked = (start, now_s + GRACE_S)
        else:
            self._restart(start)

    def refuse(self, code: str, start: int, now_s: float) -> None:
        """The gateway refused and holds ``start`` records: wait, longer each time, then send from there again."""
        if now_s < self._hold_until_s:
            return  # one of several segments of the same refused burst
        self._hold_code = code
        self._restart(start)
        self._hold(now_s)

    def is_crossed(self, now_s: float) -> bool:
        """Say whether a request of the gateway stayed open after all; if so, sending begins there again."""
        if self._asked is None or now_s < self._asked[1]:
            return False
        start, self._asked = self._asked[0], None
        if self.acknowledged > start:
            return False
        self._restart(start)
        return True

    def is_overdue(self, now_s: float) -> bool:
        """Say whether the oldest segment in flight waited too long for its receipt; if so, it begins again after a
        wait.
        """
        if not self._in_flight or now_s - self._in_flight[0].sent_s < self._config.receipt_timeout_s:
            return False
        self._restart(self.acknowledged)
        self._hold(now_s)
        return True

    def wait_s(self, now_s: float) -> float | None:
        """Return how long nothing will change unless somebody calls; None without limit."""
        times = [self._hold_until_s] if self._hold_until_s > now_s else []
        if self._in_flight:
            times.append(self._in_flight[0].sent_s + self._config.receipt_timeout_s)
        if self._asked is not None:
            times.append(self._asked[1])
        return max(0.0, min(times) - now_s) if times and self.connected else None

    def _restart(self, start: int) -> None:
        self.sent = start
        self._in_flight.clear()
        self._asked = None
        self._window = 1

    def _hold(self, now_s: float) -> None:
        self._hold_until_s = now_s + self._backoff_s
        self._backoff_s = min(float(self._config.retry_max_s), self._backoff_s * 2)
