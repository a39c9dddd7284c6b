"""Commands: judged, recorded under a signed head before anything is done, done, recorded after (``docs/format.md``
8.4).

``receive`` judges, in the uplink's thread. A worker of its own obeys, one command after another, in the order of their
positions. What a crash left half done is done again: every action can be repeated.
"""

from __future__ import annotations

import logging
import queue
import sqlite3
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, commitment
from edgeseal.errors import EdgesealError, EvidenceError, Unavailable
from edgeseal.messages import CommandMessage, KeysetMessage
from edgeseal_agent import authority
from edgeseal_agent.authority import Audience, Included, KeysetMissing, Order, ProofMissing
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.inference import keep_opening
from edgeseal_agent.journal import Journal
from edgeseal_agent.store import Store, set_meta

logger = logging.getLogger(__name__)

MAX_WAITING: Final = 64
"""Commands held back for a keyset or until the token signs again; the gateway sends what is dropped again."""
SPOILT: Final = frozenset({"commitment_mismatch", "too_large"})
"""What is wrong with an opening that travels beside a command, and not with the command."""
LOGGED_SINGLY: Final = 16
"""Refusals recorded one by one before they are counted; one more is allowed each COUNT_EVERY_S."""
COUNT_EVERY_S: Final = 60.0
MAX_COUNTED: Final = 256
"""Commands of a flood, refused and only counted, that are known again."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of an action: whether it worked, the reason code if not, and a result to commit to, if any."""

    ok: bool
    reason: str | None = None
    result: dict[str, Any] | None = None


Action = Callable[[bytes, dict[str, Any]], Outcome]
"""Does what a command says, given the command's digest and arguments. Repeatable; raises EdgesealError for a
failure.
"""


@dataclass(frozen=True, slots=True)
class _Todo:
    seq: int
    digest: bytes
    id: bytes
    action: str
    args: bytes


class Commands:
    """Takes command and keyset messages. ``ask`` requests a ``hello``, the answer to whatever is missing."""

    def __init__(
        self, store: Store, journal: Journal, beliefs: Beliefs, *, groups: tuple[str, ...], first_position: int,
        secret: bytes, actions: dict[str, Action], wait_sealed: Callable[[int, float], None], ask: Callable[[], None],
        wall_ms: Callable[[], int],
    ) -> None:  # fmt: skip
        self._journal = journal
        self._beliefs = beliefs
        self._groups = groups
        self._secret = secret
        self._actions = actions
        self._wait_sealed = wait_sealed
        self._ask = ask
        self._wall_ms = wall_ms
        self._waiting: dict[bytes, CommandMessage] = {}
        self._refusals = _Refusals(journal)
        self._counted: deque[bytes] = deque(maxlen=MAX_COUNTED)
        self._todo: queue.SimpleQueue[_Todo | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.failure: Exception | None = None
        with closing(store.reader()) as connection:
            self._load(connection, first_position)

    def _load(self, connection: sqlite3.Connection, first_position: int) -> None:
        row = connection.execute("SELECT value FROM meta WHERE key = 'command_pos'").fetchone()
        self._taken: int = first_position if row is None else row[0]
        self.position: int | None = None if row is None else row[0]
        self._known = {digest for (digest,) in connection.execute("SELECT digest FROM commands")}
        self._known |= {digest for (digest,) in connection.execute("SELECT digest FROM refusals")}
        for row in connection.execute("SELECT seq, digest, id, action, args FROM commands WHERE NOT done ORDER BY pos"):
            self._todo.put(_Todo(*row))

    def start(self) -> None:
        """Begin to obey: first what an earlier run received and did not finish."""
        self._thread = threading.Thread(target=self._run, name="commands", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the command at hand and stop; the rest is done after the next start. Idempotent; raises nothing."""
        self._stopping.set()
        self._todo.put(None)
        if self._thread is not None:
            self._thread.join()
        with suppress(Unavailable):
            self._refusals.flush()

    def status(self) -> dict[str, Any]:
        """Return the position of the newest command, how many wait for a keyset, and refusals by reason."""
        return {"position": self.position, "waiting": len(self._waiting), "refused": dict(self._refusals.total)}

    def tick(self) -> None:
        """Write down counted refusals when their time has come. Called now and then by the uplink."""
        self._refusals.tick()

    def take_keyset(self, message: KeysetMessage) -> None:
        """Adopt a keyset if it is the next one, then look again at the commands that waited for it."""
        version = self._beliefs.view.keyset.version
        try:
            claimed = authority.keyset_version(message.keyset)
            if claimed > version + 1:
                self._ask()
            elif claimed == version + 1:
                self._beliefs.take_keyset(message.keyset)
        except EvidenceError as error:
            self._refusals.count(error.code)
            return
        waiting, self._waiting = self._waiting, {}
        for command in waiting.values():
            self.receive(command)

    def receive(self, message: CommandMessage) -> None:
        """Judge one command. It is queued to be obeyed, refused with a record, held back, or known already."""
        digest = sha256(message.command).digest()
        audience = Audience(self._beliefs.log, self._groups, self._taken)
        # The fleet head it came under is worth believing whatever becomes of the command: the next proof starts there.
        included = self._include(message)
        if digest in self._known or digest in self._counted:
            return
        position = None if isinstance(included, Exception) else included.position
        try:
            command = authority.check_origin(self._beliefs.view, audience, message.command)
        except KeysetMissing:
            if len(self._waiting) < MAX_WAITING:
                self._waiting[digest] = message
            self._ask()
            return
        except EvidenceError as error:
            # Not ours, or nobody's: its position says nothing about the commands that are ours.
            self._refuse(message.command, digest, position, error, used=False)
            return
        try:
            if isinstance(included, Exception):
                raise included
            order = authority.check_order(
                audience, command, message.command, included, message.salt, message.args, self._wall_ms()
            )
        except ProofMissing:
            self._ask()
        except EvidenceError as error:
            if isinstance(included, Exception) or error.code in SPOILT:
                self._refuse_copy(message.command, digest, position, error)
            else:
                self._refuse(message.command, digest, position, error, used=included.position > self._taken)
        else:
            self._accept(order, message)

    def _include(self, message: CommandMessage) -> Included | EvidenceError | ProofMissing:
        try:
            return self._beliefs.include(message.command, message.receipt, message.start, message.path)
        except (EvidenceError, ProofMissing) as error:
            return error

    def _accept(self, order: Order, message: CommandMessage) -> None:
        position, command = order.included.position, order.command

        def also(connection: sqlite3.Connection, seq: int) -> None:
            connection.execute(
                "INSERT INTO commands (pos, digest, id, seq, action, args, salt) VALUES (?, ?, ?, ?, ?, ?, ?)",
                (position, order.digest, command.id, seq, command.action, message.args, message.salt),
            )
            set_meta(connection, "command_pos", position)

        fields = {"id": command.id, "cmd": order.statement, "receipt": message.receipt}
        seq, _ = self._journal.append("command.received", fields, also)
        # Durable: the command and its place. A restart obeys it, once a signed head covers the record.
        self._known.add(order.digest)
        self._taken = self.position = position
        logger.info("command %s at fleet position %d", command.action, position)
        self._todo.put(_Todo(seq, order.digest, command.id, command.action, message.args))

    def _refuse_copy(self, statement: bytes, digest: bytes, position: int | None, error: EvidenceError) -> None:
        """Refuse what no signature of the operator covers, receipt or opening: whoever carries a command can spoil it.
        A good copy is still obeyed.
        """
        if self._refusals.record(_refusal(statement, digest, position, error), lambda connection, seq: None):
            logger.warning("a copy of command %s refused: %s", digest.hex(), error)

    def _refuse(
        self, statement: bytes, digest: bytes, position: int | None, error: EvidenceError, *, used: bool
    ) -> None:
        """Refuse for good: nothing that changes later can bring it back. ``used``: its position is used up as well."""

        def also(connection: sqlite3.Connection, seq: int) -> None:
            connection.execute("INSERT INTO refusals VALUES (?, ?, 1)", (digest, error.code))
            if used:
                set_meta(connection, "command_pos", int(position or 0))

        if self._refusals.record(_refusal(statement, digest, position, error), also):
            logger.warning("command %s refused: %s", digest.hex(), error)
            self._known.add(digest)
            if used:
                self._taken = int(position or 0)
                self.position = position
            return
        # Only counted, in a flood: a copy of it that comes again is not counted again.
        self._counted.append(digest)

    def _run(self) -> None:
        try:
            while (todo := self._todo.get()) is not None and not self._stopping.is_set():
                if self._is_sealed(todo.seq):
                    self._obey(todo)
        except Exception as error:  # whatever nobody foresaw too: the agent must not go on without this thread
            self.failure = error

    def _is_sealed(self, seq: int) -> bool:
        """Wait until a signed head covers ``command.received``; False when told to stop before."""
        while not self._stopping.is_set():
            try:
                self._wait_sealed(seq + 1, 0.5)
                return True
            except Unavailable:
                continue
        return False

    def _obey(self, todo: _Todo) -> None:
        """Act, then record the result. A crash between the two acts again and records once."""
        try:
            args = cbor.decode(todo.args, max_size=4096)
            outcome = self._actions[todo.action](todo.digest, args)
        except EdgesealError as error:
            if self._stopping.is_set():
                return  # interrupted, not failed: the next start does it again
            outcome = Outcome(False, error.code)
        result = None if outcome.result is None else cbor.encode(outcome.result)

        def build(seq: int) -> dict[str, Any]:
            commit = None
            if result is not None:
                salt = commitment.derive_salt(self._secret, self._beliefs.log, seq, "result")
                commit = commitment.commit("result", result, salt)
            return {
                "id": todo.id,
                "cmd": todo.digest,
                "ok": outcome.ok,
                "reason": outcome.reason,
                "result": commit,
                "pub": {},
            }

        def also(connection: sqlite3.Connection, seq: int) -> None:
            connection.execute("UPDATE commands SET done = 1 WHERE digest = ?", (todo.digest,))
            if result is not None:
                keep_opening(connection, seq, "result", result)

        self._journal.append("command.result", build, also)
        logger.info("command %s: %s", todo.action, "done" if outcome.ok else f"failed, {outcome.reason}")


def _refusal(statement: bytes, digest: bytes, position: int | None, error: EvidenceError) -> dict[str, Any]:
    """Return the fields of the ``command.refused`` record of one refusal."""
    try:
        identifier: bytes | None = authority.decode_command(statement).id
    except EvidenceError:
        identifier = None
    return {
        "id": identifier, "cmd": digest, "pos": position, "reason": error.code, "detail": error.message[:400],
        "count": 1,
    }  # fmt: skip


class _Refusals:
    """Records refusals one by one while they are few, and as one record with a count when they are many."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self._left = LOGGED_SINGLY
        self._since = time.monotonic()
        self._counted: dict[str, tuple[bytes, int]] = {}
        self.total: Counter[str] = Counter()

    def count(self, reason: str) -> None:
        """Count something refused that is no command."""
        self.total[reason] += 1

    def record(self, fields: dict[str, Any], also: Callable[[sqlite3.Connection, int], None]) -> bool:
        """Record a refusal; False when it was only counted."""
        reason = fields["reason"]
        self.total[reason] += 1
        if not self._left:
            self._counted[reason] = (fields["cmd"], self._counted.get(reason, (b"", 0))[1] + 1)
            return False
        self._left -= 1
        self._journal.append("command.refused", fields, also)
        # Durable: a restart knows the command by its digest and does not refuse it again.
        return True

    def tick(self) -> None:
        """Allow one more single record each COUNT_EVERY_S, and write down what was counted meanwhile."""
        if time.monotonic() - self._since < COUNT_EVERY_S:
            return
        self._since = time.monotonic()
        self._left = min(LOGGED_SINGLY, self._left + 1)
        self.flush()

    def flush(self) -> None:
        """Write down what was counted."""
        counted, self._counted = self._counted, {}
        for reason, (digest, count) in counted.items():
            detail = "counted, not recorded singly"
            fields = {"id": None, "cmd": digest, "pos": None, "reason": reason, "detail": detail, "count": count}
            self._journal.submit("command.refused", fields)
