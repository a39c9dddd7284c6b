"""Signed (size, root) pairs: the device's heads and the gateway's (``docs/format.md`` 5.1, 7.2).

A head commits to everything before it. Building one gives the bytes to be signed; reading one gives a head whose
signature has not been checked: ``signed.verify(key)`` does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from edgeseal import cbor, cose, limits, schema
from edgeseal.errors import FormatError, VerificationError

NO_HEAD: Final = (0, bytes(32))
"""What stands for the previous head before the first."""


@dataclass(frozen=True, slots=True)
class Seen:
    """A fleet head as one side last knew it: fleet log id, size, root."""

    log: bytes
    size: int
    root: bytes

    def as_list(self) -> list[Any]:
        """Return ``[log, size, root]``."""
        return [self.log, self.size, self.root]

    @classmethod
    def from_list(cls, row: Sequence[Any] | None) -> Seen | None:
        """Return the value of a checked ``[log, size, root]``, or None for null."""
        return None if row is None else cls(row[0], row[1], row[2])


@dataclass(frozen=True, slots=True)
class Anchored:
    """The newest anchor a device was told of: fleet (log, size, root), EVM chain id and block hash. Not checked by
    it.
    """

    log: bytes
    size: int
    root: bytes
    chain: int
    block: bytes


@dataclass(frozen=True, slots=True)
class HeadClock:
    """The clock block of a device head: wall ms, ms since boot, agent start count, TPM clock info if there is one.

    ``tpm`` is (clock ms, reset count, restart count, safe).
    """

    t: int
    mono: int
    boot: int
    tpm: tuple[int, int, int, bool] | None = None


_CLOCK = schema.closed(
    {
        "t": schema.uint,
        "mono": schema.uint,
        "boot": schema.uint,
        "tpm": schema.maybe(schema.row(schema.uint, schema.uint, schema.uint, schema.boolean)),
    }
)
_DEVICE_HEAD = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "size": schema.uint,
        "root": schema.digest,
        "prev": schema.size_root,
        "seen": schema.maybe(schema.log_size_root),
        "anchored": schema.maybe(schema.row(schema.digest, schema.uint, schema.digest, schema.uint, schema.digest)),
        "clock": _CLOCK,
    }
)


def _check_order(size: int, prev: Sequence[Any]) -> None:
    if size < 2 or prev[0] >= size or (prev[0] == 0) != (prev[1] == NO_HEAD[1]) or prev[0] == 1:
        raise FormatError("head_order", f"a head of size {size} cannot follow one of size {prev[0]}")


@dataclass(frozen=True, slots=True)
class DeviceHead:
    """What a device head says (5.1): its log's size and root, the head before, the fleet head it has seen."""

    NAME: ClassVar[str] = "device-head"

    log: bytes
    size: int
    root: bytes
    prev: tuple[int, bytes]
    seen: Seen | None
    anchored: Anchored | None
    clock: HeadClock

    @property
    def sub(self) -> str:
        """The subject: the device log id."""
        return self.log.hex()

    def payload(self) -> bytes:
        """Return the payload bytes: stored before they are signed, and signed again as they are after a restart."""
        anchor, clock = self.anchored, self.clock
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "size": self.size,
                "root": self.root,
                "prev": list(self.prev),
                "seen": None if self.seen is None else self.seen.as_list(),
                "anchored": None
                if anchor is None
                else [anchor.log, anchor.size, anchor.root, anchor.chain, anchor.block],
                "clock": {
                    "t": clock.t,
                    "mono": clock.mono,
                    "boot": clock.boot,
                    "tpm": None if clock.tpm is None else list(clock.tpm),
                },
            }
        )

    def protected(self, kid: bytes) -> bytes:
        """Return the protected header under the device key ``kid``."""
        return cose.protected_header(kid, self.NAME, self.sub, size=self.size, log=self.log)

    @classmethod
    def from_payload(cls, payload: bytes) -> DeviceHead:
        """Return the head in untrusted payload bytes. Raises FormatError: CBOR, shape, ``head_order``."""
        fields = cbor.decode(payload, max_size=limits.MAX_HEAD)
        _DEVICE_HEAD(fields, "device head")
        _check_order(fields["size"], fields["prev"])
        clock, anchor = fields["clock"], fields["anchored"]
        return cls(
            fields["log"],
            fields["size"],
            fields["root"],
            (fields["prev"][0], fields["prev"][1]),
            Seen.from_list(fields["seen"]),
            None if anchor is None else Anchored(*anchor),
            HeadClock(clock["t"], clock["mono"], clock["boot"], None if clock["tpm"] is None else tuple(clock["tpm"])),
        )

    def check_claims(self, signed: cose.Sign1) -> None:
        """Check that header and payload say the same. Raises FormatError ``claims_mismatch``."""
        if (signed.size, signed.log, signed.sub, signed.prev, signed.vds) != (
            self.size,
            self.log,
            self.sub,
            None,
            False,
        ):
            raise FormatError("claims_mismatch", "the claims of a device head and its payload differ")


@dataclass(frozen=True, slots=True)
class SignedDeviceHead:
    """A device head and the COSE_Sign1 it came in, not yet verified."""

    signed: cose.Sign1
    head: DeviceHead

    @classmethod
    def decode(cls, data: bytes) -> SignedDeviceHead:
        """Take an untrusted signed device head apart. Raises FormatError as :func:`edgeseal.cose.decode`, and shape
        codes.
        """
        signed = cose.decode(data, limit=limits.MAX_HEAD, names=(DeviceHead.NAME,))
        assert signed.payload is not None
        head = DeviceHead.from_payload(signed.payload)
        head.check_claims(signed)
        return cls(signed, head)

    def verify(self, key: cose.PublicKey) -> DeviceHead:
        """Return the head once ``key`` is shown to have signed it. Raises VerificationError."""
        self.signed.verify(key)
        return self.head


@dataclass(frozen=True, slots=True)
class FleetHead:
    """What a fleet head says (7.2): the fleet log's size and root, and the signed head before it."""

    NAME: ClassVar[str] = "fleet-head"

    log: bytes
    size: int
    root: bytes
    prev: tuple[int, bytes]

    def payload(self) -> bytes:
        """Return the payload: the bare 32-byte root."""
        return self.root

    def protected(self, kid: bytes) -> bytes:
        """Return the protected header under the gateway key ``kid``: the bytes that the contract rebuilds."""
        return cose.protected_header(kid, self.NAME, self.log.hex(), size=self.size, log=self.log, prev=list(self.prev))


def fleet_claims(signed: cose.Sign1) -> tuple[bytes, int, tuple[int, bytes]]:
    """Return (log, size, prev) of the header of a fleet head or of one of its receipts.

    Raises:
        FormatError: ``claims_mismatch`` if a claim is missing or ``sub`` is not the log id; ``head_order``.
    """
    log, size, prev = signed.log, signed.size, signed.prev
    if log is None or size is None or prev is None or not signed.vds or signed.sub != log.hex():
        raise FormatError("claims_mismatch", "a fleet head names its log, size, previous head and tree algorithm")
    _check_order(size, prev)
    return log, size, prev


@dataclass(frozen=True, slots=True)
class SignedFleetHead:
    """A fleet head and the COSE_Sign1 it came in, not yet verified."""

    signed: cose.Sign1
    head: FleetHead

    @classmethod
    def decode(cls, data: bytes) -> SignedFleetHead:
        """Take an untrusted signed fleet head apart. Raises FormatError as :func:`edgeseal.cose.decode`, and shape
        codes.
        """
        signed = cose.decode(data, limit=limits.MAX_HEAD, names=(FleetHead.NAME,))
        assert signed.payload is not None
        schema.digest(signed.payload, "root")
        log, size, prev = fleet_claims(signed)
        return cls(signed, FleetHead(log, size, signed.payload, prev))

    def verify(self, key: cose.PublicKey) -> FleetHead:
        """Return the head once ``key`` is shown to have signed it. Raises VerificationError."""
        self.signed.verify(key)
        return self.head


def check_seen(earlier: Seen | None, later: Seen | None) -> None:
    """Check that ``seen`` does not fall from one device head to the next (5.1).

    Raises:
        VerificationError: ``seen_fell``.
    """
    if earlier is None:
        return
    if later is None or (later.log == earlier.log and later.size < earlier.size):
        raise VerificationError("seen_fell", f"a device head forgets the fleet head of size {earlier.size} seen before")
