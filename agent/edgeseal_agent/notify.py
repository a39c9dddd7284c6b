"""sd_notify(3): readiness, watchdog and a status line for systemd; nothing happens where it did not start us."""

from __future__ import annotations

import os
import socket


class Notifier:
    """Speaks to the socket systemd named in ``NOTIFY_SOCKET``. Never raises: a supervisor that is gone stops
    nothing.
    """

    def __init__(self) -> None:
        address = os.environ.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        limit_us = os.environ.get("WATCHDOG_USEC", "")
        self.watchdog_s: float | None = int(limit_us) / 2e6 if limit_us.isdecimal() and int(limit_us) else None

    def send(self, *lines: str) -> None:
        """Send assignments such as ``READY=1``."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
                channel.sendto("\n".join(lines).encode(), self._address)
        except OSError:
            return
