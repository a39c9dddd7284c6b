"""policy: whether the device went by the tenant's keysets and by its own decisions, replayed in the order of its log
(format.md 4, 8.2).

What each party can do to this answer: only the tenant root key makes keysets; root with the device key can leave a
decision out of the records, which nothing shows, but cannot record an act against a verdict without this answer
failing.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Any

from edgeseal import statements
from edgeseal.errors import EvidenceError
from edgeseal.statements.command import Command
from edgeseal.statements.keyset import Keyset
from edgeseal.verify.fleet import Fleet
from edgeseal.verify.history import History, Seen
from edgeseal.verify.logs import Compared, need_signed

_INTENT, _ALLOWED, _DENIED = 0, 1, 2


class Policy:
    """Watches keysets, commands' keyset versions, and decisions."""

    kinds = frozenset(
        {"key.bound", "policy.changed", "command.received", "decision.intent", "decision.verdict", "decision.outcome"}
    )

    def __init__(self, history: History, fleet: Fleet | None) -> None:
        """Replay for one log."""
        self._case = history.cases["policy"]
        self._history = history
        self._fleet = fleet
        self._version = 0
        self._digest = bytes(32)
        self._unseen = False
        self._known, self._told = False, True
        self._open: dict[tuple[str, bytes], int] = {}
        self.changes = 0
        self.decisions = 0

    def see(self, record: Seen) -> None:
        """Replay one record."""
        fields = record.fields
        if fields is None:
            self._case.leave_open("body_withheld", f"{record.kind or 'bare leaf'} record {record.seq} cannot be read")
            self._known &= record.kind not in ("", "policy.changed")
            self._told &= record.kind in ("key.bound", "policy.changed", "command.received")
        elif record.kind == "key.bound":
            self._version, self._digest = fields["keyset"]
            self._known = True
            self._unseen = not self._compare(record.seq)
        elif record.kind == "policy.changed":
            self._change(record.seq, fields)
        elif record.kind == "command.received":
            self._command(record.seq, fields)
        else:
            self._decide(record, fields)

    def _change(self, seq: int, fields: dict[str, Any]) -> None:
        genesis = self._history.genesis
        try:
            statement = statements.decode(fields["keyset"])
            keyset = statement.content
            if not isinstance(keyset, Keyset) or keyset.version != fields["version"]:
                self._case.fail("keyset_mismatch", f"record {seq} does not hold the keyset it names", seq)
                return
            if genesis is not None and keyset.root.kid != genesis["root"]:
                self._case.fail("foreign_root", f"the keyset in record {seq} is of another tenant root", seq)
                return
            statement.signed.verify(keyset.root)
        except EvidenceError as error:
            self._case.fail(error.code, f"the keyset in record {seq}: {error.message}", seq)
            return
        if self._sure and (keyset.version != self._version + 1 or keyset.prev != self._digest):
            detail = f"record {seq} takes keyset {keyset.version} after {self._version}, or one that does not follow it"
            self._case.fail("keyset_chain", detail, seq)
        self._known, self._unseen = True, False  # the root names the keyset before in this one
        self._version, self._digest = keyset.version, sha256(fields["keyset"]).digest()
        self.changes += 1
        self._compare(seq)

    @property
    def _sure(self) -> bool:
        """Whether the keyset in force is known: no record that may have changed it is missing."""
        return self._known and not self._history.holes

    @property
    def _foreign(self) -> bool:
        """Whether genesis names another tenant than the one asked about."""
        genesis, fleet = self._history.genesis, self._fleet
        return genesis is not None and fleet is not None and genesis["root"] != fleet.root

    def _compare(self, seq: int) -> bool:
        """Compare the keyset just taken with the fleet log's of that version; return whether that one is shown."""
        fleet = None if self._foreign else self._fleet
        known = {entry.keyset.version: entry.digest for entry in fleet.keysets} if fleet else {}
        if known.get(self._version, self._digest) != self._digest:
            detail = f"the fleet log holds another keyset {self._version} than record {seq}"
            self._case.fail("keyset_forked", detail, seq)
        return self._version in known

    def _command(self, seq: int, fields: dict[str, Any]) -> None:
        try:
            content = statements.decode(fields["cmd"]).content
        except EvidenceError:
            return  # command_authority says so
        if self._sure and isinstance(content, Command) and content.keyset > self._version:
            detail = f"record {seq} takes a command judged by keyset {content.keyset}, the device had {self._version}"
            self._case.fail("keyset_ahead", detail, seq)

    def _decide(self, record: Seen, fields: dict[str, Any]) -> None:
        key, seq = (fields["agent"], fields["id"]), record.seq
        state = self._open.get(key)
        self.decisions += 1
        if record.kind == "decision.intent":
            if state is not None:
                self._wrong("decision_repeated", f"record {seq} states an intent that is open already", seq)
            self._open[key] = _INTENT
        elif record.kind == "decision.verdict":
            if state is None:
                self._wrong("verdict_without_intent", f"record {seq} is a verdict on no intent", seq)
            elif state != _INTENT:
                self._wrong("decision_repeated", f"record {seq} is a second verdict on one intent", seq)
            self._open[key] = _ALLOWED if fields["allow"] else _DENIED
        else:
            if state is None or state == _INTENT:
                self._wrong("outcome_without_verdict", f"record {seq} is an outcome that no verdict allowed", seq)
            elif state == _DENIED and fields["ok"]:
                self._wrong("acted_after_denial", f"record {seq} reports success of what was denied", seq)
            self._open.pop(key, None)

    def _wrong(self, reason: str, detail: str, seq: int) -> None:
        """Note what contradicts the decisions before, where all of them could be read."""
        if self._told and not self._history.holes:
            self._case.fail(reason, detail, seq)

    def judge(self, compared: Compared) -> None:
        """Answer policy once all records have been seen."""
        history, case = self._history, self._case
        if history.holes:
            case.leave_open("records_missing", "records are missing, so policy cannot be replayed")
        need_signed(case, history, compared)
        if history.bound is None or history.genesis is None:
            case.leave_open(
                "genesis_missing", "genesis and key.bound, which name tenant root and first keyset, are not here"
            )
        elif self._foreign:
            case.leave_open("no_keyset", "genesis names another tenant root, whose keysets are not this tenant's")
        elif self._unseen:
            case.leave_open("no_keyset", "nothing shows that the keyset which key.bound names is one of the tenant's")
        case.prove(
            f"replayed: {self.changes} keyset changes, {self.decisions} decision records, keyset "
            f"{self._version} at the end"
        )
