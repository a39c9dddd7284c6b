"""What systemd is told: ready, stopping, still alive (sd_notify(3)). Without systemd nothing happens."""

from __future__ import annotations

import os
import socket


def notify(message: str) -> None:
    """Send ``message`` (``READY=1``, ``STOPPING=1``, ``WATCHDOG=1``) to the service manager, if there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    target = "\0" + address[1:] if address.startswith("@") else address
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.sendto(message.encode(), target)
    except OSError:
        return  # a manager that does not listen is no reason to stop
