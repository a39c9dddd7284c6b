"""The trust file that follows from an operator's network profile (``docs/format.md`` 15)."""

from __future__ import annotations

from edgeseal.network import NetworkProfile
from edgeseal.trust import ChainTrust, Trust


def trust_from(
    network: NetworkProfile, *, blocks: frozenset[bytes], endpoints: tuple[str, ...], models: bool = False
) -> Trust:
    """Return the trust that follows from what this operator knows; who is handed it decides whether to believe it.

    ``models`` names the model registry: whoever verifies then asks that every activated model was approved there, which
    a tenant that keeps no models in it cannot show.
    """
    chain = ChainTrust(
        network.chain_id, network.kind, network.fleet_log_contract, network.identity_registry,
        network.fleet_log_code, network.registry_code, blocks, endpoints, network.command_log,
        network.model_registry if models else None,
    )  # fmt: skip
    return Trust(network.tenant_root, network.fleet_log, chain)
