"""Device heads, read at the speed ingest needs (``docs/format.md`` 5.1).

A head is first compared with the one byte pattern that its deterministic encoding has; what does not fit goes to the
core's decoder, which accepts it or names the defect.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from edgeseal import cose, limits
from edgeseal.errors import FormatError
from edgeseal.head import DeviceHead, SignedDeviceHead

UINT: Final = rb"(?:[\x00-\x17]|\x18[\x18-\xff]|\x19(?!\x00)..|\x1a(?!\x00\x00).{4}|\x1b(?!\x00{4}).{8})"
"""The pattern of an unsigned integer in its shortest encoding."""
BYTES: Final = rb"(?:\x58([\x18-\xff])|\x59(?!\x00)(..))"
"""The pattern of the head of a byte string of 24 to 65,535 bytes: its length in the one group or the other."""
_HEAD: Final = re.compile(
    rb"\xa8av\x01clogX (.{32})dprev\x82(" + UINT + rb")X (.{32})drootX (.{32})dseen(?:\xf6|\x83X (.{32})(" + UINT
    + rb")X (.{32}))dsize(" + UINT + rb")eclock\xa4at" + UINT + rb"ctpm(?:\xf6|\x84" + 3 * UINT + rb"[\xf4\xf5])"
    + rb"dboot" + UINT + rb"dmono" + UINT + rb"hanchored(?:\xf6|\x85X .{32}" + UINT + rb"X .{32}" + UINT + rb"X .{32})",
    re.DOTALL,
)  # fmt: skip
_PROTECTED: Final = re.compile(rb"\xd2\x84" + BYTES, re.DOTALL)
_PAYLOAD: Final = re.compile(rb"\xa0" + BYTES, re.DOTALL)


@dataclass(frozen=True, slots=True)
class Head:
    """What ingest uses of a device head; ``signed`` are its bytes. Not verified until :meth:`HeadReader.verify`."""

    signed: bytes
    size: int
    root: bytes
    prev: tuple[int, bytes]
    seen: tuple[bytes, int, bytes] | None
    to_be_signed: bytes
    signature: bytes


class HeadReader:
    """Reads the heads of one device, whose protected headers differ in the size only."""

    def __init__(self, log: bytes, key: cose.PublicKey) -> None:
        self._log = log
        self._key = key
        probe = cose.protected_header(key.kid, DeviceHead.NAME, log.hex(), size=0, log=log)
        marker = b"\x3a\x00\x01\x11\x70\x00"  # label -70001, then the size
        at = probe.index(marker) + len(marker) - 1
        self._before, self._after = probe[:at], probe[at + 1 :]

    def read(self, data: bytes) -> Head:
        """Return the head in untrusted bytes.

        Raises:
            FormatError: as :meth:`edgeseal.head.SignedDeviceHead.decode`; ``topic_mismatch`` if it is another log's.
        """
        found = self._fast(data) if len(data) <= limits.MAX_HEAD else None
        if found is not None:
            return found
        decoded = SignedDeviceHead.decode(data)
        head, signed = decoded.head, decoded.signed
        if head.log != self._log:
            raise FormatError("topic_mismatch", "the head belongs to another log than the segment")
        if signed.kid != self._key.kid:
            raise FormatError("claims_mismatch", "the head names another key than the one its log is named after")
        assert signed.payload is not None
        seen = None if head.seen is None else (head.seen.log, head.seen.size, head.seen.root)
        message = cose.to_be_signed(signed.protected, signed.payload)
        return Head(data, head.size, head.root, head.prev, seen, message, signed.signature)

    def verify(self, head: Head) -> None:
        """Check the signature. Raises VerificationError as :meth:`edgeseal.cose.PublicKey.verify`."""
        self._key.verify(head.to_be_signed, head.signature)

    def _fast(self, data: bytes) -> Head | None:
        """Return the head if the bytes are exactly the usual ones, else None: the core shall judge."""
        opened = _PROTECTED.match(data)
        if opened is None:
            return None
        at = opened.end() + int.from_bytes(opened[1] or opened[2], "big")
        start = _PAYLOAD.match(data, at)
        if start is None or len(data) - start.end() < 67 or data[-66:-64] != b"\x58\x40":
            return None
        payload = data[start.end() : -66]
        if len(payload) != int.from_bytes(start[1] or start[2], "big"):
            return None
        match = _HEAD.fullmatch(payload)
        if match is None:
            return None
        log, prev_size, prev_root, root, seen_log, seen_size, seen_root, raw_size = match.groups()
        protected = self._before + raw_size + self._after
        if data[opened.end() : at] != protected or log != self._log:
            return None
        size, prev = uint_of(raw_size), (uint_of(prev_size), prev_root)
        if size < 2 or prev[0] >= size or prev[0] == 1 or (prev[0] == 0) != (prev_root == bytes(32)):
            return None
        seen = None if seen_log is None else (seen_log, uint_of(seen_size), seen_root)
        message = cose.sig_structure(data[2:at], data[at + 1 : -66])
        return Head(data, size, root, prev, seen, message, data[-64:])


def uint_of(encoded: bytes) -> int:
    """Return the integer that these bytes, matched by UINT, encode."""
    return encoded[0] if len(encoded) == 1 else int.from_bytes(encoded[1:], "big")
