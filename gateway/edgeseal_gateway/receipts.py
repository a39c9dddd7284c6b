"""Receipts for device heads (``docs/format.md`` sections 10, 11): at once when sequenced, again when the anchor over
them is confirmed, again when it is final, and again without it when the chain took it back.

Nothing is signed here and nothing is lost: a receipt is made from the log whenever a device needs it.
"""

from __future__ import annotations

import sqlite3

from edgeseal.head import DeviceHead
from edgeseal.messages import Anchor, ReceiptMessage
from edgeseal_gateway.store import anchors, devicelog, devices, fleetlog
from edgeseal_gateway.store.devices import Device
from edgeseal_gateway.told import Told


class Receipts:
    """Makes receipt messages. Every method reads in the caller's transaction."""

    def __init__(self, log: bytes, chain_id: int, told: Told) -> None:
        self._log = log
        self._chain_id = chain_id
        self._told = told

    def fresh(self, connection: sqlite3.Connection, start: int, stop: int) -> list[ReceiptMessage]:
        """Return the pending receipts for device heads at positions ``start`` up to ``stop``, under the newest head."""
        head = fleetlog.newest_head(connection, self._log, stop)
        found = []
        for leaf in fleetlog.of_type(connection, DeviceHead.NAME, start):
            device = devices.find(connection, bytes.fromhex(leaf.sub))
            if head is not None and leaf.pos < stop and device is not None:
                found.append(self._message(connection, device, leaf, head, None))
        return found

    def anchored(self, connection: sqlite3.Connection, after: int, anchor: anchors.Anchor) -> list[ReceiptMessage]:
        """Return receipts under an anchor, confirmed or final, for devices whose newest head below it stands at
        ``after`` or later.
        """
        found = []
        for device in devices.every(connection):
            leaf = devicelog.newest_statement(connection, device.log, anchor.size)
            if leaf is not None and leaf.pos >= after:
                found += self._under(connection, device, leaf, anchor)
        return found

    def withdrawn(self, connection: sqlite3.Connection, start: int, stop: int) -> list[ReceiptMessage]:
        """Return pending receipts for device heads that were under an anchor of ``stop``, which the chain took back,
        and are under none above ``start`` now: each device is told by its newest such head.
        """
        found = []
        for device in devices.every(connection):
            leaf = devicelog.newest_statement(connection, device.log, stop)
            head = None if leaf is None else fleetlog.newest_head(connection, self._log, leaf.pos + 1)
            if leaf is not None and head is not None and leaf.pos >= start:
                found.append(self._message(connection, device, leaf, head, None))
        return found

    def again(self, connection: sqlite3.Connection, device: Device) -> list[ReceiptMessage]:
        """Return what a device that lacks receipts needs: the newest final one, the newest confirmed one, and the
        newest pending one, each for the newest head it covers.
        """
        found: list[ReceiptMessage] = []
        below: fleetlog.Leaf | None = None
        for anchor in (anchors.newest_final(connection), anchors.newest_settled(connection)):
            leaf = None if anchor is None else devicelog.newest_statement(connection, device.log, anchor.size)
            if anchor is not None and leaf is not None and leaf != below:
                found += self._under(connection, device, leaf, anchor)
                below = leaf
        newest = devicelog.newest_statement(connection, device.log, fleetlog.size(connection))
        head = None if newest is None else fleetlog.newest_head(connection, self._log, newest.pos + 1)
        if newest is not None and head is not None and newest != below:
            found.append(self._message(connection, device, newest, head, None))
        return found

    def _under(
        self, connection: sqlite3.Connection, device: Device, leaf: fleetlog.Leaf, anchor: anchors.Anchor
    ) -> list[ReceiptMessage]:
        head = fleetlog.head_at(connection, self._log, anchor.size)
        if head is None or anchor.block is None or anchor.number is None or anchor.tx is None:
            return []
        told = Anchor(anchor.size, head.head.root, self._chain_id, anchor.block, anchor.number, anchor.tx)
        return [self._message(connection, device, leaf, head, told, anchor.state == anchors.FINAL)]

    def _message(
        self,
        connection: sqlite3.Connection,
        device: Device,
        leaf: fleetlog.Leaf,
        head: fleetlog.StoredHead,
        anchor: Anchor | None,
        final: bool = False,
    ) -> ReceiptMessage:
        receipt = fleetlog.receipt(connection, head, leaf.pos)
        start, path = self._told.path(connection, device, head.head.size)
        return ReceiptMessage(device.log, leaf.statement, receipt, start, path, anchor, final)
