"""From operators to devices: commands, keysets, model packages, and answers to ``hello`` (``docs/format.md`` 8.4, 11).

What a device lacks is worked out from the log whenever it says hello; what is new is sent once without being asked.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgeseal import limits
from edgeseal.errors import Unavailable
from edgeseal.messages import Chunk, CommandMessage, Fetch, Hello, KeysetMessage, Message, Refusal, Resend
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment, device_log_id
from edgeseal.statements.keyset import Keyset
from edgeseal_gateway import enforcement
from edgeseal_gateway.store import devices, fleetlog, keysets, orders, refusals
from edgeseal_gateway.store.database import LARGEST
from edgeseal_gateway.store.devices import Device
from edgeseal_gateway.told import Told

MAX_COMMANDS_AT_ONCE: Final = 64
"""Commands sent in answer to one hello; the device says hello again when it has taken them."""


class Relay:
    """Makes messages for devices. Every method works in the caller's transaction."""

    def __init__(self, log: bytes, told: Told, packages: Path, now_ms: Callable[[], int]) -> None:
        self._log = log
        self._told = told
        self._packages = packages
        self._now_ms = now_ms

    def fresh(self, connection: sqlite3.Connection, start: int, stop: int) -> list[Message]:
        """Return what leaves ``start`` up to ``stop`` mean for devices: commands, keysets, an enrolment to go on
        from.
        """
        found: list[Message] = []
        for leaf in fleetlog.of_type(connection, Keyset.NAME, start):
            if leaf.pos < stop:
                found += [KeysetMessage(device.log, leaf.statement) for device in devices.every(connection)]
        for leaf in fleetlog.of_type(connection, Enrolment.NAME, start):
            if leaf.pos < stop:
                found.append(Resend(bytes.fromhex(leaf.sub), 0))
        for leaf in fleetlog.of_type(connection, Command.NAME, start):
            if leaf.pos < stop:
                for device in devices.with_audience(connection, leaf.sub):
                    found += self._command(connection, device, leaf)
        return found

    def hello(self, connection: sqlite3.Connection, hello: Hello) -> tuple[list[Message], Device | None]:
        """Return what the device lacks, receipts excepted, and the device if it is enrolled and may be answered."""
        device = devices.find(connection, hello.log)
        if device is None:
            if device_log_id(hello.key.kid) == hello.log:
                devices.note_applicant(connection, hello.log, hello.key, hello.size, self._now_ms())
            return [self._refuse(connection, hello.log, "unknown_key", "this log is not enrolled here", 0)], None
        refused = enforcement.refusal(connection, device)
        if refused is not None:
            return [self._refuse(connection, hello.log, *refused, device.size)], None
        self._told.said(hello.log, self._believable(connection, hello))
        found: list[Message] = []
        if hello.size > device.size:
            found.append(Resend(hello.log, device.size))
        elif hello.size < device.size:
            text = f"{device.size} records of this log are here, the device has {hello.size}: it was set back"
            found.append(self._refuse(connection, hello.log, "device_behind", text, device.size))
        found += [
            KeysetMessage(hello.log, leaf.statement)
            for keyset, leaf in keysets.every(connection)
            if keyset.version > hello.keyset
        ]
        after = device.enrolled if hello.position is None else hello.position
        return found + self._commands(connection, device, after), device

    def _believable(self, connection: sqlite3.Connection, hello: Hello) -> int:
        """Return the fleet size the device says it has seen, 0 if our log has no such head."""
        seen = hello.seen
        if seen is None or seen.log != self._log or seen.size == 0:
            return 0
        if seen.size > fleetlog.size(connection):
            refusals.count(connection, hello.log, "behind_device", f"says it has seen {seen.size}", self._now_ms())
            return 0
        if fleetlog.root_at(connection, seen.size) != seen.root:
            refusals.count(connection, hello.log, "seen_contradicts", f"another root at {seen.size}", self._now_ms())
            return 0
        return seen.size

    def _commands(self, connection: sqlite3.Connection, device: Device, after: int) -> list[Message]:
        leaves = [
            leaf
            for sub in device.audiences
            for leaf in fleetlog.of_subject(
                connection, sub, Command.NAME, min(max(after, device.enrolled) + 1, LARGEST)
            )
        ]
        leaves.sort(key=lambda leaf: leaf.pos)
        found: list[Message] = []
        for leaf in leaves[:MAX_COMMANDS_AT_ONCE]:
            found += self._command(connection, device, leaf)
        return found

    def _command(self, connection: sqlite3.Connection, device: Device, leaf: fleetlog.Leaf) -> list[Message]:
        head = fleetlog.newest_head(connection, self._log, leaf.pos + 1)
        opening = orders.opening(connection, leaf.digest)
        if head is None or opening is None or leaf.pos <= device.enrolled:
            return []
        receipt = fleetlog.receipt(connection, head, leaf.pos)
        start, path = self._told.path(connection, device, head.head.size)
        return [CommandMessage(device.log, leaf.statement, opening.salt, opening.args, receipt, start, path)]

    def fetch(self, connection: sqlite3.Connection, fetch: Fetch) -> Message:
        """Return the piece of a package's archive that an enrolled device asks for."""
        device = devices.find(connection, fetch.log)
        if device is None or device.state != devices.ACTIVE:
            return self._refuse(connection, fetch.log, "unknown_key", "packages are for enrolled devices", 0)
        refused = enforcement.may_fetch(connection, device, fetch.package, self._now_ms() // 1_000)
        if refused is not None:
            return self._refuse(connection, fetch.log, *refused, device.size)
        path = self._packages / f"{fetch.package.hex()}.cbor"
        try:
            with path.open("rb") as file:
                total = file.seek(0, 2)
                file.seek(min(fetch.offset, total))
                data = file.read(limits.MAX_CHUNK)
        except FileNotFoundError:
            text = f"no package {fetch.package.hex()} here"
            return self._refuse(connection, fetch.log, "package_unknown", text, device.size)
        except OSError as error:
            raise Unavailable("store_unavailable", f"cannot read {path}: {error}") from error
        return Chunk(fetch.log, fetch.package, total, min(fetch.offset, total), data)

    def _refuse(self, connection: sqlite3.Connection, log: bytes, code: str, detail: str, size: int) -> Refusal:
        refusals.count(connection, log, code, detail, self._now_ms())
        return Refusal(log, code, detail, size)
