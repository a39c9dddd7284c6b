"""The contracts as an operator sets them up: deployed, tenant and fleet log opened, the first keys registered."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgeseal import trust
from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, check_chain
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.chainrules import Preset
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError, UsageError
from edgeseal.network import Deployed, NetworkProfile
from edgeseal.pack import fleet_log_id
from edgeseal.possession import ROLES
from edgeseal_console.operate import deployment, networks
from edgeseal_console.operate.home import Home
from edgeseal_console.operate.registry import REASONS, Registry, Say
from edgeseal_console.operate.transactions import Preview, Transactor
from edgeseal_console.operate.trustfile import trust_from

__all__ = ["REASONS", "ROLES", "Planned", "Registry", "deploy", "fund", "plan"]

TRUST_NAME = "trust.yaml"
"""The trust file that follows from the profile, in the operator's folder."""


@dataclass(frozen=True, slots=True)
class Planned:
    """What a deployment would send and where its contracts would stand; ``code`` is what stands there now."""

    previews: list[Preview]
    contracts: list[dict[str, Any]]


def plan(home: Home, *, rpc: str, network: str | None = None, admins: deployment.Admins | None = None,
         salt: str = deployment.SALT) -> Planned:  # fmt: skip
    """Return what :func:`deploy` would send, sending nothing. Raises as it does."""
    client = EvmClient(rpc)
    chain_id, preset = _preset(client, network, None)
    transactor = Transactor(
        client, home.account(), chain_id, home.folder, lambda _: None, rules=preset.rules, dry_run=True
    )
    plans, expected = _plans(salt, admins)
    if not client.code(deployment.PROXY):
        transactor.attempt("pay for the deployment proxy", Contract("FleetLog"), deployment.PROXY_MAKER, b"",
                           deployment.PROXY_PRICE)  # fmt: skip
    _make(transactor, plans, salt)
    rows = [
        {
            "contract": name, "address": "0x" + parts[""].hex(),
            "code": deployment.problem(client, name, parts) or "ours",
        }
        for name, parts in expected.items()
    ]  # fmt: skip
    return Planned(transactor.previews, rows)


def deploy(
    home: Home, *, rpc: str, gateway: PublicKey, say: Say, network: str | None = None, kind: str | None = None,
    admins: deployment.Admins | None = None, salt: str = deployment.SALT, register_gateway: bool = True,
    further_rpc: Sequence[str] = (),
) -> NetworkProfile:  # fmt: skip
    """Deploy our contracts where they are missing, open tenant and fleet log, register operator and gateway.

    Everything is found again by a second try: contracts by their addresses, tenant and log on chain, the log's nonce in
    ``network.yaml.new``, which is durable before the log is opened and becomes the profile in the end.

    Args:
        network: preset of :func:`networks.names`; None takes the one for the chain id, else ``private``.
        kind: ``operator`` or ``public``, in place of the preset's.
        admins: who a TenantAdmin is deployed for; it has no power before the tenant's admin is changed to it.
        register_gateway: False leaves the gateway's key to be registered with its proof of possession.
        further_rpc: more endpoints of the same chain for the profile; everything here is asked of ``rpc``.

    Raises:
        UsageError: ``network_exists``, ``wrong_chain``, ``code_differs``, ``no_proxy``, ``tenant_taken``,
        ``deploy_differs``. Reverted, Unavailable.
    """
    if home.network_file.exists():
        raise UsageError("network_exists", f"{home.network_file} is there already", "move it away to deploy anew")
    client = EvmClient(rpc)
    chain_id, preset = _preset(client, network, kind)
    for url in further_rpc:
        check_chain(EvmClient(url), chain_id)
    transactor = Transactor(client, home.account(), chain_id, home.folder, say, rules=preset.rules)
    plans, expected = _plans(salt, admins)
    deployment.ensure_proxy(
        client, lambda what, to, wei: transactor.send(what, Contract("FleetLog"), to, b"", wei)
    )  # fmt: skip
    _make(transactor, plans, salt)
    # Durable on chain: contracts at addresses that follow from their code. A second try finds and checks them.
    deployment.check(client, expected)
    root = home.root()
    registry = BoundContract(client, Contract("IdentityRegistry"), expected["IdentityRegistry"][""])
    _open_tenant(transactor, registry, root, chain_id)
    urls = (rpc, *further_rpc)
    draft = _draft(home, client, preset, chain_id=chain_id, urls=urls, expected=expected, root=root.public_key)
    _open_log(transactor, draft, gateway)
    known = Registry(home, draft, say)
    if register_gateway:
        known.register(gateway, "gateway", bytes(32))
    operator = home.operator()
    known.register(operator.public_key, "operator", bytes(32), operator)
    (home.folder / TRUST_NAME).write_bytes(trust.render(trust_from(draft, blocks=frozenset(), endpoints=())))
    os.replace(_draft_file(home), home.network_file)
    # Durable: the profile under its name. Nothing is left to do.
    return draft


def _preset(client: EvmClient, network: str | None, kind: str | None) -> tuple[int, Preset]:
    chain_id = client.chain_id()
    found = networks.preset(network or networks.fitting(chain_id))
    if found.chain_id not in (None, chain_id):
        raise UsageError(
            "wrong_chain", f"{client.name} serves chain {chain_id}, {network} is chain {found.chain_id}",
            f"give an RPC endpoint of {network}, or another --network",
        )  # fmt: skip
    return chain_id, found if kind is None else replace(found, kind=kind)


def _plans(salt: str, admins: deployment.Admins | None) -> tuple[list[deployment.Planned], deployment.Expected]:
    plans, expected = deployment.plan_contracts(deployment.salt_of(salt))
    if admins is not None:
        more, further = deployment.plan_admin(deployment.salt_of(salt), admins)
        plans, expected = plans + more, expected | further
    return plans, expected


def _make(transactor: Transactor, plans: list[deployment.Planned], salt: str) -> None:
    """Deploy what is missing; what stands on a contract that is itself missing cannot be estimated in a dry run."""
    client, begun = transactor.client, bool(transactor.client.code(deployment.PROXY))
    for one in plans:
        if client.code(one.address):
            continue
        data = deployment.salt_of(salt) + one.code
        transactor.attempt(f"deploy {one.name}", Contract(one.name), deployment.PROXY, data, stands_alone=begun)
        begun = begun and one is not plans[0]


def _open_tenant(transactor: Transactor, registry: BoundContract, root: Pkcs11Signer, chain_id: int) -> None:
    key, account = root.public_key, transactor.account.address
    admin = bytes.fromhex(registry.call("adminOf", key.kid)[2:])
    if admin == account:
        return
    if any(admin):
        raise UsageError(
            "tenant_taken", f"the tenant is open already, with 0x{admin.hex()} as its admin",
            "use that account (account_key_file in console.yaml)",
        )  # fmt: skip
    nonce: int = registry.call("tenantNonce", key.kid)
    signature = root.sign(
        domain("tenant-open") + key.kid + chain_id.to_bytes(32, "big") + registry.address + account
        + nonce.to_bytes(32, "big")
    )  # fmt: skip
    data = registry.contract.encode("openTenant", key.x, key.y, account, signature[:32], signature[32:])
    transactor.send("open the tenant", registry.contract, registry.address, data)


def _draft_file(home: Home) -> Path:
    return home.network_file.with_name(home.network_file.name + ".new")


def _draft(
    home: Home, client: EvmClient, preset: Preset, *, chain_id: int, urls: tuple[str, ...],
    expected: deployment.Expected, root: PublicKey,
) -> NetworkProfile:  # fmt: skip
    """Return the profile to be, with the nonce of an earlier try if there was one."""
    path = _draft_file(home)
    fleet, registry = expected["FleetLog"][""], expected["IdentityRegistry"][""]
    try:
        earlier = NetworkProfile.decode(path.read_bytes())
    except (FileNotFoundError, FormatError):
        nonce, first = secrets.token_bytes(32), client.block_number()
    else:
        if (earlier.chain_id, earlier.fleet_log_contract, earlier.tenant_root) != (chain_id, fleet, root):
            raise UsageError(
                "deploy_differs", f"{path} is of another chain, contract or tenant",
                "finish that deployment with the same options, or move the file away",
            )  # fmt: skip
        nonce, first = earlier.nonce, earlier.first_block
    further = {
        field: Deployed(expected[name][""], client.code_hash(expected[name][""]))
        for field, name in (
            ("command_log", "CommandLog"), ("model_registry", "ModelRegistry"), ("record_verifier", "RecordVerifier"),
            ("tenant_admin", "TenantAdmin"),
        )
        if name in expected
    }  # fmt: skip
    made = NetworkProfile(
        chain_id, preset.kind, fleet, registry, client.code_hash(fleet), client.code_hash(registry), urls, root,
        nonce, fleet_log_id(root.kid, chain_id, fleet, nonce), rules=preset.rules, first_block=first, **further,
    )  # fmt: skip
    with path.open("wb") as file:
        file.write(made.encode())
        file.flush()
        os.fsync(file.fileno())
    # Durable: the nonce of the log to be opened. A second try opens the same log, or finds it open.
    return made


def _open_log(transactor: Transactor, network: NetworkProfile, gateway: PublicKey) -> None:
    log = BoundContract(transactor.client, Contract("FleetLog"), network.fleet_log_contract)
    active = bytes(log.call("activeLogOf", network.tenant_root.kid))
    if active == network.fleet_log:
        taken = bytes(log.call("gatewayOf", active)[0])
        if taken != gateway.kid:
            raise UsageError(
                "deploy_differs", f"the fleet log was opened for gateway key {taken.hex()}",
                "give that key; edgeseal chain gateway-key changes it afterwards",
            )  # fmt: skip
        return
    if any(active):
        raise UsageError(
            "tenant_taken", f"the tenant has an active log already: {active.hex()}",
            "use its network profile, or another tenant root key",
        )  # fmt: skip
    data = log.contract.encode("open", network.tenant_root.kid, gateway.x, gateway.y, network.nonce)
    transactor.send("open the fleet log", log.contract, log.address, data)


def fund(home: Home, network: NetworkProfile, address: str, say: Say) -> int:
    """Send half of the operator's balance to ``address`` (0x and 40 hex digits) and return the wei sent.

    Raises:
        UsageError: ``address``. Unavailable.
    """
    if re.fullmatch(r"0x[0-9a-fA-F]{40}", address) is None:
        raise UsageError("address", f"{address!r:.60} is no address: 0x and 40 hex digits")
    client = EvmClient(network.endpoints[0])
    transactor = Transactor(client, home.account(), network.chain_id, home.folder, say, rules=network.rules)
    wei = client.balance(transactor.account.address) // 2
    transactor.send(f"fund {address}", Contract("FleetLog"), bytes.fromhex(address[2:]), b"", wei)
    return wei
