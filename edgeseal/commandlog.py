"""Commands as the CommandLog contract takes them: audiences, action classes, digest chain, what an operator signs
(``docs/format.md`` 8.7).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from edgeseal.commitment import domain
from edgeseal.errors import FormatError
from edgeseal.statements.command import MODEL_ACTIVATE, PING, audience_subject

EVERYBODY: Final = bytes(32)
"""The audience of everybody in the tenant, and the digest chain of an audience to whom nothing was logged yet."""
QUERY, MODEL, POLICY, CONFIGURATION, MAINTENANCE, HALT = range(6)
CLASSES: Final = ("query", "model", "policy", "configuration", "maintenance", "halt")
"""Action classes by number: what an operator's scope on chain is cut by."""
CLASS_OF: Final[Mapping[str, int]] = {PING: QUERY, MODEL_ACTIVATE: MODEL}
"""Action of a command → its class."""
MAX_ENTRIES: Final = 64
"""Commands in one call."""
_UNSEQUENCED: Final = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Entry:
    """One command to log: digest of the statement (32 bytes), its fleet position, its class."""

    digest: bytes
    position: int
    action_class: int


def audience_id(audience: bytes | str) -> bytes:
    """Return the 32 bytes that stand for an audience on chain: a device log id as it is, a group's name hashed."""
    if isinstance(audience, bytes):
        return audience
    return sha256(domain("audience") + audience_subject(audience).encode()).digest()


def class_of(action: str) -> int:
    """Return the class of an action. Raises FormatError ``unknown_action``."""
    found = CLASS_OF.get(action)
    if found is None:
        raise FormatError("unknown_action", f"no action {action!r}")
    return found


def chain_after(chain: bytes, entries: Sequence[Entry]) -> bytes:
    """Return an audience's digest chain (32 bytes) once these entries follow ``chain``."""
    for entry in entries:
        chain = _step(chain, entry.digest, entry.position, entry.action_class)
    return chain


def chain_after_halt(chain: bytes, digest: bytes) -> bytes:
    """Return an audience's digest chain once a halt follows ``chain``: it need not have a position."""
    return _step(chain, digest, _UNSEQUENCED, HALT)


def _step(chain: bytes, digest: bytes, position: int, action_class: int) -> bytes:
    place = position.to_bytes(8, "big") + bytes([action_class])
    return sha256(domain("command-chain") + chain + digest + place).digest()


def log_message(chain_id: int, contract: bytes, log: bytes, audience: bytes, after: bytes, deadline: int) -> bytes:
    """Return what an operator signs (ES256) to have commands logged.

    Args:
        chain_id: of the EVM chain. contract: the CommandLog's address, 20 bytes. log: the fleet log's id.
        audience: :func:`audience_id`. after: the digest chain that all entries lead to.
        deadline: Unix seconds after which the contract does not take it.
    """
    return _message("command-log", chain_id, contract, log + audience + after, deadline)


def halt_message(chain_id: int, contract: bytes, log: bytes, audience: bytes, after: bytes, deadline: int) -> bytes:
    """Return what an operator signs to have an emergency halt logged; as :func:`log_message`."""
    return _message("command-halt", chain_id, contract, log + audience + after, deadline)


def _message(what: str, chain_id: int, contract: bytes, rest: bytes, deadline: int) -> bytes:
    return domain(what) + chain_id.to_bytes(32, "big") + contract + rest + deadline.to_bytes(8, "big")
