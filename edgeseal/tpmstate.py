"""What an ``attest`` record holds: the TPM's own clock and counts, signed over the device's last head
(``docs/format.md`` 4.5).

Nothing of it can be made without the TPM, nothing be made earlier than that head. It says what the TPM lived through,
not what software ran.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from edgeseal import cbor, limits, schema, tpmstruct
from edgeseal.commitment import domain
from edgeseal.cose import PublicKey
from edgeseal.errors import VerificationError
from edgeseal.tpmstruct import Clock

TYPE: Final = "tpm2"
"""``type`` of the ``attest`` records that this module reads."""
_structure = schema.binary(1, limits.MAX_TPM_STRUCTURE)
_signature = schema.binary(64, 64)
_STATE: Final = schema.closed(
    {
        "v": schema.one_of(1),
        "head": schema.size_root,
        "quote": _structure,
        "sig": _signature,
        "nv": schema.maybe(schema.row(_structure, _structure, _signature)),
    }
)


@dataclass(frozen=True, slots=True)
class State:
    """What a TPM attested: after the head ``size``, ``root`` was signed its clock and counts stood so. ``counter`` is
    that of the NV counter, None where none is kept, ``index`` the counter's name (empty without one), by which one is
    told from another; ``pcrs`` the digest of the PCRs, which nothing here judges.
    """

    size: int
    root: bytes
    clock: Clock
    pcrs: bytes
    counter: int | None
    index: bytes = b""


def nonce(log: bytes, size: int, root: bytes) -> bytes:
    """Return what the TPM signs beside its state: the device log's last head, 32 bytes."""
    return sha256(domain("attest") + log + size.to_bytes(8, "big") + root).digest()


def encode(size: int, root: bytes, quote: tuple[bytes, bytes], nv: tuple[bytes, bytes, bytes] | None) -> bytes:
    """Return the evidence of an ``attest`` record.

    ``quote`` is (TPMS_ATTEST, signature), ``nv`` (TPMS_NV_PUBLIC, TPMS_ATTEST, signature); signatures r ‖ s, low-S.
    """
    fields = {
        "v": 1, "head": [size, root], "quote": quote[0], "sig": quote[1], "nv": None if nv is None else list(nv)
    }  # fmt: skip
    _STATE(fields, "attest")
    return cbor.encode(fields)


def check(evidence: bytes, log: bytes, ak: PublicKey) -> State:
    """Return what the untrusted evidence of an ``attest`` record of device log ``log`` shows: (1) a quote; (2) a
    certified NV counter, if one is kept; each signed by ``ak`` over the head named.

    That the head is one of the log is the caller's to check. Raises:
        FormatError: CBOR, shape, TPM structures.
        VerificationError: ``attest_nonce``, ``not_a_counter``, ``bad_signature`` and the like.
    """
    fields = cbor.decode(evidence, max_size=limits.MAX_BODY)
    _STATE(fields, "attest")
    size, root = fields["head"]
    # (1)
    said = _signed(fields["quote"], fields["sig"], tpmstruct.QUOTE, ak, nonce(log, size, root))
    counter, name = None, b""
    # (2)
    if fields["nv"] is not None:
        public, attest, signature = fields["nv"]
        index = tpmstruct.nv_index(public)
        counted = _signed(attest, signature, tpmstruct.NV, ak, nonce(log, size, root))
        if counted.name != index.name or not index.is_counter or len(counted.content) != index.size:
            raise VerificationError("not_a_counter", "the NV index certified is not shown to be a counter")
        counter, name = int.from_bytes(counted.content, "big"), index.name
    return State(size, root, said.clock, said.content, counter, name)


def _signed(data: bytes, signature: bytes, kind: int, ak: PublicKey, extra: bytes) -> tpmstruct.Attested:
    said = tpmstruct.attested(data, kind)
    ak.verify(data, signature)
    if said.extra != extra:
        raise VerificationError("attest_nonce", "the TPM signed over another head than the one named")
    return said
