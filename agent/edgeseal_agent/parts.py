"""All parts of one running agent, made from its configuration and wired to each other. Only the journal runs yet.

They are started by :mod:`edgeseal_agent.starting`, watched by :mod:`edgeseal_agent.watching` and left by
:mod:`edgeseal_agent.leaving`.
"""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from edgeseal_agent import identity, recovery
from edgeseal_agent.activation import Activation
from edgeseal_agent.attestwatch import AttestWatch
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.commands import Commands
from edgeseal_agent.config import Config
from edgeseal_agent.degraded import Ledger
from edgeseal_agent.disk import DiskGuard
from edgeseal_agent.incidentrule import IncidentRule
from edgeseal_agent.inference import Engine
from edgeseal_agent.intake import Intake
from edgeseal_agent.journal import Journal
from edgeseal_agent.lockwatch import LockWatch
from edgeseal_agent.modelwatch import ModelWatch
from edgeseal_agent.notify import Notifier
from edgeseal_agent.sealer import Sealer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.store import Store
from edgeseal_agent.thinning import Thinning, can_make_room
from edgeseal_agent.uplink import Uplink

if TYPE_CHECKING:
    from edgeseal.adapters.mqtt import MqttLink

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """How this run differs from the configuration: a list instead of its source, one pass only, acknowledgements."""

    list_path: Path | None = None
    once: bool = False
    again: bool = False
    acks: int | None = None


def build_name() -> str:
    """Return what runs, for records: program and version."""
    return f"edgeseal-agent {version('edgeseal')}"


class Parts:
    """The parts. Those that are None are made when their turn to start comes, or are not asked for at all."""

    def __init__(
        self, config: Config, options: Options, store: Store, stopping: threading.Event, ledger: Ledger
    ) -> None:
        """Take the next boot number. ``stopping`` asks to leave, ``ledger`` knows what went unrecorded before.

        Raises:
            UsageError: ``log_closed``, and what the key's configuration raises. Unavailable: disk or token; the store
                is as it was, but for the boot number. InvariantBroken: the store.
        """
        self.config = config
        self.options = options
        self.store = store
        self.stopping = stopping
        self.ledger = ledger
        self.notifier = Notifier()
        self.started_s = time.monotonic()
        self.identity = identity.Identity.of(store.meta())
        self.secret = identity.read_secret(config.state_dir)
        self.begun = recovery.begin(store)
        self.clock = DeviceClock(config.clock)
        self.guard = DiskGuard(store, config.storage, self._on_drop)
        self.guard.require_room(lambda: can_make_room(store))
        self.sealer = Sealer(store, identity.open_signer(config.key, self.identity.key), self._on_sealed)
        self.journal = Journal(
            store,
            boot=self.begun.boot,
            clock=self.clock,
            policy=SealPolicy(config.seal.head_every, config.seal.head_max_ms),
            on_head=self.sealer.offer,
            guard=self.guard.check,
            acks=options.acks,
        )
        self.thinning = Thinning(store, self.journal, self.guard, self.believed_ms, config.storage.retention_of())
        self.engine = Engine()
        self.model_watch = ModelWatch(config.model, self.journal, self._active_model, self._fall_back)
        self.lock_watch = LockWatch(dict(config.key.environment).get("TPM2_PKCS11_TCTI"), self.journal)
        self.incident_rule = IncidentRule(config.incidents, store, self.journal)
        self.attests = self._make_attests()
        self.uplink: Uplink | None = None
        self.activation: Activation | None = None
        self.commands: Commands | None = None
        self.link: MqttLink | None = None
        self.intake: Intake | None = None
        self.loading: threading.Thread | None = None
        self.loaded = threading.Event()
        self.model_failure: Exception | None = None

    def believed_ms(self) -> int:
        """Return the wall clock for what may be deleted by age; 0, which is before everything, while it is not set."""
        return 0 if self.clock.belief().source == "none" else self.clock.wall_ms()

    def _make_attests(self) -> AttestWatch | None:
        tpm = self.config.tpm
        if tpm is None:
            return None
        from edgeseal.adapters.tpmtools import TpmTools

        return AttestWatch(tpm, self.store, self.journal, self.identity.log, TpmTools(tpm.tcti))

    def _fall_back(self) -> str | None:
        assert self.activation is not None
        return self.activation.fall_back()

    def _active_model(self) -> bytes | None:
        package = self.engine.package
        return None if package is None or not self.loaded.is_set() else package.digest

    def _on_sealed(self, size: int) -> None:
        if self.uplink is not None:
            self.uplink.sealed(size)

    def _on_drop(self) -> None:
        detail = "storage.quota_mb is reached: inputs and openings are no longer kept"
        logger.warning(detail)
        self.journal.submit("gap", {"what": "inputs", "count": 0, "detail": detail})
