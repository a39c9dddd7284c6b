"""Watches how near a TPM is to its dictionary-attack lock-out: each step nearer is a ``fault`` record.

Somebody tries PINs, or cuts the power after logins; at the limit the TPM refuses everybody, the right PIN included. The
counter falls by itself with time, which says nothing. What the TPM answers here is not authenticated: an alarm, no
evidence.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Final

from edgeseal.adapters.tpm import Lockout, lockout
from edgeseal.errors import EdgesealError
from edgeseal_agent.journal import Journal

logger = logging.getLogger(__name__)

EVERY_S: Final = 300.0
WHAT: Final = "tpm.lockout"


class LockWatch:
    """Looks when asked; one thread at a time. ``tcti`` None: the key is in no TPM, and nothing is looked at."""

    def __init__(self, tcti: str | None, journal: Journal, read: Callable[[str], Lockout] = lockout) -> None:
        self._tcti = tcti
        self._journal = journal
        self._read = read
        self._known: int | None = None
        self._next_s = 0.0

    def look(self, now_s: float) -> None:
        """Look, at most every EVERY_S; record a counter that rose, or that is half-way when the agent starts.

        May block for the TPM's time limit. A TPM that does not answer is the sealer's to report. Raises what the
        journal raises.
        """
        if self._tcti is None or now_s < self._next_s:
            return
        self._next_s = now_s + EVERY_S
        try:
            found = self._read(self._tcti)
        except EdgesealError as error:
            logger.info("the TPM's lock-out cannot be read: %s", error)
            return
        known, self._known = self._known, found.counter
        if found.counter > known if known is not None else 2 * found.counter >= found.max_tries:
            said = f"{found.counter} of {found.max_tries} tries counted{', locked' if found.locked else ''}"
            logger.warning("TPM lock-out: %s: who tries PINs, or cuts the power?", said)
            self._journal.append("fault", {"what": WHAT, "detail": said})
