"""A row of the tamper table and what makes its evidence; the rows are in the modules beside this one, by who
tampers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

from edgeseal.bundle import Bundle
from edgeseal.head import SignedFleetHead
from edgeseal.trust import Trust
from edgeseal.verify import ChainState, ChainView, Interval, Reexecution, RegistryKey
from tests.world import Device, World

AUTHOR, DEVICE, GATEWAY, BROKER, RPC = "bundle author", "root with the device key", "gateway", "broker", "RPC"
ALL = "all records, heads and statements; a trusted block"


@dataclass(frozen=True)
class Evidence:
    """What the verifier is given."""

    bundle: Bundle
    trust: Trust | None
    chain: ChainView | None = None
    reexecuted: dict[bytes, Reexecution] | None = None


@dataclass(frozen=True)
class Row:
    """One row of the table, and how to make its evidence."""

    tamper: str
    by: str
    evidence: str
    question: str
    answer: str
    reason: str
    make: Callable[[], Evidence]
    seq: int | None = None

    @property
    def exit_code(self) -> int:
        return {"ok": 0, "failed": 2, "not_answered": 3}[self.answer]


ROWS: Final[list[Row]] = []


def row(
    tamper: str, by: str, evidence: str, question: str, answer: str, reason: str, seq: int | None = None
) -> Callable[[Callable[[], Evidence]], Callable[[], Evidence]]:
    def keep(make: Callable[[], Evidence]) -> Callable[[], Evidence]:
        ROWS.append(Row(tamper, by, evidence, question, answer, reason, make, seq))
        return make

    return keep


def given(world: World, device: Device | None = None, trust: Trust | None = None, **options: Any) -> Evidence:
    devices = None if device is None else [device]
    return Evidence(world.bundle(devices, **options), trust or world.trust())


def state_of(world: World, device: Device, size: int | None = None, root: bytes | None = None, **key: Any) -> ChainView:
    """Return the chain's true state (or what a liar reports), from an endpoint that the trust file names."""
    entry = RegistryKey("device", (Interval(key.get("start", 0), key.get("until"), key.get("ended_at")),))
    size = size or world.size
    keys = {device.key.kid: entry}
    state = ChainState(b"\x99" * 32, 99, world.time_s + 12, size, root or world.root_hash(size), keys)
    return ChainView("endpoint named in the trust file", state=state)


def partial(world: World, device: Device, without: set[int]) -> dict[str, Any]:
    """Return the options of a bundle about one device: its own statements with receipts, and a snapshot path, not
    the whole log.
    """
    kid = device.key.kid.hex()
    mine = [
        p for p, raw in enumerate(world.statements) if raw in device.heads or device.log in raw or b"group:all" in raw
    ]
    keysets = [p for p, raw in enumerate(world.statements) if raw in world.keysets]
    keep = sorted({*keysets, *mine, world.size - 1} - without)
    subjects = (device.log.hex(), kid, world.log.hex(), "group:all")
    tree = world.snapshot_tree()
    sizes = sorted({SignedFleetHead.decode(head).head.size for head in world.heads})
    return {
        "statements": keep,
        "receipts": [world.receipt(p) for p in keep],
        "heads": world.heads,
        "anchors": world.anchors[-1:],
        "consistency": pairwise(sizes),
        "snapshots": [tree.prove(sub, world.size - 1).as_map() for sub in subjects],
    }
