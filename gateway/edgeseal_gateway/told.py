"""What each device has seen of the fleet log, as far as the gateway can know, and the proof that leads on from there.

A device believes a fleet head only if it is consistent with the newest one it checked. It says which that is in its
signed heads and in ``hello``; what was sent since is taken to have arrived. Where that was wrong the device says
``hello`` again.
"""

from __future__ import annotations

import sqlite3

from edgeseal_gateway.store import fleetlog
from edgeseal_gateway.store.devices import Device


class Told:
    """Fleet sizes that devices have seen. Shared by the stages that send; used from one thread."""

    def __init__(self, log: bytes) -> None:
        self._log = log
        self._sizes: dict[bytes, int] = {}

    def said(self, log: bytes, size: int) -> None:
        """Note what a device itself says it has seen; 0 for nothing of this fleet log."""
        self._sizes[log] = size

    def path(self, connection: sqlite3.Connection, device: Device, size: int) -> tuple[int, tuple[bytes, ...]]:
        """Return (from, path) to send beside a receipt of ``size``, and take the device to have seen that size then.

        ``from`` is the smaller of that size and the one seen, and the path leads from it to the larger; (0, ()) when
        nothing is known or nothing is needed.
        """
        seen = self._sizes.get(device.log)
        if seen is None:
            seen = device.seen.size if device.seen is not None and device.seen.log == self._log else 0
        self._sizes[device.log] = max(seen, size)
        small, large = sorted((seen, size))
        if small in (0, large) or large > fleetlog.size(connection):
            return 0, ()
        return small, tuple(fleetlog.consistency_path(connection, small, large))
