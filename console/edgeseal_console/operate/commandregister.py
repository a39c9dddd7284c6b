"""The command log on chain as an operator uses it: commands logged many at a time, halts, scopes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from edgeseal import commandlog
from edgeseal.adapters.evm import BoundContract, Contract, Reverted
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.commandlog import Entry
from edgeseal.errors import Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal_console.operate.contracterrors import advised
from edgeseal_console.operate.home import Home
from edgeseal_console.operate.registry import Registry, Say

SIGNED_S: Final = 3_600
"""How long a signature may be brought, in seconds of the chain's clock."""


class CommandRegister:
    """The command log of a network, for one operator's account. With ``dry_run`` it sends nothing.

    Every method that sends raises Reverted with the contract's own error and what to do, UsageError ``funds``,
    ``fee_ceiling``, and Unavailable; every view Reverted and Unavailable.
    """

    def __init__(self, home: Home, network: NetworkProfile, say: Say, *, dry_run: bool = False) -> None:
        """Open the command log. Raises UsageError ``no_command_log`` where the network profile names none."""
        if network.command_log is None:
            raise UsageError(
                "no_command_log", "the network profile names no command log",
                "take a profile that does: edgeseal chain deploy makes one",
            )  # fmt: skip
        self.registry = Registry(home, network, say, dry_run=dry_run)
        self.network = network
        self.contract = BoundContract(self.registry.client, Contract("CommandLog"), network.command_log.address)

    def next_position(self, audience: bytes) -> int:
        """Return the least fleet position that the next command logged for an audience may have."""
        return int(self._view("chainOf", self.network.fleet_log, audience)[2])

    def classes(self, operator: bytes, audience: bytes) -> int:
        """Return the bitmap of classes that an operator may have logged for just this audience."""
        return int(self._view("scopeOf", self.network.fleet_log, operator, audience)[0])

    def set_scope(self, operator: bytes, audience: bytes, classes: int) -> None:
        """Set the bitmap of classes that an operator may have logged for an audience (zeros: for every one)."""
        data = self.contract.contract.encode("setScope", self.network.fleet_log, operator, audience, classes)
        self.registry.send_as_admin(f"set the scope of operator {operator.hex()[:16]}…", self.contract, data)

    def log(self, audience: bytes, entries: Sequence[Entry], operator: Pkcs11Signer) -> None:
        """Log commands for one audience, in the order of their positions, as many calls as it takes.

        Each call stands by itself: after a stop in between, those that are logged are found logged.
        """
        chain, _, _, _ = self._view("chainOf", self.network.fleet_log, audience)
        after = bytes(chain)
        for start in range(0, len(entries), commandlog.MAX_ENTRIES):
            batch = entries[start : start + commandlog.MAX_ENTRIES]
            after, deadline = commandlog.chain_after(after, batch), self._deadline()
            message = commandlog.log_message(*self._place(), audience, after, deadline)
            rows = [(one.digest, one.position, one.action_class) for one in batch]
            self._send(f"log {len(batch)} commands", "log", message, operator, audience, rows, deadline, start == 0)

    def halt(self, audience: bytes, digest: bytes, operator: Pkcs11Signer) -> None:
        """Log an emergency halt; ``digest`` is of the notice that says why."""
        chain, _, _, _ = self._view("chainOf", self.network.fleet_log, audience)
        after, deadline = commandlog.chain_after_halt(bytes(chain), digest), self._deadline()
        message = commandlog.halt_message(*self._place(), audience, after, deadline)
        self._send("log an emergency halt", "halt", message, operator, audience, digest, deadline, True)

    def _send(
        self, what: str, function: str, message: bytes, operator: Pkcs11Signer, audience: bytes, given: Any,
        deadline: int, stands_alone: bool,
    ) -> None:  # fmt: skip
        signature, key = operator.sign(message), operator.public_key
        by = (key.x, key.y, signature[:32], signature[32:])
        data = self.contract.contract.encode(function, self.network.fleet_log, audience, given, deadline, by)
        self.registry.transactor.attempt(
            what, self.contract.contract, self.contract.address, data, stands_alone=stands_alone
        )

    def _place(self) -> tuple[int, bytes, bytes]:
        return self.network.chain_id, self.contract.address, self.network.fleet_log

    def _deadline(self) -> int:
        newest = self.registry.client.header("latest")
        if newest is None:
            raise Unavailable("rpc_answer", "the node names no newest block")
        return newest.timestamp + SIGNED_S

    def _view(self, function: str, *values: object) -> Any:
        try:
            return self.contract.call(function, *values)
        except Reverted as error:
            raise advised(error) from error
