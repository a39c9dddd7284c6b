"""MQTT topic names (``docs/format.md`` section 11): one place that writes and reads them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edgeseal.errors import FormatError

PREFIX: Final = "edgeseal/v1"
UP_KINDS: Final = ("segment", "hello", "fetch")
DOWN_KINDS: Final = ("receipt", "refusal", "resend", "command", "keyset", "chunk")
ALL_UP: Final = f"{PREFIX}/+/up/#"
"""The gateway's subscription: everything every device sends."""

_TOPIC = re.compile(rf"{PREFIX}/([0-9a-f]{{64}})/(up|down)/([a-z]{{1,16}})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic taken apart: the device log id (32 bytes), ``up`` or ``down``, and the message kind."""

    log: bytes
    direction: str
    kind: str


def up(log: bytes, kind: str) -> str:
    """Return the topic on which the device with this log id sends ``kind``."""
    return f"{PREFIX}/{log.hex()}/up/{kind}"


def down(log: bytes, kind: str) -> str:
    """Return the topic on which the gateway sends ``kind`` to the device with this log id."""
    return f"{PREFIX}/{log.hex()}/down/{kind}"


def all_down(log: bytes) -> str:
    """Return the device's subscription: everything the gateway sends it."""
    return f"{PREFIX}/{log.hex()}/down/#"


def parse(topic: str) -> Topic:
    """Return the parts of an untrusted topic. Raises FormatError ``topic_invalid``."""
    match = _TOPIC.fullmatch(topic)
    if match is None:
        raise FormatError("topic_invalid", f"no topic of this format: {topic!r:.120}")
    log, direction, kind = match.groups()
    if kind not in (UP_KINDS if direction == "up" else DOWN_KINDS):
        raise FormatError("topic_invalid", f"no message kind {kind!r} goes {direction}")
    return Topic(bytes.fromhex(log), direction, kind)
