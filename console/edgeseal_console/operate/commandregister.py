"""The command log on chain as an operator uses it: commands logged many at a time, halts, scopes."""

from __future__ import annotations

from collections.abc import Sequence

from edgeseal import commandlog
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.commandlog import Entry
from edgeseal_console.operate.onregistry import OnRegistry
from edgeseal_console.operate.registry import Registry


class CommandRegister(OnRegistry):
    """The command log of a network, for one operator's account."""

    def __init__(self, registry: Registry) -> None:
        """Open the command log. Raises UsageError ``no_command_log`` where the network profile names none."""
        super().__init__(registry, "CommandLog", registry.network.command_log, "no_command_log")

    def next_position(self, audience: bytes) -> int:
        """Return the least fleet position that the next command logged for an audience may have."""
        return int(self.view("chainOf", self.network.fleet_log, audience)[2])

    def classes(self, operator: bytes, audience: bytes) -> int:
        """Return the bitmap of classes that an operator may have logged for just this audience."""
        return int(self.view("scopeOf", self.network.fleet_log, operator, audience)[0])

    def set_scope(self, operator: bytes, audience: bytes, classes: int) -> None:
        """Set the bitmap of classes that an operator may have logged for an audience (zeros: for every one)."""
        what = f"set the scope of operator {operator.hex()[:16]}…"
        self.send_as_admin(what, "setScope", self.network.fleet_log, operator, audience, classes)

    def log(self, audience: bytes, entries: Sequence[Entry], operator: Pkcs11Signer) -> None:
        """Log commands for one audience, in the order of their positions, as many calls as it takes.

        Each call stands by itself: after a stop in between, those that are logged are found logged.
        """
        chain, _, _, _ = self.view("chainOf", self.network.fleet_log, audience)
        after = bytes(chain)
        for start in range(0, len(entries), commandlog.MAX_ENTRIES):
            batch = entries[start : start + commandlog.MAX_ENTRIES]
            after, deadline = commandlog.chain_after(after, batch), self.deadline()
            message = commandlog.log_message(*self._place(), audience, after, deadline)
            rows = [(one.digest, one.position, one.action_class) for one in batch]
            given = (self.network.fleet_log, audience, rows, deadline)
            what = f"log {len(batch)} commands"
            self.send_signed(what, "log", message, operator, *given, stands_alone=start == 0)

    def halt(self, audience: bytes, digest: bytes, operator: Pkcs11Signer) -> None:
        """Log an emergency halt; ``digest`` is of the notice that says why."""
        chain, _, _, _ = self.view("chainOf", self.network.fleet_log, audience)
        after, deadline = commandlog.chain_after_halt(bytes(chain), digest), self.deadline()
        message = commandlog.halt_message(*self._place(), audience, after, deadline)
        given = (self.network.fleet_log, audience, digest, deadline)
        self.send_signed("log an emergency halt", "halt", message, operator, *given)

    def _place(self) -> tuple[int, bytes, bytes]:
        return self.network.chain_id, self.contract.address, self.network.fleet_log
