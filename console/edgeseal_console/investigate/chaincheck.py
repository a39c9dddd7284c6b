"""What RPC endpoints say of a fleet log, believed only where the rules allow it (DESIGN: Verdicts; format.md 15).

Steps of :func:`read_chain`:
(1) without a chain in the trust file no endpoint is believed; (2) endpoints that the trust file names are believed,
others only where two at different hosts say the same; (3) each serves the trusted chain; (4) the block read is
final: `finalized` on a public chain, the newest on one the operator runs, which is ATTESTED whatever it says; (5)
the contracts there have the trusted code; (6) the anchored head and the registry's keys are read at that block, as
proofs under its state root where the endpoint gives any (EIP-1186), else by calls; (7) the bundle's anchor blocks are
looked up: canonical, and not above the final block.
Whatever two endpoints disagree about is believed of neither, nor is one that contradicts a block of the trust file.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from edgeseal.adapters.evm import EvmClient
from edgeseal.errors import EdgesealError, Unavailable
from edgeseal.network import endpoint_name as name_of
from edgeseal.trust import OPERATOR, ChainTrust, Trust
from edgeseal.verify.chain import ChainState, ChainView, RegistryKey
from edgeseal_console.investigate.chainread import Asked, open_state, read_proofs, read_state
from edgeseal_console.investigate.endpoint import Endpoint


def read_chain(
    trust: Trust | None,
    urls: Sequence[str],
    asked: Asked,
    connect: Callable[[str], Endpoint] = EvmClient,
) -> ChainView:
    """Return what may be believed of the chain: its state as far as the rules allow, and why the rest is not believed.

    Args:
        trust: the trust file's content.
        urls: RPC endpoints to ask, in order.
        asked: what to look up.
        connect: makes an endpoint of a URL.

    Never raises for what an endpoint says or fails to say: that is a problem in the view.
    """
    # (1)
    if trust is None or trust.chain is None:
        return _nothing("no_chain_trusted", "no trust file names a chain, so no RPC endpoint is believed")
    chain = trust.chain
    # (2)
    named = [url for url in urls if url in chain.endpoints]
    if named:
        return _agreed(trust, [connect(url) for url in named], asked, "named in the trust file")
    hosts = {(urlsplit(url).hostname or "").rstrip("."): url for url in reversed(urls)}  # a port makes no other host
    if len(hosts) < 2:
        return _nothing(
            "rpc_not_believed",
            "one endpoint that the trust file does not name is believed in nothing: give two, or name it",
        )
    return _agreed(trust, [connect(url) for url in hosts.values()], asked, "independent, and both say so")


def _nothing(reason: str, detail: str) -> ChainView:
    return ChainView("no endpoint is believed", problems=((reason, detail),))


def _agreed(trust: Trust, endpoints: Sequence[Endpoint], asked: Asked, why: str) -> ChainView:
    """Return what all endpoints say alike."""
    chain = trust.chain
    assert chain is not None
    how = f"RPC {' and '.join(name_of(endpoint.url) for endpoint in endpoints)}, {why}"
    try:
        # (3)
        for endpoint in endpoints:
            if endpoint.chain_id() != chain.id:
                return _nothing("wrong_chain", f"{name_of(endpoint.url)} serves another chain than {chain.id}")
        # (4)
        number = min(_final(endpoint, chain) for endpoint in endpoints)
        headers = [endpoint.header(number) for endpoint in endpoints]
        if any(header is None or header.hash != headers[0].hash for header in headers):
            return _nothing("rpc_disagree", f"the endpoints name different blocks at {number}")
        # (5)
        for endpoint in endpoints:
            problem = _code_problem(endpoint, chain, number)
            if problem:
                return _nothing(*problem)
            if any(_contradicts(endpoint, block) for block in chain.blocks & set(asked.blocks)):
                return _nothing(
                    "rpc_disagree", f"{name_of(endpoint.url)} holds another block than one the trust file names"
                )
        # (6)
        readers = [open_state(endpoint, chain, headers[0]) for endpoint in endpoints]
        states = [
            read_state(endpoint, reader, trust, asked.kids, headers[0])
            for endpoint, reader in zip(endpoints, readers, strict=True)
        ]
        state = _common(states)
        if state is None:
            return _nothing("rpc_disagree", f"the endpoints report different state at block {number}")
        # (7)
        final = frozenset(
            block for block in asked.blocks if all(_canonical(endpoint, block, number) for endpoint in endpoints)
        )
        proofs = next((read_proofs(reader, trust, asked) for reader in readers if reader is not None), None)
    except EdgesealError as error:
        return _nothing(error.code, f"the chain could not be read: {error.message}")
    return ChainView(how, final, state, proofs=proofs)


def _common(states: Sequence[ChainState]) -> ChainState | None:
    """Return the state that all endpoints tell, None where they tell different ones.

    When an end of a key was registered is told by logs, which one endpoint may have pruned: then it is not known.
    """
    first, *others = states
    if any(replace(other, keys=_undated(other)) != replace(first, keys=_undated(first)) for other in others):
        return None
    plain = _undated(first)
    same = {
        kid: key if all(other.keys[kid] == key for other in others) else plain[kid] for kid, key in first.keys.items()
    }
    return replace(first, keys=same)


def _undated(state: ChainState) -> dict[bytes, RegistryKey]:
    return {
        kid: replace(key, intervals=tuple(replace(interval, ended_at=None) for interval in key.intervals))
        for kid, key in state.keys.items()
    }


def _final(endpoint: Endpoint, chain: ChainTrust) -> int:
    header = endpoint.header("latest" if chain.kind == OPERATOR else "finalized")
    if header is None:
        raise Unavailable("rpc_answer", f"{name_of(endpoint.url)} names no final block")
    return int(header.number)


def _code_problem(endpoint: Endpoint, chain: ChainTrust, number: int) -> tuple[str, str] | None:
    for what, address, code in (
        ("fleet log contract", chain.fleet_log_contract, chain.fleet_log_code),
        ("identity registry", chain.identity_registry, chain.registry_code),
    ):
        if address is None or code is None:
            return "code_unknown", f"the trust file does not give the {what}'s address and code hash"
        if endpoint.code_hash(address, number) != code:
            return "code_mismatch", f"at {name_of(endpoint.url)} the {what} has other code than the trusted one"
    return None


def _canonical(endpoint: Endpoint, block: bytes, final: int) -> bool:
    header = endpoint.header(block)
    if header is None or header.hash != block or header.number > final:
        return False
    same = endpoint.header(header.number)
    return same is not None and same.hash == block


def _contradicts(endpoint: Endpoint, block: bytes) -> bool:
    """Say whether an endpoint knows a block and has another one in its place on its chain."""
    header = endpoint.header(block)
    same = None if header is None else endpoint.header(header.number)
    return header is not None and (header.hash != block or (same is not None and same.hash != block))
