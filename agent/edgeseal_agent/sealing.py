"""When a head is cut: after so many records, so much time, so many bytes, and at once for what matters.

Pure: told of records and asked whether a head is due; times are monotonic nanoseconds handed in.
"""

from __future__ import annotations

from typing import Any, Final

MAX_UNSEALED: Final = 256
"""Most records between two heads, whatever the signer's speed."""
MAX_UNSEALED_BYTES: Final = 786_432
"""Most bytes of headers and bodies between two heads, so that one segment can carry them."""

URGENT: Final = frozenset(
    {
        "key.bound", "key.rotated", "boot", "shutdown", "command.received", "command.refused", "command.result",
        "model.activated", "model.rejected", "policy.changed", "tamper", "incident", "closed", "thinned",
        "tombstone", "attest",
    }
)  # fmt: skip
"""Kinds that are sealed at once; a ``decision.verdict`` is when it denies."""


def is_urgent(kind: str, fields: dict[str, Any]) -> bool:
    """Say whether a record of ``kind`` with these body fields is sealed without waiting for others."""
    return kind in URGENT or (kind == "decision.verdict" and fields.get("allow") is False)


class SealPolicy:
    """Decides when the next head is cut. Not thread-safe: the journal's writer owns it.

    While the signer is still busy with an earlier head (a TPM signs 5 to 30 times a second), ``head_every`` stretches
    up to MAX_UNSEALED, so that a burst costs few signatures and never an unbounded number of records under no head.
    """

    def __init__(self, head_every: int, head_max_ms: int) -> None:
        self._every = head_every
        self._max_ns = head_max_ms * 1_000_000
        self._count = 0
        self._bytes = 0
        self._since_ns = 0
        self._urgent = False

    def note(self, size: int, urgent: bool, now_ns: int) -> None:
        """Take note of one record of ``size`` bytes, header and body together."""
        if not self._count:
            self._since_ns = now_ns
        self._count += 1
        self._bytes += size
        self._urgent = self._urgent or urgent

    def would_overflow(self, size: int) -> bool:
        """Say whether a head must be cut before a record of ``size`` bytes is added."""
        return self._count > 0 and self._bytes + size > MAX_UNSEALED_BYTES

    def is_full(self, signer_busy: bool) -> bool:
        """Say whether the count asks for a head now, in the middle of a batch."""
        return self._count >= (MAX_UNSEALED if signer_busy else self._every)

    def is_due(self, now_ns: int, signer_busy: bool) -> bool:
        """Say whether a head is due at the end of a batch."""
        if not self._count:
            return False
        return self._urgent or self.is_full(signer_busy) or now_ns - self._since_ns >= self._max_ns

    def wait_ns(self, now_ns: int) -> int | None:
        """Return how long to wait for more records before a head is due, None when nothing is unsealed."""
        return max(0, self._since_ns + self._max_ns - now_ns) if self._count else None

    def sealed(self) -> None:
        """Take note that a head now covers everything noted so far."""
        self._count = self._bytes = 0
        self._urgent = False
