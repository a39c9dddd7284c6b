"""Keysets: who may sign what, by the tenant root key (``docs/format.md`` 8.2)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from edgeseal import cbor, limits, schema
from edgeseal.cose import PublicKey
from edgeseal.errors import FormatError, TrustError
from edgeseal.head import Seen

ROLES: Final = ("gateway", "operator", "publisher", "approver", "auditor")

_KEY = schema.closed(
    {
        "key": schema.point,
        "role": schema.one_of(*ROLES),
        "scope": schema.items(schema.text(80, 1), limits.MAX_SCOPES),
    }
)
_KEYSET = schema.closed(
    {
        "v": schema.one_of(1),
        "log": schema.digest,
        "version": schema.positive,
        "prev": schema.digest,
        "root": schema.point,
        "keys": schema.items(_KEY, limits.MAX_KEYS, 1),
        "anchor": schema.closed({"size": schema.positive, "secs": schema.positive}),
        "cadence": schema.positive,
        "next": schema.maybe(schema.log_size_root),
    }
)


@dataclass(frozen=True, slots=True)
class Member:
    """One key of a keyset: its role, and for operators what they may do (``enrol``, ``revoke``, ``command/…``)."""

    key: PublicKey
    role: str
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Keyset:
    """A keyset's payload. ``anchor_size`` statements or ``anchor_secs`` seconds is the promise to anchor by."""

    NAME: ClassVar[str] = "keyset"

    log: bytes
    version: int
    prev: bytes
    root: PublicKey
    members: tuple[Member, ...]
    anchor_size: int
    anchor_secs: int
    cadence_s: int
    next: Seen | None = None

    @property
    def sub(self) -> str:
        """The subject: the fleet log id."""
        return self.log.hex()

    def payload(self) -> bytes:
        """Return the payload bytes."""
        return cbor.encode(
            {
                "v": 1,
                "log": self.log,
                "version": self.version,
                "prev": self.prev,
                "root": self.root.point,
                "keys": [{"key": m.key.point, "role": m.role, "scope": list(m.scope)} for m in self.members],
                "anchor": {"size": self.anchor_size, "secs": self.anchor_secs},
                "cadence": self.cadence_s,
                "next": None if self.next is None else self.next.as_list(),
            }
        )

    @classmethod
    def from_payload(cls, payload: bytes) -> Keyset:
        """Return the keyset in untrusted payload bytes.

        Raises:
            FormatError: CBOR, shape, ``key_invalid``, ``keyset_duplicate``, ``keyset_version``.
        """
        fields = cbor.decode(payload, max_size=limits.MAX_STATEMENT)
        _KEYSET(fields, "keyset")
        members = tuple(_member(entry) for entry in fields["keys"])
        if len({(m.role, m.key.kid) for m in members}) != len(members):
            raise FormatError("keyset_duplicate", "a key stands twice in one role")
        if (fields["version"] == 1) != (fields["prev"] == bytes(32)):
            raise FormatError("keyset_version", "version 1, and only it, has no keyset before it")
        anchor = fields["anchor"]
        return cls(
            fields["log"],
            fields["version"],
            fields["prev"],
            PublicKey.from_point(fields["root"]),
            members,
            anchor["size"],
            anchor["secs"],
            fields["cadence"],
            Seen.from_list(fields["next"]),
        )

    def with_role(self, role: str) -> Iterator[Member]:
        """Yield the members with ``role``."""
        return (member for member in self.members if member.role == role)

    def member(self, kid: bytes, role: str) -> Member:
        """Return the key ``kid`` in ``role``. Raises TrustError ``role_missing`` if this keyset does not name it so."""
        for entry in self.with_role(role):
            if entry.key.kid == kid:
                return entry
        raise TrustError("role_missing", f"key {kid.hex()} is no {role} of keyset {self.version}")

    def operator(self, kid: bytes, scope: str) -> Member:
        """Return the operator ``kid`` if it may do ``scope`` (``enrol``, ``revoke``, ``command/<action>``).

        Raises:
            TrustError: ``role_missing``, or ``out_of_scope``.
        """
        entry = self.member(kid, "operator")
        if scope in entry.scope or (scope.startswith("command/") and "command/*" in entry.scope):
            return entry
        raise TrustError("out_of_scope", f"operator {kid.hex()} may not do {scope!r}")


def _member(entry: dict[str, Any]) -> Member:
    return Member(PublicKey.from_point(entry["key"]), entry["role"], tuple(entry["scope"]))
