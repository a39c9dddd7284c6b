"""The contracts as an operator uses them: deploy, open the tenant and its log, register and revoke keys."""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from hashlib import sha256
from typing import Final

from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, Reverted
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import Unavailable, UsageError
from edgeseal.network import NetworkProfile
from edgeseal.pack import fleet_log_id

from .home import Home
from .transactions import Transactor

ROLES: Final = ("device", "operator", "gateway", "publisher", "approver", "auditor")
"""Roles of the IdentityRegistry, in the order of its enum."""
REASONS: Final = ("compromised", "retired", "lost", "superseded")
"""Reason classes of a revocation, in the order of the registry's enum."""

_POSSESSION_S: Final = 3_600
"""How long a key's signature under its registration may be brought, in seconds of the chain's clock."""
_REVOKED: Final = 3
"""``Status.Revoked`` of the registry."""

Say = Callable[[str], None]


class Registry:
    """The two contracts of a network, for one operator's account."""

    def __init__(self, home: Home, network: NetworkProfile, say: Say) -> None:
        client = EvmClient(network.endpoints[0])
        self.network = network
        self._registry = BoundContract(client, Contract("IdentityRegistry"), network.identity_registry)
        self._log = BoundContract(client, Contract("FleetLog"), network.fleet_log_contract)
        self._transactor = Transactor(client, home.account(), network.chain_id, home.folder, say)

    def anchored_size(self) -> int:
        """Return the size of the newest head on chain; 0 before the first."""
        size: int = self._log.call("head", self.network.fleet_log)[0]
        return size

    def register(self, key: PublicKey, role: str, evidence: bytes, holder: Pkcs11Signer | None = None) -> None:
        """Register ``key`` with ``role``, valid from the anchored size on; nothing if it is registered already.

        ``evidence`` is the 32-byte digest of what was shown for it; zero bytes for none. ``holder``, where the key is
        at hand, signs its own registration; without it that somebody holds the key is the admin's word, and the event
        on chain says so. Raises Reverted, UsageError, Unavailable.
        """
        if self._known(key.kid) is not None:
            return
        if holder is not None:
            self._register_proved(role, evidence, holder)
            return
        self._send(
            f"register {role} {key.kid.hex()[:16]}…", "registerKey",
            self.network.fleet_log, ROLES.index(role), key.x, key.y, self.anchored_size(), evidence,
        )  # fmt: skip

    def _register_proved(self, role: str, evidence: bytes, holder: Pkcs11Signer) -> None:
        key, network = holder.public_key, self.network
        newest = self._registry.client.header("latest")
        if newest is None:
            raise Unavailable("rpc_answer", "the node names no newest block")
        start, number, nonce = self.anchored_size(), ROLES.index(role), secrets.token_bytes(32)
        deadline = newest.timestamp + _POSSESSION_S
        digest = sha256(
            domain("key-possession") + network.chain_id.to_bytes(32, "big") + network.identity_registry
            + network.tenant_root.kid + network.fleet_log + bytes([number]) + start.to_bytes(8, "big")
            + evidence + nonce + deadline.to_bytes(8, "big")
        ).digest()  # fmt: skip
        signature = holder.sign_digest(digest)
        registration = (network.fleet_log, number, key.x, key.y, start, evidence, nonce, deadline)
        self._send(
            f"register {role} {key.kid.hex()[:16]}…", "registerKeyWithProof",
            registration, (signature[:32], signature[32:]),
        )  # fmt: skip

    def revoke(self, kid: bytes, until: int | None, reason: str) -> int:
        """Revoke ``kid`` and return the fleet position from which it is void.

        ``until`` None is the anchored size, above which none may lie. A key that is revoked already is left as it is,
        and its position returned. Raises Reverted, UsageError, Unavailable.
        """
        known = self._known(kid)
        if known is not None and known[0] == _REVOKED:
            return known[1]
        chosen = self.anchored_size() if until is None else until
        self._send(
            f"revoke {kid.hex()[:16]}…", "revokeKey", self.network.fleet_log, kid, chosen, REASONS.index(reason)
        )  # fmt: skip
        return chosen

    def _known(self, kid: bytes) -> tuple[int, int] | None:
        try:
            _, status, _, _, until = self._registry.call("keyOf", self.network.fleet_log, kid)
        except Reverted as error:
            if error.name == "UnknownKey":
                return None
            raise
        return int(status), int(until)

    def _send(self, what: str, function: str, *values: object) -> None:
        data = self._registry.contract.encode(function, *values)
        self._transactor.send(what, self._registry.contract, self._registry.address, data)


def deploy(home: Home, *, rpc: str, kind: str, gateway: PublicKey, say: Say) -> NetworkProfile:
    """Deploy both contracts, open tenant and fleet log, register operator and gateway; write the network profile.

    Durable step by step on chain; the profile is written last. A stop before it leaves contracts that nothing refers
    to: the next try deploys anew.

    Raises:
        UsageError: ``network_exists``; ``code_differs`` when the chain runs other code than ours. Reverted,
        Unavailable.
    """
    if home.network_file.exists():
        raise UsageError("network_exists", f"{home.network_file} is there already", "move it away to deploy anew")
    client = EvmClient(rpc)
    chain_id = client.chain_id()
    transactor = Transactor(client, home.account(), chain_id, home.folder, say)
    registry_abi, log_abi = Contract("IdentityRegistry"), Contract("FleetLog")
    receipt = transactor.send("deploy IdentityRegistry and FleetLog", registry_abi, None, registry_abi.bytecode)
    if receipt.contract is None:
        raise UsageError("tx_failed", "the deployment made no contract")
    registry = BoundContract(client, registry_abi, receipt.contract)
    log_address = bytes.fromhex(registry.call("fleetLog")[2:])
    check_code(client, registry_abi, registry.address)
    check_code(client, log_abi, log_address)
    root = home.root()
    _open_tenant(transactor, registry, root, chain_id)
    nonce = secrets.token_bytes(32)
    data = log_abi.encode("open", root.public_key.kid, gateway.x, gateway.y, nonce)
    transactor.send("open the fleet log", log_abi, log_address, data)
    network = NetworkProfile(
        chain_id, kind, log_address, registry.address, client.code_hash(log_address),
        client.code_hash(registry.address), (rpc,), root.public_key, nonce, fleet_log_id(root.public_key.kid,
        chain_id, log_address, nonce),
    )  # fmt: skip
    home.network_file.write_bytes(network.encode())
    known = Registry(home, network, say)
    known.register(gateway, "gateway", bytes(32))
    operator = home.operator()
    known.register(operator.public_key, "operator", bytes(32), operator)
    return network


def _open_tenant(transactor: Transactor, registry: BoundContract, root: Pkcs11Signer, chain_id: int) -> None:
    key, admin = root.public_key, transactor.account.address
    counter: int = registry.call("tenantNonce", key.kid)
    digest = sha256(
        domain("tenant-open") + key.kid + chain_id.to_bytes(32, "big") + registry.address + admin
        + counter.to_bytes(32, "big")
    ).digest()  # fmt: skip
    signature = root.sign_digest(digest)
    data = registry.contract.encode("openTenant", key.x, key.y, admin, signature[:32], signature[32:])
    transactor.send("open the tenant", registry.contract, registry.address, data)


def fund(home: Home, network: NetworkProfile, address: str, say: Say) -> int:
    """Send half of the operator's balance to ``address`` (0x and 40 hex digits) and return the wei sent.

    Raises:
        UsageError: ``address``. Unavailable.
    """
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", address) is None:
        raise UsageError("address", f"{address!r:.60} is no address: 0x and 40 hex digits")
    client = EvmClient(network.endpoints[0])
    transactor = Transactor(client, home.account(), network.chain_id, home.folder, say)
    wei = client.balance(transactor.account.address) // 2
    transactor.send(f"fund {address}", Contract("FleetLog"), bytes.fromhex(address[2:]), b"", wei)
    return wei


def check_code(client: EvmClient, contract: Contract, address: bytes) -> None:
    """Check that the code at ``address`` is the committed build of ``contract``, its immutables apart.

    Raises:
        UsageError: ``code_differs``.
    """
    code, expected = bytearray(client.code(address)), bytearray(contract.runtime)
    for places in contract.immutables.values():
        for place in places:
            for image in (code, expected):
                image[place : place + 32] = bytes(32)
    if code != expected:
        raise UsageError("code_differs", f"0x{address.hex()} does not run the {contract.name} of this release")
