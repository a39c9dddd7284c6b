"""Whether the contracts of a network profile stand where it says, are ours, and hold an open log."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from edgeseal.adapters.evm import BoundContract, Contract, EvmClient
from edgeseal.evmproof.keccak import keccak256
from edgeseal.network import NetworkProfile
from edgeseal_console.operate import deployment

LOG_STATES: Final = ("none", "open", "frozen", "closed")
_NAMES: Final = {
    "command_log_contract": "CommandLog", "model_registry": "ModelRegistry", "record_verifier": "RecordVerifier",
    "tenant_admin": "TenantAdmin",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: ``state`` is ok, warn or fail; ``remedy`` is None where there is nothing to do."""

    state: str
    what: str
    detail: str
    remedy: str | None = None


def contracts(client: EvmClient, network: NetworkProfile) -> Iterator[Finding]:
    """Yield what is found of each contract and, where all are those named, of the log. Raises Unavailable, Reverted."""
    named = [
        ("FleetLog", network.fleet_log_contract, network.fleet_log_code),
        ("IdentityRegistry", network.identity_registry, network.registry_code),
        *((_NAMES[key], one.address, one.code) for key, one in network.further()),
    ]
    good = True
    for name, address, expected in named:
        code = client.code(address)
        where = f"{name} 0x{address.hex()}"
        if keccak256(code) != expected:
            detail = "no contract there" if not code else "other code than the network profile names"
            good = False
            yield Finding("fail", where, detail, "correct the address, or deploy; never send to an unknown contract")
        elif (problem := deployment.code_problem(Contract(name), code, None)) is not None:
            yield Finding(
                "warn", where, f"the code the profile names, but not this release's build: {problem}",
                "use the release that deployed it, or deploy this one's",
            )  # fmt: skip
        else:
            yield Finding("ok", where, "this release's code")
    if good:
        yield from _log(client, network)


def _log(client: EvmClient, network: NetworkProfile) -> Iterator[Finding]:
    registry = BoundContract(client, Contract("IdentityRegistry"), network.identity_registry)
    log = BoundContract(client, Contract("FleetLog"), network.fleet_log_contract)
    if bytes.fromhex(registry.call("fleetLog")[2:]) != network.fleet_log_contract:
        yield Finding("fail", "IdentityRegistry", "names another FleetLog than the profile", "correct the profile")
        return
    state, successor, _ = log.call("stateOf", network.fleet_log)
    if LOG_STATES[state] != "open":
        follows = f", its successor is {bytes(successor).hex()}" if any(successor) else ""
        yield Finding(
            "fail", "fleet log", f"{LOG_STATES[state]}{follows}",
            "a frozen log needs a successor and an investigation: two histories were signed; a closed one has gone on",
        )  # fmt: skip
        return
    size = log.call("head", network.fleet_log)[0]
    kid = bytes(log.call("gatewayOf", network.fleet_log)[0])
    late, due = log.call("stale", network.fleet_log)
    detail = f"open, {size} leaves anchored, gateway {kid.hex()[:16]}…"
    if late:
        yield Finding("warn", "fleet log", f"{detail}, silent since {due}", "see edgeseal-gateway status")
    else:
        yield Finding("ok", "fleet log", detail)
