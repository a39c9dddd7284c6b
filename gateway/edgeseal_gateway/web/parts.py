"""What the endpoints work on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from starlette.requests import Request

from edgeseal.errors import UsageError
from edgeseal.network import NetworkProfile
from edgeseal_gateway.board import Board
from edgeseal_gateway.figures import Figures
from edgeseal_gateway.store import devices
from edgeseal_gateway.store.database import Database
from edgeseal_gateway.store.devices import Device
from edgeseal_gateway.web.request import read_hex


@dataclass(frozen=True, slots=True)
class Parts:
    """What the API works on. ``wake`` tells the sequencer that something was handed in."""

    database: Database
    index: Path
    packages: Path
    profile: NetworkProfile
    kid: bytes
    board: Board
    wake: Callable[[], None]
    tokens: frozenset[str]
    figures: Figures = field(default_factory=Figures)


def device_of(connection: sqlite3.Connection, request: Request) -> Device:
    """Return the device whose log the path names. Raises UsageError ``device_unknown``, ``query``."""
    found = devices.find(connection, read_hex(request.path_params["log"], "log"))
    if found is None:
        raise UsageError("device_unknown", "no device of this log is enrolled here")
    return found
