"""The tenant's admin becomes the AccessManager of its TenantAdmin: proposed by the account, accepted through itself.

After that the account does what the OPERATIONS role may, the guardian suspends, revokes and vetoes, and all else waits
for the timelock. Only the tenant root key stands above: it can name another admin (``recoverAdmin``).
"""

from __future__ import annotations

from edgeseal.adapters.evm import BoundContract, Contract
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.commitment import domain
from edgeseal.errors import UsageError
from edgeseal_console.operate.registry import Registry


def hand_over(registry: Registry) -> bytes:
    """Make the manager of the profile's TenantAdmin the tenant's admin; return its address. Taken up where it stopped.

    Raises:
        UsageError: ``no_tenant_admin``: the profile names none. Reverted: this account is not the admin, or not the
        operator that TenantAdmin names. Unavailable.
    """
    tenant, contract = registry.network.tenant_root.kid, registry.contract
    manager = part_of(registry, "manager")
    if bytes.fromhex(contract.call("adminOf", tenant)[2:]) == manager:
        return manager
    proposed = bytes.fromhex(contract.call("proposedAdminOf", tenant)[2:]) == manager
    if not proposed:
        data = contract.contract.encode("proposeAdmin", tenant, manager)
        registry.transactor.attempt("propose the manager as admin", contract.contract, contract.address, data)
        # Durable on chain: the proposal, which gives nobody anything yet. A second try finds it and accepts.
    accept = contract.contract.encode("acceptAdmin", tenant)
    through = Contract("AccessManager").encode("execute", contract.address, accept)
    registry.transactor.attempt(
        "accept through the manager", contract.contract, manager, through, stands_alone=proposed
    )  # fmt: skip
    # Durable on chain: the manager is the admin. Nothing is left to do.
    return manager


def part_of(registry: Registry, what: str) -> bytes:
    """Return the address of the ``manager`` or ``timelock`` that the profile's TenantAdmin made.

    Raises UsageError ``no_tenant_admin``: the profile names none. Unavailable.
    """
    admin = registry.network.tenant_admin
    if admin is None:
        raise UsageError(
            "no_tenant_admin", "the network profile names no TenantAdmin",
            "deploy one: edgeseal chain deploy --proposer ADDRESS --guardian ADDRESS",
        )  # fmt: skip
    found: str = BoundContract(registry.client, Contract("TenantAdmin"), admin.address).call(what)
    return bytes.fromhex(found[2:])


def recover(registry: Registry, root: Pkcs11Signer, admin: bytes) -> None:
    """Make ``admin`` (20 bytes) the tenant's admin on the root key's word alone; any account may bring it.

    For an admin's account that was lost or stolen: what it proposed is taken back with it. Nothing is sent where it is
    the admin already. Raises UsageError ``foreign_root``; Reverted, Unavailable.
    """
    network, key, contract = registry.network, root.public_key, registry.contract
    if key != network.tenant_root:
        raise UsageError("foreign_root", "the root key here is not the tenant's", "bring the tenant's root key")
    if bytes.fromhex(contract.call("adminOf", key.kid)[2:]) == admin:
        return
    nonce: int = contract.call("tenantNonce", key.kid)
    signature = root.sign(
        domain("tenant-admin") + key.kid + network.chain_id.to_bytes(32, "big") + contract.address + admin
        + nonce.to_bytes(32, "big")
    )  # fmt: skip
    data = contract.contract.encode("recoverAdmin", key.x, key.y, admin, signature[:32], signature[32:])
    registry.transactor.attempt(f"make 0x{admin.hex()} the admin", contract.contract, contract.address, data)
