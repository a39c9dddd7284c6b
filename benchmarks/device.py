"""A real device in a folder: initialised by the agent's own code, with its key in a SoftHSM token of its own."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from edgeseal.adapters import softhsm
from edgeseal.pack import Pack
from edgeseal_agent import config as configuration
from edgeseal_agent import identity, recovery
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.config import Config
from edgeseal_agent.initialise import initialise
from edgeseal_agent.journal import Journal
from edgeseal_agent.sealer import Sealer
from edgeseal_agent.sealing import SealPolicy
from tests.world import CHAIN, CONTRACT, World


def make_device(folder: Path, **sections: Any) -> Path:
    """Initialise a device in ``folder`` and return its configuration file; ``sections`` are further ones of it."""
    folder.mkdir(parents=True)
    world = World()
    pack = Pack(world.root.public, CHAIN, CONTRACT, bytes(32), world.log, world.keysets[0], world.heads[-1])
    (folder / "pack.cbor").write_bytes(pack.encode())
    path = folder / "agent.yaml"
    settings = {
        "schema": "edgeseal-agent/1",
        "name": "bench",
        "state_dir": "state",
        "provisioning": "pack.cbor",
        "key": {"module": softhsm.find_module(), "token": "edge", "label": "audit", "create": True},
        **sections,
    }
    path.write_text(json.dumps(settings))  # YAML holds JSON
    initialise(configuration.load(path))
    return path


@dataclass(frozen=True, slots=True)
class Running:
    """Journal and sealer of a device, as the daemon wires them, without what the row does not measure."""

    config: Config
    log: bytes
    secret: bytes
    journal: Journal
    sealer: Sealer

    @classmethod
    def start(cls, path: Path) -> Self:
        config = configuration.load(path)
        store = identity.open_store(config)
        known = identity.Identity.of(store.meta())
        begun = recovery.begin(store)
        sealer = Sealer(store, identity.open_signer(config.key, known.key))
        journal = Journal(
            store,
            boot=begun.boot,
            clock=DeviceClock(config.clock),
            policy=SealPolicy(config.seal.head_every, config.seal.head_max_ms),
            on_head=sealer.offer,
        )
        sealer.start(journal)
        return cls(config, known.log, identity.read_secret(config.state_dir), journal, sealer)

    def stop(self) -> None:
        self.sealer.stop()
        self.journal.close()
