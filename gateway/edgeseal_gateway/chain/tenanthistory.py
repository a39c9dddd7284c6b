"""Where a tenant begins on chain, by the back-pointers of its own events: no index, no scan (as ``history``)."""

from __future__ import annotations

from edgeseal.adapters.evm import BoundContract


def opened_block(registry: BoundContract, tenant: bytes) -> int:
    """Return the block in which a tenant was opened in the IdentityRegistry, 0 where the back-pointers do not lead
    there. Nothing of the tenant, in any of our contracts, is older. Raises Unavailable as the node does.
    """
    contract = registry.contract
    names = {contract.event_topic(name): name for name in ("TenantOpened", "AdminProposed", "AdminChanged")}
    block = int(registry.call("tenantLastBlock", tenant))
    while block:
        before = block
        for entry in registry.client.logs([registry.address], [None, tenant], block, block):
            name = names.get(entry.log.topics[0]) if entry.log.topics else None
            if name == "TenantOpened":
                return block
            if name is not None:
                before = min(before, int(contract.decode_event(name, entry.log)["prevBlock"]))
        if before >= block:
            return 0
        block = before
    return 0
