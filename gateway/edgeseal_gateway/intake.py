"""Statements that operators hand in: judged once, here, then queued; what is queued is sequenced (``docs/format.md``
8).

Each is judged by the newest keyset, one that waits in the queue included, since that will stand below it in the log.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Final

from edgeseal import statements
from edgeseal.errors import TrustError, UsageError, VerificationError
from edgeseal.network import NetworkProfile
from edgeseal.statements import Statement
from edgeseal.statements.command import Command
from edgeseal.statements.enrolment import Enrolment
from edgeseal.statements.keyset import Keyset
from edgeseal.statements.revocation import Revocation
from edgeseal_gateway import enforcement
from edgeseal_gateway.store import devices, fleetlog, keysets, orders

QUEUED: Final = "queued"
SEQUENCED: Final = "sequenced"
MAX_QUEUE: Final = 10_000
NO_COMMAND: Final = bytes(32)
"""What the first command to an audience names as the one before."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """A statement that is in the fleet log (``pos``) or in the queue for it (``pos`` None)."""

    digest: bytes
    typ: str
    pos: int | None

    @property
    def state(self) -> str:
        """``queued`` or ``sequenced``."""
        return QUEUED if self.pos is None else SEQUENCED


def accept(
    connection: sqlite3.Connection, profile: NetworkProfile, kid: bytes, data: bytes, salt: bytes, args: bytes,
    now_s: int = 0,
) -> Accepted:  # fmt: skip
    """Judge the untrusted statement ``data`` and queue it, in the caller's transaction.

    Args:
        kid: the gateway's own key, which every keyset must name.
        salt: for a command, the opening of its arguments: 32 bytes; empty otherwise.
        args: for a command, the bytes of its argument map.
        now_s: wall time in Unix seconds, for grants of models; the chain's time counts where it is later.

    The same statement again (format 1.4) gives the same answer: the first signature stays.

    Raises:
        EvidenceError: format, signature and trust codes; ``keyset_root``; what the registries on chain forbid
            (:mod:`edgeseal_gateway.enforcement`).
        Unavailable: ``registry_unread``.
        UsageError: it came too late or too early: ``keyset_stale command_stale command_expired command_id
            already_enrolled audience_unknown until_ahead gateway_key_missing keyset_unknown queue_full``.
    """
    statement = statements.decode(data)
    known = find(connection, statement)
    if known is not None:
        return known
    if connection.execute("SELECT count(*) FROM pending").fetchone()[0] >= MAX_QUEUE:
        raise UsageError("queue_full", f"{MAX_QUEUE} statements wait already", "try again when the gateway signs again")
    keyset, digest = keysets.newest(connection, profile.fleet_log, queued=True)
    content = statement.content
    if isinstance(content, Keyset):
        _check_keyset(profile, kid, statement, content, keyset, digest)
    elif isinstance(content, Enrolment | Command | Revocation):
        _check_signer(connection, profile, statement, keyset)
        if isinstance(content, Enrolment):
            _check_enrolment(connection, content)
        elif isinstance(content, Command):
            _check_command(connection, profile, content, keyset)
            opened = content.open_args(salt, args)
            enforcement.check_activation(connection, profile, content, opened, now_s)
            orders.add_opening(connection, orders.Opening(statement.digest, content.id, content.sub, salt, args))
        elif content.until > fleetlog.size(connection):
            raise UsageError("until_ahead", f"position {content.until} is not in the fleet log yet")
    else:
        raise TrustError("wrong_typ", f"a {statement.name} is not handed in here")
    orders.add_pending(connection, statement)
    return Accepted(statement.digest, statement.name, None)


def find(connection: sqlite3.Connection, statement: Statement) -> Accepted | None:
    """Return where the same statement stands already, if it does."""
    same = fleetlog.same_digest(statement.signed)
    leaf = fleetlog.by_same(connection, same)
    if leaf is not None:
        return Accepted(leaf.digest, leaf.typ, leaf.pos)
    waiting = orders.find_pending(connection, same)
    return None if waiting is None else Accepted(waiting[0], statement.name, None)


def _check_keyset(
    profile: NetworkProfile, kid: bytes, statement: Statement, content: Keyset, newest: Keyset, digest: bytes
) -> None:
    statement.signed.verify(profile.tenant_root)
    if content.root != profile.tenant_root:
        raise TrustError("keyset_root", "the keyset names another tenant root key")
    if content.log != profile.fleet_log:
        raise VerificationError("wrong_log", "the keyset is of another fleet log")
    if content.version != newest.version + 1 or content.prev != digest:
        raise UsageError(
            "keyset_stale",
            f"version {content.version} does not follow version {newest.version} of digest {digest.hex()}",
            "make it anew on top of the newest keyset",
        )
    if all(member.key.kid != kid for member in content.with_role("gateway")):
        raise UsageError(
            "gateway_key_missing", f"it does not name this gateway's key {kid.hex()}", "add the key, role gateway"
        )


def _check_signer(
    connection: sqlite3.Connection, profile: NetworkProfile, statement: Statement, keyset: Keyset
) -> None:
    key = statements.signer(statement, keyset)
    statement.signed.verify(key)
    enforcement.check_operator(connection, profile, key.kid, statement.content, fleetlog.size(connection))


def _check_enrolment(connection: sqlite3.Connection, content: Enrolment) -> None:
    enrolled = fleetlog.last_of_subject(connection, content.sub, Enrolment.NAME)
    if enrolled is not None or orders.last_pending(connection, content.sub, Enrolment.NAME) is not None:
        raise UsageError("already_enrolled", f"log {content.sub} is enrolled", "a new epoch takes a new key")
    if orders.is_revoked(connection, content.key.kid):
        raise TrustError("key_revoked", f"device key {content.key.kid.hex()} was revoked")


def _check_command(connection: sqlite3.Connection, profile: NetworkProfile, content: Command, keyset: Keyset) -> None:
    if content.tenant != profile.tenant_root.kid:
        raise VerificationError("wrong_tenant", "the command is another tenant's")
    if content.keyset > keyset.version:
        raise UsageError("keyset_unknown", f"keyset {content.keyset} is not here, the newest is {keyset.version}")
    if not devices.with_audience(connection, content.sub):
        raise UsageError("audience_unknown", f"nobody is enrolled as {content.sub}")
    before = last_command(connection, content.sub)
    if content.prev != before:
        raise UsageError(
            "command_stale", f"it follows {content.prev.hex()}, the last one is {before.hex()}", "send it anew"
        )
    size = fleetlog.size(connection)
    if content.expires_size <= size + 1:
        raise UsageError("command_expired", f"it expires at fleet size {content.expires_size}, now {size}")
    if orders.id_used(connection, content.id):
        raise UsageError("command_id", "its id was used before", "draw 16 fresh random bytes")


def last_command(connection: sqlite3.Connection, sub: str) -> bytes:
    """Return the digest that the next command to an audience names as the one before, queued ones counted."""
    waiting = orders.last_pending(connection, sub, Command.NAME)
    if waiting is not None:
        return waiting[0]
    leaf = fleetlog.last_of_subject(connection, sub, Command.NAME)
    return NO_COMMAND if leaf is None else leaf.digest
