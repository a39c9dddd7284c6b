"""Headers and inference bodies read by one regular expression each: strictly what the core's decoders accept,
several times faster.

Their keys, order and types are fixed, so the deterministic encoding is a regular language but for a few variable
parts, which are decoded by the core and remembered (CBOR is self-delimiting: a span that decodes is the only item
that starts there). What does not match is decoded by the core, which names the defect; a property test holds the two
equal.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from edgeseal import cbor, limits, schema
from edgeseal.bodies import RUNTIME
from edgeseal.errors import FormatError
from edgeseal.record import Header, decode_body

Fields = tuple[int, int, int, int, str, bytes]
"""seq, boot, t, mono, kind, body hash."""

_UINT: Final = (
    rb"([\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00)[\x00-\xff]{2}"
    rb"|\x1a(?!\x00\x00)[\x00-\xff]{4}|\x1b(?!\x00{4})[\x00-\xff]{8})"
)
_SOURCE: Final = rb"(?:\x64none|\x63rtc|\x63ntp|\x63ptp|\x64gnss)"


def reader(log: bytes) -> Callable[[bytes], Fields]:
    """Return the function that reads untrusted header bytes of the device log ``log``.

    It raises FormatError as :meth:`Header.decode`. A header of another log comes back with seq -1, which no position
    has.
    """
    match = re.compile(
        rb"\xa9\x61t" + _UINT + rb"\x61v\x01\x63clk\x82" + _SOURCE + rb"(?:\xf6|" + _UINT + rb")\x63log\x58\x20"
        + re.escape(log) + rb"\x63seq" + _UINT + rb"\x64body\x58\x20([\x00-\xff]{32})\x64boot" + _UINT
        + rb"\x64kind(?:\x78([\x18-\x20])|([\x61-\x77]))([a-z.]{1,32})\x64mono" + _UINT
    ).fullmatch  # fmt: skip
    number = int.from_bytes
    kinds: dict[bytes, str] = {}

    def read(data: bytes) -> Fields:
        found = match(data)
        if found is not None:
            t, _, seq, body, boot, long, short, kind, mono = found.groups()
            if len(kind) == (short[0] - 0x60 if long is None else long[0]):
                name = kinds.get(kind)
                if name is None:
                    name = kinds.setdefault(kind, kind.decode("ascii"))
                return (
                    seq[0] if len(seq) == 1 else number(seq[1:], "big"),
                    boot[0] if len(boot) == 1 else number(boot[1:], "big"),
                    t[0] if len(t) == 1 else number(t[1:], "big"),
                    mono[0] if len(mono) == 1 else number(mono[1:], "big"),
                    name,
                    body,
                )
        header = Header.decode(data)
        seq_or_none = header.seq if header.log == log else -1
        return seq_or_none, header.boot, header.t, header.mono, header.kind, header.body

    return read


MAX_FAST: Final = 2_048
"""Longer bodies go to the core at once: the expression backtracks, and its cost must stay bounded."""
MAX_REMEMBERED: Final = 4_096

_ANY: Final = rb"[\x00-\xff]"
_DIGEST: Final = rb"\x58\x20(" + _ANY + rb"{32})"
_COMMIT: Final = rb"\x82[\x00\x01]\x58\x20" + _ANY + rb"{32}"
_INFERENCE: Final = re.compile(
    rb"\xab\x61s\x58\x20" + _ANY + rb"{32}\x62rt(" + _ANY + rb"+?)\x62us" + _UINT.replace(b"(", b"(?:", 1)
    + rb"\x63pub(" + _ANY + rb"+?)\x64file" + _DIGEST + rb"\x65build(" + _ANY + rb"+?)\x65input" + _COMMIT
    + rb"\x65model" + _DIGEST + rb"\x66config\x58\x20" + _ANY + rb"{32}\x66output" + _COMMIT + rb"\x66tensor" + _COMMIT
).fullmatch  # fmt: skip
_BUILD: Final = schema.text()


def inference_reader() -> Callable[[bytes], tuple[bytes, bytes]]:
    """Return the function that reads the (package digest, model file digest) of an untrusted inference body.

    It raises FormatError ``body_malformed`` as :func:`edgeseal.record.decode_body`.
    """
    known: tuple[set[bytes], set[bytes], set[bytes]] = (set(), set(), set())

    def read(data: bytes) -> tuple[bytes, bytes]:
        found = _INFERENCE(data) if len(data) <= MAX_FAST else None
        if found is not None:
            runtime, pub, file, build, model = found.groups()
            if (
                (runtime in known[0] or _remember(known[0], runtime, RUNTIME))
                and (pub in known[1] or _remember(known[1], pub, schema.pub))
                and (build in known[2] or _remember(known[2], build, _BUILD))
            ):
                return model, file
        fields = decode_body("inference", data)
        return fields["model"], fields["file"]

    return read


def _remember(known: set[bytes], span: bytes, check: schema.Check) -> bool:
    """Say whether a span is one well-formed item of its place, and remember it if it is."""
    try:
        check(cbor.decode(span, max_size=limits.MAX_BODY), "")
    except FormatError:
        return False
    if len(known) < MAX_REMEMBERED:
        known.add(span)
    return True
