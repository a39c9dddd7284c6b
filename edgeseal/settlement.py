"""One record, settled: what the RecordVerifier contract checks on a chain, checked here (contracts/README.md).

A statement of one device about one record needs no bundle: the record header, its path to a signed device head, that
head's path to the anchored fleet head, and what the registry says of the key. Contract and :func:`check` accept the
same evidence and refuse the same (shared vectors, ``contracts/test/vectors/settlement.json``).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edgeseal import cose, limits
from edgeseal.errors import FormatError, VerificationError
from edgeseal.head import DeviceHead, SignedDeviceHead
from edgeseal.merkle import leaf_hash, verify_inclusion
from edgeseal.record import Header
from edgeseal.statements.enrolment import device_log_id
from edgeseal.verify.chain import RegistryKey


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is shown for one record; nothing in it is believed.

    ``record`` is the header's bytes; ``head`` the payload bytes of the device head; ``key`` the device key's [x, y], 32
    bytes each, ``signature`` 64 bytes r ‖ s over the head; the paths are RFC 9162 inclusion paths of 32-byte hashes;
    ``position`` is the head's index in the fleet log.
    """

    fleet_log: bytes
    record: bytes
    device_path: Sequence[bytes]
    head: bytes
    key: tuple[bytes, bytes]
    signature: bytes
    position: int
    fleet_path: Sequence[bytes]

    @classmethod
    def of(
        cls, fleet_log: bytes, record: bytes, device_path: Sequence[bytes], statement: bytes, key: cose.PublicKey,
        position: int, fleet_path: Sequence[bytes],
    ) -> Evidence:  # fmt: skip
        """Return the evidence with a signed device head as it stands in the fleet log. Raises FormatError."""
        signed = SignedDeviceHead.decode(statement).signed
        assert signed.payload is not None
        return cls(
            fleet_log, record, device_path, signed.payload, (key.x, key.y), signed.signature, position, fleet_path
        )

    def arguments(self) -> tuple[Any, ...]:
        """Return the struct that ``RecordVerifier.check`` and ``settle`` take, in the order of its ABI."""
        by = (*self.key, self.signature[:32], self.signature[32:])
        return (
            self.fleet_log, self.record, list(self.device_path), self.head, by, self.position, list(self.fleet_path)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Settled:
    """What is proved: the device key and log, the record's place there, the hash of its body; ``time_ms`` is what the
    device's clock said, ``position`` and ``size`` where in the anchored fleet log its head stands."""

    kid: bytes
    device_log: bytes
    seq: int
    body: bytes
    time_ms: int
    position: int
    size: int


def check(evidence: Evidence, anchored: tuple[int, bytes], entry: RegistryKey | None) -> Settled:
    """Return what ``evidence`` proves.

    Steps: (1) the record header, strictly; (2) the device head, strictly; (3) both are of the key's own log; (4) the
    record lies under the head's root; (5) the key signed the head; (6) the signed head lies under the anchored root;
    (7) the key is a device's and counts at that position.

    Args:
        evidence: untrusted.
        anchored: (size, root) of the fleet log as the chain holds it: the caller's to know.
        entry: what the registry says of the key in this fleet log; None if nothing.

    Raises:
        FormatError: CBOR and shape codes, ``head_order``, ``key_invalid``.
        VerificationError: ``log_id``, ``log_mismatch``, ``path_*``, signature codes, ``not_anchored``,
            ``not_registered``, ``wrong_role``, ``before_validity`` or ``key_revoked``.
    """
    header = Header.decode(evidence.record)  # (1)
    if len(evidence.head) > limits.MAX_HEAD:
        raise FormatError("too_large", f"a device head of {len(evidence.head)} bytes, the limit is {limits.MAX_HEAD}")
    head = DeviceHead.from_payload(evidence.head)  # (2)
    key = cose.PublicKey.of(*evidence.key)
    own = device_log_id(key.kid)
    if head.log != own:  # (3)
        raise VerificationError("log_id", f"a head of log {head.log.hex()}, the key's is {own.hex()}")
    if header.log != own:
        raise VerificationError("log_mismatch", f"a record of log {header.log.hex()}, not of {own.hex()}")
    verify_inclusion(leaf_hash(evidence.record), header.seq, head.size, evidence.device_path, head.root)  # (4)

    protected = head.protected(key.kid)
    key.verify(cose.to_be_signed(protected, evidence.head), evidence.signature)  # (5)
    size, root = anchored
    if size == 0:
        raise VerificationError("not_anchored", "nothing is anchored in this fleet log")
    statement = cose.assemble(protected, evidence.head, evidence.signature)
    verify_inclusion(leaf_hash(statement), evidence.position, size, evidence.fleet_path, root)  # (6)
    _check_key(key.kid, entry, evidence.position)  # (7)
    return Settled(key.kid, own, header.seq, header.body, header.t, evidence.position, size)


def _check_key(kid: bytes, entry: RegistryKey | None, position: int) -> None:
    if entry is None:
        raise VerificationError("not_registered", f"the registry does not know key {kid.hex()}")
    if entry.role != "device":
        raise VerificationError("wrong_role", f"key {kid.hex()} is registered as {entry.role}")
    if any(i.start <= position and (i.until is None or position < i.until) for i in entry.intervals):
        return
    if all(position < i.start for i in entry.intervals):
        raise VerificationError("before_validity", f"position {position} lies before key {kid.hex()} counts")
    raise VerificationError("key_revoked", f"at position {position} key {kid.hex()} does not count")
