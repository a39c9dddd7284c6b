"""The device's view of fleet log and keyset, kept in the store: it only ever moves on, and what it learns is recorded.

Owned by the uplink's thread; others read ``view``, one immutable value.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from hashlib import sha256
from typing import Final

from edgeseal import cbor, statements
from edgeseal.errors import EvidenceError
from edgeseal.head import Anchored, Seen
from edgeseal.messages import Anchor
from edgeseal.statements.keyset import Keyset
from edgeseal_agent.authority import FORK, Included, View, check_included, check_keyset
from edgeseal_agent.identity import Identity
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store, damaged, set_meta

logger = logging.getLogger(__name__)

MAX_REPORTED: Final = 64
"""Fork reports of one run; the same gateway's hundredth contradiction shows nothing new."""


class Beliefs:
    """What the device believes, and how it changes. Changes are queued in the journal; nothing here waits but a
    keyset.
    """

    def __init__(self, store: Store, journal: Journal, identity: Identity) -> None:
        """Load the newest state. Raises InvariantBroken ``store_damaged`` when the stored keyset does not read."""
        self._journal = journal
        self._reported: set[bytes] = set()
        with closing(store.reader()) as connection:
            self.view, self.anchored = _load(connection, identity)
        self.log = identity.log

    def include(self, entry: bytes, receipt: bytes, start: int, path: Sequence[bytes]) -> Included:
        """Return where ``receipt`` shows the statement ``entry`` to stand, and believe its fleet head from now on.

        Raises what :func:`edgeseal_agent.authority.check_included` raises; of two roots for one size it also keeps the
        proof, as records ``tamper`` and ``attest``.
        """
        try:
            included = check_included(self.view, entry, receipt, start, path)
        except EvidenceError as error:
            if error.code == FORK:
                self._report_fork(receipt, error)
            raise
        self._advance(included.seen, self.anchored)
        return included

    def told_anchor(self, anchor: Anchor) -> None:
        """Keep the newest anchor that the gateway calls final; the device does not check it and says so by the field's
        meaning.
        """
        view, known = self.view, self.anchored
        if known is None or known.log != view.home or anchor.size > known.size:
            self._advance(view.seen, Anchored(view.home, anchor.size, anchor.root, anchor.chain, anchor.block))

    def take_keyset(self, data: bytes) -> None:
        """Adopt the next keyset: recorded, durable, and only then believed.

        Raises what :func:`edgeseal_agent.authority.check_keyset` raises, and what the journal raises.
        """
        view = check_keyset(self.view, data)

        def also(connection: sqlite3.Connection, seq: int) -> None:
            connection.execute("INSERT INTO keysets VALUES (?, ?)", (view.keyset.version, data))
            set_meta(connection, "home", view.home)

        self._journal.append("policy.changed", {"version": view.keyset.version, "keyset": data}, also)
        # Durable: record, keyset and home log; a restart judges by it.
        logger.info("keyset %d", view.keyset.version)
        moved = view.seen is None and self.view.seen is not None
        self.view = view
        if moved:
            self._journal.set_seen(None, self.anchored)

    def follow(self, data: bytes) -> None:
        """Adopt the next keyset without a record, for a log that ended: all it still judges is receipts.

        Raises what :func:`edgeseal_agent.authority.check_keyset` raises, and what the journal raises.
        """
        view = check_keyset(self.view, data)
        self._journal.execute(
            lambda c: c.execute("INSERT OR IGNORE INTO keysets VALUES (?, ?)", (view.keyset.version, data))
        ).result()
        # Durable: the keyset; a restart judges by it. No record says so, since none may follow ``closed``.
        self.view = view

    def _advance(self, seen: Seen | None, anchored: Anchored | None) -> None:
        if seen == self.view.seen and anchored == self.anchored:
            return
        self.view = View(self.view.root, self.view.home, self.view.keyset, self.view.digest, seen)
        self.anchored = anchored
        self._journal.set_seen(seen, anchored)

    def _report_fork(self, receipt: bytes, error: EvidenceError) -> None:
        digest = sha256(receipt).digest()
        if digest in self._reported or len(self._reported) >= MAX_REPORTED:
            return
        self._reported.add(digest)
        logger.error("the fleet log has two histories: %s; the proof is kept", error)
        self._journal.submit("tamper", {"what": "fleet-fork", "detail": str(error)[:400]})
        self._journal.submit("attest", {"type": "fleet-fork", "evidence": receipt})


def _load(connection: sqlite3.Connection, identity: Identity) -> tuple[View, Anchored | None]:
    (statement,) = connection.execute("SELECT statement FROM keysets ORDER BY version DESC LIMIT 1").fetchone()
    keyset = statements.decode(statement).content
    if not isinstance(keyset, Keyset):
        raise damaged("the stored keyset is another statement")
    (home,) = connection.execute("SELECT value FROM meta WHERE key = 'home'").fetchone()
    seen_row, anchored_row = connection.execute("SELECT seen, anchored FROM log").fetchone()
    seen = Seen.from_list(cbor.decode(seen_row, max_size=1024))
    anchored = cbor.decode(anchored_row, max_size=1024)
    view = View(identity.root, home, keyset, sha256(statement).digest(), seen if seen and seen.log == home else None)
    return view, None if anchored is None else Anchored(*anchored)
