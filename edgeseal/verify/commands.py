"""The commands that a device says it took, refused and answered: read from its records, their receipts checked as they
come (format.md 8.4). Whether they were anybody's to give is :mod:`edgeseal.verify.authority`'s to judge.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

from edgeseal import statements
from edgeseal.errors import EvidenceError
from edgeseal.merkle import leaf_hash, root_from_inclusion
from edgeseal.statements.command import Command
from edgeseal.verify.fleet import UNSURE, Defect, Fleet
from edgeseal.verify.history import History, Seen


@dataclass(frozen=True, slots=True)
class Taken:
    """A command that the device says it received, its statement taken apart; ``position`` is what its receipt binds,
    under the fleet ``head`` (size, root)."""

    seq: int
    digest: bytes
    statement: statements.Statement
    command: Command
    position: int
    head: tuple[int, bytes]


class Commands:
    """Watches what the device received, refused and answered."""

    kinds = frozenset({"command.received", "command.refused", "command.result", "model.activated"})

    def __init__(self, history: History, fleet: Fleet | None) -> None:
        """Collect for one log; receipts' signed heads are taken into ``fleet`` as they come."""
        self._case = history.cases["command_authority"]
        self._history = history
        self._log = history.log
        self._fleet = fleet
        self.taken: dict[bytes, Taken] = {}
        self.received: list[Taken] = []
        self.refused: set[bytes] = set()
        self.uncounted = False
        self.unsure: list[tuple[int, Defect]] = []
        self._unread = False

    def see(self, record: Seen) -> None:
        """Take one record; an answer or activation by a command that was never received is a failure at once."""
        fields = record.fields
        if fields is None:
            what = record.kind or "bare leaf"
            self._case.leave_open("body_withheld", f"{what} record {record.seq} cannot be read")
            self._unread |= record.kind in ("", "command.received")
        elif record.kind == "command.received":
            self._receive(record.seq, fields)
        elif record.kind == "command.refused":
            self.refused.add(fields["cmd"])
            self.uncounted |= fields["count"] > 1
        elif fields["cmd"] is not None:
            self._answered(record, fields)

    def _receive(self, seq: int, fields: dict[str, Any]) -> None:
        try:
            statement = statements.decode(fields["cmd"])
        except EvidenceError as error:
            self._case.fail(error.code, f"record {seq}: the command in it: {error.message}", seq)
            return
        content = statement.content
        if not isinstance(content, Command) or content.id != fields["id"]:
            self._case.fail("command_mismatch", f"record {seq} does not hold the command it names", seq)
            return
        if self._fleet is None:
            self._case.leave_open("no_fleet_log", "no fleet log is shown that the command could stand in")
            return
        before = len(self._fleet.defects)
        where = f"the receipt in record {seq} of log {self._log.hex()[:16]}…"
        receipt = self._fleet.take_receipt(fields["receipt"], where, leaf_hash(fields["cmd"]))
        if receipt is None:
            found = self._fleet.defects[before:]
            del self._fleet.defects[before:]  # it is this device's record, not the fleet log, that is wrong
            if found and found[0].reason in UNSURE:
                self.unsure.append((seq, found[0]))
                self._unread = True
            else:
                reason = found[0].reason if found else "receipt_proof"
                self._case.fail(reason, f"record {seq}: its receipt does not hold", seq)
            return
        digest = sha256(fields["cmd"]).digest()
        root = root_from_inclusion(leaf_hash(fields["cmd"]), receipt.index, receipt.size, receipt.path)
        taken = Taken(seq, digest, statement, content, receipt.index, (receipt.size, root))
        self.taken.setdefault(digest, taken)
        self.received.append(taken)

    def _answered(self, record: Seen, fields: dict[str, Any]) -> None:
        taken = self.taken.get(fields["cmd"])
        if taken is None:
            detail = f"{record.kind} record {record.seq} answers a command never received"
            if not self._unread and not self._history.holes:  # else it may be in what cannot be judged, which is open
                self._case.fail("command_unknown", detail, record.seq)
        elif record.kind == "command.result" and taken.command.id != fields["id"]:
            self._case.fail(
                "command_mismatch", f"record {record.seq} answers another command than it names", record.seq
            )
        elif record.kind == "model.activated" and taken.command.action != "model.activate":
            self._case.fail(
                "command_mismatch",
                f"record {record.seq}: command {taken.command.action!r} activates nothing",
                record.seq,
            )
