"""What a collection needs to know of evidence to put two sources of it together: sizes, logs, order. Nothing is
verified.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from itertools import groupby, zip_longest

from edgeseal import segment
from edgeseal.bundle import AnchorEvidence, Bundle, Item
from edgeseal.commitment import Opening
from edgeseal.errors import EvidenceError, FormatError, Unavailable
from edgeseal.evmproof import verify_log
from edgeseal.fleetlog_event import decode_anchored
from edgeseal.head import SignedDeviceHead, SignedFleetHead
from edgeseal.merkle import leaf_hash
from edgeseal.receipt import Receipt


def merged(theirs: Iterator[Item], ours: Iterator[Item]) -> Iterator[Item]:
    """Yield position by position what shows most: a whole record before a header before a bare hash, the gateway's
    where equal. Where the two are different records the device's own stands, under whose heads it must hold."""
    for gateway, device in zip_longest(theirs, ours):
        if gateway is None or device is None:
            yield gateway or device
        elif _leaf(gateway) != _leaf(device):
            yield device
        else:
            yield min(gateway, device, key=lambda item: int(item[0]))


def whole_run(export: Bundle, log: bytes) -> Iterator[Item]:
    """Yield a log's items from the first on. Raises FormatError ``bundle_missing`` for a hole, behind which positions
    would be others than they are, and what Bundle raises.
    """
    expected = 0
    for start, items in export.records(log):
        if start != expected:
            raise FormatError("bundle_missing", f"records {expected} to {start - 1} of log {log.hex()} are not in it")
        yield from (tuple(item) for item in items)
        expected = start + len(items)


def all_openings(exports: Iterable[Bundle], log: bytes) -> Iterator[Opening]:
    """Yield the openings of a log that any export has, each once, in the order of records. Raises what Bundle
    raises.
    """
    together = heapq.merge(*(export.openings(log) for export in exports), key=lambda opening: opening.seq)
    for _, some in groupby(together, key=lambda opening: opening.seq):
        yield from dict.fromkeys(some)


def _leaf(item: Item) -> bytes:
    return item[1] if item[0] == segment.BARE_LEAF else leaf_hash(item[1])


def heads_in(raw: bytes) -> list[bytes]:
    """Return the signed device head that untrusted bytes are, or that a segment in them carries; empty for anything
    else.
    """
    for read in (SignedDeviceHead.decode, lambda data: segment.decode(data).head):
        try:
            return [read(raw).signed.raw]
        except EvidenceError:
            continue
    return []


def head_log(raw: bytes) -> bytes | None:
    """Return the device log that a signed head says it is of, None for what is no head."""
    try:
        return SignedDeviceHead.decode(raw).head.log
    except EvidenceError:
        return None


def head_size(raw: bytes) -> int:
    """Return the size that a signed device head says, 0 for what is no head."""
    try:
        return SignedDeviceHead.decode(raw).head.size
    except EvidenceError:
        return 0


def receipt_size(raw: bytes) -> int:
    """Return the fleet size that a receipt says, 0 for what is no receipt."""
    try:
        return Receipt.decode(raw).size
    except EvidenceError:
        return 0


def fleet_order(raw: bytes) -> tuple[int, bytes]:
    """Return what fleet heads are sorted by: the size they say, then their bytes."""
    try:
        return SignedFleetHead.decode(raw).head.size, raw
    except EvidenceError:
        return 0, raw


def log_of(heads: Iterable[bytes]) -> bytes | None:
    """Return the fleet log that the first readable one of some fleet heads says it is of."""
    for raw in heads:
        try:
            return SignedFleetHead.decode(raw).head.log
        except EvidenceError:
            continue
    return None


def anchored_size(anchor: AnchorEvidence) -> int:
    """Return the size of the head that an anchor's event names. Raises Unavailable ``gateway_answer`` if it proves
    none.
    """
    try:
        proved = verify_log(
            anchor.block, anchor.header, anchor.receipt, anchor.index, anchor.nodes, anchor.contract, anchor.log
        )
        return decode_anchored(proved.log).size
    except EvidenceError as error:
        raise Unavailable("gateway_answer", f"an anchor that proves nothing: {error.message}") from error
