"""The end of a log: ``closed`` under a last signed head, and what has no receipt yet brought to the gateway.

After ``closed`` the journal takes no record. What is left to do needs none: signatures over stored payloads, segments,
receipts. So it can be done again at any time, and after any crash.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from typing import Any, Final

from edgeseal.errors import EvidenceError, UsageError
from edgeseal.messages import CommandMessage, KeysetMessage
from edgeseal.record import decode_body
from edgeseal_agent import identity, recovery, unanswered
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.config import Config
from edgeseal_agent.journal import CLOSED, Journal
from edgeseal_agent.sealer import Sealer, Signer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.store import Store
from edgeseal_agent.uplink import Uplink

logger = logging.getLogger(__name__)

SIGN_TIMEOUT_S: Final = 120.0
_POLL_S: Final = 0.1

Fields = dict[str, Any]


def ending(store: Store) -> Fields | None:
    """Return the body of the ``closed`` record that ends this log, None while it goes on."""
    with closing(store.reader()) as connection:
        kind, body = connection.execute("SELECT kind, body FROM records ORDER BY seq DESC LIMIT 1").fetchone()
    return decode_body(CLOSED, body) if kind == CLOSED else None


def last_head(store: Store) -> tuple[int, bytes, bytes]:
    """Return (size, root, signed head) of the newest signed head."""
    with closing(store.reader()) as connection:
        found: tuple[int, bytes, bytes] = connection.execute(
            "SELECT size, root, signed FROM heads WHERE signed IS NOT NULL ORDER BY size DESC LIMIT 1"
        ).fetchone()
    return found


def close_log(config: Config, store: Store, records: Sequence[tuple[str, Fields]]) -> None:
    """Answer what commands are left, then end the log with ``records``, of which the last is ``closed``, under a signed
    head; a log that ended so already is left as it is. The caller holds the state directory's lock.

    Raises:
        UsageError: ``closed_otherwise`` when the log named another successor before. Unavailable: disk or token.
        InvariantBroken: the store.
    """
    last = dict(records)[CLOSED]
    found = ending(store)
    if found is None:
        boot = recovery.begin(store).boot
        with _writing(config, store, boot) as (journal, sealer):
            unanswered.answer(store, journal)
            for kind, fields in _missing(store, records):
                journal.append(kind, fields)
                # Durable: this much of the end. A restart that finds key.rotated goes on with closed.
            sealer.wait_for(journal.size, SIGN_TIMEOUT_S)
    elif found["next"] != last["next"]:
        raise UsageError(
            "closed_otherwise", "this log was closed in favour of another log, or of none", "its end stands as it is"
        )
    else:
        with _writing(config, store, store.meta()["boot"]) as (journal, sealer):
            sealer.wait_for(journal.size, SIGN_TIMEOUT_S)


def _missing(store: Store, records: Sequence[tuple[str, Fields]]) -> list[tuple[str, Fields]]:
    """Return the records that a run which was cut off did not write."""
    missing = []
    for kind, fields in records:
        with closing(store.reader()) as connection:
            rows = connection.execute("SELECT body FROM records WHERE kind = ?", (kind,)).fetchall()
        said = [{name: value for name, value in decode_body(kind, body).items() if name != "s"} for (body,) in rows]
        if said and said != [fields]:
            raise UsageError(
                "closed_otherwise", f"a {kind} record says otherwise already", "rotate with the same --next again"
            )
        if not said:
            missing.append((kind, fields))
    return missing


@contextmanager
def _writing(config: Config, store: Store, boot: int, signer: Signer | None = None) -> Iterator[tuple[Journal, Sealer]]:
    """Run a journal and a sealer over the store."""
    known = identity.Identity.of(store.meta())
    sealer = Sealer(store, signer or identity.open_signer(config.key, known.key))
    policy = SealPolicy(config.seal.head_every, config.seal.head_max_ms)
    journal = Journal(store, boot=boot, clock=DeviceClock(config.clock), policy=policy, on_head=sealer.offer)
    try:
        sealer.start(journal)
        yield journal, sealer
    finally:
        sealer.stop()
        journal.close()


class Deaf:
    """What a closed log makes of commands: nothing. Keysets it follows as far as receipts need them."""

    position: int | None = None

    def __init__(self, beliefs: Beliefs) -> None:
        self._beliefs = beliefs

    def tick(self) -> None:
        """Nothing is refused, so nothing is counted."""

    def receive(self, message: CommandMessage) -> None:
        """A log that ended obeys nothing: there is no record left to obey it in."""

    def take_keyset(self, message: KeysetMessage) -> None:
        """Follow the next keyset, so that receipts of a gateway whose key changed can be checked."""
        with suppress(EvidenceError):
            self._beliefs.follow(message.keyset)


MakeLink = Callable[[Config, bytes, Uplink], Any]


def connect(config: Config, log: bytes, uplink: Uplink) -> Any:
    """Return the configured connection to the broker, not yet started."""
    from edgeseal_agent.mqttlink import make_link

    assert config.mqtt is not None
    return make_link(config.mqtt, log, uplink)


def send_rest(
    config: Config, store: Store, patience_s: float, stopping: threading.Event, make_link: MakeLink = connect,
    tick: Callable[[], None] = lambda: None,
) -> bool:  # fmt: skip
    """Sign and send what a closed log has left, until a receipt covers it or time is up; return whether one does.

    Records nothing. ``tick`` is called some ten times a second. The caller holds the state directory's lock.

    Raises UsageError ``no_uplink`` and what the token raises; what ended the uplink.
    """
    if config.mqtt is None and make_link is connect:
        raise UsageError("no_uplink", "without mqtt nothing can be sent", "set mqtt in the configuration")
    known = identity.Identity.of(store.meta())
    with _writing(config, store, store.meta()["boot"]) as (journal, sealer):
        sealer.wait_for(journal.size, SIGN_TIMEOUT_S)
        beliefs = Beliefs(store, journal, known)
        uplink = Uplink(store, journal, beliefs, known, config.uplink, 0)
        link = make_link(config, known.log, uplink)
        deadline = time.monotonic() + patience_s
        try:
            uplink.start(link, Deaf(beliefs))
            link.start()
            while uplink.failure is None and uplink.status()["acknowledged"] < journal.size:
                tick()
                if stopping.wait(_POLL_S) or time.monotonic() > deadline:
                    return False
        finally:
            uplink.stop()
            link.stop(1.0)
        if uplink.failure is not None:
            raise uplink.failure
    # Durable: the receipt, by the journal's last transaction.
    return True
