"""A founded gateway store that follows a chain of events (``tests.eventchain``)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from edgeseal.chainrules import ChainRules
from edgeseal.network import Deployed
from edgeseal_gateway import standing
from edgeseal_gateway.chain.follow import Follower
from edgeseal_gateway.store import registry
from edgeseal_gateway.store.database import Database
from tests.eventchain import Event, EventChain, EventNode
from tests.gatewaystore import Founded

RULES = ChainRules("test", "tag", 1, 1_000, "public", 6_900, "none", None, 10**12, 10**11, 1)


class Followed(Founded):
    """A store that follows a chain of events through one node."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.profile = replace(
            self.profile, command_log=Deployed(b"\xc2" * 20, bytes(32)),
            model_registry=Deployed(b"\xc3" * 20, bytes(32)), rules=RULES,
        )  # fmt: skip
        self.chain = EventChain(self.profile, gateway=self.signer.public_key.kid)
        self.node = EventNode(self.chain)
        self.node.final = 0
        # The chain stage has connections of its own, as in the gateway: ingest notices what it writes.
        self.follower = Follower(self.node, self.profile, Database(self.path))

    def key(self, name: str, kid: bytes, **values: Any) -> Event:
        return Event("IdentityRegistry", name, {"logId": self.profile.fleet_log, "kid": kid, **values})

    def look(self) -> None:
        stand = self.follower.look()
        assert (stand.number, stand.hash) == (self.chain.blocks[-1].number, self.chain.blocks[-1].hash)
        self.audit()

    def audit(self) -> None:
        """What is stored is what the chain says up to the block it stands at, no more and no less."""
        rows = self.read(lambda c: list(c.execute("SELECT number, block, event FROM mirrored")))
        tip = self.read(registry.tip)
        assert tip is not None
        said = [
            (block.number, block.hash, event.name)
            for block in self.chain.blocks[: tip.number + 1]
            for event in block.events
            if event.name != "TenantOpened"
        ]
        assert rows == said

    def status(self, kid: bytes) -> str | None:
        key = standing.key(self.ask(registry.about, kid))
        return None if key is None else key.status

    def command(self, name: str, **values: Any) -> Event:
        return Event("CommandLog", name, {"logId": self.profile.fleet_log, **values})

    def model(self, name: str, **values: Any) -> Event:
        return Event("ModelRegistry", name, {"tenant": self.profile.tenant_root.kid, **values})

    def now(self) -> int:
        """Return the time of the newest block."""
        return self.chain.blocks[-1].time
