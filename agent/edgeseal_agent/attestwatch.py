"""Lets the TPM say where it stands: an ``attest`` record at every start and from time to time (``docs/format.md`` 4.5).

The TPM signs its clock, its counts of resets and restarts and an NV counter over the log's last head. The counter rises
only once the record is durable: so the next one's value says whether a record was lost to an older copy of the disk,
and a power cut in between costs nothing.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from contextlib import closing, suppress
from typing import Final, Protocol

from edgeseal import tpmstate
from edgeseal.errors import EdgesealError, Unavailable
from edgeseal_agent.configkey import TpmConfig
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store

logger = logging.getLogger(__name__)

FAULT: Final = "tpm.attest"
RETRY_S: Final = 60.0
WAIT_S: Final = 0.5


class Tpm(Protocol):
    """What this module asks of a TPM: :class:`edgeseal.adapters.tpmtools.TpmTools`."""

    def quote(self, qualifier: bytes) -> tuple[bytes, bytes]:
        """Return (TPMS_ATTEST, signature). Raises Unavailable."""

    def certify_counter(self, index: str, qualifier: bytes) -> tuple[bytes, bytes, bytes]:
        """Return (TPMS_NV_PUBLIC, TPMS_ATTEST, signature). Raises Unavailable."""

    def increment(self, index: str) -> None:
        """Let a counter rise. Raises Unavailable."""


class AttestWatch:
    """Attests on a thread of its own, from :meth:`start` until :meth:`stop`. A TPM that is away ends nothing."""

    def __init__(self, config: TpmConfig, store: Store, journal: Journal, log: bytes, tpm: Tpm) -> None:
        self._config = config
        self._store = store
        self._journal = journal
        self._log = log
        self._tpm = tpm
        self._stopping = threading.Event()
        self._told = False
        self._thread = threading.Thread(target=self._run, name="attest", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End; a command that the TPM is at is waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def attest(self) -> bool:
        """Attest once; say whether there was a head to attest over. Raises Unavailable, and what the journal raises."""
        with closing(self._store.reader()) as connection:
            head = connection.execute(
                "SELECT size, root FROM heads WHERE signed IS NOT NULL ORDER BY size DESC LIMIT 1"
            ).fetchone()
        if head is None:
            return False
        size, root = head
        qualifier, counter = tpmstate.nonce(self._log, size, root), self._config.counter
        quote = self._tpm.quote(qualifier)
        counted = None if counter is None else self._tpm.certify_counter(counter, qualifier)
        evidence = tpmstate.encode(size, root, quote, counted)
        self._journal.append("attest", {"type": tpmstate.TYPE, "evidence": evidence})
        # Durable: the record with the counter's value. Killed before the counter rises, the next record repeats it.
        if counter is not None:
            self._tpm.increment(counter)
        return True

    def _run(self) -> None:
        due = 0.0
        while not self._stopping.wait(WAIT_S):
            if time.monotonic() >= due:
                due = time.monotonic() + self._step()

    def _step(self) -> float:
        """Attest; return after how many seconds to do it again."""
        try:
            done = self.attest()
        except (EdgesealError, OSError, ValueError, sqlite3.Error) as error:
            if self._journal.failure is None:
                logger.warning("the TPM does not attest: %s", error)
                self._tell(error)
            return min(RETRY_S, float(self._config.attest_s))
        self._told = False
        return float(self._config.attest_s) if done else 0.0

    def _tell(self, error: Exception) -> None:
        """Record a fault, once until it is over."""
        if not self._told:
            self._told = True
            with suppress(Unavailable):
                self._journal.submit("fault", {"what": FAULT, "detail": str(error)[:400]})
