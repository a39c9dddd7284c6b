"""Our contracts at addresses that follow from their code: planned, made, and compared with the committed build.

Each is made by the deterministic deployment proxy (CREATE2): the address follows from the salt and the code, and is the
same on every chain that has the proxy. So a run that stopped is run again, and finds what is there already.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from edgeseal.adapters.evm import BoundContract, Contract, EvmClient, Rejected
from edgeseal.errors import Unavailable, UsageError
from edgeseal.evmproof.keccak import keccak256
from edgeseal_console.operate.transactions import KNOWN, POLL_S, WAIT_S

PROXY: Final = bytes.fromhex("4e59b44847b379578588920ca78fbf26c0b4956c")
"""The deterministic deployment proxy, at the same address wherever it was made: call data is salt ‖ init code."""
PROXY_MAKER: Final = bytes.fromhex("3fab184622dc19b6109349b94811493bf2a45362")
"""Who must hold :data:`PROXY_PRICE` for :data:`PROXY_TRANSACTION` to be taken. Nobody has this account's key."""
PROXY_PRICE: Final = 10**16
PROXY_TRANSACTION: Final = bytes.fromhex(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba0"
    "2222222222222222222222222222222222222222222222222222222222222222a0"
    "2222222222222222222222222222222222222222222222222222222222222222"
)
"""Makes the proxy on any chain that takes transactions without a chain id: the signature was chosen, not made."""
OVER_REGISTRY: Final = ("CommandLog", "ModelRegistry", "RecordVerifier")
ADMINISTERED: Final = ("IdentityRegistry", "CommandLog", "ModelRegistry")
SALT: Final = "edgeseal-1"


@dataclass(frozen=True, slots=True)
class Planned:
    """One deployment: the contract's name, its init code with arguments, and the address that follows from both."""

    name: str
    code: bytes
    address: bytes


Expected = dict[str, dict[str, bytes]]
"""Contract → its address (under ``""``) and the address each of its immutables must name."""


@dataclass(frozen=True, slots=True)
class Admins:
    """Who a TenantAdmin gives its roles: addresses of 20 bytes, waits in seconds."""

    proposers: tuple[bytes, ...]
    operator: bytes
    guardian: bytes
    wait_s: int = 172_800
    operations_delay_s: int = 0


def salt_of(text: str) -> bytes:
    """Return the 32-byte salt that a text stands for."""
    return sha256(text.encode()).digest()


def planned(name: str, salt: bytes, arguments: bytes = b"") -> Planned:
    """Return the deployment of ``name`` through the proxy."""
    code = Contract(name).bytecode + arguments
    return Planned(name, code, keccak256(b"\xff" + PROXY + salt + keccak256(code))[12:])


def created(creator: bytes, nonce: int) -> bytes:
    """Return the address of what a contract at ``creator`` creates as its number ``nonce`` (1 to 127)."""
    return keccak256(b"\xd6\x94" + creator + bytes([nonce]))[12:]


def word(address: bytes) -> bytes:
    """Return an address as a 32-byte word."""
    return bytes(12) + address


def plan_contracts(salt: bytes) -> tuple[list[Planned], Expected]:
    """Return what to deploy, in order, and what must then stand where: the registry makes its FleetLog itself."""
    registry = planned("IdentityRegistry", salt)
    fleet = created(registry.address, 1)
    plans = [registry, *(planned(name, salt, word(registry.address)) for name in OVER_REGISTRY)]
    expected: Expected = {
        "IdentityRegistry": {"": registry.address, "fleetLog": fleet},
        "FleetLog": {"": fleet, "registry": registry.address},
    }
    expected |= {plan.name: {"": plan.address, "registry": registry.address, "fleetLog": fleet} for plan in plans[1:]}
    return plans, expected


def plan_admin(salt: bytes, admins: Admins) -> tuple[list[Planned], Expected]:
    """Return the deployment of a TenantAdmin over the contracts of :func:`plan_contracts`, and what it makes."""
    _, deployed = plan_contracts(salt)
    targets = [word(deployed[name][""]) for name in ADMINISTERED]
    # ABI encoding of (Targets, uint256, address[], address, uint32, address): eight words, then the array.
    head = [
        *targets, admins.wait_s.to_bytes(32, "big"), (8 * 32).to_bytes(32, "big"), word(admins.operator),
        admins.operations_delay_s.to_bytes(32, "big"), word(admins.guardian),
    ]  # fmt: skip
    tail = [len(admins.proposers).to_bytes(32, "big"), *map(word, admins.proposers)]
    arguments = b"".join(head + tail)
    plan = planned("TenantAdmin", salt, arguments)
    timelock, manager = created(plan.address, 1), created(plan.address, 2)
    return [plan], {
        "TenantAdmin": {"": plan.address, "manager": manager, "timelock": timelock},
        "AccessManager": {"": manager},
        "TimelockController": {"": timelock},
    }


def problem(client: EvmClient, name: str, expected: dict[str, bytes]) -> str | None:
    """Return why the code at the address is not the committed contract with these immutables; None if it is.

    Raises Unavailable.
    """
    return code_problem(Contract(name), client.code(expected[""]), expected)


def code_problem(contract: Contract, found: bytes, expected: dict[str, bytes] | None) -> str | None:
    """Return why deployed code is not the committed build of ``contract``; None if it is.

    With ``expected`` None, immutables may name anything.
    """
    code = bytearray(found)
    if not code:
        return "nothing is deployed there"
    if len(code) != len(contract.runtime):
        return "other code than ours"
    for immutable, places in contract.immutables.items():
        for place in places:
            if expected is not None and code[place : place + 32] != word(expected[immutable]):
                return f"{immutable} is not 0x{expected[immutable].hex()}"
            code[place : place + 32] = bytes(32)
    return None if code == contract.runtime else "other code than ours"


def check(client: EvmClient, expected: Expected) -> None:
    """Check that every contract stands at its address and is ours, and that registry and log name each other.

    A chain that lies about code alone is caught out by the last. Raises UsageError ``code_differs``; Unavailable.
    """
    for name, parts in expected.items():
        found = problem(client, name, parts)
        if found is not None:
            raise UsageError(
                "code_differs", f"{name} at 0x{parts[''].hex()}: {found}", "deploy the contracts of this release anew"
            )
    if "IdentityRegistry" in expected:
        registry = BoundContract(client, Contract("IdentityRegistry"), expected["IdentityRegistry"][""])
        if bytes.fromhex(registry.call("fleetLog")[2:]) != expected["FleetLog"][""]:
            raise UsageError("code_differs", "the IdentityRegistry names another FleetLog")


def ensure_proxy(client: EvmClient, pay: Callable[[str, bytes, int], object]) -> None:
    """Make the deployment proxy where the chain lacks it. ``pay`` sends wei: what for, to whom, how much.

    Returns once it stands there: a call of an address without code succeeds, and does nothing. Raises UsageError
    ``no_proxy`` when the node does not take its transaction; Unavailable, ``tx_pending`` when it is not mined in time.
    """
    if client.code(PROXY):
        return
    owed = PROXY_PRICE - client.balance(PROXY_MAKER)
    if owed > 0:
        pay("pay for the deployment proxy", PROXY_MAKER, owed)
    # Durable on chain: what the proxy costs. A second try finds it paid.
    try:
        client.send_raw(PROXY_TRANSACTION)
    except Rejected as error:
        if not any(word in error.text.lower() for word in KNOWN):
            raise UsageError(
                "no_proxy",
                f"the chain lacks the deployment proxy 0x{PROXY.hex()}, and the node does not take it: {error.text}",
                "let the node take transactions without chain id (geth: --rpc.allow-unprotected-txs) for this once",
            ) from error
    deadline = time.monotonic() + WAIT_S
    while not client.code(PROXY):
        if time.monotonic() > deadline:
            raise Unavailable(
                "tx_pending", f"the deployment proxy is not there after {WAIT_S:.0f} s", "run the command again"
            )
        time.sleep(POLL_S)
    # Durable on chain: the proxy. A second try finds it.
