"""What a device says: a record, its one encoding, its leaf (``docs/format.md`` section 4).

A record is encoded once, on the device; every later stage stores, hashes and forwards those bytes. The header is the
leaf of the device log and stays provable when the body has been withheld, thinned or erased.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final

from edgeseal import cbor, limits, schema
from edgeseal.bodies import BODIES
from edgeseal.commitment import domain
from edgeseal.errors import FormatError, UsageError, VerificationError
from edgeseal.headerscan import compose, scan
from edgeseal.merkle import leaf_hash

CLOCK_SOURCES: Final = ("none", "rtc", "ntp", "ptp", "gnss")
NEVER_DROPPED: Final = frozenset(
    {"genesis", "key.bound", "key.rotated", "command.received", "command.refused", "command.result", "policy.changed"}
)
"""Kinds whose bodies are never dropped (4.4)."""

_KIND = re.compile(r"[a-z.]{1,32}", re.ASCII)
_BODY_DOMAIN: Final = domain("body")

_HEADER = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "seq": schema.uint,
        "boot": schema.uint,
        "t": schema.uint,
        "mono": schema.uint,
        "clk": schema.row(schema.one_of(*CLOCK_SOURCES), schema.maybe(schema.uint)),
        "kind": schema.matching(_KIND, "kind_invalid", "a kind is 1-32 characters of a-z and '.'"),
        "body": schema.digest,
    }
)


@dataclass(frozen=True, slots=True)
class Clock:
    """What the device believed of its wall clock: source (one of CLOCK_SOURCES) and uncertainty in ms, None if
    unknown.
    """

    source: str
    uncertainty_ms: int | None


@dataclass(frozen=True, slots=True)
class Header:
    """A record's header: place, time as the device saw it, kind, and the body's hash.

    ``t`` is wall-clock ms since the Unix epoch (0: unknown), ``mono`` ms since the machine's boot, ``boot`` the agent's
    start count from 1, ``seq`` the position in the device log from 0.
    """

    log: bytes
    seq: int
    boot: int
    t: int
    mono: int
    clk: Clock
    kind: str
    body: bytes

    def encode(self) -> bytes:
        """Return the header's deterministic CBOR: the entry whose leaf hash stands in the device log."""
        clk = self.clk
        return compose(
            self.log, self.seq, self.boot, self.t, self.mono, clk.source, clk.uncertainty_ms, self.kind, self.body
        ) or cbor.encode(
            {
                "t": self.t, "v": 1, "clk": [self.clk.source, self.clk.uncertainty_ms], "log": self.log, "seq":
                self.seq, "body": self.body, "boot": self.boot, "kind": self.kind, "mono": self.mono,
            }
        )  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Header:
        """Return the header in untrusted bytes.

        Raises:
            FormatError: ``cbor_*``, a shape code, ``kind_invalid``. Unknown kinds are fine (4.3).
        """
        scanned = scan(data) if type(data) is bytes and len(data) <= limits.MAX_HEADER else None
        if scanned is not None:
            log, seq, boot, t, mono, source, uncertainty, kind, body = scanned
            return cls(log, seq, boot, t, mono, Clock(source, uncertainty), kind, body)
        fields = cbor.decode(data, max_size=limits.MAX_HEADER, max_depth=2, max_items=32)
        _HEADER(fields, "header")
        source, uncertainty = fields["clk"]
        return cls(
            fields["log"], fields["seq"], fields["boot"], fields["t"], fields["mono"],
            Clock(source, uncertainty), fields["kind"], fields["body"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Record:
    """A record as its device made it: the exact header and body bytes and the leaf hash of the header."""

    header: bytes
    body: bytes
    leaf: bytes


def body_hash(body: bytes) -> bytes:
    """Return the 32-byte hash of body bytes that stands in the header (4.1)."""
    return sha256(_BODY_DOMAIN + len(body).to_bytes(8, "big") + body).digest()


def make(
    *, log: bytes, seq: int, boot: int, t: int, mono: int, clk: Clock, kind: str, fields: dict[str, Any], salt: bytes
) -> Record:
    """Encode one record: the only time it is encoded.

    Args:
        fields: the body's keys of ``kind`` without ``s``.
        salt: 32 fresh random bytes, the body's ``s``.

    Raises:
        UsageError: ``kind_unknown``, ``body_malformed`` or ``too_large``: our own program tried to say something that
            the format does not allow; nothing was recorded.
    """
    check = BODIES.get(kind)
    if check is None:
        raise UsageError("kind_unknown", f"{kind!r} is no kind of record of this version")
    content = {**fields, "s": salt}
    try:
        check(content, kind)
    except FormatError as error:
        raise UsageError("body_malformed", str(error)) from error
    body = cbor.encode(content)
    if len(body) > limits.MAX_BODY:
        raise UsageError(
            "too_large", f"the body of a {kind} record has {len(body)} bytes, the limit is {limits.MAX_BODY}"
        )
    hashed = body_hash(body)
    header = (
        compose(log, seq, boot, t, mono, clk.source, clk.uncertainty_ms, kind, hashed)
        or Header(log, seq, boot, t, mono, clk, kind, hashed).encode()
    )
    return Record(header, body, leaf_hash(header))


def check_body(header: Header, body: bytes) -> None:
    """Check that untrusted ``body`` is the one the header commits to.

    Raises:
        FormatError: ``too_large``.
        VerificationError: ``body_mismatch``.
    """
    if len(body) > limits.MAX_BODY:
        raise FormatError("too_large", f"a body of {len(body)} bytes, the limit is {limits.MAX_BODY}")
    if body_hash(body) != header.body:
        raise VerificationError(
            "body_mismatch", f"the body of record {header.seq} is not the one its header commits to"
        )


def decode_body(kind: str, body: bytes) -> dict[str, Any]:
    """Return the map in the body of a record of ``kind``, checked against that kind's shape.

    The caller has checked the bytes against the header (:func:`check_body`). Of a kind this version does not know only
    strict CBOR and the salt are checked.

    Raises:
        FormatError: ``body_malformed``, with the defect in its message: the record stands, its content is opaque (4.3).
    """
    try:
        fields: dict[str, Any] = cbor.decode(body, max_size=limits.MAX_BODY)
        check = BODIES.get(kind)
        if check is not None:
            check(fields, kind)
        elif type(fields) is not dict or type(fields.get("s")) is not bytes or len(fields["s"]) != limits.DIGEST:
            raise FormatError("type", "a body is a map with a salt")
    except FormatError as error:
        raise FormatError("body_malformed", str(error)) from None
    return fields
