"""A zip writer that can lie: every field of every header can be set to what no honest writer would write."""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass


@dataclass(frozen=True)
class Member:
    """One entry as the central directory describes it; ``data`` is what is stored, None fields follow from it."""

    name: str
    data: bytes
    size: int | None = None
    packed: int | None = None
    crc: int | None = None
    method: int = 0
    flags: int = 0
    mode: int = 0o100644
    offset: int | None = None
    extra: bytes = b""
    local_name: str | None = None

    def fields(self) -> tuple[int, ...]:
        """Version to uncompressed size, as both headers have them."""
        size = len(self.data) if self.size is None else self.size
        packed = len(self.data) if self.packed is None else self.packed
        crc = zlib.crc32(self.data) if self.crc is None else self.crc
        return 20, self.flags, self.method, 0, 0x21, crc, packed, size


def archive(
    members: list[Member], prefix: bytes = b"", comment: bytes = b"", suffix: bytes = b"", count: int | None = None
) -> bytes:
    """The zip's bytes; ``prefix`` and ``suffix`` stand outside it, ``count`` is the number of entries it claims."""
    body, directory = prefix, b""
    for member in members:
        name = member.name.encode()
        offset = len(body) if member.offset is None else member.offset
        if member.offset is None:
            local = name if member.local_name is None else member.local_name.encode()
            body += struct.pack("<4s5H3L2H", b"PK\x03\x04", *member.fields(), len(local), 0) + local + member.data
        directory += struct.pack(
            "<4s6H3L5H2L", b"PK\x01\x02", 3 << 8 | 20, *member.fields(), len(name), len(member.extra), 0, 0, 0,
            member.mode << 16, offset,
        )  # fmt: skip
        directory += name + member.extra
    total = len(members) if count is None else count
    end = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, total, total, len(directory), len(body), len(comment))
    return body + directory + end + comment + suffix


def deflated(name: str, data: bytes) -> Member:
    """A member in one stored deflate block, so that its bytes are the same with every zlib."""
    block = b"\x01" + struct.pack("<HH", len(data), len(data) ^ 0xFFFF) + data
    return Member(name, block, size=len(data), crc=zlib.crc32(data), method=8)
