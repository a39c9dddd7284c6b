"""What device and gateway say to each other over MQTT besides segments (``docs/format.md`` section 11).

Each message is a frozen value with ``encode()``; :func:`decode` reads an untrusted payload by its topic. None is
signed as a whole: what matters inside (heads, receipts, commands, keysets) carries its own signature and is judged by
the receiver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import cbor, limits, schema
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError
from edgeseal.head import Seen
from edgeseal.topics import Topic

_PATH = schema.items(schema.digest, limits.MAX_PATH)


def _message(fields: Mapping[str, schema.Check], optional: Mapping[str, schema.Check] | None = None) -> schema.Check:
    return schema.closed({"v": schema.one_of(1), "log": schema.digest, **fields}, optional)


@dataclass(frozen=True, slots=True)
class Hello:
    """A device's state as it connects: newest signed head, fleet head seen, keyset version, last command position."""

    log: bytes
    key: PublicKey
    size: int
    root: bytes
    seen: Seen | None
    keyset: int
    position: int | None

    def encode(self) -> bytes:
        """Return the payload of ``up/hello``."""
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "key": self.key.point,
                "size": self.size,
                "root": self.root,
                "seen": None if self.seen is None else self.seen.as_list(),
                "keyset": self.keyset,
                "pos": self.position,
            }
        )


@dataclass(frozen=True, slots=True)
class Fetch:
    """A device asks for the bytes of a package archive from ``offset``."""

    log: bytes
    package: bytes
    offset: int

    def encode(self) -> bytes:
        """Return the payload of ``up/fetch``."""
        return cbor.encode({"v": 1, "log": self.log, "package": self.package, "offset": self.offset})


@dataclass(frozen=True, slots=True)
class Anchor:
    """Where a fleet head was anchored: its size and root, EVM chain id, block hash and number, transaction hash."""

    size: int
    root: bytes
    chain: int
    block: bytes
    number: int
    tx: bytes


@dataclass(frozen=True, slots=True)
class ReceiptMessage:
    """A receipt for one device-head statement: pending (``anchor`` None), confirmed, or ``final``: the gateway says
    that the chain replaces the anchor's block no more.

    ``head`` is the statement as stored; ``path`` proves consistency from fleet size ``start`` (0: none given).
    """

    log: bytes
    head: bytes
    receipt: bytes
    start: int
    path: tuple[bytes, ...]
    anchor: Anchor | None
    final: bool = False

    def encode(self) -> bytes:
        """Return the payload of ``down/receipt``."""
        anchor = self.anchor
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "head": self.head,
                "receipt": self.receipt,
                "from": self.start,
                "path": list(self.path),
                "anchor": None
                if anchor is None
                else {
                    "size": anchor.size,
                    "root": anchor.root,
                    "chain": anchor.chain,
                    "block": anchor.block,
                    "number": anchor.number,
                    "tx": anchor.tx,
                },
                **({"final": True} if self.final else {}),
            }
        )


@dataclass(frozen=True, slots=True)
class Refusal:
    """The gateway did not take something: reason code, text for people, and the device-log size it holds."""

    log: bytes
    code: str
    detail: str
    size: int

    def encode(self) -> bytes:
        """Return the payload of ``down/refusal``."""
        return cbor.encode({"v": 1, "log": self.log, "code": self.code, "detail": self.detail, "size": self.size})


@dataclass(frozen=True, slots=True)
class Resend:
    """The gateway asks for records again from position ``start``."""

    log: bytes
    start: int

    def encode(self) -> bytes:
        """Return the payload of ``down/resend``."""
        return cbor.encode({"v": 1, "log": self.log, "from": self.start})


@dataclass(frozen=True, slots=True)
class CommandMessage:
    """A command statement with its opening, its fleet receipt, and consistency from fleet size ``start`` (0: none)."""

    log: bytes
    command: bytes
    salt: bytes
    args: bytes
    receipt: bytes
    start: int
    path: tuple[bytes, ...]

    def encode(self) -> bytes:
        """Return the payload of ``down/command``."""
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "cmd": self.command,
                "salt": self.salt,
                "args": self.args,
                "receipt": self.receipt,
                "from": self.start,
                "path": list(self.path),
            }
        )


@dataclass(frozen=True, slots=True)
class KeysetMessage:
    """A keyset statement for the device."""

    log: bytes
    keyset: bytes

    def encode(self) -> bytes:
        """Return the payload of ``down/keyset``."""
        return cbor.encode({"v": 1, "log": self.log, "keyset": self.keyset})


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a package archive of ``total`` bytes."""

    log: bytes
    package: bytes
    total: int
    offset: int
    data: bytes

    def encode(self) -> bytes:
        """Return the payload of ``down/chunk``."""
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "package": self.package,
                "total": self.total,
                "offset": self.offset,
                "data": self.data,
            }
        )


Message = Hello | Fetch | ReceiptMessage | Refusal | Resend | CommandMessage | KeysetMessage | Chunk

_ANCHOR = schema.closed(
    {
        "size": schema.uint,
        "root": schema.digest,
        "chain": schema.uint,
        "block": schema.digest,
        "number": schema.uint,
        "tx": schema.digest,
    }
)
_RECEIPT = schema.binary(1, limits.MAX_RECEIPT)

_SHAPES: Final[Mapping[str, schema.Check]] = {
    "hello": _message(
        {
            "key": schema.point,
            "size": schema.uint,
            "root": schema.digest,
            "seen": schema.maybe(schema.log_size_root),
            "keyset": schema.uint,
            "pos": schema.maybe(schema.uint),
        }
    ),
    "fetch": _message({"package": schema.digest, "offset": schema.uint}),
    "receipt": _message(
        {
            "head": schema.binary(1, limits.MAX_HEAD),
            "receipt": _RECEIPT,
            "from": schema.uint,
            "path": _PATH,
            "anchor": schema.maybe(_ANCHOR),
        },
        {"final": schema.one_of(True)},
    ),
    "refusal": _message({"code": schema.code, "detail": schema.text(), "size": schema.uint}),
    "resend": _message({"from": schema.uint}),
    "command": _message(
        {
            "cmd": schema.binary(1, limits.MAX_COMMAND),
            "salt": schema.digest,
            "args": schema.binary(0, limits.MAX_ARGS),
            "receipt": _RECEIPT,
            "from": schema.uint,
            "path": _PATH,
        }
    ),
    "keyset": _message({"keyset": schema.binary(1, limits.MAX_STATEMENT)}),
    "chunk": _message(
        {
            "package": schema.digest,
            "total": schema.uint,
            "offset": schema.uint,
            "data": schema.binary(0, limits.MAX_CHUNK),
        }
    ),
}


def _receipt(f: dict[str, Any]) -> ReceiptMessage:
    if "final" in f and f["anchor"] is None:
        raise schema.refuse("extra_key", "receipt.final", "stands beside an anchor only")
    anchor = None if f["anchor"] is None else Anchor(**f["anchor"])
    return ReceiptMessage(f["log"], f["head"], f["receipt"], f["from"], tuple(f["path"]), anchor, "final" in f)


_BUILDERS: Final[Mapping[str, Callable[[dict[str, Any]], Message]]] = {
    "hello": lambda f: Hello(
        f["log"],
        PublicKey.from_point(f["key"]),
        f["size"],
        f["root"],
        Seen.from_list(f["seen"]),
        f["keyset"],
        f["pos"],
    ),
    "fetch": lambda f: Fetch(f["log"], f["package"], f["offset"]),
    "receipt": _receipt,
    "refusal": lambda f: Refusal(f["log"], f["code"], f["detail"], f["size"]),
    "resend": lambda f: Resend(f["log"], f["from"]),
    "command": lambda f: CommandMessage(
        f["log"], f["cmd"], f["salt"], f["args"], f["receipt"], f["from"], tuple(f["path"])
    ),
    "keyset": lambda f: KeysetMessage(f["log"], f["keyset"]),
    "chunk": lambda f: Chunk(f["log"], f["package"], f["total"], f["offset"], f["data"]),
}


def decode(topic: Topic, payload: bytes) -> Message:
    """Return the message in an untrusted payload that came on ``topic`` (any kind but ``segment``).

    Raises:
        FormatError: ``too_large``, CBOR and shape codes, ``key_invalid``, ``topic_mismatch`` if the log id is not the
            topic's, ``topic_invalid`` for ``segment``, which :func:`edgeseal.segment.decode` reads.
    """
    shape = _SHAPES.get(topic.kind)
    if shape is None:
        raise FormatError("topic_invalid", f"{topic.kind!r} is not read here")
    if len(payload) > limits.MAX_MESSAGE:
        raise FormatError("too_large", f"a message of {len(payload)} bytes, the limit is {limits.MAX_MESSAGE}")
    fields = cbor.decode(payload, max_size=limits.MAX_MESSAGE)
    shape(fields, topic.kind)
    if fields["log"] != topic.log:
        raise FormatError("topic_mismatch", "the message is about another log than its topic")
    return _BUILDERS[topic.kind](fields)
