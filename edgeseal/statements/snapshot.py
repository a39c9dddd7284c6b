"""Snapshot statements: the gateway's word on every subject of the fleet log (``docs/format.md`` 9.1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from edgeseal import cbor, limits, schema

_SNAPSHOT = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "size": schema.positive,
        "root": schema.digest,
        "count": schema.uint,
    }
)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A snapshot's payload: ``size`` is its own position + 1; ``root`` and ``count`` are those of the sorted entry
    tree.
    """

    NAME: ClassVar[str] = "snapshot"

    log: bytes
    size: int
    root: bytes
    count: int

    @property
    def sub(self) -> str:
        """The subject: the fleet log id. Snapshots themselves are covered by no snapshot."""
        return self.log.hex()

    def payload(self) -> bytes:
        """Return the payload bytes."""
        return cbor.encode({"v": 1, "log": self.log, "size": self.size, "root": self.root, "count": self.count})

    @classmethod
    def from_payload(cls, payload: bytes) -> Snapshot:
        """Return the snapshot in untrusted payload bytes. Raises FormatError: CBOR and shape codes."""
        fields = cbor.decode(payload, max_size=limits.MAX_STATEMENT)
        _SNAPSHOT(fields, "snapshot")
        return cls(fields["log"], fields["size"], fields["root"], fields["count"])
