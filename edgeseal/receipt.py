"""RFC 9942 receipts that bind size and log (``docs/format.md`` section 10).

One fleet-head signature serves every receipt of that head: a receipt is the head's protected header and signature
with a proof in the unprotected header and the root left out, because whoever checks it recomputes the root.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from edgeseal import cbor, cose, limits, schema
from edgeseal.errors import FormatError, VerificationError
from edgeseal.head import FleetHead, fleet_claims
from edgeseal.merkle import root_from_inclusion, verify_consistency

INCLUSION: Final = -1
CONSISTENCY: Final = -2

_PROOF = schema.row(schema.uint, schema.uint, schema.items(schema.digest, limits.MAX_PATH, 1))


def encode_inclusion(head: cose.Sign1, size: int, index: int, path: Sequence[bytes]) -> bytes:
    """Return the receipt that leaf ``index`` is under the signed fleet head ``head`` of ``size``."""
    return _encode(head, INCLUSION, [size, index, list(path)])


def encode_consistency(head: cose.Sign1, size1: int, size2: int, path: Sequence[bytes]) -> bytes:
    """Return the receipt that the signed fleet head ``head`` of ``size2`` extends the tree of ``size1``."""
    return _encode(head, CONSISTENCY, [size1, size2, list(path)])


def _encode(head: cose.Sign1, kind: int, proof: list[Any]) -> bytes:
    unprotected = {cose.VDP: {kind: [cbor.encode(proof)]}}
    return b"".join(
        (b"\xd2\x84", cbor.encode(head.protected), cbor.encode(unprotected), b"\xf6", cbor.encode(head.signature))
    )


@dataclass(frozen=True, slots=True)
class Receipt:
    """A receipt taken apart, not yet believed.

    For inclusion ``size`` and ``index`` are the tree size and the leaf's position; for consistency ``size`` is the
    newer size and ``index`` the older one.
    """

    signed: cose.Sign1
    log: bytes
    size: int
    prev: tuple[int, bytes]
    kind: int
    index: int
    path: tuple[bytes, ...]

    @classmethod
    def decode(cls, data: bytes) -> Receipt:
        """Take an untrusted receipt apart.

        Raises:
            FormatError: as :func:`edgeseal.cose.decode`; ``receipt_proof`` unless it holds exactly one proof;
                ``receipt_size`` if the proof's size is not the signed one; ``receipt_index``.
        """
        signed = cose.decode(data, limit=limits.MAX_RECEIPT, names=(FleetHead.NAME,), detached=True)
        log, size, prev = fleet_claims(signed)
        kind, proof = _one_proof(signed.unprotected)
        fields = cbor.decode(proof, max_size=limits.MAX_RECEIPT)
        _PROOF(fields, "proof")
        index, proof_size = (fields[1], fields[0]) if kind == INCLUSION else (fields[0], fields[1])
        if proof_size != size:
            raise FormatError("receipt_size", f"the proof says size {proof_size}, the signature covers {size}")
        if index >= size or (kind == CONSISTENCY and index == 0):
            raise FormatError("receipt_index", f"position or older size {index} is not within a tree of {size}")
        return cls(signed, log, size, prev, kind, index, tuple(fields[2]))

    def verify_inclusion(self, key: cose.PublicKey, leaf: bytes) -> FleetHead:
        """Return the fleet head this receipt proves ``leaf`` (32-byte leaf hash) to stand under, at position ``index``.

        Args:
            key: a key the caller knows to be the gateway's.

        Raises:
            FormatError: ``receipt_proof`` for a consistency receipt.
            VerificationError: ``path_length``, ``wrong_key``, or a signature code (a wrong leaf or path shows as
                ``bad_signature``, since the root is recomputed).
        """
        if self.kind != INCLUSION:
            raise FormatError("receipt_proof", "this receipt proves consistency, not inclusion")
        root = root_from_inclusion(leaf, self.index, self.size, self.path)
        self.signed.verify(key, root)
        return FleetHead(self.log, self.size, root, self.prev)

    def verify_consistency(self, key: cose.PublicKey, root1: bytes, root2: bytes) -> FleetHead:
        """Return the newer head once it is shown to extend the authenticated older root ``root1``; ``root2`` is
        untrusted.

        Raises:
            FormatError: ``receipt_proof`` for an inclusion receipt.
            VerificationError: as above, and those of :func:`edgeseal.merkle.verify_consistency`.
        """
        if self.kind != CONSISTENCY:
            raise FormatError("receipt_proof", "this receipt proves inclusion, not consistency")
        self.signed.verify(key, root2)
        verify_consistency(self.index, self.size, root1, root2, list(self.path))
        return FleetHead(self.log, self.size, root2, self.prev)


def _one_proof(unprotected: dict[int, Any]) -> tuple[int, bytes]:
    proofs = unprotected.get(cose.VDP)
    if len(unprotected) != 1 or type(proofs) is not dict or len(proofs) != 1:
        raise FormatError("receipt_proof", "a receipt's unprotected header holds one kind of proof and nothing else")
    ((kind, entries),) = proofs.items()
    if kind not in (INCLUSION, CONSISTENCY) or type(entries) is not list or len(entries) != 1:
        raise FormatError("receipt_proof", "a receipt holds exactly one inclusion or consistency proof")
    if type(entries[0]) is not bytes:
        raise FormatError("receipt_proof", "a proof is a byte string")
    return kind, entries[0]


def require_log(receipt: Receipt, log: bytes) -> None:
    """Check that the receipt is about the fleet log ``log``. Raises VerificationError ``wrong_log``."""
    if receipt.log != log:
        raise VerificationError("wrong_log", f"a receipt of fleet log {receipt.log.hex()}, not of {log.hex()}")
