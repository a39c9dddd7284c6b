"""What the contracts that stand on the identity registry have in common: opened, asked, and sent signed calls."""

from __future__ import annotations

from typing import Any, Final

from edgeseal.adapters.evm import BoundContract, Contract, Reverted
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import UsageError
from edgeseal.network import Deployed
from edgeseal_console.operate.contracterrors import advised
from edgeseal_console.operate.registry import Registry

SIGNED_S: Final = 3_600
"""How long a signature may be brought, in seconds of the chain's clock."""


class OnRegistry:
    """A contract of a network beside its registry, for one operator's account. In a dry run of that it sends nothing.

    Every method that sends raises Reverted with the contract's own error and what to do, UsageError ``funds``,
    ``fee_ceiling``, and Unavailable; every view Reverted and Unavailable.
    """

    def __init__(self, registry: Registry, name: str, deployed: Deployed | None, missing: str) -> None:
        """Open it. Raises UsageError ``missing`` where the network profile does not name it."""
        if deployed is None:
            raise UsageError(
                missing, f"the network profile names no {name}",
                "take a profile that does: edgeseal chain deploy makes one",
            )  # fmt: skip
        self.registry = registry
        self.network = registry.network
        self.contract = BoundContract(registry.client, Contract(name), deployed.address)

    def deadline(self) -> int:
        """Return until when a signature made now may be brought, in Unix seconds."""
        return self.registry.time() + SIGNED_S

    def send_as_admin(self, what: str, function: str, *values: object) -> None:
        """Send a call that is the tenant's admin's."""
        self.registry.send_as_admin(what, self.contract, self.contract.contract.encode(function, *values))

    def send_signed(
        self, what: str, function: str, message: bytes, signer: Pkcs11Signer, *values: object, stands_alone: bool = True
    ) -> None:
        """Send a call whose last argument is a signature of ``message``; whose account brings it does not matter."""
        signature, key = signer.sign(message), signer.public_key
        by = (key.x, key.y, signature[:32], signature[32:])
        data = self.contract.contract.encode(function, *values, by)
        self.registry.transactor.attempt(
            what, self.contract.contract, self.contract.address, data, stands_alone=stands_alone
        )

    def view(self, function: str, *values: object) -> Any:
        """Return what the contract answers, its refusals with what to do."""
        try:
            return self.contract.call(function, *values)
        except Reverted as error:
            raise advised(error) from error
