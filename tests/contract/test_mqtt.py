"""adapters.mqtt over a real mosquitto with TLS and ACL: delivery, acknowledgement, reconnects, named refusals."""

from __future__ import annotations

import dataclasses
import queue
import secrets
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgeseal import topics
from edgeseal.adapters.mqtt import Ack, Endpoint, MqttLink
from edgeseal.errors import EdgesealError, Unavailable, UsageError
from edgeseal_console.demo.authority import Authority
from edgeseal_console.demo.parts import ADDRESS, Broker

WAIT_S = 60.0


class Inbox:
    """Keeps what arrives; acknowledges at once, or leaves that to the test."""

    def __init__(self, acknowledge: bool = True) -> None:
        self.messages: queue.SimpleQueue[tuple[str, bytes, Ack]] = queue.SimpleQueue()
        self._acknowledge = acknowledge

    def __call__(self, topic: str, payload: bytes, ack: Ack) -> None:
        if self._acknowledge:
            ack()
        self.messages.put((topic, payload, ack))

    def next(self) -> tuple[str, bytes, Ack]:
        return self.messages.get(timeout=WAIT_S)


def endpoint(broker: Broker, name: str) -> Endpoint:
    files = broker.authority.issue_client(name)
    return Endpoint(
        ADDRESS,
        broker.port,
        name,
        files.authority,
        files.certificate,
        files.key,
        retry_min_s=0.05,
        retry_max_s=0.5,
    )


@contextmanager
def linked(link: MqttLink) -> Iterator[MqttLink]:
    link.start()
    try:
        assert link.wait_ready(WAIT_S), link.trouble
        yield link
    finally:
        link.stop()


def settle(link: MqttLink, device: bytes) -> None:
    """Wait until all that the broker had to deliver on this connection before an answer of its own is delivered."""
    answered: queue.SimpleQueue[EdgesealError | None] = queue.SimpleQueue()
    link.publish(topics.down(device, "refusal"), b"", answered.put)
    assert answered.get(timeout=WAIT_S) is None


@pytest.fixture
def device() -> bytes:
    """A device log id."""
    return secrets.token_bytes(32)


def gateway(broker: Broker, inbox: Callable[[str, bytes, Ack], None], window: int = 64) -> MqttLink:
    return MqttLink(endpoint(broker, "gateway"), [topics.ALL_UP], inbox, window=window)


def device_link(broker: Broker, log: bytes, inbox: Callable[[str, bytes, Ack], None] | None = None) -> MqttLink:
    return MqttLink(endpoint(broker, log.hex()), [topics.all_down(log)], inbox or Inbox())


def test_messages_go_both_ways_and_their_sending_is_confirmed(broker: Broker, device: bytes) -> None:
    ups, downs = Inbox(), Inbox()
    sent: queue.SimpleQueue[EdgesealError | None] = queue.SimpleQueue()
    with linked(gateway(broker, ups)) as upper, linked(device_link(broker, device, downs)) as lower:
        lower.publish(topics.up(device, "segment"), b"\x00" * 1_114_112, sent.put)
        assert sent.get(timeout=WAIT_S) is None
        topic, payload, _ = ups.next()
        assert topics.parse(topic) == topics.Topic(device, "up", "segment") and len(payload) == 1_114_112
        upper.publish(topics.down(device, "receipt"), b"", sent.put)
        assert sent.get(timeout=WAIT_S) is None
        assert downs.next()[:2] == (topics.down(device, "receipt"), b"")


def test_a_device_reaches_no_other_devices_topics(broker: Broker, device: bytes) -> None:
    ups = Inbox()
    sent: queue.SimpleQueue[EdgesealError | None] = queue.SimpleQueue()
    other = bytes(32)
    with linked(gateway(broker, ups)), linked(device_link(broker, device)) as lower:
        for topic in (topics.up(other, "segment"), topics.down(device, "command"), "edgeseal/v2/x", "anything"):
            lower.publish(topic, b"forged", sent.put)
            refusal = sent.get(timeout=WAIT_S)
            assert isinstance(refusal, Unavailable) and refusal.code == "mqtt_refused", topic
        lower.publish(topics.up(device, "hello"), b"true", sent.put)
        assert sent.get(timeout=WAIT_S) is None
        assert ups.next()[1] == b"true" and ups.messages.empty()


def test_a_device_hears_no_other_devices_topics(broker: Broker, device: bytes) -> None:
    """mosquitto accepts such a subscription and then delivers nothing: the ACL holds at delivery."""
    heard = Inbox()
    spy = MqttLink(endpoint(broker, "ab" * 32), ["edgeseal/v1/#"], heard)
    with linked(gateway(broker, Inbox())) as upper, linked(spy):
        upper.publish(topics.down(device, "command"), b"secret")
        upper.publish(topics.down(b"\xab" * 32, "command"), b"mine")
        assert heard.next()[1] == b"mine" and heard.messages.empty()


def test_nobody_takes_anothers_session(broker: Broker, device: bytes) -> None:
    """The client id is the certificate's name, whatever a client asks for."""
    ups = Inbox()
    with linked(gateway(broker, ups)) as upper:
        thief = dataclasses.replace(endpoint(broker, device.hex()), client_id="gateway")
        with linked(MqttLink(thief, [], Inbox())) as lower:
            lower.publish(topics.up(device, "hello"), b"still there?")
            assert ups.next()[1] == b"still there?"
            assert upper.ready


def test_what_is_not_acknowledged_comes_again(broker: Broker, device: bytes) -> None:
    keeping = Inbox(acknowledge=False)
    with linked(device_link(broker, device)) as lower:
        with linked(gateway(broker, keeping)):
            for number in range(4):
                lower.publish(topics.up(device, "segment"), bytes([number]))
            received = [keeping.next() for _ in range(4)]
            received[1][2]()
            received[1][2]()  # a second time does nothing
        received[0][2]()  # its connection is gone: without effect
        again = Inbox()
        with linked(gateway(broker, again)):
            assert [again.next()[1] for _ in range(3)] == [b"\x00", b"\x02", b"\x03"]
            lower.publish(topics.up(device, "segment"), b"\x04")
            assert again.next()[1] == b"\x04" and again.messages.empty()


def test_the_window_bounds_both_directions(broker: Broker, device: bytes) -> None:
    keeping = Inbox(acknowledge=False)
    with linked(gateway(broker, keeping, window=3)) as upper, linked(device_link(broker, device)) as lower:
        for number in range(8):
            lower.publish(topics.up(device, "segment"), bytes([number]))
        assert lower.wait_ready(WAIT_S, room=64)
        settle(upper, device)
        assert keeping.messages.qsize() == 3
        for number in range(8):
            _, payload, ack = keeping.next()
            assert payload == bytes([number])
            ack()
        with pytest.raises(Unavailable, match="mqtt_window"):
            for _ in range(100_000):  # faster than the broker's answers, sooner or later
                upper.publish(topics.down(device, "receipt"), b"x" * 100_000)
        assert upper.wait_ready(WAIT_S, room=3) and upper.in_flight == 0


def test_a_slow_caller_holds_back_the_network_not_the_memory(broker: Broker, device: bytes) -> None:
    gate, ups = threading.Event(), Inbox()

    def slow(topic: str, payload: bytes, ack: Ack) -> None:
        ack()  # so that the broker has no reason to hold anything back
        assert gate.wait(WAIT_S)
        ups(topic, payload, ack)

    with linked(gateway(broker, slow, window=4)) as upper, linked(device_link(broker, device)) as lower:
        for number in range(100):
            assert lower.wait_ready(WAIT_S)
            lower.publish(topics.up(device, "segment"), bytes([number]))
        assert lower.wait_ready(WAIT_S, room=64)
        assert upper._events.qsize() <= 4
        gate.set()
        assert [ups.next()[1] for _ in range(100)] == [bytes([number]) for number in range(100)]


def test_too_large_is_refused_before_it_is_sent(broker: Broker, device: bytes) -> None:
    with linked(device_link(broker, device)) as lower:
        with pytest.raises(UsageError, match="mqtt_too_large"):
            lower.publish(topics.up(device, "segment"), bytes(1_114_113))
        assert lower.ready and lower.in_flight == 0


def test_a_killed_broker_loses_nothing_that_was_accepted(broker: Broker, device: bytes) -> None:
    """The broker dies with messages in flight and comes back; both ends reconnect, and the order stays."""
    ups = Inbox()
    payloads = [number.to_bytes(4, "big") for number in range(400)]
    ready = threading.Semaphore(0)
    sender = MqttLink(endpoint(broker, device.hex()), [], Inbox(), on_ready=ready.release, window=32)
    with linked(gateway(broker, ups)) as upper, linked(sender) as lower:
        pending = list(payloads)
        confirmed: set[bytes] = set()
        outages = {100, 250}
        while pending:
            if len(payloads) - len(pending) in outages:
                outages.discard(len(payloads) - len(pending))
                broker.kill()
                broker.start()
            assert lower.wait_ready(WAIT_S), lower.trouble
            try:
                lower.publish(
                    topics.up(device, "segment"),
                    pending[0],
                    lambda error, payload=pending[0]: confirmed.add(payload) if error is None else None,  # type: ignore[misc]
                )
            except Unavailable as error:
                assert error.code == "mqtt_offline"
                continue
            del pending[0]
        assert lower.wait_ready(WAIT_S, room=32) and upper.wait_ready(WAIT_S)
        assert confirmed == set(payloads)
        # What the broker had confirmed and lost with its memory is the caller's to send again.
        lower.publish(topics.up(device, "segment"), b"last")
        arrived = []
        while (message := ups.next()[1]) != b"last":
            arrived.append(message)
    first_seen = list(dict.fromkeys(arrived))
    assert first_seen == sorted(first_seen) and set(first_seen) <= set(payloads)
    assert ready.acquire(timeout=0) and ready.acquire(timeout=0)


def test_offline_is_said_and_mends_itself(broker: Broker, device: bytes) -> None:
    with linked(device_link(broker, device)) as lower:
        broker.kill()
        with pytest.raises(Unavailable, match="mqtt_offline"):
            while True:
                lower.publish(topics.up(device, "hello"), b"")
                lower.wait_ready(0.05)
        assert not lower.ready and lower.trouble
        assert not lower.wait_ready(0.01)
        broker.start()
        assert lower.wait_ready(WAIT_S, room=64) and lower.trouble == ""


def test_a_session_outlives_its_process_and_the_brokers_restart(broker: Broker, device: bytes) -> None:
    with linked(gateway(broker, Inbox())):
        pass
    with linked(device_link(broker, device)) as lower:
        for number in range(10):
            lower.publish(topics.up(device, "segment"), bytes([number]))
    broker.stop()
    broker.start()
    ups = Inbox()
    with linked(gateway(broker, ups)):
        assert [ups.next()[1] for _ in range(10)] == [bytes([number]) for number in range(10)]


def test_more_than_a_thousand_messages_wait_for_a_gateway_that_is_away(broker: Broker, device: bytes) -> None:
    """mosquitto's default would drop all but the first 1,000."""
    with linked(gateway(broker, Inbox())):
        pass
    with linked(device_link(broker, device)) as lower:
        for number in range(2_500):
            assert lower.wait_ready(WAIT_S)
            lower.publish(topics.up(device, "segment"), number.to_bytes(2, "big"))
    ups = Inbox()
    with linked(gateway(broker, ups)):
        assert [ups.next()[1] for _ in range(2_500)] == [number.to_bytes(2, "big") for number in range(2_500)]


def test_a_callers_failure_stops_the_link_and_is_told(broker: Broker, device: bytes) -> None:
    failures: queue.SimpleQueue[BaseException] = queue.SimpleQueue()

    def broken(topic: str, payload: bytes, ack: Ack) -> None:
        raise ZeroDivisionError(payload.decode())

    upper = MqttLink(endpoint(broker, "gateway"), [topics.ALL_UP], broken, on_failed=failures.put)
    with linked(upper), linked(device_link(broker, device)) as lower:
        lower.publish(topics.up(device, "segment"), b"first")
        assert str(failures.get(timeout=WAIT_S)) == "first"
        lower.publish(topics.up(device, "segment"), b"second")
        assert lower.wait_ready(WAIT_S, room=64) and failures.empty()
    ups = Inbox()
    with linked(gateway(broker, ups)):
        assert [ups.next()[1] for _ in range(2)] == [b"first", b"second"]


@pytest.mark.parametrize("missing", ["ca_file", "cert_file", "key_file"])
def test_missing_tls_files_are_named(shared_broker: Broker, missing: str) -> None:
    change: dict[str, Any] = {missing: Path("/nowhere.pem")}
    broken = dataclasses.replace(endpoint(shared_broker, "files"), **change)
    with pytest.raises(UsageError, match="mqtt_tls_files") as refusal:
        MqttLink(broken, [], Inbox())
    assert "/nowhere.pem" in refusal.value.message


# paho leaves the socket of a failed TLS handshake to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_stranger_never_becomes_ready(shared_broker: Broker, tmp_path: Path) -> None:
    own = endpoint(shared_broker, "stranger")
    files = Authority(tmp_path / "other").issue_client("gateway")
    cases = {
        "certificate": dataclasses.replace(own, cert_file=files.certificate, key_file=files.key),
        "TLS": dataclasses.replace(own, ca_file=files.authority),
        "cannot reach": dataclasses.replace(own, port=1),
    }
    for said, wrong in cases.items():
        link = MqttLink(wrong, [], Inbox())
        link.start()
        assert not link.wait_ready(0.5)
        assert said in link.trouble
        link.stop()
        assert link.trouble == "stopped"


def test_a_link_never_started_stops() -> None:
    MqttLink(Endpoint(ADDRESS, 1, "nobody"), [], Inbox()).stop()
