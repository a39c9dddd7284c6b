"""The log before this one: what genesis of a later epoch names, as a file that people carry from one to the other.

Where the old store is lost the file holds what the gateway could show of it; its head proves itself by the old key.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from edgeseal.cose import PublicKey
from edgeseal.errors import EvidenceError, UsageError
from edgeseal.head import SignedDeviceHead
from edgeseal.statements.enrolment import device_log_id

SCHEMA: Final = "edgeseal-predecessor/1"
MAX_FILE: Final = 65_536
LOST: Final = "lost"
"""The store's fact that the first run records as a ``gap``."""


@dataclass(frozen=True, slots=True)
class Predecessor:
    """A device's earlier log: its key, the last size and root known of it, and the signed head that says so.

    ``head`` is None, size 0 and root zeros where nobody could show one. ``lost`` is None for a log that its own key
    closed, else one sentence on what is missing.
    """

    name: str
    epoch: int
    key: PublicKey
    size: int
    root: bytes
    head: bytes | None
    lost: str | None

    @property
    def log(self) -> bytes:
        """Its device log id."""
        return device_log_id(self.key.kid)

    def named(self) -> list[Any]:
        """Return the value of ``prev`` in the successor's genesis."""
        return [self.log, self.size, self.root]

    def check_successor(self, name: str, epoch: int) -> None:
        """Raise UsageError ``predecessor_differs`` where a device of this name and epoch does not come next."""
        if (name, epoch) != (self.name, self.epoch + 1):
            raise UsageError(
                "predecessor_differs",
                f"{self.name} of epoch {self.epoch} comes before {self.name} of epoch {self.epoch + 1}, "
                f"the configuration says {name} of epoch {epoch}",
                "set name and epoch",
            )

    def as_json(self) -> dict[str, Any]:
        """Return the JSON object of the file; bytes in lower-case hex."""
        return {
            "schema": SCHEMA, "name": self.name, "epoch": self.epoch, "x": self.key.x.hex(), "y": self.key.y.hex(),
            "log": self.log.hex(), "size": self.size, "root": self.root.hex(),
            "head": None if self.head is None else self.head.hex(), "lost": self.lost,
        }  # fmt: skip


def read(path: Path) -> Predecessor:
    """Return the predecessor in a file, its head checked with its key.

    Raises UsageError ``predecessor_unreadable``: no such file, or one whose parts do not belong together.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE)
        return _parsed(json.loads(data))
    except (OSError, ValueError, KeyError, TypeError, EvidenceError) as error:
        raise UsageError(
            "predecessor_unreadable", f"{path}: {error!r}", "it is the file that edgeseal-agent lost wrote"
        ) from error


def _parsed(found: dict[str, Any]) -> Predecessor:
    key = PublicKey.of(bytes.fromhex(found["x"]), bytes.fromhex(found["y"]))
    size, root, name, epoch, lost = found["size"], bytes.fromhex(found["root"]), *(found[k] for k in _PLAIN)
    if found["schema"] != SCHEMA or device_log_id(key.kid).hex() != found["log"] or len(root) != 32:
        raise ValueError("its parts do not belong together")
    if type(size) is not int or type(epoch) is not int or type(name) is not str or type(lost) not in (str, type(None)):
        raise ValueError("a part of another type")
    head = None if found["head"] is None else bytes.fromhex(found["head"])
    if head is None:
        if (size, root) != (0, bytes(32)):
            raise ValueError("a size without a signed head")
    else:
        shown = SignedDeviceHead.decode(head).verify(key)
        if (shown.size, shown.root) != (size, root):
            raise ValueError("the signed head is another one")
    return Predecessor(name, epoch, key, size, root, head, lost)


_PLAIN: Final = ("name", "epoch", "lost")
