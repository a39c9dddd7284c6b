"""What one RPC endpoint says of the contracts at one block: as proofs under its state root where it gives any, else by
calls. Whether it is believed is ``chaincheck``'s to decide.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any, Final, Protocol

from edgeseal import contractstate
from edgeseal.adapters.evm import Contract, Rejected
from edgeseal.adapters.evmstate import StateReader
from edgeseal.commandlog import audience_id
from edgeseal.errors import Unavailable
from edgeseal.trust import ChainTrust, Trust
from edgeseal.verify.chain import ChainState, Interval, Proofs, RegistryKey

ROLES: Final = contractstate.ROLES
MAX_EVENTS: Final = 256
"""Registry events read for one key."""
MAX_KIDS: Final = 100_000

_EVENTS: Final = ("KeyRegistered", "KeySuspended", "KeyReinstated", "KeyRevoked")
_OPEN: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Asked:
    """What a bundle makes worth asking: keys for the registry, hashes of its anchors' blocks, model packages, and the
    audiences (device logs, groups) to whom they may have been granted and commands sent.
    """

    kids: Collection[bytes]
    blocks: Collection[bytes]
    packages: Collection[bytes] = ()
    audiences: Collection[bytes | str] = ()


class Endpoint(Protocol):
    """What is asked of a node; :class:`edgeseal.adapters.evm.EvmClient` is one."""

    url: str

    def chain_id(self) -> int:
        """Return the chain id."""

    def header(self, block: Any) -> Any:
        """Return the header of a block (number, hash, timestamp), None if there is none."""

    def code_hash(self, address: bytes, block: Any = ...) -> bytes:
        """Return Keccak-256 of the code at an address."""

    def call(self, to: bytes, data: bytes, block: Any = ...) -> bytes:
        """Return what a call answers."""

    def logs(self, addresses: Sequence[bytes], topics: Sequence[bytes | None], first: int, last: int) -> list[Any]:
        """Return logs."""

    def proof(self, address: bytes, slots: Sequence[bytes], block: Any) -> list[bytes]:
        """Return the trie nodes of a state proof. Raises Rejected where it gives none."""


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
            raise Unavailable("code_mismatch", f"at {endpoint.url} other code stands at 0x{address.hex()}")
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
    fleet_log, registry = Contract("FleetLog"), Contract("IdentityRegistry")
    call = fleet_log.encode("head", trust.fleet_log)
    if reader is not None:
        head = reader.ask(chain.fleet_log_contract, lambda read: contractstate.log_head(read, trust.fleet_log))
        size, root = head.size, head.root
    else:
        try:
            size, root = fleet_log.decode_result("head", endpoint.call(chain.fleet_log_contract, call, header.number))
        except Rejected:
            raise Unavailable("log_unknown", "the contract does not know this fleet log") from None
    keys = {}
    for kid in list(kids)[:MAX_KIDS]:
        if reader is not None:
            found = _proved_key(endpoint, reader, registry, chain.identity_registry, trust.fleet_log, kid)
        else:
            found = _key(endpoint, registry, chain.identity_registry, trust.fleet_log, kid, header.number)
        if found is not None:
            keys[kid] = found
    return ChainState(header.hash, header.number, header.timestamp, size, root, keys)


def _key(
    endpoint: Endpoint, registry: Contract, address: bytes, log: bytes, kid: bytes, number: int
) -> RegistryKey | None:
    try:
        answer = endpoint.call(address, registry.encode("keyOf", log, kid), number)
    except Rejected:
        return None
    role, status, last, start, until = registry.decode_result("keyOf", answer)
    if not status or role >= len(ROLES):
        return None
    events = _events(endpoint, registry, address, log, kid, last)
    if not events:
        return RegistryKey(ROLES[role], (Interval(start, None if until == _OPEN else until, None),))
    return RegistryKey(ROLES[role], intervals(events))


def _proved_key(
    endpoint: Endpoint, reader: StateReader, registry: Contract, address: bytes, log: bytes, kid: bytes
) -> RegistryKey | None:
    """Return a key by the registry's storage. Events only add at which size its ends were registered, and only where
    they add up to the same intervals.
    """
    state = reader.ask(address, lambda read: contractstate.key_state(read, log, kid))
    if state is None:
        return None
    plain = tuple(Interval(start, until, None) for start, until in state.intervals)
    if all(interval.until is None for interval in plain):
        return RegistryKey(state.role, plain)
    told = intervals(_events(endpoint, registry, address, log, kid, state.last_block))
    same = [(i.start, i.until) for i in told] == [(i.start, i.until) for i in plain]
    return RegistryKey(state.role, told if same else plain)


def _events(
    endpoint: Endpoint, registry: Contract, address: bytes, log: bytes, kid: bytes, block: int
) -> list[tuple[str, dict[str, Any]]]:
    """Return a key's events, oldest first: each names the block of the one before."""
    topics = {registry.event_topic(name): name for name in _EVENTS}
    found: list[tuple[str, dict[str, Any]]] = []
    seen: set[int] = set()
    while block and block not in seen and len(found) < MAX_EVENTS:
        seen.add(block)
        here = [entry.log for entry in endpoint.logs([address], [None, log, kid], block, block)]
        decoded = [
            (topics[entry.topics[0]], registry.decode_event(topics[entry.topics[0]], entry))
            for entry in here
            if entry.topics[0] in topics
        ]
        if not decoded:
            break
        found = decoded + found
        block = int(decoded[0][1].get("prevBlock", 0))
    return found


def intervals(events: Iterable[tuple[str, dict[str, Any]]]) -> tuple[Interval, ...]:
    """Return the validity that a key's registry events, oldest first, add up to: what was ended stays ended, and a
    later, lower end also cuts earlier intervals."""
    found: list[Interval] = []
    for name, values in events:
        if name in ("KeyRegistered", "KeyReinstated"):
            found.append(Interval(int(values["from"]), None, None))
            continue
        until, ended_at = int(values["until"]), int(values["anchored"])
        found = [_cut(interval, until, ended_at) for interval in found]
    return tuple(found)


def _cut(interval: Interval, until: int, ended_at: int) -> Interval:
    if interval.until is not None and interval.until <= until:
        return interval
    earlier = ended_at if interval.ended_at is None else min(ended_at, interval.ended_at)
    return Interval(interval.start, max(until, interval.start), earlier)
