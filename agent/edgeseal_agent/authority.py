"""What the device believes of others: keysets, fleet heads, receipts, commands. It decides from bytes, and stores
nothing.

Everything rests on the tenant root key that genesis pins: keysets by its signature, gateway and operators by the
keyset, and a fleet log that only ever grows from the head last seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from edgeseal import limits, statements
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError, TrustError, VerificationError
from edgeseal.head import FleetHead, Seen
from edgeseal.merkle import leaf_hash, verify_consistency
from edgeseal.receipt import Receipt, require_log
from edgeseal.statements.command import Command
from edgeseal.statements.keyset import Keyset

FORK: Final = "fleet_fork"


class ProofMissing(Exception):
    """A consistency proof is missing or starts elsewhere: no fault of anybody's, answered with ``hello``."""


class KeysetMissing(Exception):
    """The command names a keyset version the device does not have yet: it waits."""


@dataclass(frozen=True, slots=True)
class View:
    """What the device holds true now: its keyset, its fleet log, the newest fleet head it checked.

    ``digest`` is that of the keyset statement. ``seen`` is None only right after a move to a successor fleet log.
    """

    root: PublicKey
    home: bytes
    keyset: Keyset
    digest: bytes
    seen: Seen | None


@dataclass(frozen=True, slots=True)
class Included:
    """A statement shown to stand at ``position`` of the fleet log, under a head consistent with everything seen.

    ``seen`` is the newest fleet head afterwards: that of the receipt, or the one known before when that is larger.
    """

    position: int
    fleet: FleetHead
    seen: Seen


@dataclass(frozen=True, slots=True)
class Order:
    """A command that may be obeyed: its statement's digest and bytes, its place, its opened arguments."""

    command: Command
    statement: bytes
    digest: bytes
    included: Included
    args: dict[str, Any]


def check_included(view: View, entry: bytes, data: bytes, start: int, path: Sequence[bytes]) -> Included:
    """Return where untrusted receipt ``data`` proves the statement ``entry`` to stand.

    1. The receipt is of the home fleet log and signed by a gateway key of the keyset, over a root that holds the entry.
    2. Its head is consistent with the newest one seen: equal, or proved by ``path`` from ``start``, the smaller size.

    Raises:
        EvidenceError: what :class:`Receipt` raises, ``role_missing``, ``wrong_log``, a proof code; ``fleet_fork`` when
            the same size has another root than the one seen.
        ProofMissing: no path was given, or it starts at another size.
    """
    # 1
    receipt = Receipt.decode(data)
    require_log(receipt, view.home)
    key = view.keyset.member(receipt.signed.kid, "gateway").key
    fleet = receipt.verify_inclusion(key, leaf_hash(entry))
    # 2
    found, seen = Seen(fleet.log, fleet.size, fleet.root), view.seen
    if seen is None:
        return Included(receipt.index, fleet, found)
    if found.size == seen.size:
        if found.root != seen.root:
            raise VerificationError(FORK, f"the gateway signed two roots for fleet size {seen.size}")
        return Included(receipt.index, fleet, seen)
    older, newer = (seen, found) if seen.size < found.size else (found, seen)
    if start != older.size or not path:
        raise ProofMissing(f"a path from fleet size {older.size} is needed, given is one from {start}")
    verify_consistency(older.size, newer.size, older.root, newer.root, list(path))
    return Included(receipt.index, fleet, newer)


def check_keyset(view: View, data: bytes) -> View:
    """Return the view under the untrusted keyset statement ``data``: the root signed it and it is the next version.

    A keyset that names a successor fleet log moves the device there, whatever the size it saw of the old one.

    Raises:
        EvidenceError: format and signature codes, ``wrong_typ``, ``wrong_log``, ``keyset_root`` when it names another
            root, ``keyset_version`` unless it is the next one, ``keyset_chain`` when it does not follow ours.
    """
    statement = statements.decode(data)
    keyset = statement.content
    if not isinstance(keyset, Keyset):
        raise VerificationError("wrong_typ", f"a {statement.name} came as a keyset")
    statement.signed.verify(view.root)
    if keyset.root != view.root:
        raise TrustError("keyset_root", "the keyset names another tenant root key")
    if keyset.log != view.home:
        raise VerificationError("wrong_log", f"a keyset of fleet log {keyset.log.hex()}")
    if keyset.version != view.keyset.version + 1:
        raise VerificationError("keyset_version", f"version {keyset.version} does not follow {view.keyset.version}")
    if keyset.prev != view.digest:
        raise VerificationError("keyset_chain", "the keyset does not follow the one we hold")
    moved = replace(view, keyset=keyset, digest=statement.digest)
    return moved if keyset.next is None else replace(moved, home=keyset.next.log, seen=None)


def keyset_version(data: bytes) -> int:
    """Return the version an untrusted keyset statement claims, nothing checked but its form. Raises FormatError."""
    content = statements.decode(data).content
    if not isinstance(content, Keyset):
        raise FormatError("wrong_typ", "another statement came as a keyset")
    return content.version


@dataclass(frozen=True, slots=True)
class Audience:
    """Who this device is to a command: its log, its groups, and positions no new command may stand at or below."""

    log: bytes
    groups: tuple[str, ...]
    taken: int
    """The fleet position of the newest command taken or refused; before any, that of no statement about this device."""

    def includes(self, command: Command) -> bool:
        """Say whether the command is for this device."""
        return command.audience == self.log or command.audience in self.groups


def decode_command(data: bytes) -> Command:
    """Return the command in an untrusted statement, its signature unchecked. Raises FormatError."""
    if len(data) > limits.MAX_COMMAND:
        raise FormatError("too_large", f"a command of {len(data)} bytes, the limit is {limits.MAX_COMMAND}")
    content = statements.decode(data).content
    if not isinstance(content, Command):
        raise FormatError("wrong_typ", "another statement came as a command")
    return content


def check_origin(view: View, audience: Audience, data: bytes) -> Command:
    """Return the command once an operator is shown to have ordered it of this device (``docs/format.md`` 8.4, steps
    1, 2).

    Raises:
        EvidenceError: format and signature codes, ``role_missing``, ``out_of_scope``, ``wrong_tenant``,
            ``wrong_audience``. KeysetMissing: it was made under a keyset we lack.
    """
    command = decode_command(data)
    if command.keyset > view.keyset.version:
        raise KeysetMissing(f"it was made under keyset {command.keyset}, ours is {view.keyset.version}")
    # 1
    statement = statements.decode(data)
    statement.signed.verify(statements.signer(statement, view.keyset))
    # 2
    if command.tenant != view.root.kid:
        raise VerificationError("wrong_tenant", "the command is another tenant's")
    if not audience.includes(command):
        raise VerificationError("wrong_audience", f"the command is for {command.sub}")
    return command


def check_order(
    audience: Audience, command: Command, data: bytes, included: Included, salt: bytes, args: bytes, now_ms: int
) -> Order:
    """Return the order a command gives, judged by its place and content (``docs/format.md`` 8.4, steps 5 to 9).

    Raises:
        EvidenceError: ``command_order`` at or below a position already taken, ``command_expired`` by fleet size,
            ``command_late`` by wall time, ``commitment_mismatch``, ``unknown_action``, ``args_malformed``,
            ``too_large``.
    """
    # 5
    if included.position <= audience.taken:
        raise VerificationError("command_order", f"position {included.position} is not above {audience.taken}")
    # 6
    size = max(included.fleet.size, included.seen.size)
    if command.expires_size <= size:
        raise VerificationError("command_expired", f"it expired at fleet size {command.expires_size}, now {size}")
    # 7
    if command.until_ms is not None and now_ms > command.until_ms:
        raise VerificationError("command_late", f"it was good until {command.until_ms}, the clock says {now_ms}")
    # 8, 9
    fields = command.open_args(salt, args)
    return Order(command, data, statements.decode(data).digest, included, fields)
