"""``edgeseal-gateway run``: the stages wired together, started, watched, stopped."""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import secrets
import shutil
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from edgeseal import topics
from edgeseal.adapters import allocator
from edgeseal.adapters.mqtt import MqttLink
from edgeseal.adapters.pkcs11 import Pkcs11Signer
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal_gateway import manual, sdnotify, settling
from edgeseal_gateway.board import Board
from edgeseal_gateway.chain.lease import RENEW_S, Lease
from edgeseal_gateway.chain.stateproofs import StateProofs
from edgeseal_gateway.chainstage import ChainStage
from edgeseal_gateway.config import Config
from edgeseal_gateway.courier import Courier
from edgeseal_gateway.figures import Figures, LeaseFigures
from edgeseal_gateway.indexchild import IndexChild
from edgeseal_gateway.ingest import Ingest
from edgeseal_gateway.receipts import Receipts
from edgeseal_gateway.relay import Relay
from edgeseal_gateway.sequencer import AnchorPolicy, Sequencer
from edgeseal_gateway.stage import Fate, Stage
from edgeseal_gateway.store import enrolling, fleetlog, guard
from edgeseal_gateway.store.database import Database, check_owner
from edgeseal_gateway.told import Told
from edgeseal_gateway.web.parts import Parts
from edgeseal_gateway.web.server import Server, read_tokens

WINDOW: Final = 128
IDLE_S: Final = 0.2
STOP_TIMEOUT_S: Final = 20.0
LEASE_WAIT_S: Final = 2.0
KEPT_BLOCK: Final = 4 << 20
KEPT_FREE: Final = 64 << 20
"""Larger than a message, and than a batch: their memory is used again, which costs a tenth less than fresh pages."""
_log = logging.getLogger("edgeseal.gateway")


def _boottime() -> float:
    """Return seconds that never jump and go on while the machine is suspended."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _boot() -> str:
    """Return which boot of which machine this is; something unique where the kernel does not say."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    except OSError:
        return secrets.token_hex(16)


def now_ms() -> int:
    """Return wall time in ms."""
    return time.time_ns() // 1_000_000


class Gateway:
    """Everything of one running gateway."""

    def __init__(self, config: Config) -> None:
        """Open store and key; nothing runs or listens yet. Raises UsageError, Unavailable or InvariantBroken."""
        self._config = config
        self._lock = _lock(config.state_dir / "lock")
        self.database = Database(config.store)
        self._profile = config.network()
        self._signer = Pkcs11Signer(config.key.token_key)
        check_owner(self.database, self._profile.fleet_log, self._signer.public_key.kid)
        with self.database.write() as connection:
            fleetlog.prepare(connection)
            fleetlog.check(connection)
            enrolling.prepare(connection)
            guard.forget_chain(connection)
            settling.keep_policy(connection, config.enforce, self._profile)
        # Durable: the chain must be looked at before the next signature; a restart here requires it again.
        self.board, self.fate, self._work, self.figures = Board(), Fate(), threading.Event(), Figures()
        log, told = self._profile.fleet_log, Told(self._profile.fleet_log)
        ingest = Ingest(self.database, now_ms, config.device_quota_bytes)
        relay = Relay(log, told, config.packages, now_ms)
        receipts = Receipts(log, self._profile.chain_id, told)
        self._courier = Courier(self.database, log, ingest, relay, receipts, now_ms)
        policy = AnchorPolicy(config.anchor_size, config.anchor_secs)
        self.lease = Lease(self.database, _boottime, now_ms, _boot(), alone_here=True)
        self._sequencer = Sequencer(self.database, self._signer, log, policy, time.monotonic, self.lease)
        self._index = IndexChild(config.path)
        self._proofs = StateProofs(self._profile, self.database)
        self.chain = ChainStage(
            config, self.database, self._signer, self.lease, self.board, self.figures, self._courier.wake, now_ms
        )
        self.link = MqttLink(
            config.mqtt.endpoint(), [topics.ALL_UP], self._courier.receive, on_failed=self.fate.end, window=WINDOW
        )
        parts = Parts(
            self.database, config.index, config.packages, self._profile, self._signer.public_key.kid, self.board,
            self._work.set, read_tokens(config.api.token_file), self.figures,
        )  # fmt: skip
        self.server = Server(config.api, parts)
        steps: dict[str, Callable[[], float]] = {
            "lease": self._hold, "messages": self._messages, "sending": self._sending, "sequencer": self._sequence,
            "chain": self.chain.step, "proofs": self._proofs.step, "index": self._index.step,
        }  # fmt: skip
        self._stages = [Stage(name, step, self.board, self.fate) for name, step in steps.items()]

    def run(self) -> None:
        """Run until a signal or a failure that cannot be waited out, then stop in good order.

        Raises the error that ended it, if one did.
        """
        self.server.start(self.fate.end)
        sdnotify.notify("READY=1")
        _log.info("running: API on %s, fleet log %s", self.server.url, self._profile.fleet_log.hex())
        if self._take_lease():
            self.link.start()
            for stage in self._stages:
                stage.start()
        while not self.fate.wait(5.0):
            if all(stage.is_alive() for stage in self._stages):
                sdnotify.notify("WATCHDOG=1")
        sdnotify.notify("STOPPING=1")
        self.stop()
        if self.fate.error is not None:
            raise self.fate.error

    def stop(self) -> None:
        """Let every stage finish its step, wait a little for a transaction under way, then close connections. What is
        half done is gone on with at the next start.
        """
        self.fate.end()
        self._work.set()
        self._courier.wake()
        deadline = time.monotonic() + STOP_TIMEOUT_S
        running = [stage for stage in self._stages if stage.ident is not None]
        for stage in running:
            stage.join(max(0.1, deadline - time.monotonic()))
        if running and self.fate.error is None and not any(stage.is_alive() for stage in self._stages):
            with contextlib.suppress(EdgesealError):
                self.chain.drain(self._config.chain.stop_wait_secs)
        with contextlib.suppress(EdgesealError):
            self.lease.release()
        self._courier.close()
        self._index.stop()
        self.server.stop()
        self.link.stop()
        os.close(self._lock)
        _log.info("stopped")

    def _take_lease(self) -> bool:
        """Wait for the lease; until it is ours nothing is taken in, sent or signed here. Return False at the end."""
        said = ""
        while not self.fate.ended:
            try:
                self._hold()
            except Unavailable as error:
                self.board.say("lease", error)
                if error.code != said:
                    _log.warning("waiting: %s", error)
                said = error.code
            except EdgesealError as error:
                self.fate.end(error)
            else:
                self.board.say("lease", None)
                return True
            sdnotify.notify("WATCHDOG=1")
            self.fate.wait(LEASE_WAIT_S)
        return False

    def _hold(self) -> float:
        try:
            self.lease.hold()
        finally:
            self.figures.put_lease(LeaseFigures(self.lease.held(), self.lease.token))
        self._work.set()
        return RENEW_S

    def _messages(self) -> float:
        trouble = self.lease.trouble()
        if trouble is not None:
            raise trouble  # one that was paused and wakes up leaves the store to whoever has it now
        free = shutil.disk_usage(self._config.state_dir).free
        if free < self._config.min_free_bytes:
            raise Unavailable(
                "disk_low",
                f"{free} bytes are free under {self._config.state_dir}, {self._config.min_free_bytes} are kept free",
                "free disk space: nothing is taken in until then, and nothing is lost",
            )
        if self._courier.step(IDLE_S):
            self._work.set()
        return 0.0

    def _sending(self) -> float:
        self._courier.outgoing.send(self.link, IDLE_S)
        self.figures.put_outbox(len(self._courier.outgoing))
        if not self.link.ready and self.link.trouble not in ("connecting", "subscribing", "not started"):
            trouble = Unavailable(
                "broker_unreachable", self.link.trouble, "is the broker running, are its names right?"
            )
            self.board.say("broker", trouble)
        else:
            self.board.say("broker", None)
        return 0.0

    def _sequence(self) -> float:
        self._work.wait(1.0)
        self._work.clear()
        manual.carry_out_flushes(self.database, self._sequencer.flush, now_ms())
        done = self._sequencer.step()
        self.board.say("signing", self._sequencer.blocked)
        if done:
            self._work.set()  # there may be more
            self._courier.wake()
            return self._config.head_interval_ms / 1000
        return 0.0 if self._sequencer.blocked is None else IDLE_S


def _lock(path: Path) -> int:
    """Return a descriptor that keeps other gateways off this state directory until it is closed."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise UsageError(
            "store_missing", f"cannot open {path}: {error}", "run `edgeseal-gateway init` first"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise UsageError("already_running", "another gateway runs on this state directory") from None
    return descriptor


def settle_memory() -> None:
    """Set the process's allocator for messages of up to a megabyte that come and go; before threads are started."""
    allocator.share_one_heap()
    allocator.keep_freed(KEPT_BLOCK, KEPT_FREE)


def run(config: Config) -> None:
    """Run a gateway in this process until SIGTERM or SIGINT; SIGHUP has it read its limits anew.

    Raises as :class:`Gateway` and :meth:`Gateway.run`.
    """
    settle_memory()
    gateway = Gateway(config)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: gateway.fate.end())
    signal.signal(signal.SIGHUP, lambda *_: gateway.chain.reload())
    gateway.run()
