"""``edgeseal-agent run``: puts the parts together, watches over them, and leaves cleanly.

Order of start: lock, store checked, boot number taken; then journal and sealer, so that the boot record is sealed
before anything heavy is loaded; then model, source and uplink. Order of leaving: source, commands, a shutdown record
under a signed head, the uplink's last chance, journal.
"""

from __future__ import annotations

import json
import logging
import math
import signal
import sqlite3
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from edgeseal.errors import EdgesealError, InvariantBroken, Unavailable, UsageError
from edgeseal_agent import closing, identity, incidents, recovery, retention
from edgeseal_agent.activation import Activation, ping
from edgeseal_agent.attestwatch import AttestWatch
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.clock import DeviceClock
from edgeseal_agent.commands import Commands
from edgeseal_agent.config import Config
from edgeseal_agent.degraded import DEGRADE, Ledger, Unrecorded, is_recorders
from edgeseal_agent.disk import MB, DiskGuard
from edgeseal_agent.foldersource import FolderSource
from edgeseal_agent.incidentrule import IncidentRule
from edgeseal_agent.inference import Engine, InferenceRecorder
from edgeseal_agent.intake import Intake
from edgeseal_agent.journal import Journal
from edgeseal_agent.listsource import ListSource
from edgeseal_agent.lockwatch import LockWatch
from edgeseal_agent.modelwatch import ModelWatch
from edgeseal_agent.mqttlink import make_link
from edgeseal_agent.notify import Notifier
from edgeseal_agent.predecessor import LOST
from edgeseal_agent.sealer import Sealer, Signer
from edgeseal_agent.sealing import SealPolicy
from edgeseal_agent.source import Source
from edgeseal_agent.store import Store
from edgeseal_agent.thinning import Thinning
from edgeseal_agent.uplink import Uplink

logger = logging.getLogger(__name__)

STATUS_NAME: Final = "status.json"
STATUS_EVERY_S: Final = 1.0
RETAIN_EVERY_S: Final = 3_600.0
RING_EVERY_S: Final = 10.0
SEAL_TIMEOUT_S: Final = 60.0
SWITCH_S: Final = 0.0001
"""Seconds one thread may hold the interpreter while another waits: short, so that the journal never delays a model."""


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


def run(config: Config, options: Options) -> int:
    """Run until SIGTERM or SIGINT, or with ``once`` until the source is worked through; return the exit code, 0.

    Raises:
        UsageError: ``state_missing``, ``store_lost``, ``already_running``, and what the configuration asks for and
            cannot be had. A log that ended is only sent to its end.
        Unavailable: disk or token. InvariantBroken: the store, or a defect of ours. What was acknowledged is durable.
    """
    logging.basicConfig(format="edgeseal-agent: %(message)s", level=logging.INFO)
    sys.setswitchinterval(SWITCH_S)
    store = identity.open_store(config)
    with identity.exclusive(config.state_dir):
        if closing.ending(store) is not None:
            return _send_rest(config, store)
        stopping = _leave_on_signal()
        ledger = Ledger(config.state_dir)
        unrecorded: Unrecorded | None = None
        while not stopping.is_set():
            try:
                _run_recorded(config, options, store, stopping, ledger)
                return 0
            except EdgesealError as error:
                if config.storage.on_failure != DEGRADE or options.once or not is_recorders(error):
                    raise
                logger.error("nothing can be recorded, the model goes on: %s", error)
                unrecorded = unrecorded or Unrecorded(config, ledger)
                unrecorded.carry_on(error, stopping)
    return 0


def _leave_on_signal() -> threading.Event:
    """Return an event that SIGTERM and SIGINT set."""
    stopping = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda number, frame: stopping.set())
    return stopping


def _run_recorded(
    config: Config, options: Options, store: Store, stopping: threading.Event, ledger: Ledger
) -> None:
    """Run with everything recorded, until asked to leave. Raises what ended a part."""
    DiskGuard(store, config.storage).check()
    daemon = Daemon(config, options, store, stopping=stopping, ledger=ledger)
    try:
        daemon.start()
        daemon.watch()
    finally:
        daemon.stop()


def _send_rest(config: Config, store: Store) -> int:
    """Bring a log that ended to the gateway, as far as it lets us before somebody asks to leave; return 0."""
    stopping, notifier = _leave_on_signal(), Notifier()
    notifier.send("READY=1", "STATUS=this log was closed")
    logger.info("this log was closed: nothing is recorded, what has no receipt is sent")
    whole = closing.send_rest(config, store, math.inf, stopping, tick=lambda: notifier.send("WATCHDOG=1"))
    logger.info("%s", "a receipt covers all of it" if whole else "left before a receipt covered all of it")
    return 0


class Daemon:
    """All parts of one running agent."""

    def __init__(
        self, config: Config, options: Options, store: Store, signer: Signer | None = None,
        stopping: threading.Event | None = None, ledger: Ledger | None = None,
    ) -> None:  # fmt: skip
        """Take the next boot number; nothing runs yet. ``signer`` stands in for the configured key, ``stopping`` asks
        to leave, ``ledger`` knows what went unrecorded before.
        """
        self._config = config
        self._options = options
        self._store = store
        self._notifier = Notifier()
        self._stopping = stopping or threading.Event()
        self._ledger = ledger
        self._started_s = time.monotonic()
        self._identity = identity.Identity.of(store.meta())
        self._secret = identity.read_secret(config.state_dir)
        self._begun = recovery.begin(store)
        self._clock = DeviceClock(config.clock)
        self._intake: Intake | None = None
        self._guard = DiskGuard(store, config.storage, self._on_drop, self._on_pressed)
        self._guard.require_room()
        self._sealer = Sealer(store, signer or identity.open_signer(config.key, self._identity.key), self._on_sealed)
        self._journal = Journal(
            store,
            boot=self._begun.boot,
            clock=self._clock,
            policy=SealPolicy(config.seal.head_every, config.seal.head_max_ms),
            on_head=self._sealer.offer,
            guard=self._guard.check,
            acks=options.acks,
        )
        self._thinning = Thinning(
            store, self._journal, self._guard, self._believed_ms, config.storage.retention_of()
        )
        self._engine = Engine()
        self._model_watch = ModelWatch(config.model, self._journal, self._active_model, self._fall_back)
        self._lock_watch = LockWatch(dict(config.key.environment).get("TPM2_PKCS11_TCTI"), self._journal)
        self._incident_rule = IncidentRule(config.incidents, store, self._journal)
        self._attests = self._make_attests()
        self._uplink: Uplink | None = None
        self._commands: Commands | None = None
        self._link: Any = None
        self._loading: threading.Thread | None = None
        self._loaded = threading.Event()
        self._model_failure: Exception | None = None

    def start(self) -> None:
        """Start everything, in the order the module's text gives."""
        self._sealer.start(self._journal)
        self._journal.append("boot", self._boot_fields())
        self._tell_lost()
        if self._ledger is not None:
            self._ledger.tell(self._store, self._journal)
            if self._config.storage.on_failure == DEGRADE:
                self._ledger.make_room()
        if self._attests is not None:
            self._attests.start()
        self._start_uplink()
        self._loading = threading.Thread(target=self._start_model, name="model", daemon=True)
        self._loading.start()
        known, begun = self._identity, self._begun
        clean = "" if begun.clean else ", the run before did not end cleanly"
        logger.info("%s, log %s: %d records, start %d%s", known.name, known.log.hex(), begun.size, begun.boot, clean)
        self._notifier.send("READY=1", f"STATUS=log {self._identity.log.hex()}, {self._journal.size} records")

    def _tell_lost(self) -> None:
        """Record, once and first of all, what is missing before this log."""
        text = self._store.meta().get(LOST)
        if text is not None:

            def forget(connection: sqlite3.Connection, seq: int) -> None:
                connection.execute("DELETE FROM meta WHERE key = ?", (LOST,))

            self._journal.append("gap", {"what": "predecessor", "count": 0, "detail": text[:400]}, forget)
            # Durable: the gap, and that it is told; one transaction.

    def watch(self) -> None:
        """Return when asked to leave or when a run of one pass is over; raise what ended a part."""
        next_beat = next_retention = time.monotonic()
        pause_s = 0.1 if self._options.once else min(STATUS_EVERY_S, self._notifier.watchdog_s or STATUS_EVERY_S)
        while not self._stopping.wait(pause_s):
            now = time.monotonic()
            self._raise_failures()
            if now >= next_beat:
                next_beat = now + self._config.seal.heartbeat_s
                self._journal.submit("heartbeat", self._heartbeat())
            if now >= next_retention:
                next_retention = now + (RING_EVERY_S if self._config.storage.ring_records else RETAIN_EVERY_S)
                self._journal.execute(self._retain)
            self._keep_house()
            self._write_status(running=True)
            self._notifier.send("WATCHDOG=1")
            if self._options.once and self._is_idle():
                break
        self._raise_failures()

    def _keep_house(self) -> None:
        """Take up what people ask for, and make room; a journal that has stopped is named by the next look at parts."""
        with suppress(Unavailable):
            self._model_watch.look(time.monotonic())
            self._lock_watch.look(time.monotonic())
            incidents.take_up(self._config.state_dir, self._store, self._journal)
            self._incident_rule.step()
            while (done := self._thinning.step()) == "stripped":
                continue
            if self._intake is not None:
                # Where nothing is left to take, inputs go on until the guard stops the agent and says why.
                waits = done is not None and self._guard.is_pressed()
                (self._intake.room.clear if waits else self._intake.room.set)()

    def _fall_back(self) -> str | None:
        return self._activation.fall_back()

    def _active_model(self) -> bytes | None:
        package = self._engine.package
        return None if package is None or not self._loaded.is_set() else package.digest

    def _is_idle(self) -> bool:
        return self._loaded.is_set() and (self._intake is None or self._intake.idle.is_set())

    def stop(self) -> None:
        """Leave: seal everything, give the uplink its time, close. Raises nothing that another error would hide."""
        self._notifier.send("STOPPING=1")
        if self._loading is not None:
            self._loading.join(SEAL_TIMEOUT_S)
        for part in (self._intake, self._commands, self._attests):
            if part is not None:
                part.stop()
        try:
            if self._journal.failure is None:
                self._journal.append("shutdown", {"reason": "once" if not self._stopping.is_set() else "signal"})
                # Durable with a head payload over everything; a restart signs it if we do not get that far.
                self._sealer.wait_for(self._journal.size, SEAL_TIMEOUT_S)
                self._flush()
        except EdgesealError as error:
            logger.warning("not left cleanly: %s", error)
        finally:
            self._close()

    def _close(self) -> None:
        if self._uplink is not None:
            self._uplink.stop()
        if self._link is not None:
            self._link.stop(1.0)
        self._sealer.stop()
        self._journal.close()
        self._write_status(running=False)
        logger.info("left with %d records, %d of them under a signed head", self._journal.size, self._sealer.size)

    def _flush(self) -> None:
        if self._uplink is not None and self._link is not None and self._link.ready:
            self._uplink.flush(self._journal.size, self._config.uplink.flush_s)

    def _boot_fields(self) -> dict[str, Any]:
        reason = "init" if self._begun.size == 2 else "start"
        return {
            "reason": reason, "clean": self._begun.clean, "build": build_name(), "config": self._config.digest,
        }  # fmt: skip

    def _start_uplink(self) -> None:
        config = self._config
        beliefs = Beliefs(self._store, self._journal, self._identity)
        self._uplink = Uplink(
            self._store, self._journal, beliefs, self._identity, config.uplink, config.model.max_package_mb * MB
        )
        self._activation = Activation(self._store, self._journal, self._engine, config.model, self._uplink.fetch)
        self._commands = Commands(
            self._store,
            self._journal,
            beliefs,
            groups=config.groups,
            first_position=self._identity.first_fleet_size,
            secret=self._secret,
            actions={"ping": ping, "model.activate": self._activation.obey},
            wait_sealed=self._sealer.wait_for,
            ask=self._uplink.ask,
            wall_ms=self._clock.wall_ms,
        )
        if config.mqtt is None:
            return
        self._link = make_link(config.mqtt, self._identity.log, self._uplink)
        self._uplink.start(self._link, self._commands)
        self._link.start()

    def _start_model(self) -> None:
        """Load the model beside everything else, then open the source and begin to obey."""
        assert self._commands is not None
        try:
            self._activation.start_up()
            if self._stopping.is_set():
                return
            self._commands.start()
            source = self._make_source()
            if source is not None and self._options.once and self._config.mqtt is None and self._engine.package is None:
                raise UsageError("no_model", "no model is active, and without mqtt none can come", "set model.package")
            if source is not None:
                self._intake = self._make_intake(source)
                self._intake.start()
        except (EdgesealError, OSError, sqlite3.Error) as error:
            self._model_failure = error
        finally:
            self._loaded.set()

    def _make_attests(self) -> AttestWatch | None:
        from edgeseal.adapters.tpmtools import TpmTools

        tpm = self._config.tpm
        if tpm is None:
            return None
        return AttestWatch(tpm, self._store, self._journal, self._identity.log, TpmTools(tpm.tcti))

    def _make_source(self) -> Source | None:
        config, path = self._config.source, self._options.list_path
        if path is None and config.kind == "list":
            path = config.path
        if path is not None:
            if self._options.again:
                self._journal.execute(lambda c: c.execute("DELETE FROM taken WHERE source LIKE 'list:%'")).result()
            return ListSource(self._store, path)
        if config.kind == "none" or config.path is None or config.done_dir is None or config.failed_dir is None:
            return None
        return FolderSource(
            self._store, config.path, config.done_dir, config.failed_dir, config.settle_ms, self._forget
        )

    def _forget(self, source: str, names: list[str]) -> None:
        rows = [(source, name) for name in names]
        self._journal.execute(lambda c: c.executemany("DELETE FROM taken WHERE source = ? AND name = ?", rows))

    def _make_intake(self, source: Source) -> Intake:
        recorder = InferenceRecorder(
            self._journal,
            log=self._identity.log,
            secret=self._secret,
            config_digest=self._config.digest,
            build=build_name(),
            plain_input=self._config.source.input_mode == "plain",
            keeps=lambda: self._guard.keeps_inputs,
            flagged=lambda: self._model_watch.flagged,
        )
        return Intake(source, self._engine, recorder, self._journal, poll_ms=self._config.source.poll_ms)

    def _on_sealed(self, size: int) -> None:
        if self._uplink is not None:
            self._uplink.sealed(size)

    def _on_drop(self) -> None:
        detail = "storage.quota_mb is reached: inputs and openings are no longer kept"
        logger.warning(detail)
        self._journal.submit("gap", {"what": "inputs", "count": 0, "detail": detail})

    def _on_pressed(self) -> None:
        """Let inputs wait; the next tick that finds room, or nothing left to make it of, lets them on."""
        if self._intake is not None:
            self._intake.room.clear()

    def _heartbeat(self) -> dict[str, int]:
        acknowledged = self._uplink.status()["acknowledged"] if self._uplink is not None else 0
        size = self._journal.size
        return {
            "up": int(time.monotonic() - self._started_s), "records": size, "free": self._guard.free_bytes(),
            "unsent": max(0, size - acknowledged),
        }  # fmt: skip

    def _retain(self, connection: sqlite3.Connection) -> int:
        storage = self._config.storage
        gone = retention.delete_beyond_ring(connection, storage.ring_records)
        return gone + retention.delete_old_inputs(connection, self._believed_ms(), storage.retention_days)

    def _believed_ms(self) -> int:
        """Return the wall clock for what may be deleted by age; 0, which is before everything, while it is not set."""
        return 0 if self._clock.belief().source == "none" else self._clock.wall_ms()

    def _raise_failures(self) -> None:
        """Raise what ended a part for good. A token that is away or a broker that is down ends nothing."""
        parts = (self._journal, self._uplink, self._commands, self._intake)
        found = [part.failure for part in parts if part is not None and part.failure is not None]
        if self._model_failure is not None:
            found.append(self._model_failure)
        if self._sealer.failure is not None and not isinstance(self._sealer.failure, Unavailable):
            found.append(self._sealer.failure)
        for failure in found:
            if isinstance(failure, EdgesealError):
                raise failure
            raise InvariantBroken("agent_defect", f"{type(failure).__name__}: {failure}") from failure

    def _write_status(self, running: bool) -> None:
        """Write what only this process knows, for ``status``; not durable, and gone with the next start."""
        parts = {"intake": self._intake, "uplink": self._uplink, "commands": self._commands}
        report: dict[str, Any] = {
            "running": running,
            "written": int(time.time()),
            "uptime_s": int(time.monotonic() - self._started_s),
            "sealer": None if self._sealer.failure is None else str(self._sealer.failure),
            **{name: None if part is None else part.status() for name, part in parts.items()},
        }
        if self._link is not None and report["uplink"] is not None:
            report["uplink"]["trouble"] = self._link.trouble
        path = self._config.state_dir / STATUS_NAME
        draft = path.with_name(f".{STATUS_NAME}.new")
        try:
            draft.write_text(json.dumps(report))
            draft.rename(path)
        except OSError:
            return  # a full disk is the journal's to report
