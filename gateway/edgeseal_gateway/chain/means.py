"""What the parts of the sender share: whose anchors, which key and account, which rules and clocks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from edgeseal import cose
from edgeseal.adapters.evm import BlockHeader, BoundContract, Contract, EvmClient, TransactionSigner
from edgeseal.errors import EdgesealError, Unavailable
from edgeseal.network import NetworkProfile
from edgeseal_gateway.chain.budget import SpendLimits
from edgeseal_gateway.chain.endpoints import Endpoints
from edgeseal_gateway.chain.fees import Bounds, Market
from edgeseal_gateway.chain.sendstate import SendRules
from edgeseal_gateway.store.database import LARGEST, Database


class Leader(Protocol):
    """The claim to sign: :class:`edgeseal_gateway.chain.lease.Lease` is one."""

    @property
    def token(self) -> int:
        """The fencing token, compared in the transaction that stores what is to be sent."""
        ...

    def held(self) -> bool:
        """Tell whether this process may sign now."""
        ...


@dataclass(slots=True)
class Settings:
    """What may be changed while the gateway runs: what is offered for a gas, and what may be spent."""

    bounds: Bounds
    limits: SpendLimits


@dataclass(slots=True)
class Counters:
    """What happened since the start: replacements, anchors that left their block, transactions sent."""

    bumps: int = 0
    reorgs: int = 0
    sent: int = 0


@dataclass(slots=True)
class Means:
    """Everything the sender's parts work with. ``monotonic`` is in seconds and never jumps; ``now_ms`` is wall time,
    for the journal and the budget only.
    """

    profile: NetworkProfile
    database: Database
    account: TransactionSigner
    key: cose.PublicKey
    endpoints: Endpoints
    lease: Leader
    rules: SendRules
    settings: Settings
    now_ms: Callable[[], int]
    monotonic: Callable[[], float]
    contract: Contract = field(default_factory=lambda: Contract("FleetLog"))
    counters: Counters = field(default_factory=Counters)
    trouble: EdgesealError | None = None

    def say(self, trouble: EdgesealError) -> None:
        """Note what stands in the way, unless something was said before in this step."""
        self.trouble = self.trouble or trouble


@dataclass(frozen=True, slots=True)
class Look:
    """The chain at one moment, by one endpoint: its newest header, the anchored size, the account's mined nonces."""

    client: EvmClient
    tip: BlockHeader
    anchored: int
    mined_nonces: int

    @classmethod
    def take(cls, means: Means, client: EvmClient) -> Look:
        """Look. Raises Unavailable."""
        tip = client.header("latest")
        if tip is None:
            raise Unavailable("rpc_answer", f"{client.name} has no newest block")
        fleet = BoundContract(client, means.contract, means.profile.fleet_log_contract)
        anchored = int(fleet.call("head", means.profile.fleet_log)[0])
        nonces = client.transaction_count(means.account.address)
        if max(anchored, nonces) > LARGEST:
            raise Unavailable("rpc_answer", f"{client.name}: {anchored} leaves anchored, {nonces} nonces used")
        return cls(client, tip, anchored, nonces)

    def market(self) -> Market:
        """Return what the chain asks for a gas now. Raises Unavailable."""
        return Market(self.tip.base_fee, self.client.priority_fee())
