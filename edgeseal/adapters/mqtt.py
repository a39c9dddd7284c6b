"""One MQTT 5 connection that keeps itself up: QoS 1, TLS, a persistent session, acknowledged when the caller says so.

Network input and output run on paho's thread; the caller's functions run one after another on a thread of the link's
own, so that they may block, publish and take locks. What was accepted for sending is sent again after each reconnect
until the broker acknowledges it; the broker's acknowledgement is no durability, and a new process knows nothing of it.
"""

from __future__ import annotations

import queue
import random
import socket
import ssl
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgeseal.adapters import tlspipe
from edgeseal.errors import EdgesealError, Unavailable, UsageError

CONNECT_TIMEOUT_S: Final = 10.0
PACKET_MARGIN: Final = 4_096
"""What topic and properties may add to the largest payload."""

Ack = Callable[[], None]
"""Acknowledges one received message; harmless when repeated, and without effect after the connection it came over
ended: the broker then delivers the message again."""


class Dialer(Protocol):
    """Who connects to the broker in the link's place, TLS included."""

    def dial(self) -> socket.socket:
        """Return a new connection that carries MQTT in clear. For one thread at a time. Raises OSError."""

    def why(self) -> str:
        """Return why the last connection ended, in words for people; empty where that is not known."""

    def close(self, timeout_s: float) -> None:
        """Let what was sent last go out, for at most so long, then give everything up. Idempotent; raises nothing."""


@dataclass(frozen=True)
class Endpoint:
    """A broker and how to reach it. Without ``ca_file`` the connection is in clear: for loopback only.

    With ``dialer`` the three files are its own business, and the link's connections come from it.
    """

    host: str
    port: int
    client_id: str
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    username: str | None = None
    password: str | None = None
    keepalive_s: int = 30
    session_expiry_s: int = 7 * 86_400
    retry_min_s: float = 1.0
    retry_max_s: float = 60.0
    dialer: Dialer | None = None

    def tls(self) -> ssl.SSLContext | None:
        """Return the TLS settings, or None. Raises UsageError ``mqtt_tls_files`` when a file is missing or no good."""
        if self.ca_file is None:
            return None
        try:
            return tlspipe.context(self.ca_file, self.cert_file, self.key_file)
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
            files = [str(path) for path in (self.ca_file, self.cert_file, self.key_file) if path is not None]
            raise UsageError("mqtt_tls_files", f"cannot use {', '.join(files)}: {error}", "check the paths") from error


class MqttLink:
    """A session at a broker. Construct, ``start``, use from any thread, ``stop``; not to be started again."""

    def __init__(
        self,
        endpoint: Endpoint,
        subscriptions: Sequence[str],
        on_message: Callable[[str, bytes, Ack], None],
        *,
        on_ready: Callable[[], None] | None = None,
        on_failed: Callable[[BaseException], None] | None = None,
        window: int = 64,
        max_payload: int = 1_114_112,
    ) -> None:
        """Prepare; nothing is sent before ``start``.

        ``on_message(topic, payload, ack)`` gets everything that arrives, untrusted, at least once: call ``ack`` when
        the message is dealt with for good. ``on_ready`` is called after each connect, subscriptions made.
        ``on_failed`` is told once, on the link's thread, that a function given here has raised; nothing more is
        delivered then. ``window`` bounds what is sent without the broker's acknowledgement, and what is received and
        not yet given to ``on_message``: nothing more is read from the network then. (The broker is asked to hold back
        beyond as many unacknowledged ones, which mosquitto 2.0.11 does only at first.) Raises UsageError
        ``mqtt_tls_files``.
        """
        self._endpoint = endpoint
        self._subscriptions = list(subscriptions)
        self._on_message, self._on_ready, self._on_failed = on_message, on_ready, on_failed
        self._window, self._max_payload = window, max_payload
        self._state = threading.Condition()
        self._connection = 0
        self._open = False
        self._ready = False
        self._in_flight = 0
        self._backlog = 0
        self._failed = False
        self._trouble = "not started"
        self._answers: dict[int, Any] = {}
        self._events: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._worker = threading.Thread(target=self._deliver, name=f"mqtt-{endpoint.client_id}", daemon=True)
        self._client = self._make_client()

    def _make_client(self) -> Client:
        endpoint = self._endpoint
        client = _DialledClient(
            CallbackAPIVersion.VERSION2, endpoint.client_id, protocol=MQTTProtocolVersion.MQTTv5, manual_ack=True
        )
        client.dialer = endpoint.dialer
        context = endpoint.tls() if endpoint.dialer is None else None
        if context is not None:
            client.tls_set_context(context)
        if endpoint.username is not None:
            client.username_pw_set(endpoint.username, endpoint.password)
        client.connect_timeout = CONNECT_TIMEOUT_S
        client.max_inflight_messages_set(self._window)
        spread = random.uniform(1.0, 1.5)  # so that a fleet does not come back all at once
        client.reconnect_delay_set(endpoint.retry_min_s * spread, endpoint.retry_max_s * spread)  # type: ignore[arg-type]
        client.on_connect = self._connected
        client.on_connect_fail = self._connect_failed
        client.on_disconnect = self._disconnected
        client.on_subscribe = self._subscribed
        client.on_publish = self._published
        client.on_message = self._received
        return client

    @property
    def ready(self) -> bool:
        """Whether it is connected, with its subscriptions made."""
        return self._ready

    @property
    def in_flight(self) -> int:
        """How many published messages the broker has not acknowledged."""
        return self._in_flight

    @property
    def trouble(self) -> str:
        """Why it is not ready, in words for people; empty when it is."""
        return "" if self._ready else self._trouble

    def start(self) -> None:
        """Start connecting, for ever, with back-off between ``retry_min_s`` and ``retry_max_s``. Does not wait."""
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = self._endpoint.session_expiry_s
        properties.ReceiveMaximum = self._window
        properties.MaximumPacketSize = self._max_payload + PACKET_MARGIN
        self._trouble = "connecting"
        self._worker.start()
        self._client.connect_async(
            self._endpoint.host,
            self._endpoint.port,
            self._endpoint.keepalive_s,
            clean_start=False,
            properties=properties,
        )
        self._client.loop_start()

    def wait_ready(self, timeout_s: float, room: int = 1) -> bool:
        """Wait until it is ready with room for so many messages in the window; False when time runs out."""
        with self._state:
            return self._state.wait_for(lambda: self._ready and self._in_flight + room <= self._window, timeout_s)

    def publish(
        self, topic: str, payload: bytes, on_sent: Callable[[EdgesealError | None], None] | None = None
    ) -> None:
        """Send one message at least once; does not block. ``on_sent`` is told, on the link's thread, what became of it.

        ``on_sent(None)``: the broker has it. ``on_sent(Unavailable mqtt_refused)``: it refused. If this process ends
        first, neither. Raises Unavailable ``mqtt_offline`` or ``mqtt_window`` (see ``wait_ready``), nothing being sent
        then, and UsageError ``mqtt_too_large``.
        """
        if len(payload) > self._max_payload:
            raise UsageError("mqtt_too_large", f"{len(payload)} bytes where at most {self._max_payload} are allowed")
        with self._state:
            if not self._ready:
                raise Unavailable("mqtt_offline", f"no connection to the broker: {self._trouble}")
            if self._in_flight >= self._window:
                raise Unavailable("mqtt_window", f"{self._in_flight} messages wait for the broker")
            self._in_flight += 1
        info = self._client.publish(topic, payload, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_QUEUE_SIZE:  # a message of 65,535 messages ago is still not acknowledged
            self._one_less()
            raise Unavailable("mqtt_window", "all message numbers are in use")
        answered = self._answers.setdefault(info.mid, on_sent or _nobody)
        if isinstance(answered, ReasonCode):  # the broker was faster than we
            del self._answers[info.mid]
            self._conclude(on_sent or _nobody, answered)

    def stop(self, timeout_s: float = 5.0) -> None:
        """Wait up to ``timeout_s`` for the broker to acknowledge what was sent, then disconnect; the session stays.

        Messages already received are still delivered. Not to be called from a function given to this link.
        """
        if not self._worker.ident:
            return
        with self._state:
            self._state.wait_for(lambda: not self._ready or self._in_flight == 0, timeout_s)
            connected = self._open
        self._client.disconnect()
        self._client.loop_stop()
        if self._endpoint.dialer is not None:
            self._endpoint.dialer.close(timeout_s if connected else 0)
        with self._state:
            self._open = self._ready = False
            self._trouble = "stopped"
        self._events.put(None)
        self._worker.join()

    # ---- On paho's thread: note it, pass it on ---------------------------------------------------------------

    def _connected(
        self, client: Client, _: object, flags: ConnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        if reason.is_failure:
            self._trouble = f"the broker refused the connection: {reason}"
            return
        with self._state:
            self._connection += 1
            self._open = True
            self._trouble = "subscribing"
        if self._subscriptions:
            client.subscribe([(topic, SubscribeOptions(qos=1)) for topic in self._subscriptions])
        else:
            self._now_ready()

    def _connect_failed(self, client: Client, _: object) -> None:
        self._trouble = (
            f"cannot reach {self._endpoint.host}:{self._endpoint.port}, or its TLS does not fit ours{self._why()}"
        )

    def _disconnected(
        self, client: Client, _: object, flags: DisconnectFlags, reason: ReasonCode, properties: Properties | None
    ) -> None:
        with self._state:
            # From here on no acknowledgement for the old connection can reach the new one.
            hint = "" if self._open else ", before the broker accepted it: does it trust our certificate?"
            self._open = self._ready = False
            self._trouble = f"the connection ended ({reason}){self._why() or hint}"
            self._state.notify_all()

    def _why(self) -> str:
        said = "" if self._endpoint.dialer is None else self._endpoint.dialer.why()
        return said and f": {said}"

    def _subscribed(
        self, client: Client, _: object, mid: int, reasons: list[ReasonCode], properties: Properties | None
    ) -> None:
        refused = [topic for topic, reason in zip(self._subscriptions, reasons, strict=False) if reason.is_failure]
        if refused:
            self._trouble = f"the broker refused to subscribe us to {', '.join(refused)}"
        else:
            self._now_ready()

    def _now_ready(self) -> None:
        with self._state:
            self._ready = self._open
            self._state.notify_all()
        if self._on_ready is not None:
            self._events.put(self._on_ready)

    def _published(
        self, client: Client, _: object, mid: int, reason: ReasonCode, properties: Properties | None
    ) -> None:
        # paho holds a lock here that ``publish`` takes too: no lock of ours may be waited for.
        waiting = self._answers.setdefault(mid, reason)
        if waiting is not reason:
            del self._answers[mid]
            self._conclude(waiting, reason)

    def _conclude(self, on_sent: Callable[[EdgesealError | None], None], reason: ReasonCode) -> None:
        error = Unavailable("mqtt_refused", f"the broker refused a message: {reason}") if reason.is_failure else None
        self._events.put(lambda: self._sent(on_sent, error))

    def _received(self, client: Client, _: object, message: MQTTMessage) -> None:
        payload, ack = bytes(message.payload), _OneAck(self, self._connection, message.mid)
        try:
            topic = message.topic
        except UnicodeDecodeError:
            topic = ""  # no broker should pass it on; the caller refuses an empty topic as it does any unknown one
        with self._state:
            self._state.wait_for(lambda: self._backlog < self._window or self._failed)
            self._backlog += 1
        self._events.put(lambda: self._hand_over(topic, payload, ack))

    # ---- On any thread ---------------------------------------------------------------------------------------

    def _one_less(self) -> None:
        with self._state:
            self._in_flight -= 1
            self._state.notify_all()

    def acknowledge(self, connection: int, mid: int) -> None:
        """Acknowledge message ``mid`` of that connection, if it is the one that is open (for ``Ack`` only)."""
        with self._state:
            if self._open and connection == self._connection:
                self._client.ack(mid, 1)

    # ---- On the link's own thread ----------------------------------------------------------------------------

    def _sent(self, on_sent: Callable[[EdgesealError | None], None], error: EdgesealError | None) -> None:
        self._one_less()
        on_sent(error)

    def _hand_over(self, topic: str, payload: bytes, ack: Ack) -> None:
        self._on_message(topic, payload, ack)
        with self._state:
            self._backlog -= 1
            self._state.notify_all()

    def _deliver(self) -> None:
        while (event := self._events.get()) is not None:
            try:
                event()
            except BaseException as error:
                with self._state:
                    self._failed = True
                    self._trouble = f"a function of ours failed: {error!r}"
                    self._state.notify_all()
                if self._on_failed is not None:
                    self._on_failed(error)
                return


class _DialledClient(Client):
    """paho's client, whose connections come from ``dialer`` where there is one."""

    dialer: Dialer | None = None

    def _create_socket_connection(self) -> socket.socket:
        return super()._create_socket_connection() if self.dialer is None else self.dialer.dial()


class _OneAck:
    """Acknowledges a message the first time it is called: its number may stand for another message afterwards."""

    __slots__ = ("_connection", "_link", "_mid")

    def __init__(self, link: MqttLink, connection: int, mid: int) -> None:
        self._link: MqttLink | None = link
        self._connection, self._mid = connection, mid

    def __call__(self) -> None:
        link, self._link = self._link, None
        if link is not None:
            link.acknowledge(self._connection, self._mid)


def _nobody(_: EdgesealError | None) -> None:
    """The ``on_sent`` of a caller who does not ask."""
