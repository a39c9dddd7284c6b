"""What one RPC endpoint says of the contracts at one block: as proofs under its state root where it gives any, else by
calls. Whether it is believed is ``chaincheck``'s to decide.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final

from edgeseal import contractstate
from edgeseal.adapters.evm import Contract, Rejected
from edgeseal.adapters.evmstate import StateReader
from edgeseal.commandlog import audience_id
from edgeseal.errors import Unavailable
from edgeseal.network import endpoint_name as name_of
from edgeseal.trust import ChainTrust, Trust
from edgeseal.verify.chain import ChainState, Proofs
from edgeseal_console.investigate.endpoint import Endpoint
from edgeseal_console.investigate.keyread import KeyReader

MAX_KIDS: Final = 100_000
"""Keys asked for; of more, the last are left out and not answered."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bundle makes worth asking: keys for the registry, hashes of its anchors' blocks, model packages, and the
    audiences (device logs, groups) to whom they may have been granted and commands sent.
    """

    kids: Collection[bytes]
    blocks: Collection[bytes]
    packages: Collection[bytes] = ()
    audiences: Collection[bytes | str] = ()


def open_state(endpoint: Endpoint, chain: ChainTrust, header: Any) -> StateReader | None:
    """Return what reads an endpoint's state as proofs, after comparing the contracts' code; None where it gives none.

    Raises Unavailable ``rpc_answer`` for proofs that do not hold, ``code_mismatch``.
    """
    reader = StateReader(endpoint, header)
    codes = {chain.fleet_log_contract: chain.fleet_log_code, chain.identity_registry: chain.registry_code}
    codes |= {one.address: one.code for one in (chain.command_log, chain.model_registry) if one is not None}
    try:
        reader.accounts(chain.id, [address for address in codes if address is not None])
    except Rejected:
        return None
    for address, code in codes.items():
        if address is not None and reader.account(address).code_hash != code:
            raise Unavailable("code_mismatch", f"at {name_of(endpoint.url)} other code stands at 0x{address.hex()}")
    return reader


def read_proofs(reader: StateReader, trust: Trust, asked: Asked) -> Proofs:
    """Return the proofs of the state that was read, and of what the further contracts hold."""
    chain = trust.chain
    assert chain is not None
    tenant, audiences = trust.tenant_root.kid, [audience_id(one) for one in asked.audiences]
    addresses = [chain.fleet_log_contract, chain.identity_registry]
    if chain.command_log is not None:
        addresses.append(chain.command_log.address)
        for audience in audiences:
            tip = partial(contractstate.command_tip, log=trust.fleet_log, audience=audience)
            reader.ask(chain.command_log.address, tip)
    if chain.model_registry is not None:
        addresses.append(chain.model_registry.address)
        for package in asked.packages:
            version = partial(contractstate.version_state, tenant=tenant, artifact=package)
            reader.ask(chain.model_registry.address, version)
        for package, audience in product(asked.packages, audiences):
            grants = partial(contractstate.grants, tenant=tenant, artifact=package, audience=audience)
            reader.ask(chain.model_registry.address, grants)
    known = [address for address in addresses if address is not None]
    storage = [part for address in known for part in reader.storage(address)]
    return Proofs(reader.accounts(chain.id, known), tuple(storage))


def read_state(
    endpoint: Endpoint, reader: StateReader | None, trust: Trust, kids: Collection[bytes], header: Any
) -> ChainState:
    """Return the anchored head and the registry's keys at a block: proved where ``reader`` is given, else as calls say.

    Raises Unavailable, ``log_unknown`` among others.
    """
    chain = trust.chain
    assert chain is not None and chain.fleet_log_contract is not None and chain.identity_registry is not None
    fleet_log = Contract("FleetLog")
    call = fleet_log.encode("head", trust.fleet_log)
    if reader is not None:
        head = reader.ask(chain.fleet_log_contract, lambda read: contractstate.log_head(read, trust.fleet_log))
        size, root = head.size, head.root
    else:
        try:
            size, root = fleet_log.decode_result("head", endpoint.call(chain.fleet_log_contract, call, header.number))
        except Rejected:
            raise Unavailable("log_unknown", "the contract does not know this fleet log") from None
    keys, told = {}, KeyReader(endpoint, chain.identity_registry, trust.fleet_log)
    for kid in list(kids)[:MAX_KIDS]:
        found = told.called(kid, header.number) if reader is None else told.proved(reader, kid)
        if found is not None:
            keys[kid] = found
    return ChainState(header.hash, header.number, header.timestamp, size, root, keys)
