"""An agent's uplink and commands over a link that is a function call: every message in order, none invented."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from edgeseal.errors import Unavailable
from edgeseal_agent.activation import ping
from edgeseal_agent.beliefs import Beliefs
from edgeseal_agent.commands import Action, Commands
from edgeseal_agent.configlink import UplinkConfig
from edgeseal_agent.uplink import Uplink

from .conftest import Bench

CONFIG = UplinkConfig(inflight_segments=4, receipt_timeout_s=2, retry_min_s=1, retry_max_s=2, flush_s=5)


class LoopLink:
    """Hands what is published to the fleet side, and its answers back. ``up`` False is a broker that is away."""

    def __init__(self, side: Any) -> None:
        self.side = side
        self.up = True
        self.uplink: Uplink | None = None
        self.sent: list[tuple[str, bytes]] = []
        self.lose: Callable[[str], bool] = lambda kind: False
        self.acks = 0
        self.lock = threading.Lock()
        self._carrier = ThreadPoolExecutor(1)  # as a real link does: not on the thread that publishes

    @property
    def ready(self) -> bool:
        return self.up

    def publish(self, topic: str, payload: bytes) -> None:
        if not self.up:
            raise Unavailable("mqtt_offline", "away")
        self.sent.append((topic, payload))
        if self.lose(topic.rsplit("/", 1)[1]):
            return
        with self.lock:
            replies = deque(self.side.handle(topic, payload))
        for reply in replies:
            self._carrier.submit(self.push, *reply)

    def push(self, topic: str, payload: bytes) -> None:
        """Deliver one message to the device."""
        assert self.uplink is not None
        if not self.lose(topic.rsplit("/", 1)[1]):
            self.uplink.received(topic, payload, self._ack)

    def close(self) -> None:
        """Wait until what is on its way has arrived or was turned away."""
        self._carrier.shutdown()

    def _ack(self) -> None:
        self.acks += 1


class Agent:
    """Journal, sealer, beliefs, commands and uplink of one bench, connected to its fleet side."""

    def __init__(self, bench: Bench, actions: dict[str, Action] | None = None, now_ms: int | None = None) -> None:
        self.bench = bench
        self.link = LoopLink(bench.fleet)
        self.beliefs = Beliefs(bench.store, bench.journal, bench.identity)
        self.uplink = Uplink(bench.store, bench.journal, self.beliefs, bench.identity, CONFIG, 1 << 20)
        self.commands = Commands(
            bench.store, bench.journal, self.beliefs, groups=("all",),
            first_position=bench.identity.first_fleet_size, secret=bytes(32), actions=actions or {"ping": ping},
            wait_sealed=bench.sealer.wait_for, ask=self.uplink.ask,
            wall_ms=lambda: int(time.time() * 1000) if now_ms is None else now_ms,
        )  # fmt: skip
        self.link.uplink = self.uplink
        bench.sealer._on_sealed = self.uplink.sealed

    @property
    def log(self) -> bytes:
        return self.bench.identity.log

    def start(self) -> None:
        self.uplink.start(self.link, self.commands)
        self.commands.start()
        self.uplink.connected()

    def stop(self) -> None:
        self.commands.stop()
        self.uplink.stop()
        self.link.close()


def wait(what: Callable[[], Any], seconds: float = 60) -> None:
    """Wait until ``what`` holds."""
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)
